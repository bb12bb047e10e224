"""Values as rows of text, whatever their size. Pure: what is not here yet is asked for by the byte range.

A `TextDocument` has its whole text and wraps it to the width. A `BytesDocument` knows only its length and the pieces that were
read so far; its rows are a fixed number of bytes, as text or in hexadecimal, so that any row of gigabytes is found at once.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from rich.cells import cell_len

from kvtui import jsontext
from kvtui.codecs import hex_row, printable, take_cells, text_row

__all__ = ["CHUNK", "BytesDocument", "Document", "Row", "TextDocument"]

CHUNK = 65_536
"""Bytes that are read at once of a value that is too large to be had whole."""
CHUNKS_KEPT = 32
COMPARED = 1_000
"""Lines up to which what differs in two texts is compared as a person would, a tenth of a second; beyond, line by line."""
HEX_BYTES = (16, 12, 8, 4)
"""Bytes in a row of the hex view: as many as there is room for."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: what stands in its margin, its text, and the coloured parts of the text (start, end, name)."""

    margin: str
    text: str
    spans: tuple[tuple[int, int, str], ...] = ()
    found: tuple[tuple[int, int, bool], ...] = ()
    """What a search found in it: start, end, and whether the reader is there."""
    changed: bool = False
    """Whether it is another one than before."""


class Document(Protocol):
    """Rows of text."""

    @property
    def margin(self) -> int:
        """Cells of the margin."""

    def wrap(self, width: int) -> int:
        """Take up the width that rows may have; answers how many rows there are."""

    def row(self, index: int) -> Row | None:
        """A row, or None when its bytes have to be read first."""

    def row_of(self, offset: int) -> int:
        """The row in which a byte of the value stands."""

    def offset_of(self, row: int) -> int:
        """The first byte of the value that a row shows."""


