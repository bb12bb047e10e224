"""One client's connection to the daemon: requests in, replies and events out. What requests do at the stores is `kvd.work`'s.

- What is ready is answered at once; what must wait is answered when it is done, in any order.
- A client that does not read its replies is not read from either.
- One client's pipeline is worked off `BURST` requests a turn of the loop, so that the others go between. A large request is
  read in turns, too, and those behind it wait.
- Every request gets exactly one reply. Nothing that a client sends, and nothing that a method does, ends the daemon.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from kvd import control
from kvd.answers import mistake
from kvd.connections import Connection
from kvd.errors import Code, ProtocolError, RequestError
from kvd.frames import Decoder
from kvd.large import LargeReply, unpack_large
from kvd.methods import METHODS, Method
from kvd.outbox import Outbox
from kvd.plain import LATER, read_plainly
from kvd.protocol import (
    MAX_CURSORS,
    MAX_REPLY,
    PART_SIZE,
    RequestMessage,
    check_request,
    encode_event,
    encode_reply,
    unpack_request,
)
from kvd.transport import receive_in_pieces
from kvd.turns import come_again, in_turns
from kvd.work import Work

if TYPE_CHECKING:
    from kvd.events import Hub
    from kvd.journal import Journal
    from kvd.server import Server

__all__ = ["Session"]

HEAVY: Final = 64 << 10
"""Bytes of a request above which its parameters are read in turns."""
BURST: Final = 16
"""Requests of one client in one turn of the loop."""


class Session(asyncio.Protocol):
    """A client, as the daemon sees it."""

    __slots__ = (
        "_cursors",
        "_decoder",
        "_out",
        "_reading",
        "_requests",
        "_transport",
        "_waiting",
        "_working",
        "greeted",
        "hub",
        "journal",
        "name",
        "server",
        "since",
    )

    _transport: asyncio.Transport
    _out: Outbox

    def __init__(self, server: Server) -> None:
        self.server = server
        self.hub: Hub = server.hub
        self.journal: Journal = server.journal
        self.greeted = False
        self.name = ""
        self.since = time.monotonic()
        self._decoder = Decoder()
        self._requests = Work(self)
        self._cursors: OrderedDict[tuple[Connection, bytes], None] | None = None
        self._waiting: list[bytes | bytearray] = []
        """Requests that came and are still to be taken up."""
        self._working = False
        """Whether somebody comes again for them: the loop, or the heavy one before them when it is done."""
        self._reading = True

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = receive_in_pieces(transport)
        self._out = Outbox(self._transport, self.server.loop, self._overflow)
        self.server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: what waits is given up, what a store already has is completed."""
        self._requests.end()
        self._out.clear()
        for connection, cursor in self._cursors or ():
            if connection.store is not None:
                connection.store.close_cursor(cursor)
        self._cursors = None
        self.server.left(self)

    def data_received(self, data: bytes) -> None:
        """Take what came: nearly always one request."""
        bodies = self._decoder.take(data)
        if len(bodies) != 1 or self._working or self._waiting or self._out.paused or self._decoder.error is not None:
            self._waiting += bodies
            if not self._working:
                self._work()
            return
        try:
            reply = self._take(bodies[0])
        except ProtocolError as error:
            self._fail(error)
        else:
            if reply is not None:
                self._out.send_alone(reply)

    def pause_writing(self) -> None:
        """Stop: the client does not read."""
        self._out.pause()

    def resume_writing(self) -> None:
        """Go on."""
        self._out.resume()
        if not self._out.full and not self._working:
            self._work()

    def _read(self, *, on: bool) -> None:
        if on != self._reading and not self._transport.is_closing():
            self._reading = on
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # Requests

    def _work(self) -> None:
        """Do what waits, `BURST` requests of it, and come again for the rest in the next turn."""
        self._working = False
        if self._transport.is_closing():
            return
        waiting, out = self._waiting, self._out
        done = 0
        try:
            for body in waiting[:BURST]:
                if self._stuck or self._working:
                    break
                done += 1
                reply = self._take(body)
                if reply is not None:
                    out.send(reply)
            del waiting[:done]
            if self._decoder.error is not None and not waiting and not self._working:
                raise self._decoder.error
        except ProtocolError as error:
            self._fail(error)
            return
        stuck = self._stuck
        is_cut = bool(waiting) and not stuck and not self._working
        if is_cut:
            self._working = True
        if self._reading is bool(waiting or stuck or self._working):
            self._read(on=not self._reading)
        out.flush()
        if is_cut:
            come_again(self.server.loop, self._work)

    @property
    def _stuck(self) -> bool:
        """Whether the client should read before more is done for it."""
        return self._out.paused and self._out.full

    def _take(self, body: bytes | bytearray) -> bytes | LargeReply | None:
        """Do what is asked, or begin to; returns the reply's body, unless it comes later.

        Raises:
            ProtocolError: the stream is of no use any more.
        """
        try:
            message = unpack_request(body) if len(body) <= HEAVY else unpack_large(body)
            if self.greeted and not self.server.draining:
                reply: bytes | LargeReply | None = read_plainly(message, self._requests)
                if reply is not None:
                    return None if reply is LATER else reply
            request = check_request(message)
        except ProtocolError as error:
            if error.id is None or error.id in self._requests.requests:
                raise
            return self._refusal(error.id, error)
        if request.id in self._requests.requests:
            raise ProtocolError(Code.BAD_REQUEST, f"request {request.id} is still in flight")
        if len(body) > HEAVY:
            self._working = True
            self._read(on=False)
            self.server.keep(self.server.loop.create_task(self._do_heavy(request)))
            return None
        try:
            method = self._method(request.method)
            return self._done(request, self._requests.begin(request, method, method.read(request.params)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it gets an answer
            return self._failed(request, error)

    async def _do_heavy(self, request: RequestMessage) -> None:
        """Read the parameters in turns: megabytes of JSON would hold everybody up. This client's next requests wait."""
        try:
            method = self._method(request.method)
            async with self.server.heavy:
                args = await in_turns(method.read_in_steps(request.params), self._transport.is_closing)
            if args is None:
                return
            reply = self._done(request, self._requests.begin(request, method, args))
        except Exception as error:  # noqa: BLE001 - as above
            reply = self._failed(request, error)
        if reply is not None:
            self._out.send_alone(reply)
        self._work()

    def _done(self, request: RequestMessage, result: Any) -> bytes | LargeReply | None:
        return None if result is LATER else self._encode(request.id, result)

    def _failed(self, request: RequestMessage, error: Exception) -> bytes:
        if isinstance(error, RequestError):
            return self._refusal(request.id, error)
        self.server.log.error("%s failed", request.method, exc_info=error)
        return self._refusal(request.id, mistake())

    def _method(self, name: str) -> Method:
        method = METHODS.get(name)
        if method is None:
            raise RequestError(Code.UNKNOWN_METHOD, f"this daemon has no method {name[:100]!r}")
        if not self.greeted and name not in control.BEFORE_HELLO:
            raise RequestError(Code.BAD_REQUEST, f"say hello before {name}")
        if self.server.draining and name not in control.WHILE_DRAINING:
            raise RequestError(Code.SHUTTING_DOWN, "the daemon is leaving", retry=True)
        return method

    @property
    def busy(self) -> bool:
        """Whether it has requests in flight or something left to send."""
        return bool(self._requests or self._waiting or self._working or self._out)

    # Replies and events

    def answer(self, id: int, result: Any, *, last: bool) -> None:  # noqa: A002 - the wire's own word
        """Reply to a request that waited; unless it is the `last`, others may share the write."""
        if last:
            self._out.send_alone(self._encode(id, result))
        else:
            self._out.send(self._encode(id, result))
            self._out.flush_soon()

    def refuse(self, id: int, error: RequestError) -> None:  # noqa: A002 - the wire's own word
        """Reply to a request that waited with an error."""
        self._out.send(self._refusal(id, error))
        self._out.flush_soon()

    def cancel(self, id: int) -> bool:  # noqa: A002 - the wire's own word
        """Give a request up on the client's behalf; whether it was in flight."""
        return self._requests.cancel(id)

    def give_up_all(self, reason: str) -> None:
        """Answer everything in flight with `shutting_down`."""
        self._requests.give_up_all(reason)
        self._out.flush()

    def _encode(self, id: int, result: Any) -> bytes | LargeReply:  # noqa: A002 - the wire's own word
        """Return the body of the reply, or of the refusal to send it."""
        body: bytes | LargeReply
        try:
            if type(result) is bytes and len(result) > PART_SIZE:
                body = LargeReply(id, result)
            else:
                body = encode_reply(id, None, result)
        except (TypeError, ValueError, OverflowError):
            self.server.log.exception("an answer cannot be sent")
            return self._refusal(id, mistake())
        if len(body) <= MAX_REPLY:
            return body
        message = f"the answer has {len(body):,} bytes, and {MAX_REPLY:,} is the most a reply may have: ask for less"
        return self._refusal(id, RequestError(Code.TOO_LARGE, message))

    def _refusal(self, id: int | None, error: RequestError) -> bytes:  # noqa: A002 - the wire's own word
        return encode_reply(id, self.server.redact(error.pack()))

    def _fail(self, error: RequestError) -> None:
        """Say what is wrong with the stream itself, and end it."""
        self._out.send(self._refusal(None, error))
        self._out.flush()
        self.close()

    def _overflow(self) -> None:
        self.server.log.warning("client %s does not read what it asked for: closed", self.name or "without a name")
        self.abort()

    def sees(self, connection: str) -> bool:
        """Tell whether the client may use the connection."""
        return self.server.pool.is_visible(connection, self)

    def post(self, change: dict[str, Any]) -> None:
        """Send the event of a change."""
        self._out.send_change(change)

    def say_closing(self, reason: str) -> None:
        """Tell the client that the daemon leaves."""
        self._out.send(encode_event("closing", {"reason": reason}))
        self._out.flush()

    def close(self) -> None:
        """End the connection when what was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    # Cursors

    def moved(self, connection: Connection, cursor: bytes | None, following: bytes | None) -> None:
        """Note that a scan went on, so that its place is let go when the client leaves."""
        if connection.store is None or connection.store.traits.resumable_cursors:
            return
        if self._cursors is None:
            self._cursors = OrderedDict()
        if cursor is not None:
            self._cursors.pop((connection, cursor), None)
        if following is not None:
            self._cursors[(connection, following)] = None
            if len(self._cursors) > MAX_CURSORS:
                (oldest, held), _ = self._cursors.popitem(last=False)
                if oldest.store is not None:
                    oldest.store.close_cursor(held)
