"""The base of all stores: the key-value protocol over a few hooks, and one base class for each further capability.

The public methods check arguments and names, open the store at its first use, translate driver exceptions, and see to it that
a backend's hooks get each key once. A hook's `collection` is the caller's (default resolved), not its sanitized form, because
entries are written with the caller's names; a backend locates names in one place of its own. `collection` and `key` may be
tokens that browsing returned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import get_running_loop
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, SupportsFloat

from stores.arguments import check_limit, check_name, check_ttl, check_values
from stores.entry import ManagedEntry, check_value, deadline_after, utc_now
from stores.lifecycle import Scope
from stores.names import OUTSIDE, Collection, Key, walked
from stores.protocols import (
    AsyncCullProtocol,
    AsyncDestroyCollectionProtocol,
    AsyncDestroyStoreProtocol,
    AsyncEnumerateCollectionsProtocol,
    AsyncEnumerateKeysProtocol,
    AsyncKeyValue,
)
from stores.records import ANY, DatedText, Expected
from stores.sanitization import SanitizationStrategy
from stores.serialization import SerializationAdapter
from stores.texts import TextStore, spread

__all__ = [
    "BaseContextManagerStore",
    "BaseCullStore",
    "BaseDestroyCollectionStore",
    "BaseDestroyStore",
    "BaseEnumerateCollectionsStore",
    "BaseEnumerateKeysStore",
    "BaseStore",
    "SeedData",
]

SeedData = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""`{collection: {key: value}}`."""

ENUMERATION_PAGE = 1000


class _GetEntry(Protocol):
    async def __call__(self, *, collection: Scope, key: Key) -> ManagedEntry | None: ...


class _GetEntries(Protocol):
    async def __call__(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]: ...


