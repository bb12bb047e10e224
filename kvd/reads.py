"""A plain read of a store that waits for its answers: no task is made for it, its batch calls it with the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvd.answers import mistake, refusal
from kvd.coalesce import Waiter
from kvd.errors import Code, RequestError
from kvd.methods import Found
from stores.names import Key

if TYPE_CHECKING:
    from kvd.connections import Connection
    from kvd.order import Turn
    from kvd.pending import Pending
    from kvd.work import Work

__all__ = ["Read"]


class Read(Waiter[Found]):
    """A request on its way through the coalescer."""

    __slots__ = ("_connection", "_finish", "_pending", "_started", "_turn", "_work")

    def __init__(
        self,
        work: Work,
        pending: Pending,
        turn: Turn,
        connection: Connection,
        keys: list[Key],
        *,
        finish: Callable[[list[Found]], Any],
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

    def answer(self, found: list[Found] | None, error: BaseException | None) -> None:
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
        refused = refusal(error, connection.name)
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
