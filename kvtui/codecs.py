"""Bytes and names as a person reads them. Pure: no Textual, no I/O.

What comes out of here is safe to draw: no control characters, no direction overrides, nothing whose width terminals disagree
about. It is for the eye only: copying and writing take the original.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from rich.cells import cell_len

__all__ = ["elide", "hex_row", "name_text", "printable", "signs", "size_text", "take_cells", "text_row"]

_INVISIBLE = {"Cf", "Zl", "Zp", "Cn", "Co"}
_DROPPED = {"\u200d", "\ufe0e", "\ufe0f"}
"""Joiners and variation selectors: terminals disagree on the width of what they join."""
_OVERLOOKED = re.compile(
    "[\u00a0\u034f\u115f\u1160\u1680\u2000-\u200a\u200d\u202f\u205f\u3000\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What is no sign, or looks like a blank, beside what is shown by its code anyway."""
_PLAIN = re.compile(r"[ -~]*\Z")
_PRINTABLE_ASCII = range(0x20, 0x7F)
REMEMBERED = 256
"""Characters of the longest text whose form is kept: rows are drawn again and again, values are not."""
_SURROGATES = range(0xD800, 0xE000)
_BYTE_SURROGATES = range(0xDC80, 0xDD00)


def _symbol(char: str) -> str:
    code = ord(char)
    if code in _PRINTABLE_ASCII:
        return char
    if code < 0x20:  # noqa: PLR2004 - C0; the block of control pictures follows its order
        return chr(0x2400 + code)
    if code == 0x7F:  # noqa: PLR2004 - DEL
        return "␡"
    if code in _BYTE_SURROGATES:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0xA0:  # noqa: PLR2004 - C1
        return f"\\x{code:02x}"
    if code in _SURROGATES:
        return f"\\u{code:04x}"
    if char in _DROPPED:
        return ""
    if unicodedata.category(char) in _INVISIBLE:
        return f"\\u{{{code:x}}}"
    return char


def printable(text: str) -> str:
    r"""The text on one line, with a visible sign for all that has none: `␊` for a newline, `\xff` for an odd byte."""
    if _PLAIN.match(text):
        return text
    return "".join(map(_symbol, text)) if len(text) > REMEMBERED else _printable(text)


@lru_cache(maxsize=4096)
def _printable(text: str) -> str:
    return "".join(map(_symbol, text))


@lru_cache(maxsize=4096)
def name_text(name: str) -> str:
    """A name as `printable`, with a sign for what is overlooked as well: two names that differ are shown as two."""
    inner = name.strip(" ")
    if not _PLAIN.match(inner):
        shown = "".join(f"\\u{{{ord(char):x}}}" if _OVERLOOKED.match(char) else _symbol(char) for char in inner)
    else:
        shown = inner
    start = name.index(inner)
    return "␠" * start + shown + "␠" * (len(name) - start - len(inner))


def signs(text: str) -> str:
    """The text with one sign in place of each character that has none, so that places in it stay what they are: for what is
    being edited.
    """
    return text if _PLAIN.match(text) else "".join(char if _symbol(char) == char else _one_sign(char) for char in text)


def _one_sign(char: str) -> str:
    sign = _symbol(char)
    return sign if len(sign) == 1 else "\ufffd"


def take_cells(text: str, width: int) -> str:
    """The longest start of the text that is at most `width` cells wide."""
    if text.isascii():
        return text[:width]
    taken = 0
    for index, char in enumerate(text):
        taken += cell_len(char)
        if taken > width:
            return text[:index]
    return text


@lru_cache(maxsize=4096)
def elide(text: str, width: int) -> str:
    """The text in at most `width` cells, cut in the middle when it is longer: keys differ at both ends."""
    if len(text) <= width and (text.isascii() or cell_len(text) <= width):
        return text
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    tail = take_cells(text[::-1], (width - 1) // 3)[::-1]
    head = take_cells(text, width - 1 - cell_len(tail))
    return f"{head}…{tail}"


def size_text(size: int | None) -> str:
    """A size in bytes in at most seven cells: "312 B", "4.1 KB", "1.2 GB"; a dash when it is not known."""
    if size is None:
        return "-"
    amount = float(size)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":  # noqa: PLR2004 - three digits
            digits = 1 if unit != "B" and amount < 99.95 else 0  # noqa: PLR2004 - three digits
            return f"{amount:.{digits}f} {unit}"
        amount /= 1000
    return ""  # pragma: no cover - the loop returns at its last unit


def hex_row(row: bytes, count: int) -> tuple[str, str]:
    """A row of a hex dump, made for `count` bytes: its bytes, and its printable characters."""
    pairs = [f"{byte:02x}" for byte in row] + ["  "] * (count - len(row))
    dump = "  ".join(" ".join(pairs[at : at + 8]) for at in range(0, count, 8))  # in groups of eight
    shown = "".join(chr(byte) if byte in _PRINTABLE_ASCII else "·" for byte in row)
    return dump, shown


def text_row(body: bytes, start: int, end: int) -> str:
    """The characters that begin in `body[start:end]`, odd bytes as escapes.

    A character that straddles the end belongs to the row in which it begins, so rows can be cut at any byte.
    """
    while _is_inside_character(body, start):
        start += 1
    if start >= end:
        return ""
    while _is_inside_character(body, end):
        end += 1
    return printable(body[start:end].decode("utf-8", "surrogateescape"))


def _is_inside_character(body: bytes, at: int) -> bool:
    """Whether the byte at `at` continues a character that begins before it."""
    if at >= len(body) or body[at] & 0xC0 != 0x80:  # noqa: PLR2004 - UTF-8
        return False
    lead = at
    while lead > 0 and at - lead < 3 and body[lead] & 0xC0 == 0x80:  # noqa: PLR2004 - a character has at most four bytes
        lead -= 1
    first = body[lead]
    length = 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC0 else 1  # noqa: PLR2004 - UTF-8
    return lead < at < lead + length
