"""A lock for whichever event loop asks: asyncio's own lock belongs to the first on which somebody waited for it."""

from __future__ import annotations

import asyncio

__all__ = ["LoopLock"]


class LoopLock:
    """Keeps the tasks of an event loop apart, on each loop."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        """Make no lock yet."""
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    @property
    def here(self) -> asyncio.Lock:
        """The running event loop's lock."""
        loop = asyncio.get_running_loop()
        lock = self._locks.get(loop)
        if lock is None:
            self._locks = {other: kept for other, kept in self._locks.items() if not other.is_closed()}
            lock = self._locks[loop] = asyncio.Lock()
        return lock
