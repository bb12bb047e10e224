"""One client's requests at the stores: what is in flight, in which order, by which means, and for how long.

- A store that never waits is asked at once, without a task. A plain read is called with its answer (`kvd.reads`). What else
  must wait gets one task, which belongs to the client and ends with it.
- Requests on one key take their turns (`kvd.order`).
- A request that is given up, by its client or its deadline, is answered at once; the store stops, unless it has the write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from kvd.answers import mistake, refusal
from kvd.connections import Connection
from kvd.errors import Code, RequestError
from kvd.health import Trouble
from kvd.journalled import journalled
from kvd.methods import Method
from kvd.order import Order, Turn
from kvd.pending import InFlight, Pending
from kvd.plain import LATER
from kvd.protocol import MAX_TIMEOUT, RequestMessage
from kvd.reads import DirectRead, Read
from kvd.use import PIECE, Use
from stores.coalescing import MAX_BATCH

if TYPE_CHECKING:
    from kvd.session import Session

__all__ = ["Work"]

_WRITES: Final = {"write", "step"}
"""Of `Method.access`."""


class Work:
    """The requests of one client."""

    __slots__ = ("_in_flight", "log", "orders", "requests", "server", "session")

    def __init__(self, session: Session) -> None:
        """Begin without any; answers go to the session."""
        self.session = session
        self.server = session.server
        self._in_flight = InFlight(session.server.loop, self._expire)
        self.orders: dict[Connection, Order] = {}
        """Of those that wait for a store. Others may only look."""
        self.log = session.server.log
        self.requests = self._in_flight.requests
        """Those in flight, by id. Others may only look."""

    def __bool__(self) -> bool:
        return bool(self.requests)

    def begin(self, request: RequestMessage, method: Method, args: dict[str, Any]) -> Any:
        """Do what is asked, or begin to; returns the result, or `LATER`.

        Raises:
            RequestError: it is refused.
        """
        if method.access == "daemon":
            if method.waits:
                self._begin(self._pend(request, None), method.function(self.session, **args))
                return LATER
            return method.function(self.session, **args)
        if method.access == "step":
            return self._begin_step(request, method, args)
        connection = self._connection(method, args.pop("connection"))
        is_quick = _is_quick(args)
        if request.options is not None and method.access == "write" and "journal" in request.options:
            method = journalled(method, request.options["journal"], self.server.journal)
            is_quick = method.one_key
        if not connection.immediate or self.orders.get(connection) or not is_quick:
            self._queue(request, method, connection, args)
            return LATER
        return self._drive(method, connection, args)

    def _begin_step(self, request: RequestMessage, method: Method, args: dict[str, Any]) -> Any:
        """Begin to undo or redo the step that is meant. Who asks for the next one meanwhile gets another."""
        pool, session = self.server.pool, self.session
        step = self.server.journal.find(
            args.pop("step", None),
            undo=method.name == "undo",
            connection=args.pop("connection", None),
            usable=lambda name: name in pool.connections and pool.is_visible(name, session),
        )
        if step is None:
            return None
        connection = self._connection(method, step.connection)
        task = self._queue(request, method, connection, args | {"step": step})
        assert task is not None, "only reads go without a task"  # noqa: S101 - tells the type
        step.taken.add(task)
        task.add_done_callback(step.taken.discard)  # for one that is cancelled before it begins
        return LATER

    def _connection(self, method: Method, name: str) -> Connection:
        connection = self.server.pool.find(name, self.session)
        if method.access in _WRITES and connection.config.read_only:
            raise RequestError(Code.READ_ONLY, f"connection {name} is read-only", connection=name)
        return connection

    def _drive(self, method: Method, connection: Connection, args: dict[str, Any]) -> Any:
        """Drive a method on a store that never waits to its end."""
        store = connection.store
        assert store is not None, "an immediate connection is open"  # noqa: S101 - `immediate` says so
        started = connection.figures.begin()
        work = method.function(Use(self.session, connection, store, writes=method.access == "write"), **args)
        try:
            work.send(None)
        except StopIteration as done:
            return done.value
        except Exception as error:
            connection.figures.errors += 1
            refused = refusal(error, connection.config)
            if refused is None:
                raise
            raise refused from None
        finally:
            if started is not None:
                connection.figures.add(started, time.monotonic())
        work.close()
        raise RuntimeError(f"{method.name} waited on a store that says it never does")

    def _queue(
        self, request: RequestMessage, method: Method, connection: Connection, args: dict[str, Any]
    ) -> asyncio.Task[None] | None:
        """Give the request a task, and its place behind those on the same key. A read may need no task."""
        pending = self._pend(request, connection.config.timeout)
        connection.backend.patience = max(connection.backend.patience, pending.timeout)
        order = self.order(connection)
        writes = method.access in _WRITES
        if writes and connection.direct:
            for other in self.requests.values():
                if isinstance(other, DirectRead) and other.connection is connection:
                    other.enter(order)
        collection = args.get("collection") or connection.default_collection
        turn = order.enter((collection, args["key"]) if method.one_key else None, writes=writes)
        if method.finish is not None and not turn.before and connection.coalescer is not None:
            keys = [args["key"]] if method.one_key else args["keys"]
            if len(keys) <= MAX_BATCH:
                read = Read(self, pending, turn, connection, keys, finish=method.finish)
                connection.coalescer.read(args.get("collection"), read)
                return None
        task = self._begin(pending, self._wait_and_do(pending, turn, method, connection, args))
        # not in the coroutine: one that is cancelled before its first step runs nothing at all
        task.add_done_callback(lambda _: self.leave(connection, turn))
        return task

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
            pending.use = use = Use(self.session, connection, store, writes=method.access in _WRITES)
            return await method.function(use, **args)
        except Exception as error:
            connection.figures.errors += 1
            refused = refusal(error, connection.config)
            if refused is None:
                raise
            raise refused from error
        finally:
            connection.figures.add(started, time.monotonic())

    def add(self, read: DirectRead) -> None:
        """Note a read that was begun."""
        self._in_flight.add(read)

    def order(self, connection: Connection) -> Order:
        """The order of this client's requests on a connection."""
        order = self.orders.get(connection)
        if order is None:
            order = self.orders[connection] = Order()
        return order

    def leave(self, connection: Connection, turn: Turn) -> None:
        """Let those go on who wait for a request."""
        order = self.orders[connection]
        order.leave(turn)
        if not order:
            del self.orders[connection]

    def _pend(self, request: RequestMessage, timeout: float | None) -> Pending:
        """Note a request as in flight, with its deadline."""
        return self._in_flight.begin(request.id, _timeout(request.options) or timeout)

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
            self.log.exception("a request failed")
            self.settle(pending, mistake())
        else:
            self.reply(pending, result)

    def cancel(self, id: int) -> bool:  # noqa: A002 - the wire's own word
        """Give a request up on the client's behalf; whether it was in flight."""
        pending = self._in_flight.get(id)
        if pending is None:
            return False
        self.settle(pending, RequestError(Code.CANCELLED, "the request was cancelled", detail=pending.detail))
        self._give_up(pending)
        return True

    def _expire(self, pending: Pending) -> None:
        if pending.connection is not None and not pending.connection.immediate:
            pending.connection.trouble(Trouble(f"it gave no answer within {pending.timeout:g} seconds", "silent"))
        message = f"there was no answer within {pending.timeout:g} seconds"
        if pending.sent:
            message += "; whether it took effect is not known"
        self.settle(pending, RequestError(Code.DEADLINE, message, retry=True, detail=pending.detail))
        self._give_up(pending)

    def give_up_all(self, reason: str) -> None:
        """Answer everything in flight with `shutting_down`."""
        for pending in self._in_flight:
            self.settle(pending, RequestError(Code.SHUTTING_DOWN, reason, retry=True, detail=pending.detail))
            self._give_up(pending)

    def end(self) -> None:
        """Give everything up: the client is gone."""
        for pending in self._in_flight:
            self._give_up(pending)
        self._in_flight.clear()

    def _give_up(self, pending: Pending) -> None:
        """Stop the work, unless the store already has the write."""
        self._in_flight.finish(pending)
        pending.give_up()

    def reply(self, pending: Pending, result: Any) -> None:
        """Answer a request, unless it was given up."""
        if self._in_flight.finish(pending):
            self.session.answer(pending.id, result, last=not self.requests)

    def settle(self, pending: Pending, error: RequestError) -> None:
        """Answer a request with an error, unless it was given up."""
        if self._in_flight.finish(pending):
            self.session.refuse(pending.id, error)


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
