"""One request's use of a connection: what a method may do with it, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from kvd.connections import Connection
from kvd.errors import Code, RequestError
from stores.names import Collection, Key

if TYPE_CHECKING:
    from kvd.coalesce import Coalescer
    from kvd.events import Hub
    from kvd.journal import Journal
    from stores.base import BaseStore
    from stores.records import DatedText

__all__ = ["PIECE", "Client", "Use"]

T = TypeVar("T")

PIECE: Final = 128
"""Keys that are read in one go from a store that never waits; a request for more needs a task."""


class Client(Protocol):
    """The client on whose behalf a method works."""

    hub: Hub
    journal: Journal

    def moved(self, connection: Connection, cursor: bytes | None, following: bytes | None) -> None:
        """Note that a scan went on from one cursor to the following one."""
        ...


class Use:
    """A connection, open, in one request's hands."""

    __slots__ = ("_client", "begun", "connection", "reader", "store", "writes")

    def __init__(self, client: Client, connection: Connection, store: BaseStore, *, writes: bool) -> None:
        self._client = client
        self.connection = connection
        self.store = store
        self.reader: BaseStore | Coalescer = store if connection.coalescer is None else connection.coalescer
        """Where plain reads go: the store, or what merges them."""
        self.writes = writes
        self.begun = False
        """Whether the store has the request, so that a write can no longer be taken back."""

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run one operation on the store."""
        if self.connection.immediate:
            return await work()
        return await self.connection.guard(work, begun=self._begin)

    async def look(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run one operation that only reads, for a request that writes later: until then it can be taken back."""
        if self.connection.immediate:
            return await work()
        return await self.connection.guard(work)

    def texts(self, keys: Sequence[Key], collection: Collection) -> Awaitable[list[DatedText]]:
        """Read values' JSON texts, together with what others read at the same moment."""
        if len(keys) > PIECE and self.connection.immediate:
            return self._texts_in_pieces(keys, collection)
        return self.reader.texts(keys, collection=collection)

    async def _texts_in_pieces(self, keys: Sequence[Key], collection: Collection) -> list[DatedText]:
        found: list[DatedText] = []
        for start in range(0, len(keys), PIECE):
            found += await self.reader.texts(keys[start : start + PIECE], collection=collection)
            await asyncio.sleep(0)  # a store that never waits would keep everybody else waiting
        return found

    async def put(self, key: Key, value: Mapping[str, Any], collection: Collection, ttl: float | None) -> None:
        """Store a value, together with what others store at the same moment."""
        coalescer = self.connection.coalescer
        if coalescer is None:
            await self.store.put(key, value, collection=collection, ttl=ttl)
        else:
            await coalescer.put(key, value, collection=collection, ttl=ttl, begun=self._begin)

    def _begin(self) -> None:
        self.begun = True

    def moved(self, cursor: bytes | None, following: bytes | None) -> None:
        """Note that a scan went on."""
        self._client.moved(self.connection, cursor, following)

    def wrote(self, operation: str, collection: Collection, keys: Sequence[Key], *, ttl: float | None = None) -> None:
        """Make an event of a change."""
        if self.connection.listing is not None:
            self.connection.listing.wrote(operation, collection)
        hub = self._client.hub
        if hub:
            if keys and not collection:
                collection = self.store.default_collection
            hub.publish(self.connection.name, collection, keys, operation, self._client)
            hub.expires(self.connection.name, collection, keys, ttl)

    @property
    def journal(self) -> Journal:
        """What people did and can undo."""
        return self._client.journal

    def cannot(self, what: str) -> RequestError:
        """Return the refusal of what the store is not able to do."""
        name = self.connection.name
        return RequestError(Code.UNSUPPORTED, f"{name}: {self.connection.config.store} stores cannot {what}", connection=name)
