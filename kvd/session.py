"""One client's connection to the daemon: frames in, replies and events out, and the client's work in between.

- What is ready is answered at once, without a task; what must wait gets one task, which belongs to the client and ends with it.
- One write a turn of the loop. A client that does not read is not read from either, and what waits for it is bounded.
- One client's pipeline is worked off `BURST` requests a turn, so that the others go between; large replies go out in parts.
- Every request gets exactly one reply. Nothing that a client sends, and nothing that a method does, ends the daemon.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from kvd import control
from kvd.answers import refusal
from kvd.connections import Connection
from kvd.errors import Code, ProtocolError, RequestError
from kvd.methods import METHODS, Method
from kvd.order import Order, Turn
from kvd.protocol import (
    MAX_CURSORS,
    MAX_IN_FLIGHT,
    MAX_OUTBOX,
    MAX_REPLY,
    MAX_TIMEOUT,
    PART_SIZE,
    Decoder,
    RequestMessage,
    decode_request,
    encode_event,
    encode_reply,
    frame,
    parts,
)
from kvd.use import PIECE, Use

if TYPE_CHECKING:
    from kvd.events import Hub
    from kvd.server import Server

__all__ = ["Session"]

BURST: Final = 16
"""Requests of one client in one turn of the loop."""
MAX_EVENTS: Final = 1_000
"""Events that wait for a client that does not read; over it they are dropped and the client told to read again."""


class _Pending:
    """A request in flight."""

    __slots__ = ("answered", "id", "task", "timer", "use")

    def __init__(self, id: int) -> None:  # noqa: A002 - the wire's own word
        self.id = id
        self.answered = False
        self.use: Use | None = None
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None


class Session(asyncio.Protocol):
    """A client, as the daemon sees it."""

    __slots__ = (
        "_cursors",
        "_decoder",
        "_events",
        "_flushing",
        "_large",
        "_orders",
        "_out",
        "_paused",
        "_pending",
        "_pumping",
        "_reading",
        "_sequence",
        "_transport",
        "_waiting",
        "_working",
        "closing",
        "greeted",
        "hub",
        "name",
        "server",
        "since",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.hub: Hub = server.hub
        self.greeted = False
        self.name = ""
        self.closing = False
        self.since = time.monotonic()
        self._decoder = Decoder()
        self._transport = cast("asyncio.Transport", None)
        self._pending: dict[int, _Pending] = {}
        self._orders: dict[str, Order] = {}
        self._cursors: OrderedDict[tuple[Connection, bytes], None] | None = None
        self._out: list[bytes] = []
        self._waiting = 0
        self._large: deque[Iterator[bytes]] | None = None
        self._events: deque[dict[str, Any]] | None = None
        self._sequence = 0
        self._flushing = False
        self._pumping = False
        self._paused = False
        self._reading = True
        self._working = False

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self.server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: what waits is given up, what a store already has is completed."""
        self.closing = True
        for pending in list(self._pending.values()):
            self._give_up(pending)
        self._pending.clear()
        self._out.clear()
        self._large = self._events = None
        for connection, cursor in self._cursors or ():
            if connection.store is not None:
                connection.store.close_cursor(cursor)
        self._cursors = None
        self.server.left(self)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._decoder.feed(data)
        if not self._working:
            self._work()

    def pause_writing(self) -> None:
        """Stop: the client does not read."""
        self._paused = True
        self._read(on=False)

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._send_events()
        self._flush()
        self._pump()
        if not self._paused and not self._working:
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
        self._working = False
        left = BURST
        try:
            while not self._paused and (body := self._decoder.next_body()) is not None:
                self._take(decode_request(body))
                left -= 1
                if not left:
                    self._working = True
                    break
        except ProtocolError as error:
            if error.id is None:
                self._fail(error)
                return
            self._refuse(error.id, error)
            self._working = True
        if self._working:
            self.server.loop.call_soon(self._work)
        self._read(on=not self._working and not self._paused)
        if self._out:
            self._flush()

    def _take(self, request: RequestMessage) -> None:
        id = request.id  # noqa: A001 - the wire's own word
        if id in self._pending:
            raise ProtocolError(Code.BAD_REQUEST, f"request {id} is still in flight")
        method = METHODS.get(request.method)
        try:
            if method is None:
                raise RequestError(Code.UNKNOWN_METHOD, f"this daemon has no method {request.method!r}")
            if not self.greeted and method.name not in control.BEFORE_HELLO:
                raise RequestError(Code.BAD_REQUEST, f"say hello before {method.name}")
            if self.server.draining and method.name not in control.WHILE_DRAINING:
                raise RequestError(Code.SHUTTING_DOWN, "the daemon is leaving", retry=True)
            args = method.read(request.params)
            if method.access == "daemon":
                result = method.function(self, **args)
                if isinstance(result, Coroutine):
                    self._start(id, result, self._timeout(request))
                    return
            else:
                connection = self.server.pool.find(args.pop("connection"), self)
                if method.access == "write" and connection.config.read_only:
                    message = f"connection {connection.name} is read-only"
                    raise RequestError(Code.READ_ONLY, message, connection=connection.name)
                if not connection.immediate or connection.name in self._orders or not _is_quick(args):
                    self._queue(request, method, connection, args)
                    return
                result = self._at_once(method, connection, args)
        except RequestError as error:
            self._refuse(id, error)
        except Exception:  # noqa: BLE001 - one request's bug is no other's
            self._bug(id, request.method)
        else:
            self._answer(id, result)

    def _at_once(self, method: Method, connection: Connection, args: dict[str, Any]) -> Any:
        """Drive a method on a store that never waits to its end."""
        store = connection.store
        assert store is not None, "an immediate connection is open"  # noqa: S101 - `immediate` says so
        started = time.monotonic()
        work = method.function(Use(self, connection, store, writes=method.access == "write"), **args)
        try:
            work.send(None)
        except StopIteration as done:
            return done.value
        except Exception as error:
            connection.figures.errors += 1
            refused = refusal(error, connection.name)
            if refused is None:
                raise
            raise refused from None
        finally:
            connection.figures.add(started, time.monotonic())
        work.close()
        raise RuntimeError(f"{method.name} waited on a store that says it never does")

    def _queue(self, request: RequestMessage, method: Method, connection: Connection, args: dict[str, Any]) -> None:
        """Give the request a task, and its place behind those on the same key."""
        timeout = self._timeout(request) or connection.config.timeout
        order = self._orders.get(connection.name)
        if order is None:
            order = self._orders[connection.name] = Order()
        writes = method.access == "write"
        collection = args.get("collection") or "default_collection"
        if connection.store is not None and not args.get("collection"):
            collection = connection.store.default_collection
        turn = order.enter((collection, args["key"]) if method.one_key else None, writes=writes)
        pending = self._start(request.id, None, timeout)
        if pending is None:
            order.leave(turn)
            return
        work = self._in_turn(pending, order, turn, method, connection, args)
        pending.task = self.server.loop.create_task(self._run(pending, work))
        self.server.keep(pending.task)

    async def _in_turn(
        self,
        pending: _Pending,
        order: Order,
        turn: Turn,
        method: Method,
        connection: Connection,
        args: dict[str, Any],
    ) -> Any:
        started = time.monotonic()
        try:
            if turn.before:
                await turn.wait()
            store = connection.store or await connection.open(now=method.name == "connect")
            pending.use = use = Use(self, connection, store, writes=method.access == "write")
            return await method.function(use, **args)
        except Exception as error:
            connection.figures.errors += 1
            refused = refusal(error, connection.name)
            if refused is None:
                raise
            raise refused from error
        finally:
            connection.figures.add(started, time.monotonic())
            order.leave(turn)
            if not order and self._orders.get(connection.name) is order:
                del self._orders[connection.name]

    def _start(self, id: int, work: Coroutine[Any, Any, Any] | None, timeout: float | None) -> _Pending | None:  # noqa: A002 - the wire's own word
        if len(self._pending) >= MAX_IN_FLIGHT:
            if work is not None:
                work.close()
            self._refuse(
                id, RequestError(Code.TOO_MANY, f"a client has at most {MAX_IN_FLIGHT} requests in flight", retry=True)
            )
            return None
        pending = self._pending[id] = _Pending(id)
        if timeout is not None:
            pending.timer = self.server.loop.call_later(timeout, self._expire, pending, timeout)
        if work is not None:
            pending.task = self.server.loop.create_task(self._run(pending, work))
            self.server.keep(pending.task)
        return pending

    async def _run(self, pending: _Pending, work: Coroutine[Any, Any, Any]) -> None:
        try:
            result = await work
        except RequestError as error:
            self._settle(pending, error)
        except asyncio.CancelledError:
            self._settle(pending, RequestError(Code.CANCELLED, "the request was given up"))
        except Exception:  # noqa: BLE001 - one request's bug is no other's
            if self._finish(pending):
                self._bug(pending.id, "a request")
        else:
            if self._finish(pending):
                self._answer(pending.id, result)
        self._schedule_flush()

    def _timeout(self, request: RequestMessage) -> float | None:
        wanted = None if request.options is None else request.options.get("timeout")
        if wanted is None:
            return None
        if type(wanted) not in {int, float} or not wanted > 0:
            raise RequestError(Code.BAD_REQUEST, "a timeout is a positive number of seconds")
        return min(float(wanted), MAX_TIMEOUT)

    def cancel(self, id: int) -> bool:  # noqa: A002 - the wire's own word
        """Give a request up on the client's behalf; whether it was in flight."""
        pending = self._pending.get(id)
        if pending is None:
            return False
        self._settle(pending, RequestError(Code.CANCELLED, "the request was cancelled", detail=_sent(pending)))
        self._give_up(pending)
        return True

    def _expire(self, pending: _Pending, timeout: float) -> None:
        if pending.use is not None and pending.use.begun:
            pending.use.connection.trouble(f"it gave no answer within {timeout:g} seconds")
        error = RequestError(
            Code.DEADLINE, f"there was no answer within {timeout:g} seconds", retry=True, detail=_sent(pending)
        )
        self._settle(pending, error)
        self._give_up(pending)
        self._schedule_flush()

    def _give_up(self, pending: _Pending) -> None:
        """Stop the work, unless the store already has the write."""
        pending.answered = True
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.task is not None and _sent(pending) is None:
            pending.task.cancel()

    def give_up_all(self, reason: str) -> None:
        """Answer everything in flight with `shutting_down`."""
        for pending in list(self._pending.values()):
            self._settle(pending, RequestError(Code.SHUTTING_DOWN, reason, retry=True, detail=_sent(pending)))
            self._give_up(pending)
        self._flush()

    def _settle(self, pending: _Pending, error: RequestError) -> None:
        if self._finish(pending):
            self._refuse(pending.id, error)

    def _finish(self, pending: _Pending) -> bool:
        """Take a request out of those in flight; whether it still waits for its reply."""
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.answered:
            return False
        pending.answered = True
        self._pending.pop(pending.id, None)
        return True

    @property
    def busy(self) -> bool:
        """Whether it has requests in flight or something left to send."""
        return bool(self._pending or self._working or self._out or self._large)

    # Replies and events

    def _answer(self, id: int | None, result: Any) -> None:  # noqa: A002 - the wire's own word
        try:
            body = encode_reply(id, None, result)
        except (TypeError, ValueError, OverflowError):
            self._bug(id, "an answer")
            return
        if len(body) > MAX_REPLY:
            text = f"the answer has {len(body):,} bytes, and {MAX_REPLY:,} is the most a reply may have: ask for less"
            self._refuse(id, RequestError(Code.TOO_LARGE, text))
        elif len(body) > PART_SIZE:
            self._post_large(body)
        else:
            self._post(frame(body))

    def _refuse(self, id: int | None, error: RequestError) -> None:  # noqa: A002 - the wire's own word
        packed = self.server.redact(error.pack())
        try:
            body = encode_reply(id, packed)
        except (TypeError, ValueError, OverflowError):
            body = encode_reply(id, packed | {"detail": None})
        self._post(frame(body))

    def _bug(self, id: int | None, what: str) -> None:  # noqa: A002 - the wire's own word
        """Log the exception being handled, and say that it happened."""
        self.server.log.exception("%s failed", what)
        self._refuse(id, RequestError(Code.INTERNAL, "the daemon made a mistake, which its log describes"))

    def _fail(self, error: RequestError) -> None:
        """Say what is wrong with the stream itself, and end it."""
        self._refuse(None, error)
        self._flush()
        self.closing = True
        self._transport.close()

    def _post(self, data: bytes) -> None:
        self._out.append(data)
        self._waiting += len(data)
        if self._waiting > MAX_OUTBOX:
            self.server.log.warning("client %s does not read what it asked for: closed", self.name or "without a name")
            self.abort()

    def _post_large(self, body: bytes) -> None:
        if self._large is None:
            self._large = deque()
        self._large.append(parts(body, self.server.next_stream()))
        self._waiting += len(body)
        if not self._pumping:
            self._pump()

    def _pump(self) -> None:
        """Send one part of each large reply, and come again in the next turn."""
        self._pumping = False
        large = self._large
        if not large or self._paused:
            return
        for _ in range(len(large)):
            stream = large.popleft()
            data = next(stream, None)
            if data is not None:
                self._out.append(data)
                large.append(stream)
        self._flush()
        if large and not self._paused:
            self._pumping = True
            self.server.loop.call_soon(self._pump)

    def _schedule_flush(self) -> None:
        if self._out and not self._flushing:
            self._flushing = True
            self.server.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        out = self._out
        if not out or self._paused or self._transport.is_closing():
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._waiting = max(self._waiting - len(data), 0) if self._large else 0
        self._transport.write(data)

    def sees(self, connection: str) -> bool:
        """Tell whether the client may use the connection."""
        return self.server.pool.is_visible(connection, self)

    def post(self, change: dict[str, Any]) -> None:
        """Send a change; while the client does not read, keep it for later, and at last give up and say so."""
        self._sequence += 1
        change["sequence"] = self._sequence
        if not self._paused:
            self._post(frame(encode_event("change", change)))
            self._schedule_flush()
            return
        if self._events is None:
            self._events = deque()
        if len(self._events) >= MAX_EVENTS:
            self._events.clear()
            change = {"connection": "", "collection": None, "keys": [], "operation": "resync", "own": False}
            change["sequence"] = self._sequence
        self._events.append(change)

    def _send_events(self) -> None:
        events, self._events = self._events, None
        for change in events or ():
            self._post(frame(encode_event("change", change)))

    def say_closing(self, reason: str) -> None:
        """Tell the client that the daemon leaves."""
        self._post(frame(encode_event("closing", {"reason": reason})))
        self._flush()

    def close(self) -> None:
        """End the connection when what was written is sent."""
        self.closing = True
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self.closing = True
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


def _sent(pending: _Pending) -> dict[str, Any] | None:
    use = pending.use
    return {"sent": True} if use is not None and use.writes and use.begun else None


def _is_quick(args: dict[str, Any]) -> bool:
    keys = args.get("keys")
    return keys is None or len(keys) <= PIECE
