"""One thread that does a store's blocking work in the order in which it was asked for.

A hop to a thread costs more than most of the work that is done there, so jobs are collected while the thread is busy (and
until the event loop's present turn ends) and go over together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeVar

__all__ = ["Access", "Job", "Worker"]

R = TypeVar("R")

_NOTHING: Final = object()


class Access(IntEnum):
    """What a job may do to what is stored."""

    READ = 0
    CHANGE = 1
    """Change or delete what is there."""
    CREATE = 2
    """Make what is not there, too."""


@dataclass(slots=True)
class Job:
    """One piece of work, and how it ended: `result` or `error`."""

    work: Callable[[], Any]
    access: Access
    future: asyncio.Future[Any]
    result: Any = _NOTHING
    error: BaseException | None = None

    def run(self) -> None:
        """Do it, alone; called in the thread."""
        try:
            self.result = self.work()
        except Exception as exc:  # noqa: BLE001 - it is raised to the caller
            self.error = exc


class Worker:
    """A thread and the jobs that wait for it. A job that was cancelled before its hop is not done."""

    def __init__(self, run: Callable[[Sequence[Job]], None], *, name: str) -> None:
        """Start nothing yet.

        Args:
            run: does a hop's jobs in the thread; must set a result or an error in each.
            name: of the thread.
        """
        self._run = run
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[Job] = []
        self._hop: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def do(self, work: Callable[[], R], *, access: Access = Access.READ) -> R:
        """Have work done in the thread.

        Cancelling stops the waiting; work whose hop has begun is completed.

        Args:
            work: runs in the thread.
            access: what it may do, for `run` to read.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # the last one may have ended in the middle of a hop
            self._loop, self._hop, self._waiting = loop, None, []
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append(Job(work, access, future))
        if len(self._waiting) == 1 and self._hop is None:
            loop.call_soon(self._start)
        return await future

    async def close(self, last: Callable[[], None]) -> None:
        """Let what is queued finish, do one thing more in the thread, alone, and end it."""
        loop = asyncio.get_running_loop()
        while self._loop is loop and (self._waiting or self._hop is not None):
            await self.do(lambda: None)
        try:
            await loop.run_in_executor(self._thread, last)
        finally:
            self._thread.shutdown(wait=False)

    def _start(self) -> None:
        jobs = [job for job in self._waiting if not job.future.done()]
        self._waiting = []
        if not jobs or self._loop is None:
            return
        self._hop = self._loop.run_in_executor(self._thread, self._run, jobs)
        self._hop.add_done_callback(lambda hop: self._landed(hop, jobs))

    def _landed(self, hop: asyncio.Future[None], jobs: Sequence[Job]) -> None:
        failure = None if hop.cancelled() else hop.exception()
        self._hop = None
        for job in jobs:
            error = job.error or failure
            if job.future.done():
                continue
            if error is not None:
                job.future.set_exception(error)
            elif job.result is _NOTHING:
                job.future.cancel()
            else:
                job.future.set_result(job.result)
        if self._waiting:
            self._start()
