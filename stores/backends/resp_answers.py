"""Cuts what a Redis server sends into answers, and refuses what would cost far more than it says.

hiredis makes a list of the announced length before its elements arrive: a header of a few bytes can ask for gigabytes, which
Python's collector then walks through for seconds while the event loop stands still. So an array's length is read here first.
What only looks like a header, inside a string, hiredis itself tells apart: fed up to there, it is in the middle of something.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final

import hiredis
from redis.exceptions import ResponseError

from stores.backends.pipelined import INCOMPLETE

__all__ = ["MAX_ELEMENTS", "BoundedReader"]

MAX_ELEMENTS: Final = 1 << 24
"""Elements that the long arrays of one answer may have together."""

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
        self._whole: deque[Any] = deque()
        self._cut = b""
        self._at_line = True
        self._announced = 0
        self._refused: Exception | None = None

    def feed(self, data: bytes, /) -> None:
        """Take what was received."""
        if self._cut:
            data, self._cut = self._cut + data, b""
        if not data.endswith(b"\n") and (cut := _CUT.search(data, max(len(data) - LONGEST_HEADER, 0))):
            # a header that is cut waits for its rest; no answer ends here, so none is held up
            data, self._cut = data[: cut.start(1)], cut[1]
        fed = 0
        for at, length in _long_lists(data, at_line=self._at_line):
            self._reader.feed(data[fed:at])
            fed = at
            try:
                while (answer := self._reader.gets()) is not INCOMPLETE:
                    self._whole.append(answer)
                    self._announced = 0
            except hiredis.ProtocolError as exc:
                self._refused = exc
                return
            if self._reader.has_data():  # in the middle of a string
                continue
            self._announced += length
            if self._announced > MAX_ELEMENTS:
                self._refused = ValueError(f"it has more than {MAX_ELEMENTS} elements")
                return
        self._reader.feed(data[fed:] if fed else data)
        self._at_line = data.endswith(b"\n") if data else self._at_line

    def gets(self) -> Any:
        """The next answer, or `INCOMPLETE`. Raises ValueError for an array that is too long, ProtocolError for nonsense."""
        if self._whole:
            return self._whole.popleft()
        if self._refused is not None:
            raise self._refused
        answer = self._reader.gets()
        if answer is not INCOMPLETE:
            self._announced = 0
        return answer


def _long_lists(data: bytes, *, at_line: bool) -> list[tuple[int, int]]:
    """Where what looks like the header of a long array stands, and its length; `at_line`: data begins where a line does."""
    starts = [0] if at_line and data.startswith(LISTS) else []
    for sign in LISTS:
        if data.find(sign, 1) > 0:  # one byte is found much faster than two, and most answers have neither
            at = data.find(b"\n" + sign)
            while at >= 0:
                starts.append(at + 1)
                at = data.find(b"\n" + sign, at + 2)
    return [(at, int(length[0][:12])) for at in sorted(starts) if (length := _LENGTH.match(data, at + 1)) is not None]
