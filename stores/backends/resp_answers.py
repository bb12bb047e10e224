"""Cuts what a Redis server sends into answers, and refuses what would cost far more than it says.

hiredis makes a list of the announced length before its elements arrive: a header of a few bytes can ask for gigabytes, which
Python's collector then walks through for seconds while the event loop stands still. So an array's length is read here first.
What only looks like a header, inside a string, hiredis itself tells apart: fed up to there, it is in the middle of something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import hiredis
from redis.exceptions import ResponseError

__all__ = ["MAX_ELEMENTS", "BoundedReader"]

MAX_ELEMENTS: Final = 1 << 24
"""Elements that the long arrays of one answer may have together."""

INCOMPLETE: Final = object()
"""What hiredis returns until the next answer is whole."""

LISTS: Final = (b"*", b">")
"""What begins an array, and what begins a push, which is one too."""

LONGEST_HEADER: Final = 24
"""Bytes in which every length fits that hiredis reads."""

_LENGTH = re.compile(rb"\d{3,}")
"""Of arrays that are counted: what shorter ones reserve is in proportion to the bytes that announce them."""

_CUT = re.compile(rb"(?:\A|\n)([*>]\d*)\Z")


class BoundedReader:
    """`hiredis.Reader` with a limit on arrays."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=INCOMPLETE)
        self._cut = b""
        self._at_line = True
        self._announced = 0

    def cut(self, data: bytes) -> Iterable[Any]:
        """Take what was received; the answers that are whole with it, to be taken to the last.

        Raises:
            ValueError: an array is too long.
            hiredis.ProtocolError: this is none of Redis's answers.
        """
        if self._cut or data.find(b"*") >= 0 or data.find(b">") >= 0:
            return self._cut_lists(data)
        if data:
            self._at_line = data.endswith(b"\n")
        self._reader.feed(data)
        return self._whole()

    def _whole(self) -> list[Any]:
        """The answers that are whole with what was fed."""
        gets = self._reader.gets
        answers = []
        while (answer := gets()) is not INCOMPLETE:
            answers.append(answer)
        if answers:
            self._announced = 0
        return answers

    def _cut_lists(self, data: bytes) -> Iterator[Any]:
        """As `cut`, where an array may begin."""
        reader = self._reader
        data, self._cut = self._cut + data, b""
        if not data.endswith(b"\n") and (cut := _CUT.search(data, max(len(data) - LONGEST_HEADER, 0))):
            # a header that is cut waits for its rest; no answer ends here, so none is held up
            data, self._cut = data[: cut.start(1)], cut[1]
        fed = 0
        for at, length in _long_lists(data, at_line=self._at_line):
            reader.feed(data[fed:at])
            fed = at
            yield from self._whole()
            if reader.has_data():  # in the middle of a string
                continue
            self._announced += length
            if self._announced > MAX_ELEMENTS:
                raise ValueError(f"it has more than {MAX_ELEMENTS} elements")
        reader.feed(data[fed:])
        if data:
            self._at_line = data.endswith(b"\n")
        yield from self._whole()


def _long_lists(data: bytes, *, at_line: bool) -> list[tuple[int, int]]:
    """Where what looks like the header of a long array stands, and its length; `at_line`: data begins where a line does."""
    starts = [0] if at_line and data.startswith(LISTS) else []
    for sign in LISTS:
        at = data.find(b"\n" + sign)
        while at >= 0:
            starts.append(at + 1)
            at = data.find(b"\n" + sign, at + 2)
    return [(at, int(length[0][:12])) for at in sorted(starts) if (length := _LENGTH.match(data, at + 1)) is not None]
