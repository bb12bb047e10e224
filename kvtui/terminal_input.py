"""What the terminal sends, whatever it is."""

from __future__ import annotations

import codecs
from functools import partial

__all__ = ["read_any_bytes"]


def read_any_bytes() -> None:
    """Have bytes that are not UTF-8 read as a sign for such: Textual's driver would end the program, and what was typed in it.

    An editor's paste may bring them, or a terminal of another encoding.
    """
    from textual.drivers import linux_driver  # noqa: PLC0415 - there is none on other systems

    decoder = partial(codecs.getincrementaldecoder("utf-8"), "replace")
    setattr(linux_driver, "getincrementaldecoder", lambda _: decoder)  # noqa: B010 - not what it is declared to be
