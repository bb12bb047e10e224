"""What many callers ask of one backend at the same moment goes out as one round trip.

What arrives in one turn of the loop, or while batches of its kind are away, forms the next batch; a read that finds nothing
to share with goes at once. A batch belongs to nobody: a caller who leaves does not take it along, so a write that was handed
over is completed; only a batch of reads that nobody waits for any more is cancelled. One bad key spoils nobody else's answer:
a batch that is refused is taken apart.

Order is not kept here: what is asked at the same moment may run in any order.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, Generic, TypeVar

from stores.errors import KeyValueOperationError

__all__ = ["MAX_BATCH", "Lane", "Lanes", "Waiter"]

T = TypeVar("T")

MAX_BATCH: Final = 512
"""Keys of a batch; a caller who brings more goes alone."""
MAX_AWAY: Final = 4
"""Batches of one kind that are away at the same time."""

_REFUSALS: Final = (KeyValueOperationError, TypeError, ValueError)


class _Trip:
    """A batch that is away, and who waits for it."""

    __slots__ = ("task", "waiters")

    task: asyncio.Task[None]

    def __init__(self, waiters: Sequence[Waiter[Any]]) -> None:
        self.waiters = waiters


class Waiter(ABC, Generic[T]):
    """What one caller asked for, and how the answer reaches him."""

    __slots__ = ("begun", "items", "left", "trip")

    def __init__(self, items: Sequence[Any], begun: Callable[[], None] | None = None) -> None:
        """Ask for `items`; `begun` is called when they are on their way."""
        self.items = items
        self.begun = begun
        self.left = False
        self.trip: _Trip | None = None

    @property
    def gone(self) -> bool:
        """Whether the answer is wanted no more."""
        return self.left

    @abstractmethod
    def answer(self, found: list[T] | None, error: BaseException | None) -> None:
        """Take what was found, in the order asked, or what went wrong. Must not raise."""

    def leave(self) -> None:
        """Wait no more: there will be no answer. A batch that nobody waits for is cancelled, unless it writes."""
        self.left = True
        if self.trip is not None and all(waiter.left for waiter in self.trip.waiters):
            self.trip.task.cancel()


class _Awaited(Waiter[T]):
    """A caller who awaits the answer."""

    __slots__ = ("future",)

    def __init__(self, items: Sequence[Any], begun: Callable[[], None] | None) -> None:
        super().__init__(items, begun)
        self.future: asyncio.Future[list[T]] = asyncio.get_running_loop().create_future()

    @property
    def gone(self) -> bool:
        """As above, and also when the caller's task was cancelled and has yet to learn of it."""
        return self.left or self.future.cancelled()

    def answer(self, found: list[T] | None, error: BaseException | None) -> None:
        if self.future.done():
            return
        if found is not None:
            self.future.set_result(found)
        elif isinstance(error, asyncio.CancelledError):
            self.future.cancel()
        elif error is not None:
            self.future.set_exception(error)


class Lane(Generic[T]):
    """Batches of one kind: items go out together, answers come back in their order."""

    def __init__(
        self, send: Callable[[list[Any]], Awaitable[list[T]]], forget: Callable[[], object], *, cancellable: bool
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._send = send
        self._forget = forget
        self._cancellable = cancellable
        self._waiting: list[Waiter[T]] = []
        self._away: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._alone = 0
        """Callers whose items went alone and are still away."""

    async def ask(self, items: list[Any], begun: Callable[[], None] | None = None) -> list[T]:
        """What is found for `items`, in their order; `begun` is called when they are on their way."""
        if self._cancellable and (len(items) > MAX_BATCH or self._is_idle):
            return await self._go_alone(items)
        waiter: _Awaited[T] = _Awaited(items, begun)
        self.add(waiter)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            waiter.leave()
            raise

    @property
    def _is_idle(self) -> bool:
        return not (self._alone or self._waiting or self._away)

    async def _go_alone(self, items: list[Any]) -> list[T]:
        """Send a read in the caller's own task: with nobody to share with, a batch would only cost."""
        self._alone += 1
        try:
            return await self._send(items)
        finally:
            self._alone -= 1
            if self._is_idle:
                self._forget()

    def add(self, waiter: Waiter[T]) -> None:
        """As `ask`, for at most `MAX_BATCH` items; the answer is a call, so that no task need wait for it."""
        self._waiting.append(waiter)
        if not self._scheduled and len(self._away) < MAX_AWAY:
            self._scheduled = True
            self.loop.call_soon(self._depart)

    def _depart(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._away) < MAX_AWAY:
            count = 0
            batch: list[Waiter[T]] = []
            for waiter in self._waiting:
                if batch and count + len(waiter.items) > MAX_BATCH:
                    break
                batch.append(waiter)
                count += len(waiter.items)
            del self._waiting[: len(batch)]
            wanted = [waiter for waiter in batch if not waiter.gone]
            if not wanted:
                continue
            trip = _Trip(wanted)
            for waiter in wanted:
                if self._cancellable:
                    waiter.trip = trip
                if waiter.begun is not None:
                    waiter.begun()
            trip.task = task = self.loop.create_task(self._travel(wanted))
            self._away.add(task)
            task.add_done_callback(self._arrived)
        if self._is_idle:
            self._forget()

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._away.discard(task)
        if not self._scheduled:
            self._depart()

    async def _travel(self, batch: list[Waiter[T]]) -> None:
        try:
            if len(batch) == 1:
                answers = await self._send(list(batch[0].items))
            else:
                answers = await self._send([item for waiter in batch for item in waiter.items])
        except _REFUSALS as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:
                await asyncio.gather(*(self._travel([waiter]) for waiter in batch if not waiter.left))
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must learn it
            _fail(batch, error)
        else:
            start = 0
            for waiter in batch:
                end = start + len(waiter.items)
                if not waiter.left:
                    waiter.answer(answers[start:end], None)
                start = end


def _fail(batch: Sequence[Waiter[Any]], error: BaseException) -> None:
    for waiter in batch:
        if not waiter.left:
            waiter.answer(None, error)


class Lanes:
    """Batches of several kinds, each with a name."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lanes: dict[Hashable, Lane[Any]] = {}

    def __len__(self) -> int:
        """How many lanes somebody waits in."""
        return len(self._lanes)

    def lane(self, name: Hashable, send: Callable[[list[Any]], Awaitable[list[T]]], *, cancellable: bool) -> Lane[T]:
        """The lane of a name on this event loop, which is there as long as somebody waits in it.

        Args:
            name: The kind: everything of one name may go out together.
            send: Asks the backend for a batch, and brings the answers in its order.
            cancellable: Whether a batch that nobody waits for any more is given up.
        """
        lane = self._lanes.get(name)
        if lane is None or lane.loop is not asyncio.get_running_loop():
            lane = self._lanes[name] = Lane(send, lambda: self._lanes.pop(name, None), cancellable=cancellable)
        return lane
