"""A lock for the tasks of all event loops: asyncio's own belongs to the first loop on which somebody waited for it."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Final

__all__ = ["LoopLock"]

PAUSE: Final = 0.001
"""Seconds between two looks at whether a task of another event loop, in another thread, still holds it."""


class LoopLock:
    """Keeps tasks apart, whatever event loop they run on."""

    __slots__ = ("_held", "_locks", "_process", "_taken")

    def __init__(self) -> None:
        """Make one that nobody holds."""
        self._forget()

    def _forget(self) -> None:
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}
        self._taken = threading.Lock()
        self._held: asyncio.Lock | None = None
        self._process = os.getpid()

    async def acquire(self) -> None:
        """Take it."""
        if self._process != os.getpid():
            self._forget()  # a fork has no thread that would release it
        here = self._here()
        await here.acquire()
        try:
            while not self._taken.acquire(blocking=False):  # noqa: ASYNC110 - nothing of asyncio's can be told from other threads
                await asyncio.sleep(PAUSE)
        except BaseException:
            here.release()
            raise
        self._held = here

    def release(self) -> None:
        """Release it: whoever took it, on the event loop on which it was taken."""
        held, self._held = self._held, None
        self._taken.release()
        if held is not None:
            held.release()

    async def __aenter__(self) -> None:
        """Take it."""
        await self.acquire()

    async def __aexit__(self, *exc_info: object) -> None:
        """Release it."""
        self.release()

    def _here(self) -> asyncio.Lock:
        """The running event loop's lock."""
        loop = asyncio.get_running_loop()
        lock = self._locks.get(loop)
        if lock is None:
            self._locks = {other: kept for other, kept in self._locks.items() if not other.is_closed()}
            lock = self._locks[loop] = asyncio.Lock()
        return lock
