"""Plain reads of a store that waits for its answers: no task is made for them, they are called with the answer.

A `DirectRead` asks a store that can do so for a few values. A `Read` of any number of keys goes through the coalescer, and so
does a direct one whose answer is not plain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kvd.answers import mistake, refusal
from kvd.errors import Code, RequestError
from kvd.pending import Pending
from stores.coalescing import Waiter
from stores.names import Collection, Key
from stores.records import Ask, DatedText

if TYPE_CHECKING:
    from kvd.coalesce import Coalescer
    from kvd.connections import Connection
    from kvd.methods import Method
    from kvd.order import Order, Turn
    from kvd.work import Work

__all__ = ["DirectRead", "Read"]


class Read(Waiter[DatedText]):
    """A request on its way through the coalescer."""

    __slots__ = ("_connection", "_finish", "_pending", "_started", "_turn", "_work")

    def __init__(
        self,
        work: Work,
        pending: Pending,
        turn: Turn,
        connection: Connection,
        keys: Sequence[Key],
        *,
        finish: Callable[[list[DatedText]], Any],
    ) -> None:
        """Take the request over; `finish` makes the result from what is found."""
        super().__init__(keys)
        self._work = work
        self._pending = pending
        self._turn = turn
        self._connection = connection
        self._finish = finish
        self._started = time.monotonic()
        connection.figures.operations += 1
        pending.read = self
        pending.connection = connection

    def answer(self, found: list[DatedText] | None, error: BaseException | None) -> None:
        """Reply."""
        self._end()
        work, connection = self._work, self._connection
        if found is not None:
            work.reply(self._pending, self._finish(found))
            return
        connection.figures.errors += 1
        if not isinstance(error, Exception):
            work.settle(self._pending, RequestError(Code.CANCELLED, "the request was given up"))
            return
        refused = refusal(error, connection.config)
        if refused is None:
            work.log.error("a read failed", exc_info=error)
            refused = mistake()
        work.settle(self._pending, refused)

    def leave(self) -> None:
        """Give it up; its reply is another's business."""
        super().leave()
        self._end()

    def _end(self) -> None:
        self._pending.read = None
        self._connection.figures.add(self._started, time.monotonic())
        self._work.leave(self._connection, self._turn)


class DirectRead(Pending):
    """A read that its store is asked for without a detour. It has no turn until a write of its client comes behind it."""

    __slots__ = ("_coalescer", "_collection", "_keys", "_method", "_started", "_turn", "_work")

    connection: Connection

    def __init__(
        self,
        id: int,  # noqa: A002 - the wire's own word
        work: Work,
        connection: Connection,
        coalescer: Coalescer,
        method: Method,
        *,
        collection: Collection,
        keys: Sequence[Key],
    ) -> None:
        """Note what is asked; `begin` asks it."""
        timeout = connection.config.timeout
        super().__init__(id, timeout, work.server.loop.time() + timeout)
        self.connection = connection
        self._work = work
        self._coalescer = coalescer
        self._collection = collection
        self._keys = keys
        self._method = method
        self._started = time.monotonic()
        self._turn: Turn | None = None

    def begin(self) -> bool:
        """Ask; False where the store cannot be asked so."""
        connection = self.connection
        store = connection.store
        if store is None or not store.texts_soon(self._keys, collection=self._collection, answer=self._came):
            return False
        connection.direct += 1
        return True

    def enter(self, order: Order) -> Turn:
        """Take a turn, unless it has one, so that what comes behind waits for it."""
        if self._turn is None:
            place = (self._collection or self.connection.default_collection, self._keys[0]) if self._method.one_key else None
            self._turn = order.enter(place, writes=False)
        return self._turn

    def give_up(self) -> None:
        """Wait no more for the answer."""
        if self.read is not None:
            self.read.leave()
        else:
            self._end()

    def _came(self, texts: list[bytes | None] | Ask) -> None:
        if self.answered:  # it was given up
            return
        if isinstance(texts, Ask):
            self._ask()
            return
        self.connection.health.worked()
        self._end()
        self._work.reply(self, texts[0] if self._method.one_key else texts)

    def _ask(self) -> None:
        """Ask in the common way."""
        work, connection = self._work, self.connection
        connection.direct -= 1
        turn = self.enter(work.order(connection))
        finish = self._method.finish
        assert finish is not None, "it reads"  # noqa: S101 - tells the type
        read = Read(work, self, turn, connection, self._keys, finish=finish)
        self._coalescer.read(self._collection, read)

    def _end(self) -> None:
        self.connection.direct -= 1
        figures = self.connection.figures
        figures.operations += 1
        figures.add(self._started, time.monotonic())
        if self._turn is not None:
            self._work.leave(self.connection, self._turn)