class TextDocument:
    """A text that is here as a whole, wrapped to the width, JSON coloured.

    Args:
        text: What is shown.
        is_json: Whether it is JSON.
        body: The value that the text was made of, for those who want to find its bytes in it.
    """

    def __init__(self, text: str, *, is_json: bool, body: bytes = b"") -> None:
        self._body = body
        self._lines = [printable(line.replace("\t", "    ")) for line in text.split("\n")]
        self._is_json = is_json
        self._rows: list[tuple[int, int, int, int]] = []
        """Number of the line, start and end in it, cells of indentation."""
        self._width = 0
        self._coloured: tuple[int, list[tuple[int, int, str]]] = (-1, [])
        """The line whose rows are being drawn, and its colours."""
        self._changed: set[int] = set()
        self._found: list[tuple[int, int, int]] = []
        """Number of the line, start and end in it, in their order."""
        self.at: int | None = None
        """Which of what was found the reader is at."""

    @property
    def margin(self) -> int:
        """Cells of the margin."""
        return len(str(len(self._lines)))  # as the editor has it

    def wrap(self, width: int) -> int:
        """Cut the lines to the width; answers how many rows there are."""
        width = max(8, width)
        if width != self._width:
            self._width = width
            self._rows = []
            for number, line in enumerate(self._lines):
                hang = self._hang(line)
                self._rows += [(number, start, end, hang if start else 0) for start, end in _parts(line, width, hang)]
        return len(self._rows)

    def _hang(self, line: str) -> int:
        """Cells by which the further rows of a line are indented: JSON goes on below its name."""
        return min(len(line) - len(line.lstrip(" ")) + 2, self._width // 2) if self._is_json else 0

    def row(self, index: int) -> Row | None:
        """A row; never None."""
        number, start, end, hang = self._rows[index]
        line = self._lines[number]
        spans: tuple[tuple[int, int, str], ...] = ()
        if self._is_json and len(line) <= 16 * CHUNK:
            spans = tuple(
                (max(first, start) - start + hang, min(last, end) - start + hang, name)
                for first, last, name in self._spans(number)
                if first < end and last > start
            )
        found = tuple(
            (max(first, start) - start + hang, min(last, end) - start + hang, which == self.at)
            for which, (_, first, last) in self._found_in(number)
            if first < end and last > start
        )
        margin = str(number + 1) if start == 0 else ""
        return Row(margin, " " * hang + line[start:end], spans, found, number in self._changed)

    def _spans(self, number: int) -> list[tuple[int, int, str]]:
        if self._coloured[0] != number:  # a line may have a thousand rows
            self._coloured = number, list(jsontext.spans(self._lines[number]))
        return self._coloured[1]

    def _found_in(self, number: int) -> list[tuple[int, tuple[int, int, int]]]:
        low, high = bisect_left(self._found, (number, 0, 0)), bisect_left(self._found, (number + 1, 0, 0))
        return list(enumerate(self._found[low:high], low))

    def row_of(self, offset: int) -> int:
        """The row in which a byte of the value stands, as near as can be told."""
        ink = _ink(self._body[:offset]) * self._ink_before(len(self._lines), 0) // max(1, _ink(self._body))
        return max(0, bisect_right(self._rows, ink, key=lambda row: self._ink_before(row[0], row[1])) - 1)

    def offset_of(self, row: int) -> int:
        """The first byte of the value that a row shows, as near as can be told."""
        number, start, _, _ = self._rows[min(row, len(self._rows) - 1)]
        whole = max(1, self._ink_before(len(self._lines), 0))
        ink = self._ink_before(number, start) * _ink(self._body) // whole
        return max(0, bisect_right(range(len(self._body)), ink, key=lambda at: _ink(self._body[:at])) - 1)

    def _ink_before(self, number: int, start: int) -> int:
        """How much stands before a place in a line that is also in the value, however that is indented."""
        rest = self._lines[number][:start] if start else ""
        return _ink(("".join(self._lines[:number]) + rest).encode())

    def find(self, wanted: str) -> None:
        """Mark where a text stands; capitals count only when it has some."""
        self.at = None
        self._found = []
        if wanted:
            pattern = re.compile(re.escape(wanted), 0 if any(map(str.isupper, wanted)) else re.IGNORECASE)
            self._found = [
                (number, match.start(), match.end())
                for number, line in enumerate(self._lines)
                for match in pattern.finditer(line)
            ]

    @property
    def find_count(self) -> int:
        """How often the text that was searched for stands here."""
        return len(self._found)

    def go_on(self, by: int, row: int) -> int | None:
        """Be at the next of what was found, or the one before; answers its row, None when nothing was found.

        Args:
            by: 1 or -1.
            row: Where the reader looks, in case that nothing was gone to yet.
        """
        if not self._found:
            return None
        if self.at is None:
            number, start, _, _ = self._rows[min(row, len(self._rows) - 1)]
            self.at = bisect_left(self._found, (number, start, 0)) - (by < 0)
        else:
            self.at += by
        self.at %= len(self._found)
        line, start, _ = self._found[self.at]
        return bisect_right(self._rows, (line, start, self._width * 2, 0)) - 1

    def mark_changes(self, before: TextDocument) -> None:
        """Mark the lines that are others than before."""
        old, new = before._lines, self._lines
        short = min(len(old), len(new))
        head = next((at for at in range(short) if old[at] != new[at]), short)
        tail = next((at for at in range(short - head) if old[-1 - at] != new[-1 - at]), short - head)
        old, new = old[head : len(old) - tail], new[head : len(new) - tail]
        if max(len(old), len(new)) > COMPARED:
            changed = (at for at, line in enumerate(new) if at >= len(old) or old[at] != line)
            self._changed.update(head + at for at in changed)
            return
        for kind, _, _, first, last in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if kind != "equal":
                self._changed.update(range(head + first, head + last))


def _ink(text: bytes) -> int:
    """How many bytes are no blanks."""
    return len(text.translate(None, b" \t\r\n"))


def _parts(line: str, width: int, hang: int) -> list[tuple[int, int]]:
    """Where a line is cut to fit the width, at blanks where that leaves more than half a row."""
    if len(line) <= width and (line.isascii() or cell_len(line) <= width):
        return [(0, len(line))]
    parts: list[tuple[int, int]] = []
    start = 0
    while start < len(line):
        room = width - hang if start else width
        end = start + max(1, len(take_cells(line[start : start + room], room)))
        if end < len(line):
            blank = line.rfind(" ", start, end) + 1
            if blank > start + (end - start) // 2 and not line[start:blank].isspace():
                end = blank
        parts.append((start, end))
        start = end
    return parts


class BytesDocument:
    """Bytes of which only pieces are here.

    Args:
        length: How many bytes there are.
        as_hex: Show them in hexadecimal, else as text.
    """

    def __init__(self, length: int, *, as_hex: bool) -> None:
        self.length = length
        self.as_hex = as_hex
        self.found: range | None = None
        """The bytes that a search came to."""
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        self._per_row = HEX_BYTES[0]

    @property
    def margin(self) -> int:
        """Cells of the margin."""
        return max(4, len(f"{self.length:x}"))

    def wrap(self, width: int) -> int:
        """Take as many bytes to a row as fit the width; answers how many rows there are."""
        if self.as_hex:
            self._per_row = next((count for count in HEX_BYTES if _hex_cells(count) <= width), HEX_BYTES[-1])
        else:
            self._per_row = max(8, width)
        return max(1, -(-self.length // self._per_row))

    def row(self, index: int) -> Row | None:
        """A row, or None when its bytes have to be read first."""
        start = index * self._per_row
        end = min(self.length, start + self._per_row)
        if start >= self.length:
            return Row("", "")
        before, after = max(0, start - 3), min(self.length, end + 3)
        body = self._bytes(before, after)
        if body is None:
            return None
        offset = f"{start:0{self.margin}x}"
        hit = range(max(start, self.found.start) - start, min(end, self.found.stop) - start) if self.found else range(0)
        if not self.as_hex:
            text = text_row(body, start - before, end - before)
            straight = text.isascii() and len(text) == end - start  # each byte is the character that it stands for
            first, last = (hit.start, hit.stop) if straight else (0, len(text))
            return Row(offset, text, found=((first, last, True),) if hit else ())
        dump, shown = hex_row(body[start - before : end - before], self._per_row)
        text = f"{dump} {shown}"
        cells = (_hex_cell(hit.start), _hex_cell(hit.stop - 1) + 2), (len(dump) + 1 + hit.start, len(dump) + 1 + hit.stop)
        found = tuple((first, last, True) for first, last in cells)
        return Row(offset, text, ((len(dump) + 1, len(text), "string"),), found if hit else ())

    def row_of(self, offset: int) -> int:
        """The row in which a byte stands."""
        return offset // self._per_row

    def offset_of(self, row: int) -> int:
        """The first byte of a row."""
        return min(self.length, row * self._per_row)

    def take(self, offset: int, body: bytes) -> None:
        """Take up bytes that were read; `offset` is a multiple of `CHUNK`."""
        for at in range(0, len(body), CHUNK):
            self._chunks[(offset + at) // CHUNK] = body[at : at + CHUNK]
        while len(self._chunks) > CHUNKS_KEPT:
            self._chunks.popitem(last=False)

    def missing(self, first: int, last: int) -> int | None:
        """The offset of the first chunk that the rows from `first` to `last` need and that is not here."""
        low = max(0, first * self._per_row - 3) // CHUNK
        high = min(self.length - 1, (last + 1) * self._per_row + 3) // CHUNK
        return next((number * CHUNK for number in range(low, high + 1) if number not in self._chunks), None)

    def _bytes(self, start: int, end: int) -> bytes | None:
        parts: list[bytes] = []
        for number in range(start // CHUNK, (end - 1) // CHUNK + 1):
            chunk = self._chunks.get(number)
            if chunk is None:
                return None
            self._chunks.move_to_end(number)
            at = number * CHUNK
            parts.append(chunk[max(0, start - at) : max(0, end - at)])
        return b"".join(parts)


def _hex_cell(at: int) -> int:
    """The cell at which a byte of a row begins in the hex view."""
    return 3 * at + at // 8


def _hex_cells(count: int) -> int:
    """Cells that a row of `count` bytes takes in the hex view."""
    return 4 * count + (count - 1) // 8
