"""The plain reads and writes that many clients ask of one store at the same moment, merged into its batches.

Order is not kept here but by `kvd.order`: what reaches this module may run in any order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stores.coalescing import Lane, Lanes, Waiter
from stores.names import Collection, Key

if TYPE_CHECKING:
    from stores.base import BaseStore
    from stores.records import DatedText

__all__ = ["Coalescer"]


class Coalescer:
    """The plain reads and writes of a store that waits for its answers, merged. `guard` runs one operation on the store."""

    def __init__(self, store: BaseStore, guard: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> None:
        self._store = store
        self._guard = guard
        self._lanes = Lanes()

    async def texts(self, keys: Sequence[Key], *, collection: Collection) -> list[DatedText]:
        """As `BaseStore.texts`."""
        return await self._reads(collection).ask(list(keys))

    def read(self, collection: Collection, waiter: Waiter[DatedText]) -> None:
        """As `texts`, for at most `MAX_BATCH` keys; the answer is a call, so that no task need wait for it."""
        self._reads(collection).add(waiter)

    def _reads(self, collection: Collection) -> Lane[DatedText]:
        async def send(batch: list[Key]) -> list[DatedText]:
            found: list[DatedText] = await self._guard(lambda: self._store.texts(batch, collection=collection))
            return found

        return self._lanes.lane(("read", collection), send, cancellable=True)

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

        await self._lanes.lane(("put", collection, ttl), send, cancellable=False).ask([(key, value)], begun)
