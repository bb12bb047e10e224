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
            try:
                return await self._get_managed_entries(collection=collection, keys=keys)
            except Exception as exc:
                if self._is_for_all(exc, len(keys)):
                    raise
                raise KeyValueOperationError(str(exc)) from exc

        [entry] = await self._lanes.lane(("get", collection), send, cancellable=True).ask([key])
        return entry

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        async def send(writes: list[tuple[Key, ManagedEntry]]) -> list[None]:
            latest = dict(writes)
            try:
                await self._put_entries(collection=collection, keys=list(latest), entries=list(latest.values()))
            except Exception as exc:
                if self._is_for_all(exc, len(writes)):
                    raise
                raise KeyValueOperationError(str(exc)) from exc
            return [None] * len(writes)

        await self._lanes.lane(("put", collection), send, cancellable=False).ask([(key, managed_entry)])

    def _is_for_all(self, exc: Exception, callers: int) -> bool:
        """Whether no caller would fare better alone: the driver had no answer, and asking again would only take longer.

        What is refused several callers for another reason is asked for each of them: one may be the cause, and some served.
        """
        return callers == 1 or (
            not isinstance(exc, BaseKeyValueError) and isinstance(self._ours(exc, None, None), StoreConnectionError)
        )

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
