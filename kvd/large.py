"""Bodies of which one bin is nearly all: the bin is never copied, neither on its way in nor on its way out. No I/O here."""

from __future__ import annotations

from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types

from kvd.protocol import PACKED, REPLY, unpack_request

__all__ = ["LargeReply", "bin_head", "unpack_large"]

LARGE: Final = 64 << 10
"""Bytes of a bin that is worth the trouble."""
_AHEAD: Final = 80 << 10
"""Bytes that are looked at before a bin and after it; a name has room in them."""
_BIN_32: Final = 0xC6
_BIN_32_HEAD: Final = 5
_EMPTY_BIN: Final = b"\xc4\0"
_FIELDS: Final = 4
"""Of a request that has no options."""


class LargeReply:
    """The body of a reply whose result is a large bin."""

    __slots__ = ("head", "result")

    def __init__(self, id: int, result: bytes) -> None:  # noqa: A002 - the wire's own word
        """Reply to a request with `result`."""
        empty: bytes = msgpack.Packer(buf_size=PACKED).pack((REPLY, id, None, b""))
        self.head = empty[: -len(_EMPTY_BIN)] + bin_head(len(result))
        self.result = result

    def __len__(self) -> int:
        """Bytes of the body."""
        return len(self.head) + len(self.result)

    def cut(self, start: int, end: int) -> list[memoryview]:
        """A part of the body, which may itself consist of two."""
        before = len(self.head)
        cut = [memoryview(self.head)[start:end], memoryview(self.result)[max(start - before, 0) : max(end - before, 0)]]
        return [one for one in cut if one]


def bin_head(size: int) -> bytes:
    """What stands before the bytes of a bin."""
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1)
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2)
    return b"\xc6" + size.to_bytes(4)


def unpack_large(body: bytes | bytearray) -> Any:
    """Do as `unpack_request`; a large bin among the parameters stays where it is, as a memoryview.

    Raises:
        ProtocolError: as `unpack_request`.
    """
    rest, bins = _take_bins(body)
    message = unpack_request(rest)
    if bins:
        message[3].update(bins)
    return message


def _take_bins(body: bytes | bytearray) -> tuple[bytes | bytearray, dict[str, memoryview]]:
    """Put empty bins in the places of a request's large parameters; a body that is unusual in any way stays as it is."""
    view = memoryview(body)
    names: set[str] = set()
    bins: dict[str, memoryview] = {}
    rest: list[memoryview | bytes] = []
    taken = 0
    try:
        unpacker = _unpacker(view)
        if unpacker.read_array_header() < _FIELDS:
            return body, {}
        for _ in range(_FIELDS - 1):
            unpacker.skip()
        for _ in range(unpacker.read_map_header()):
            name = unpacker.unpack()
            if type(name) is not str or name in names:
                return body, {}
            names.add(name)
            at = taken + unpacker.tell()
            begin = at + _BIN_32_HEAD
            end = begin + int.from_bytes(view[at + 1 : begin])
            if view[at] == _BIN_32 and begin + LARGE < end <= len(view):
                bins[name] = view[begin:end]
                rest += (view[taken:at], _EMPTY_BIN)
                taken = end
                unpacker = _unpacker(view[end:])
            else:
                unpacker.skip()
    except (ValueError, IndexError, msgpack.UnpackException):
        return body, {}
    rest.append(view[taken:])
    return b"".join(rest), bins


def _unpacker(view: memoryview) -> msgpack.Unpacker:
    unpacker = msgpack.Unpacker()
    unpacker.feed(view[:_AHEAD])
    return unpacker
