"""What a client is still to be sent: replies, events, and the parts of large replies.

- One write a turn of the loop, however many replies it brought.
- Large replies go out a part each in turn, with everything else between the parts.
- While the client does not read, nothing is written; what waits for it is bounded, and so are its events, of which the client
  loses all when it falls too far behind, and is told so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from kvd.frames import frame, parts
from kvd.large import LargeReply
from kvd.protocol import HEADER, MAX_OUTBOX, PART_SIZE, encode_event
from kvd.turns import come_again

__all__ = ["Outbox"]

FULL: Final = 8 << 20
"""Bytes that wait for a client above which nothing more is read from it."""
MAX_EVENTS: Final = 1_000
"""Events that wait for a client that does not read."""


class Outbox:
    """The sending half of a session."""

    __slots__ = (
        "_events",
        "_flushing",
        "_large",
        "_loop",
        "_out",
        "_overflow",
        "_parted",
        "_pumping",
        "_sequence",
        "_streams",
        "_transport",
        "_waiting",
        "paused",
    )

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, overflow: Callable[[], None]) -> None:
        """Send through the transport; `overflow` is called when the client leaves too much unread."""
        self._transport = transport
        self._loop = loop
        self._overflow = overflow
        self._out: list[bytes | memoryview] = []
        self._waiting = 0
        """Bytes that are not yet written, those of large replies included."""
        self._large: deque[Iterator[list[bytes | memoryview]]] | None = None
        self._events: deque[dict[str, Any]] | None = None
        self._sequence = 0
        self._streams = 0
        self._parted = False
        """Whether parts of large replies are in `_out`, which are not worth a copy."""
        self._flushing = False
        self._pumping = False
        self.paused = False

    def __bool__(self) -> bool:
        return bool(self._out or self._large)

    @property
    def full(self) -> bool:
        """Whether the client should read before it asks for more. A large reply alone holds no small ones up."""
        return self.paused and self._waiting > FULL

    def send(self, body: bytes | LargeReply) -> None:
        """Send a body soon: call `flush` when there is no more to come in this turn, or `flush_soon`."""
        self._waiting += len(body)
        if len(body) <= PART_SIZE:
            self._out.append(frame(body))  # type: ignore[arg-type] # a LargeReply is longer
        else:
            if self._large is None:
                self._large = deque()
            self._streams += 1
            self._large.append(parts(body, self._streams))
            if not self._pumping:
                self._pump()
        if self._waiting > MAX_OUTBOX:
            self._overflow()

    def send_alone(self, body: bytes | LargeReply) -> None:
        """Send a body now, as `send` and `flush` would."""
        if self._out or self.paused or len(body) > PART_SIZE:
            self.send(body)
            self.flush()
        else:
            self._transport.write(len(body).to_bytes(HEADER, "big") + body)  # type: ignore[operator] # as above

    def send_change(self, change: dict[str, Any]) -> None:
        """Send the event of a change, or keep it until the client reads again."""
        self._sequence += 1
        change["sequence"] = self._sequence
        if not self.paused:
            self.send(encode_event("change", change))
            self.flush_soon()
            return
        if self._events is None:
            self._events = deque()
        if len(self._events) >= MAX_EVENTS:
            self._events.clear()
            missed: dict[str, Any] = {"connection": "", "collection": None, "keys": [], "operation": "resync", "own": False}
            change = missed | {"sequence": self._sequence}
        self._events.append(change)

    def pause(self) -> None:
        """Write nothing more: the client does not read."""
        self.paused = True

    def resume(self) -> None:
        """Write again."""
        self.paused = False
        events, self._events = self._events, None
        for change in events or ():
            self.send(encode_event("change", change))
        self.flush()
        if not self._pumping:
            self._pump()

    def flush_soon(self) -> None:
        """Write at the end of this turn of the loop."""
        if self._out and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what there is."""
        self._flushing = False
        out = self._out
        if not out or self.paused or self._transport.is_closing():
            return
        self._out = []
        if self._parted:
            self._parted = False
            self._waiting = max(self._waiting - sum(map(len, out)), 0) if self._large else 0
            self._transport.writelines(out)
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self._waiting = max(self._waiting - len(data), 0) if self._large else 0
        self._transport.write(data)

    def clear(self) -> None:
        """Forget everything: there is nobody to send it to."""
        self._out.clear()
        self._large = self._events = None

    def _pump(self) -> None:
        """Send one part of each large reply, and come again in the next turn."""
        self._pumping = False
        if not self._large or self.paused:
            return
        for _ in range(len(self._large)):
            stream = self._large.popleft()
            part = next(stream, None)
            if part is not None:
                self._out += part
                self._parted = True
                self._large.append(stream)
        self.flush()
        if self._large and not self.paused:
            self._pumping = True
            come_again(self._loop, self._pump)
