"""One client's connection to the daemon: requests in, replies and events out, and the client's work in between.

- What is ready is answered at once, without a task; what must wait gets one task, which belongs to the client and ends with it.
- A client that does not read its replies is not read from either.
- One client's pipeline is worked off `BURST` requests a turn of the loop, so that the others go between.
- Every request gets exactly one reply. Nothing that a client sends, and nothing that a method does, ends the daemon.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from kvd import control
from kvd.answers import mistake, refusal
from kvd.coalesce import MAX_BATCH
from kvd.connections import Connection
from kvd.errors import Code, ProtocolError, RequestError
from kvd.methods import METHODS, Found, Method
from kvd.order import Order, Turn
from kvd.outbox import Outbox
from kvd.pending import InFlight, Pending
from kvd.protocol import (
    MAX_CURSORS,
    MAX_REPLY,
    MAX_TIMEOUT,
    Decoder,
    RequestMessage,
    decode_request,
    encode_event,
    encode_reply,
)
from kvd.reads import Read
from kvd.use import PIECE, Use

if TYPE_CHECKING:
    from kvd.events import Hub
    from kvd.server import Server

__all__ = ["Session"]

BURST: Final = 16
"""Requests of one client in one turn of the loop."""


class Session(asyncio.BufferedProtocol):
    """A client, as the daemon sees it."""

    __slots__ = (
        "_cursors",
        "_decoder",
        "_orders",
        "_out",
        "_pending",
        "_reading",
        "_transport",
        "_working",
        "greeted",
        "hub",
        "name",
        "server",
        "since",
    )

    _transport: asyncio.Transport
    _out: Outbox

    def __init__(self, server: Server) -> None:
        self.server = server
        self.hub: Hub = server.hub
        self.greeted = False
        self.name = ""
        self.since = time.monotonic()
        self._decoder = Decoder()
        self._pending = InFlight(server.loop, self._expire)
        self._orders: dict[Connection, Order] = {}
        self._cursors: OrderedDict[tuple[Connection, bytes], None] | None = None
        self._reading = True
        self._working = False

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._out = Outbox(self._transport, self.server.loop, self._overflow)
        self.server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: what waits is given up, what a store already has is completed."""
        for pending in self._pending:
            self._give_up(pending)
        self._pending.clear()
        self._out.clear()
        for connection, cursor in self._cursors or ():
            if connection.store is not None:
                connection.store.close_cursor(cursor)
        self._cursors = None
        self.server.left(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the loop a buffer: it takes out at once what it puts in, so that all clients can share one."""
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""
        self._decoder.feed(self.server.buffer[:nbytes].tobytes())
        if not self._working:
            self._work()

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
        self._working = False
        if self._transport.is_closing():
            return
        left = BURST
        try:
            while not (self._out.paused and self._out.full) and (body := self._decoder.next_body()) is not None:
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
        if self._reading is (self._working or (self._out.paused and self._out.full)):
            self._read(on=not self._reading)
        self._out.flush()

    def _take(self, request: RequestMessage) -> None:
        """Do what is asked, or begin to, and answer."""
        id = request.id  # noqa: A001 - the wire's own word
        if id in self._pending:
            raise ProtocolError(Code.BAD_REQUEST, f"request {id} is still in flight")
        try:
            method = self._method(request.method)
            if method.finish is not None and (found := self._at_hand(method, request.params)) is not None:
                self._answer(id, method.finish(found))
                return
            args = method.read(request.params)
            if method.access == "daemon":
                if method.waits:
                    self._begin(self._pend(request, None), method.function(self, **args))
                    return
                result = method.function(self, **args)
            else:
                connection = self._connection(method, args.pop("connection"))
                if not connection.immediate or self._orders.get(connection) or not _is_quick(args):
                    self._queue(request, method, connection, args)
                    return
                result = self._do(method, connection, args)
        except RequestError as error:
            self._refuse(id, error)
        except Exception:
            self.server.log.exception("%s failed", request.method)
            self._refuse(id, mistake())
        else:
            self._answer(id, result)

    def _at_hand(self, method: Method, params: dict[str, Any]) -> list[Found] | None:
        """Do a plain read at once, if the store never waits, has all that is asked for, and nothing else is unusual.

        Nearly all requests are such. The others take more steps, which tell what is wrong where something is.
        """
        name, collection = params.get("connection"), params.get("collection")
        keys = [params.get("key")] if method.one_key else params.get("keys")
        if type(name) is not str or len(params) != (2 if collection is None else 3) or self._orders:
            return None
        connection = self.server.pool.find(name, self)
        if connection.store is None or not connection.immediate or type(keys) is not list or len(keys) > PIECE:
            return None
        if type(collection) is not str and collection is not None:
            return None
        figures = connection.figures
        started = figures.begin()
        found = connection.store.texts_at_hand(keys, collection=collection)
        if found is None:
            figures.operations -= 1  # the longer way counts it
        elif started is not None:
            figures.add(started, time.monotonic())
        return found

    def _method(self, name: str) -> Method:
        method = METHODS.get(name)
        if method is None:
            raise RequestError(Code.UNKNOWN_METHOD, f"this daemon has no method {name[:100]!r}")
        if not self.greeted and name not in control.BEFORE_HELLO:
            raise RequestError(Code.BAD_REQUEST, f"say hello before {name}")
        if self.server.draining and name not in control.WHILE_DRAINING:
            raise RequestError(Code.SHUTTING_DOWN, "the daemon is leaving", retry=True)
        return method

    def _connection(self, method: Method, name: str) -> Connection:
        connection = self.server.pool.find(name, self)
        if method.access == "write" and connection.config.read_only:
            raise RequestError(Code.READ_ONLY, f"connection {name} is read-only", connection=name)
        return connection

    def _do(self, method: Method, connection: Connection, args: dict[str, Any]) -> Any:
        """Drive a method on a store that never waits to its end."""
        store = connection.store
        assert store is not None, "an immediate connection is open"  # noqa: S101 - `immediate` says so
        started = connection.figures.begin()
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
            if started is not None:
                connection.figures.add(started, time.monotonic())
        work.close()
        raise RuntimeError(f"{method.name} waited on a store that says it never does")

    def _queue(self, request: RequestMessage, method: Method, connection: Connection, args: dict[str, Any]) -> None:
        """Give the request a task, and its place behind those on the same key."""
        pending = self._pend(request, connection.config.timeout)
        connection.patience = max(connection.patience, pending.timeout)
        order = self._orders.setdefault(connection, Order())
        collection = args.get("collection") or connection.default_collection
        turn = order.enter((collection, args["key"]) if method.one_key else None, writes=method.access == "write")
        if method.finish is not None and not turn.before and connection.coalescer is not None:
            keys = [args["key"]] if method.one_key else args["keys"]
            if len(keys) <= MAX_BATCH:
                read = Read(self, pending, turn, connection, keys, finish=method.finish)
                connection.coalescer.read(args.get("collection"), read)
                return
        task = self._begin(pending, self._wait_and_do(pending, turn, method, connection, args))
        # not in the coroutine: one that is cancelled before its first step runs nothing at all
        task.add_done_callback(lambda _: self.leave(connection, turn))

    async def _wait_and_do(
        self, pending: Pending, turn: Turn, method: Method, connection: Connection, args: dict[str, Any]
    ) -> Any:
        started = time.monotonic()
        connection.figures.operations += 1
        try:
            if turn.before:
                await turn.wait()
            store = connection.store or await connection.open(now=method.name == "connect")
            pending.connection = connection
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

    def leave(self, connection: Connection, turn: Turn) -> None:
        """Let those go on who wait for a request."""
        order = self._orders[connection]
        order.leave(turn)
        if not order:
            del self._orders[connection]

    def _pend(self, request: RequestMessage, timeout: float | None) -> Pending:
        """Note a request as in flight, with its deadline."""
        return self._pending.add(request.id, _timeout(request.options) or timeout)

    def _begin(self, pending: Pending, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        pending.task = task = self.server.loop.create_task(self._run(pending, work))
        task.add_done_callback(lambda _: work.close())
        self.server.keep(task)
        return task

    async def _run(self, pending: Pending, work: Coroutine[Any, Any, Any]) -> None:
        try:
            result = await work
        except RequestError as error:
            self.settle(pending, error)
        except asyncio.CancelledError:
            self.settle(pending, RequestError(Code.CANCELLED, "the request was given up"))
        except Exception:
            self.server.log.exception("a request failed")
            self.settle(pending, mistake())
        else:
            self.reply(pending, result)

    def cancel(self, id: int) -> bool:  # noqa: A002 - the wire's own word
        """Give a request up on the client's behalf; whether it was in flight."""
        pending = self._pending.get(id)
        if pending is None:
            return False
        self.settle(pending, RequestError(Code.CANCELLED, "the request was cancelled", detail=pending.detail))
        self._give_up(pending)
        return True

    def _expire(self, pending: Pending) -> None:
        if pending.connection is not None and not pending.connection.immediate:
            pending.connection.trouble(f"it gave no answer within {pending.timeout:g} seconds")
        message = f"there was no answer within {pending.timeout:g} seconds"
        if pending.sent:
            message += "; whether it took effect is not known"
        self.settle(pending, RequestError(Code.DEADLINE, message, retry=True, detail=pending.detail))
        self._give_up(pending)

    def give_up_all(self, reason: str) -> None:
        """Answer everything in flight with `shutting_down`."""
        for pending in self._pending:
            self.settle(pending, RequestError(Code.SHUTTING_DOWN, reason, retry=True, detail=pending.detail))
            self._give_up(pending)
        self._out.flush()

    def _give_up(self, pending: Pending) -> None:
        """Stop the work, unless the store already has the write."""
        self._pending.finish(pending)
        pending.give_up()

    def reply(self, pending: Pending, result: Any) -> None:
        """Answer a request, unless it was given up."""
        if self._pending.finish(pending):
            self._answer(pending.id, result)
            if self._pending:
                self._out.flush_soon()
            else:
                self._out.flush()  # there are no other answers to come that could share the write

    def settle(self, pending: Pending, error: RequestError) -> None:
        """Answer a request with an error, unless it was given up."""
        if self._pending.finish(pending):
            self._refuse(pending.id, error)
            self._out.flush_soon()

    @property
    def busy(self) -> bool:
        """Whether it has requests in flight or something left to send."""
        return bool(self._pending or self._working or self._out)

    # Replies and events

    def _answer(self, id: int, result: Any) -> None:  # noqa: A002 - the wire's own word
        try:
            body = encode_reply(id, None, result)
        except (TypeError, ValueError, OverflowError):
            self.server.log.exception("an answer cannot be sent")
            self._refuse(id, mistake())
            return
        if len(body) > MAX_REPLY:
            message = f"the answer has {len(body):,} bytes, and {MAX_REPLY:,} is the most a reply may have: ask for less"
            self._refuse(id, RequestError(Code.TOO_LARGE, message))
        else:
            self._out.send(body)

    def _refuse(self, id: int | None, error: RequestError) -> None:  # noqa: A002 - the wire's own word
        self._out.send(encode_reply(id, self.server.redact(error.pack())))

    def _fail(self, error: RequestError) -> None:
        """Say what is wrong with the stream itself, and end it."""
        self._refuse(None, error)
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


def _timeout(options: dict[str, Any] | None) -> float | None:
    """Read a request's own deadline."""
    wanted = None if options is None else options.get("timeout")
    if wanted is None:
        return None
    if type(wanted) not in {int, float} or not wanted > 0:
        raise RequestError(Code.BAD_REQUEST, "a timeout is a positive number of seconds")
    return min(float(wanted), MAX_TIMEOUT)


def _is_quick(args: dict[str, Any]) -> bool:
    keys = args.get("keys")
    return keys is None or len(keys) <= PIECE
