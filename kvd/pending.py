"""One client's requests in flight: what each waits for, when it is given up, and who is told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from kvd.connections import Connection
from kvd.errors import Code, RequestError
from kvd.protocol import MAX_IN_FLIGHT
from kvd.use import Use

if TYPE_CHECKING:
    from kvd.reads import Read

__all__ = ["InFlight", "Pending"]

EARLY: Final = 0.002
"""Seconds by which a loop's timer may come early."""


class Pending:
    """A request in flight."""

    __slots__ = ("answered", "connection", "due", "id", "read", "task", "timeout", "use")

    def __init__(self, id: int, timeout: float, due: float) -> None:  # noqa: A002 - the wire's own word
        self.id = id
        self.answered = False
        self.timeout = timeout
        self.due = due
        """When it is given up, on the loop's clock."""
        self.use: Use | None = None
        self.connection: Connection | None = None
        """Whose store works on it."""
        self.task: asyncio.Task[None] | None = None
        self.read: Read | None = None
        """What works on it where there is no task."""

    @property
    def sent(self) -> bool:
        """Whether the store has the write, so that it is completed whatever happens."""
        return self.use is not None and self.use.writes and self.use.begun

    @property
    def detail(self) -> dict[str, Any] | None:
        """What an early end tells the client."""
        return {"sent": True} if self.sent else None

    def give_up(self) -> None:
        """Stop the work, unless the store already has the write."""
        if self.read is not None:
            self.read.leave()
        elif self.task is not None and not self.sent:
            self.task.cancel()


class InFlight:
    """The requests in flight, by id. One timer serves all deadlines, which nearly no request lives to see."""

    __slots__ = ("_expire", "_loop", "_timer", "_wakes", "requests")

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[Pending], None]) -> None:
        """Hold none; `expire` is called with each whose deadline passes."""
        self._loop = loop
        self._expire = expire
        self.requests: dict[int, Pending] = {}
        """By id. Others may only look."""
        self._timer: asyncio.TimerHandle | None = None
        self._wakes = math.inf

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self.requests.values()))

    def get(self, id: int) -> Pending | None:  # noqa: A002 - the wire's own word
        """The request of this id."""
        return self.requests.get(id)

    def begin(self, id: int, timeout: float | None) -> Pending:  # noqa: A002 - the wire's own word
        """Note a new request, with the seconds that it has.

        Raises:
            RequestError: too_many.
        """
        if len(self.requests) >= MAX_IN_FLIGHT:
            raise RequestError(Code.TOO_MANY, f"a client has at most {MAX_IN_FLIGHT} requests in flight", retry=True)
        pending = Pending(id, math.inf, math.inf) if timeout is None else Pending(id, timeout, self._loop.time() + timeout)
        self.add(pending)
        return pending

    def add(self, pending: Pending) -> None:
        """Note a request."""
        self.requests[pending.id] = pending
        if pending.due < self._wakes:
            self._wake_at(pending.due)

    def finish(self, pending: Pending) -> bool:
        """Take a request out, for its reply; False when it had that already."""
        if pending.answered:
            return False
        pending.answered = True
        self.requests.pop(pending.id, None)
        return True

    def clear(self) -> None:
        """Forget all."""
        self.requests.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._wakes = math.inf

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes = when
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        self._wakes = math.inf
        now = self._loop.time() + EARLY
        for pending in self:
            if pending.due <= now:
                self._expire(pending)
        nearest = min((pending.due for pending in self.requests.values()), default=math.inf)
        if nearest < math.inf:
            self._wake_at(nearest)
