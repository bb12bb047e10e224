"""The protocols that a program may ask for. All can be checked with `isinstance`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, SupportsFloat, runtime_checkable

__all__ = [
    "AsyncCullProtocol",
    "AsyncDestroyCollectionProtocol",
    "AsyncDestroyStoreProtocol",
    "AsyncEnumerateCollectionsProtocol",
    "AsyncEnumerateKeysProtocol",
    "AsyncKeyValue",
]


@runtime_checkable
class AsyncKeyValue(Protocol):
    """A key-value store: dict values under string keys, in collections, with TTLs in seconds.

    `collection` None (or "") is the store's default collection. A missing or expired key reads as None.
    """

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        """The value, or None."""
        ...

    async def ttl(self, key: str, *, collection: str | None = None) -> tuple[dict[str, Any] | None, float | None]:
        """The value with the seconds it still lives (None: for ever); (None, None) when missing."""
        ...

    async def put(
        self, key: str, value: Mapping[str, Any], *, collection: str | None = None, ttl: SupportsFloat | None = None
    ) -> None:
        """Store a value, replacing what was there, its TTL included."""
        ...

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        """Delete; whether it was there."""
        ...

    async def get_many(self, keys: Sequence[str], *, collection: str | None = None) -> list[dict[str, Any] | None]:
        """Values in the order of the keys, None for holes."""
        ...

    async def ttl_many(
        self, keys: Sequence[str], *, collection: str | None = None
    ) -> list[tuple[dict[str, Any] | None, float | None]]:
        """As `ttl`, in the order of the keys."""
        ...

    async def put_many(
        self,
        keys: Sequence[str],
        values: Sequence[Mapping[str, Any]],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store many values with one TTL. ValueError when the lengths differ. They are not to be changed before it returns."""
        ...

    async def delete_many(self, keys: Sequence[str], *, collection: str | None = None) -> int:
        """Delete many; how many were there."""
        ...


@runtime_checkable
class AsyncEnumerateKeysProtocol(Protocol):
    """Can list a collection's keys."""

    async def keys(self, collection: str | None = None, *, limit: int | None = None) -> list[str]:
        """All keys of the collection, or the first `limit`."""
        ...


@runtime_checkable
class AsyncEnumerateCollectionsProtocol(Protocol):
    """Can list its collections."""

    async def collections(self, *, limit: int | None = None) -> list[str]:
        """All collections, or the first `limit`."""
        ...


@runtime_checkable
class AsyncDestroyStoreProtocol(Protocol):
    """Can be emptied."""

    async def destroy(self) -> bool:
        """Delete everything; whether that was done."""
        ...


@runtime_checkable
class AsyncDestroyCollectionProtocol(Protocol):
    """Can delete a whole collection."""

    async def destroy_collection(self, collection: str) -> bool:
        """Delete the collection with all that it holds; whether it was there."""
        ...


@runtime_checkable
class AsyncCullProtocol(Protocol):
    """Can remove what has expired."""

    async def cull(self) -> None:
        """Remove every expired entry."""
        ...
