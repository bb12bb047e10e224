"""Who is at a backend, and since when. What has been there for too long is cancelled: a hung store holds nothing for ever."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

__all__ = ["AtBackend"]

OVERDUE: Final = 4.0
"""Times the longest deadline of a request after which an operation is cancelled."""


class AtBackend:
    """The operations that a store has."""

    def __init__(self, patience: float) -> None:
        """Begin without any.

        Args:
            patience: seconds of the longest deadline that a request asked for.
        """
        self.patience = patience
        self._since: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, task: asyncio.Task[Any]) -> bool:
        return task in self._since

    @property
    def longest(self) -> float:
        """Seconds that an operation may take."""
        return OVERDUE * self.patience

    def enter(self, task: asyncio.Task[Any]) -> None:
        """Note that the store has an operation."""
        self._since[task] = time.monotonic()
        if self._timer is None:
            self._watch()

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Note that it has it no more."""
        self._since.pop(task, None)

    def _watch(self) -> None:
        """See to what is overdue when it is."""
        due = next(iter(self._since.values())) + self.longest
        self._timer = asyncio.get_running_loop().call_later(max(due - time.monotonic(), 0.0), self._give_up_overdue)

    def _give_up_overdue(self) -> None:
        """Cancel what has been at the backend for too long; it is in here no more when it learns of it."""
        self._timer = None
        begun_before = time.monotonic() - self.longest
        for task, begun in list(self._since.items()):
            if begun <= begun_before:
                del self._since[task]
                task.cancel()
        if self._since:
            self._watch()
