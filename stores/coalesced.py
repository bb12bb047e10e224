"""A store whose callers share round trips.

Apart from `stores.coalescing`, which the daemon loads when it starts, long before any store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stores.base import BaseStore
from stores.coalescing import Lanes
from stores.entry import ManagedEntry
from stores.errors import BaseKeyValueError, KeyValueOperationError, StoreConnectionError
from stores.names import Key, Scope

__all__ = ["CoalescingStore"]


class CoalescingStore(BaseStore, ABC):
    """A store whose backend does much of what it does for one key for each request: single gets and puts share round trips."""

    def __init__(self, **options: Any) -> None:
        """As `BaseStore`."""
        super().__init__(**options)
        self._lanes = Lanes()

    @abstractmethod
    async def _put_entries(self, *, collection: Scope, keys: Sequence[Key], entries: Sequence[ManagedEntry]) -> None:
        """Store entries under keys that are all different, each with its own deadline."""

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        async def send(keys: list[Key]) -> list[ManagedEntry | None]:
            return await self._get_managed_entries(collection=collection, keys=keys)

        [entry] = await self._lanes.lane(("get", collection), send, cancellable=True).ask([key])
        return entry

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        async def send(writes: list[tuple[Key, ManagedEntry]]) -> list[None]:
            latest = dict(writes)
            try:
                await self._put_entries(collection=collection, keys=list(latest), entries=list(latest.values()))
            except Exception as exc:
                if len(writes) == 1 or self._is_lost(exc):
                    raise
                raise KeyValueOperationError(str(exc)) from exc  # some may be stored: each caller learns of his own
            return [None] * len(writes)

        await self._lanes.lane(("put", collection), send, cancellable=False).ask([(key, managed_entry)])

    def _is_lost(self, exc: Exception) -> bool:
        """Whether the driver had no answer: trying once more for each caller would only take longer."""
        return not isinstance(exc, BaseKeyValueError) and isinstance(self._ours(exc, None, None), StoreConnectionError)

    async def _put_managed_entries(
        self,
        *,
        collection: Scope,
        keys: Sequence[Key],
        managed_entries: Sequence[ManagedEntry],
        ttl: float | None,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> None:
        await self._put_entries(collection=collection, keys=keys, entries=managed_entries)
