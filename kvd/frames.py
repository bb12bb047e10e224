"""Between a stream of bytes and the bodies of messages, both ways. `kvd.protocol` documents the frames; no I/O here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from kvd.errors import Code, ProtocolError
from kvd.protocol import EVENT, HEADER, MAX_FRAME, MAX_REPLY, PACKED, PART, PART_SIZE, REPLY

__all__ = ["Decoder", "Inbox", "frame", "parts"]

_SHORTEST = 3
"""Elements of an event; replies and parts have one more."""


def frame(body: bytes) -> bytes:
    """Put the length in front of a body."""
    return len(body).to_bytes(HEADER, "big") + body


def parts(body: bytes, stream: int) -> Iterator[bytes]:
    """Cut a body into the frames of its parts."""
    view = memoryview(body)
    for start in range(0, len(body), PART_SIZE):
        end = start + PART_SIZE
        yield frame(msgpack.Packer(buf_size=PACKED).pack((PART, stream, end >= len(body), view[start:end])))


class Decoder:
    """Cuts what a socket delivers into bodies. It keeps nothing but what is not yet a whole frame."""

    __slots__ = ("_rest", "error")

    def __init__(self) -> None:
        self._rest: bytes | bytearray = b""
        self.error: ProtocolError | None = None
        """Why the stream cannot be read any further: behind the bodies that were taken is a length out of bounds."""

    def take(self, data: bytes) -> list[bytes | bytearray]:
        """Take what was received; returns the bodies that are whole with it, none once there was an error."""
        if self.error is not None:
            return []
        if not self._rest and int.from_bytes(data[:HEADER], "big") == len(data) - HEADER > 0:
            return [data[HEADER:]]  # nearly always it is one, and whole
        stream: bytes | bytearray = data
        if self._rest:
            if type(self._rest) is bytes:
                self._rest = bytearray(self._rest)
            self._rest += data
            stream = self._rest
        bodies: list[bytes | bytearray] = []
        size, at = len(stream), 0
        while (start := at + HEADER) <= size:
            length = int.from_bytes(stream[at:start], "big")
            end = start + length
            if not 0 < length <= MAX_FRAME:
                code = Code.TOO_LARGE if length else Code.BAD_REQUEST
                self.error = ProtocolError(code, f"a frame has from 1 to {MAX_FRAME:,} bytes, not {length:,}")
                at = size
            elif end > size:
                break
            else:
                bodies.append(stream[start:end])
                at = end
        self._rest = stream[at:] if at else stream
        return bodies

    @property
    def pending(self) -> int:
        """Bytes received that are not yet taken out as bodies."""
        return len(self._rest)


class Inbox:
    """The receiving half of a client: bytes in, replies and events out, parts joined."""

    __slots__ = ("_decoder", "_streams")

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._streams: dict[int, bytearray] = {}

    def take(self, data: bytes) -> list[list[Any]]:
        """Take what was received; returns the messages that it completes, replies and events, as `kvd.protocol` has them.

        Raises:
            ProtocolError: the daemon broke the protocol; the connection is of no use any more.
        """
        messages: list[list[Any]] = []
        for body in self._decoder.take(data):
            message = _unpack(body)
            if message[0] == PART:
                joined = self._join(message)
                if joined is None:
                    continue
                message = _unpack(joined)
            messages.append(message)
        if self._decoder.error is not None:
            raise self._decoder.error
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


def _unpack(body: bytes | bytearray) -> list[Any]:
    """Read a message from the daemon, whose elements are those of its kind."""
    try:
        message = msgpack.unpackb(body)
    except (ValueError, TypeError, OverflowError) as error:
        raise ProtocolError(Code.BAD_REQUEST, f"the daemon sent what cannot be read as msgpack: {error}") from None
    if type(message) is list and len(message) >= _SHORTEST:
        kind, about = message[0], message[1]
        if kind == REPLY and len(message) > _SHORTEST and (type(about) is int or about is None):
            return message
        if kind == EVENT and type(about) is str and type(message[2]) is dict:
            return message
        if kind == PART and len(message) > _SHORTEST:
            return message
    raise ProtocolError(Code.BAD_REQUEST, "the daemon sent what is neither a reply nor an event")
