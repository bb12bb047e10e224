"""JSON text in the form in which it is kept, in pieces: an object's members are put in order in short steps."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from heapq import merge
from itertools import islice
from typing import Any, Final

__all__ = ["AHEAD", "SOME", "Pieces", "Steps", "dump_text", "write_members"]

dump_text = json.JSONEncoder(sort_keys=True).encode
"""Anything JSON can carry, in the form in which it is kept; `json.dumps` would make an encoder at each call."""

AHEAD: Final = 2 << 10
"""Characters of a piece, about."""
SOME: Final = 16
"""Small things that are done in one go."""
RUN: Final = 2_048
"""Names that are sorted in one go."""

Steps = Generator[None, None, None]


class Pieces:
    """Text that is put together: pieces of about `AHEAD` characters."""

    __slots__ = ("_some", "_whole", "size")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._whole: list[str] = []
        self._some: list[str] = []
        self.size = 0
        """Characters since the last piece."""

    def add(self, text: str) -> None:
        """Append text."""
        self._some.append(text)
        self.size += len(text)
        if self.size > AHEAD:
            self._close()

    def add_all(self, pieces: Pieces) -> None:
        """Append other pieces, which are not used again."""
        self._close()
        pieces._close()
        self._whole += pieces._whole

    def _close(self) -> None:
        self._whole.append("".join(self._some))
        self._some = []
        self.size = 0

    def all(self) -> list[str]:
        """All pieces, in order."""
        self._close()
        return self._whole


def write_members(members: dict[str, Any], out: Pieces) -> Steps:
    """Write an object, and leave nothing of it."""
    names: Iterable[str]
    if len(members) <= RUN:
        names = sorted(members)
    else:
        unsorted, runs = iter(list(members)), []
        while run := sorted(islice(unsorted, RUN)):
            runs.append(run)
            yield
        names = merge(*runs)
    out.add("{")
    between = ""
    short: dict[str, Any] = {}
    for name in names:
        value = members.pop(name)
        if type(value) is not Pieces:
            short[name] = value
        if short and (type(value) is Pieces or len(short) == SOME):
            out.add(between + dump_text(short)[1:-1])
            between = ", "
            short = {}
            yield
        if type(value) is Pieces:
            out.add(f"{between}{dump_text(name)}: ")
            between = ", "
            out.add_all(value)
            yield
    out.add(between + dump_text(short)[1:] if short else "}")