class BaseStore(TextStore, AsyncKeyValue, ABC):
    """A key-value store over three hooks for one entry; a backend that can do many at once overrides the other three."""

    def __init__(
        self,
        *,
        default_collection: str | None = None,
        serialization_adapter: SerializationAdapter | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        seed: SeedData | None = None,
    ) -> None:
        """As `Lifecycle`, and `seed`: entries to store when the store opens."""
        super().__init__(
            default_collection=default_collection,
            serialization_adapter=serialization_adapter,
            key_sanitization_strategy=key_sanitization_strategy,
            collection_sanitization_strategy=collection_sanitization_strategy,
        )
        self._seed: SeedData = {
            collection: {key: dict(value) for key, value in entries.items()} for collection, entries in (seed or {}).items()
        }

    # Hooks

    @abstractmethod
    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        """The entry, expired or not; None when nothing is stored. DeserializationError for foreign data."""

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        """The entries in the order of the keys, which are all different."""
        return [await self._get_managed_entry(collection=collection, key=key) for key in keys]

    async def _get_undated_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        """As `_get_managed_entry` for who wants the value alone: a deadline that the backend itself keeps need not be asked."""
        return await self._get_managed_entry(collection=collection, key=key)

    async def _get_undated_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        """As `_get_managed_entries`, likewise."""
        return await self._get_managed_entries(collection=collection, keys=keys)

    @abstractmethod
    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        """Store an entry, whatever was there."""

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
        """Store entries under keys that are all different, with one TTL."""
        for key, entry in zip(keys, managed_entries, strict=True):
            await self._put_managed_entry(collection=collection, key=key, managed_entry=entry)

    @abstractmethod
    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        """Delete; whether something was there."""

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        """Delete keys that are all different; how many were there."""
        return sum([await self._delete_managed_entry(key=key, collection=collection) for key in keys])

    async def _get_texts(self, *, collection: Scope, keys: Sequence[Key]) -> list[DatedText]:
        entries = await self._get_managed_entries(collection=collection, keys=keys)
        return [None if entry is None else (entry.value_as_json.encode(), entry.expires_at) for entry in entries]

    async def _seed_store(self) -> None:
        for name, entries in self._seed.items():
            scope = self._scope(name)
            assert isinstance(scope, str)  # noqa: S101 - seeds are named by strings; for the type checker
            await self._setup_collection(collection=scope)
            now = utc_now()
            for key, value in entries.items():
                self._check_key(key)
                entry = ManagedEntry(value=value, created_at=now)
                await self._put_managed_entry(collection=scope, key=key, managed_entry=entry)
        self._seed = {}  # once: what is entered again keeps what became of it

    # Read

    async def get(self, key: Key, *, collection: Collection = None) -> dict[str, Any] | None:
        """The value; None when missing or expired."""
        entry = await self._live_entry(key, collection, self._get_undated_entry)
        return None if entry is None else entry.value_as_dict

    async def ttl(self, key: Key, *, collection: Collection = None) -> tuple[dict[str, Any] | None, float | None]:
        """The value with the seconds it still lives (None: for ever); (None, None) when missing or expired."""
        entry = await self._live_entry(key, collection, self._get_managed_entry)
        return (None, None) if entry is None else (entry.value_as_dict, entry.ttl)

    async def get_many(self, keys: Sequence[Key], *, collection: Collection = None) -> list[dict[str, Any] | None]:
        """Values in the order of the keys, None for what is missing or expired."""
        entries = await self._live_entries(keys, collection, self._get_undated_entries)
        return [None if entry is None else entry.value_as_dict for entry in entries]

    async def ttl_many(
        self, keys: Sequence[Key], *, collection: Collection = None
    ) -> list[tuple[dict[str, Any] | None, float | None]]:
        """As `ttl`, in the order of the keys."""
        entries = await self._live_entries(keys, collection, self._get_managed_entries)
        return [(None, None) if entry is None else (entry.value_as_dict, entry.ttl) for entry in entries]

    async def _live_entry(self, key: Key, collection: Collection, hook: _GetEntry) -> ManagedEntry | None:
        scope = self._scope(collection)
        self._check_key(key)
        with self._edge(scope, key):
            if self._loop is not get_running_loop():
                await self.setup()
            entry = await hook(collection=scope, key=key)
        return None if entry is None or entry.is_expired else entry

    async def _live_entries(self, keys: Sequence[Key], collection: Collection, hook: _GetEntries) -> list[ManagedEntry | None]:
        listed, unique, found = await self._find(keys, collection, hook)
        live = [None if entry is None or entry.is_expired else entry for entry in found]
        return live if len(unique) == len(listed) else spread(listed, unique, live)

    # Write

    async def put(
        self, key: Key, value: Mapping[str, Any], *, collection: Collection = None, ttl: SupportsFloat | None = None
    ) -> None:
        """Store a value, replacing what was there, its TTL included.

        Raises:
            InvalidTTLError: the TTL is not a positive finite number of seconds.
            SerializationError: JSON cannot carry the value. TypeError when it is not a mapping with string keys.
        """
        seconds = check_ttl(ttl)
        scope = self._scope(collection)
        self._check_new_collection(scope)
        self._check_key(key)
        check_value(value)
        with self._edge(scope, key):
            await self._ready_to_write(scope)
            now = utc_now()
            entry = ManagedEntry(value=value, created_at=now, expires_at=deadline_after(now, seconds))
            await self._put_managed_entry(collection=scope, key=key, managed_entry=entry)

    async def put_many(
        self,
        keys: Sequence[Key],
        values: Sequence[Mapping[str, Any]],
        *,
        collection: Collection = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store many values with one TTL; of a key given twice the last value stays. ValueError when the lengths differ.

        A value that its owner changes before this returns is stored whole, as it was or as it is: large batches are encoded in
        turns, between which others run.
        """
        seconds = check_ttl(ttl)
        listed, _, scope = self._many(keys, collection)
        given = check_values(values, len(listed))
        for value in given:
            check_value(value)
        self._check_new_collection(scope)
        with self._edge(scope):
            await self._ready_to_write(scope)
            now = utc_now()
            expires_at = deadline_after(now, seconds)
            latest = dict(zip(listed, given, strict=True))
            if latest:
                await self._put_managed_entries(
                    collection=scope,
                    keys=list(latest),
                    managed_entries=[
                        ManagedEntry(value=value, created_at=now, expires_at=expires_at) for value in latest.values()
                    ],
                    ttl=seconds,
                    created_at=now,
                    expires_at=expires_at,
                )

    async def delete(self, key: Key, *, collection: Collection = None, expected: Expected = ANY) -> bool:
        """Delete; whether it was there. With an expected version, only that is deleted.

        Raises:
            ConflictError: another version than the expected one is there.
        """
        scope = self._scope(collection)
        self._check_key(key)
        if expected is not ANY:
            return await self._delete_expected(scope, key, expected)
        with self._edge(scope, key):
            if self._loop is not get_running_loop():
                await self.setup()
            return await self._delete_managed_entry(key=key, collection=scope)

    async def delete_many(self, keys: Sequence[Key], *, collection: Collection = None) -> int:
        """Delete many; how many were there."""
        _, unique, scope = self._many(keys, collection)
        with self._edge(scope):
            if self._loop is not get_running_loop():
                await self.setup()
            return await self._delete_managed_entries(keys=unique, collection=scope) if unique else 0

    async def _ready_to_write(self, scope: Scope) -> None:
        if self._loop is not get_running_loop():
            await self.setup()
        if isinstance(scope, str) and scope not in self._set_up_collections:
            await self.setup_collection(collection=scope)


class BaseEnumerateKeysStore(BaseStore, AsyncEnumerateKeysProtocol, ABC):
    """A store that lists a collection's keys, by walking its pages."""

    async def keys(self, collection: Collection = None, *, limit: int | None = None) -> list[str]:
        """All keys of the collection, or the first `limit`; of an unknown collection none."""
        scope = self._scope(collection)
        at_most = check_limit(limit)
        with self._edge(scope):
            await self.setup()
            return await self._get_collection_keys(collection=scope, limit=at_most)

    async def _get_collection_keys(self, *, collection: Scope, limit: int | None = None) -> list[str]:
        return await walked(
            lambda cursor: self._scan_keys(collection=collection, cursor=cursor, limit=ENUMERATION_PAGE, match=None),
            self._close_cursor,
            limit,
        )


class BaseEnumerateCollectionsStore(BaseStore, AsyncEnumerateCollectionsProtocol, ABC):
    """A store that lists its collections, by walking its pages."""

    async def collections(self, *, limit: int | None = None) -> list[str]:
        """All collections, or the first `limit`."""
        at_most = check_limit(limit)
        with self._edge():
            await self.setup()
            return await self._get_collection_names(limit=at_most)

    async def _get_collection_names(self, *, limit: int | None = None) -> list[str]:
        return await walked(
            lambda cursor: self._scan_collections(cursor=cursor, limit=ENUMERATION_PAGE),
            self._close_cursor,
            limit,
            but=OUTSIDE,
        )


class BaseContextManagerStore(BaseStore, ABC):
    """A store that owns a client, unless the caller passed one in: only an owned client is closed."""

    def __init__(self, *, client_provided_by_user: bool = False, **options: Any) -> None:
        """As `BaseStore`, and whether the client belongs to the caller."""
        super().__init__(**options)
        self._client_provided_by_user = client_provided_by_user


class BaseDestroyStore(BaseStore, AsyncDestroyStoreProtocol, ABC):
    """A store that can be emptied."""

    async def destroy(self) -> bool:
        """Delete everything in the store, which goes on working."""
        with self._edge():
            await self.setup()
            self._set_up_collections.clear()
            return await self._delete_store()

    @abstractmethod
    async def _delete_store(self) -> bool:
        """Delete everything; whether that was done."""


class BaseDestroyCollectionStore(BaseStore, AsyncDestroyCollectionProtocol, ABC):
    """A store that can delete a whole collection."""

    async def destroy_collection(self, collection: str) -> bool:
        """Delete a collection with all that it holds; whether it was there. TypeError for None: it must be named."""
        check_name(collection)
        scope = self._scope(collection)
        with self._edge(scope):
            await self.setup()
            if isinstance(scope, str):
                self._set_up_collections.discard(scope)
            return await self._delete_collection(collection=scope)

    @abstractmethod
    async def _delete_collection(self, *, collection: Scope) -> bool:
        """Delete the collection; whether it was there."""


class BaseCullStore(BaseStore, AsyncCullProtocol, ABC):
    """A store that can remove what has expired."""

    async def cull(self) -> None:
        """Remove every expired entry."""
        with self._edge():
            await self.setup()
            await self._cull()

    @abstractmethod
    async def _cull(self) -> None:
        """Remove every expired entry."""
