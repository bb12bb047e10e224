"""How the command line speaks: lines, tables and sizes for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["ASK_DOCTOR", "complain", "say", "say_json", "show_size", "show_table", "told_retry", "visible"]

ASK_DOCTOR: Final = "`kvd doctor` says what to do"


def say(text: str = "") -> None:
    """Write a line to standard output."""
    sys.stdout.write(text + "\n")


def say_json(value: Any) -> None:
    """Write a value as one line of JSON. Odd bytes of names are escaped surrogates, so that nothing is lost."""
    sys.stdout.write(json.dumps(value) + "\n")


def complain(text: str) -> None:
    """Write to standard error, a line for each of the text's."""
    sys.stderr.writelines(f"kvd: {visible(line)}\n" for line in text.strip().split("\n"))


def visible(text: str) -> str:
    """The text on one line, with what a terminal would obey, or could not show, escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    byte = ord(char) - 0xDC00
    # a byte that is no text is shown as a shell and most languages write it
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape").decode()  # noqa: PLR2004 - PEP 383


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows in columns; the first one is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def told_retry(retry_at: float | None) -> str:
    """What to add about a connection that the daemon tries again at this time; nothing where that is now."""
    left = 0.0 if retry_at is None else retry_at - time.time()
    return "" if left < 1 else f"; the daemon tries again in {left:.0f} s"


def show_size(size: float | None) -> str:
    """A number of bytes for people."""
    if size is None:
        return "-"
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":  # noqa: PLR2004 - the step between the units
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
