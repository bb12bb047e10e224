"""One thread that does a store's blocking work in the order in which it was asked for.

A hop to a thread costs more than most of the work that is done there, so what was asked for while the thread was busy goes
over together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

__all__ = ["Access", "Job", "Worker"]

R = TypeVar("R")

HOP: Final = 256
"""Jobs that go over together at most, so that none waits for very many others."""


class Access(IntEnum):
    """What a job may do to what is stored."""

    READ = 0
    CHANGE = 1
    """Change or delete what is there."""
    CREATE = 2
    """Make what is not there, too."""


@dataclass(slots=True, eq=False)
class Job:
    """One piece of work, and how it ended: `result`, or `error`."""

    work: Callable[[], Any]
    access: Access
    future: asyncio.Future[Any] | None
    """None where nobody waits."""
    is_last: bool = False
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Tell who waits; called on the event loop."""
        if self.future is None or self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Worker:
    """A thread and the jobs that wait for it. A job that was cancelled before its turn is not done."""

    def __init__(self, run: Callable[[Sequence[Job]], None], *, name: str) -> None:
        """Start the thread.

        Args:
            run: does jobs in the thread; must set a result or an error in each.
            name: of the thread.
        """
        self._run = run
        self._inbox: SimpleQueue[Job] = SimpleQueue()
        self._working = False
        # A store that is never closed must not keep its process from ending.
        Thread(target=self._serve, name=name, daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether a job would probably have to wait for others."""
        return self._working or not self._inbox.empty()

    def do(self, work: Callable[[], R], access: Access = Access.READ) -> asyncio.Future[R]:
        """Have work done in the thread.

        Cancelling the future stops the waiting; work whose turn has come is completed.

        Args:
            work: runs in the thread.
            access: what it may do, for `run` to read.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._inbox.put(Job(work, access, future))
        return future

    async def close(self, last: Callable[[], None]) -> None:
        """Let what is queued finish, do one thing more, alone, and end the thread. Nothing may be asked of it any more."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox.put(Job(last, Access.READ, future, is_last=True))
        await asyncio.shield(future)

    def abandon(self, last: Callable[[], None]) -> None:
        """As `close`, and nobody waits for it. May be called by the garbage collector, in any thread."""
        self._inbox.put(Job(last, Access.READ, None, is_last=True))

    def _serve(self) -> None:
        while self._turn():  # a turn of its own lets go of its jobs before the next one is waited for
            pass

    def _turn(self) -> bool:
        """Do what is asked for; whether to go on."""
        jobs = [self._inbox.get()]
        self._working = True
        with suppress(Empty):
            while len(jobs) < HOP and not jobs[-1].is_last:
                jobs.append(self._inbox.get_nowait())
        last = jobs.pop() if jobs[-1].is_last else None
        wanted = [job for job in jobs if job.future is not None and not job.future.done()]
        if wanted:
            try:
                self._run(wanted)
            except BaseException as exc:  # noqa: BLE001 - whoever waits must hear of it
                for job in wanted:
                    job.error = job.error or exc
        self._working = False  # before who waits is told, and asks again
        _deliver(wanted)
        if last is not None:
            try:
                last.work()
            except BaseException as exc:  # noqa: BLE001 - as above
                last.error = exc
            _deliver([last])
        return last is None


def _deliver(jobs: Sequence[Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        if job.future is None:
            continue
        by_loop.setdefault(job.future.get_loop(), []).append(job)
    for loop, settled in by_loop.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits
            loop.call_soon_threadsafe(_settle, settled)


def _settle(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.settle()
