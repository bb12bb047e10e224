"""Between a stream of bytes and the bodies of messages, both ways. `kvd.protocol` documents the frames; no I/O here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # it ships no types
from msgpack import unpackb

from kvd.errors import Code, ProtocolError
from kvd.large import LargeReply, bin_head
from kvd.protocol import EVENT, HEADER, MAX_FRAME, MAX_REPLY, PACKED, PART, PART_SIZE, REPLY

__all__ = ["Decoder", "Inbox", "frame", "parts"]

_SHORTEST: Final = 3
"""Elements of an event; replies and parts have one more."""
LARGE: Final = 64 << 10
"""Bytes of a body that is worth not being copied."""
_length_at: Final = struct.Struct(">I").unpack_from
"""Reads a frame's length: a quarter of the time that `int.from_bytes` takes with a slice."""


def frame(body: bytes) -> bytes:
    """Put the length in front of a body."""
    return len(body).to_bytes(HEADER, "big") + body


def parts(body: bytes | LargeReply, stream: int) -> Iterator[list[bytes | memoryview]]:
    """Cut a body into the frames of its parts, each of them in pieces, so that none of the body is copied."""
    size = len(body)
    for start in range(0, size, PART_SIZE):
        end = min(start + PART_SIZE, size)
        empty: bytes = msgpack.Packer(buf_size=PACKED).pack((PART, stream, end == size, b""))
        head = empty[:-2] + bin_head(end - start)
        cut = body.cut(start, end) if isinstance(body, LargeReply) else [memoryview(body)[start:end]]
        yield [(len(head) + end - start).to_bytes(HEADER, "big") + head, *cut]


class Decoder:
    """Cuts what a socket delivers into bodies. It keeps nothing but what is not yet a whole frame."""

    __slots__ = ("_missing", "_rest", "error")

    def __init__(self) -> None:
        self._rest: bytes | bytearray = b""
        self._missing = 0
        """Bytes of a large body, of which `_rest` is the beginning, without its header; 0: `_rest` begins with a header."""
        self.error: ProtocolError | None = None
        """Why the stream cannot be read any further: behind the bodies that were taken is a length out of bounds."""

    def take(self, data: bytes) -> list[bytes | bytearray]:
        """Take what was received; returns the bodies that are whole with it, none once there was an error."""
        if self.error is not None:
            return []
        if self._missing:
            return self._go_on(data)
        if not self._rest and len(data) > HEADER and _length_at(data)[0] == len(data) - HEADER:
            return [data[HEADER:]]  # nearly always it is one, and whole
        bodies: list[bytes | bytearray] = []
        stream: bytes | bytearray = data
        if self._rest:
            if type(self._rest) is bytes:
                self._rest = bytearray(self._rest)
            self._rest += data
            stream = self._rest
        size, at = len(stream), 0
        while (start := at + HEADER) <= size:
            length = _length_at(stream, at)[0]
            end = start + length
            if not 0 < length <= MAX_FRAME:
                code = Code.TOO_LARGE if length else Code.BAD_REQUEST
                self.error = ProtocolError(code, f"a frame has from 1 to {MAX_FRAME:,} bytes, not {length:,}")
                at = size
            elif end > size:
                if length > LARGE and start < size:
                    stream, at = bytearray(stream[start:]), 0
                    self._missing = end - size
                break
            else:
                bodies.append(stream[start:end])
                at = end
        self._rest = stream[at:] if at else stream
        return bodies

    def _go_on(self, data: bytes) -> list[bytes | bytearray]:
        """Take what goes on with a large body, which is never copied."""
        missing = self._missing
        self._rest += data if len(data) <= missing else data[:missing]
        self._missing = max(missing - len(data), 0)
        if self._missing:
            return []
        body, self._rest = self._rest, b""
        return [body, *self.take(data[missing:])]

    @property
    def pending(self) -> int:
        """Bytes received that are not yet taken out as bodies."""
        return len(self._rest)


class Inbox(Decoder):
    """The receiving half of a client: bytes in, replies and events out, parts joined."""

    __slots__ = ("_streams",)

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[int, bytearray] = {}

    def messages(self, data: bytes) -> list[list[Any]]:
        """Take what was received; returns the messages that it completes, replies and events, as `kvd.protocol` has them.

        Raises:
            ProtocolError: the daemon broke the protocol; the connection is of no use any more.
        """
        try:
            if not self._rest and len(data) > HEADER and _length_at(data)[0] == len(data) - HEADER:
                message = unpackb(data[HEADER:])
                if type(message) is list and len(message) > _SHORTEST and message[0] == REPLY and type(message[1]) is int:
                    return [message]  # nearly always it is one reply, and whole
            messages: list[list[Any]] = []
            for body in self.take(data):
                message = unpackb(body)
                if type(message) is list and len(message) > _SHORTEST and message[0] == PART:
                    joined = self._join(message)
                    if joined is None:
                        continue
                    message = unpackb(joined)
                messages.append(_checked(message))
        except (ValueError, TypeError, OverflowError) as error:
            raise ProtocolError(Code.BAD_REQUEST, f"the daemon sent what cannot be read as msgpack: {error}") from None
        if self.error is not None:
            raise self.error
        return messages

    def _join(self, message: list[Any]) -> bytearray | None:
        _, stream, last, chunk, *_ = message
        if type(stream) is not int or type(last) is not bool or type(chunk) is not bytes:
            raise ProtocolError(Code.BAD_REQUEST, "the daemon sent a part that is not one")
        joined = self._streams.setdefault(stream, bytearray())
        joined += chunk
        if len(joined) > MAX_REPLY:
            raise ProtocolError(Code.TOO_LARGE, f"the daemon sent a reply of more than {MAX_REPLY:,} bytes")
        if not last:
            return None
        del self._streams[stream]
        return joined


def _checked(message: Any) -> list[Any]:
    """Return what was unpacked, if it is a message of the daemon, whose elements are those of its kind."""
    if type(message) is list and len(message) >= _SHORTEST:
        kind, about = message[0], message[1]
        if kind == REPLY and len(message) > _SHORTEST and (type(about) is int or about is None):
            return message
        if kind == EVENT and type(about) is str and type(message[2]) is dict:
            return message
    raise ProtocolError(Code.BAD_REQUEST, "the daemon sent what is neither a reply nor an event")
