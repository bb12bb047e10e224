"""What many callers ask of one store at the same moment goes out as one round trip.

Reads and plain writes that arrive in one turn of the loop, or while a batch of their kind is away, form the next batch. A
batch belongs to nobody: a caller who leaves does not take it along, so a write that was handed over is completed; only a batch
of reads that nobody waits for any more is cancelled. One bad key spoils nobody else's answer: a batch that is refused is taken
apart.

Order is not kept here but by `kvd.order`: what reaches this module may run in any order.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from stores.errors import KeyValueOperationError
from stores.names import Collection, Key

if TYPE_CHECKING:
    from stores.base import BaseStore
    from stores.records import DatedText

__all__ = ["MAX_BATCH", "Coalescer", "Waiter"]

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


class _Lane(Generic[T]):
    """Batches of one kind: items go out together, answers come back in their order."""

    def __init__(
        self, send: Callable[[list[Any]], Awaitable[list[T]]], forget: Callable[[], object], *, cancellable: bool
    ) -> None:
        self._send = send
        self._forget = forget
        self._cancellable = cancellable
        self._waiting: list[Waiter[T]] = []
        self._away: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def ask(self, items: list[Any], begun: Callable[[], None] | None = None) -> list[T]:
        if len(items) > MAX_BATCH and self._cancellable:
            return await self._send(items)
        waiter: _Awaited[T] = _Awaited(items, begun)
        self.add(waiter)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            waiter.leave()
            raise

    def add(self, waiter: Waiter[T]) -> None:
        self._waiting.append(waiter)
        if not self._scheduled and len(self._away) < MAX_AWAY:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._depart)

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
            trip.task = task = asyncio.get_running_loop().create_task(self._travel(wanted))
            self._away.add(task)
            task.add_done_callback(self._arrived)
        if not self._away:
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


class Coalescer:
    """The plain reads and writes of a store that waits for its answers, merged. `guard` runs one operation on the store."""

    def __init__(self, store: BaseStore, guard: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> None:
        self._store = store
        self._guard = guard
        self._lanes: dict[Hashable, _Lane[Any]] = {}

    async def texts(self, keys: Sequence[Key], *, collection: Collection) -> list[DatedText]:
        """As `BaseStore.texts`."""
        return await self._reads(collection).ask(list(keys))

    def read(self, collection: Collection, waiter: Waiter[DatedText]) -> None:
        """As `texts`, for at most `MAX_BATCH` keys; the answer is a call, so that no task need wait for it."""
        self._reads(collection).add(waiter)

    def _reads(self, collection: Collection) -> _Lane[DatedText]:
        async def send(batch: list[Key]) -> list[DatedText]:
            found: list[DatedText] = await self._guard(lambda: self._store.texts(batch, collection=collection))
            return found

        return self._lane(("read", collection), send, cancellable=True)

    async def put(
        self,
        key: Key,
        value: Mapping[str, Any],
        *,
        collection: Collection,
        ttl: float | None,
        begun: Callable[[], None],
    ) -> None:
        """As `BaseStore.put`; `begun` is called when the write can no longer be taken back."""

        async def send(batch: list[tuple[Key, Mapping[str, Any]]]) -> list[None]:
            if len(batch) == 1:
                await self._guard(lambda: self._store.put(*batch[0], collection=collection, ttl=ttl))
            else:
                keys, values = zip(*batch, strict=True)
                await self._guard(lambda: self._store.put_many(keys, values, collection=collection, ttl=ttl))
            return [None] * len(batch)

        await self._lane(("put", collection, ttl), send, cancellable=False).ask([(key, value)], begun)

    def _lane(self, name: Hashable, send: Callable[[list[Any]], Awaitable[list[Any]]], *, cancellable: bool) -> _Lane[Any]:
        lane = self._lanes.get(name)
        if lane is None:
            lane = _Lane(send, lambda: self._lanes.pop(name, None), cancellable=cancellable)
            self._lanes[name] = lane
        return lane
