"""RemoteStore: a store of the daemon, used like a store of one's own.

    async with await RemoteStore.open("scratch") as store:
        await store.put("greeting", {"hello": "world"}, ttl=90)

Two programs that open the same connection share the store, whatever it is: memory too. It is an AsyncKeyValue, and has each
further capability (`keys`, `collections`, `destroy`, …) that the store has, because programs ask with `isinstance`. Browsing
and editing are those of `stores`. No driver is loaded here.

When the daemon goes in the middle of a call, that call fails with StoreConnectionError, since nobody knows whether it
happened; the next call connects again. What a daemon that leaves in good order has not begun, the next one is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, SupportsFloat, cast

from kvd import requests
from kvd.client import Client
from kvd.protocol import MAX_FRAME, MAX_KEYS
from kvd.remote_edge import from_record, to_description, to_model, to_name, to_record
from kvd.remote_link import RemoteLink
from stores.arguments import check_key, check_keys, check_limit, check_name, check_page, check_ttl, check_values
from stores.entry import dump_json, read_json
from stores.errors import ValueTooLargeError
from stores.names import OUTSIDE, Collection, Key, Name, Page, walked
from stores.records import ANY, KEEP, Description, Expected, Keep, Record, Version
from stores.traits import Traits

__all__ = ["RemoteStore"]

_BATCH_BYTES = MAX_FRAME // 2
_PAGE = 1000


class RemoteStore:
    """A store that lives in the daemon. Made by `open`."""

    def __init__(self, link: RemoteLink) -> None:
        self._link = link
        self._connection = link.connection
        self._call = link.call

    @staticmethod
    async def open(
        connection: str, path: Path | None = None, *, spawn: bool = True, client: Client | None = None
    ) -> RemoteStore:
        """Open a store of the daemon.

        Args:
            connection: a connection's name, or a URL like `disk:///path`.
            path: the daemon's socket; the user's own daemon unless given.
            spawn: start the daemon when none runs.
            client: use this connection to the daemon, which stays the caller's.

        Raises:
            StoreSetupError: the daemon has no such connection, or cannot open it.
            StoreConnectionError: no daemon, or no backend.
        """
        link = RemoteLink(connection, path, spawn=spawn, client=client)
        await link.opened()
        # one class for each set of capabilities: a base with methods that may be missing would fool isinstance
        return _class_with(frozenset(link.info.traits.get("capabilities", ())))(link)

    @property
    def traits(self) -> Traits:
        """What the store behind it can do."""
        names = Traits.__dataclass_fields__
        return Traits(**{name: value for name, value in self._link.info.traits.items() if name in names})

    @property
    def location(self) -> str:
        """Where the data is, for a person."""
        return self._link.info.location

    @property
    def default_collection(self) -> str:
        """The collection that None and "" stand for."""
        return self._link.info.default_collection

    # Life

    async def setup(self) -> None:
        """Connect, if it is not connected."""
        await self._link.opened()

    async def close(self) -> None:
        """Let go of the store; the daemon and its other users keep theirs."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        await self._link.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.leave()

    # Read

    async def get(self, key: Key, *, collection: Collection = None) -> dict[str, Any] | None:
        """The value; None when missing or expired."""
        text = await self._call(requests.get(self._connection, to_model(collection), _key(key)))
        return None if text is None else read_json(text)

    async def ttl(self, key: Key, *, collection: Collection = None) -> tuple[dict[str, Any] | None, float | None]:
        """The value with the seconds it still lives (None: for ever); (None, None) when missing or expired."""
        return (await self.ttl_many([key], collection=collection))[0]

    async def get_many(self, keys: Sequence[Key], *, collection: Collection = None) -> list[dict[str, Any] | None]:
        """Values in the order of the keys, None for what is missing or expired."""
        found = await self._read_many(requests.get_many, check_keys(keys), collection)
        return [None if text is None else read_json(text) for text in found]

    async def ttl_many(
        self, keys: Sequence[Key], *, collection: Collection = None
    ) -> list[tuple[dict[str, Any] | None, float | None]]:
        """As `ttl`, in the order of the keys."""
        found = await self._read_many(requests.ttl_many, check_keys(keys), collection)
        return [(None, None) if row is None else (read_json(row[0]), row[1]) for row in found]

    async def _read_many(self, ask: Any, keys: list[Key], collection: Collection) -> list[Any]:
        """Ask in requests and answers that are not too large; an answer that is, is asked for in halves."""
        where = to_model(collection)
        found: list[Any] = []
        waiting = [[_key(key) for key in keys[part]] for part in _batches([_size(key) for key in keys])]
        while waiting:
            part = waiting.pop(0)
            try:
                found += await self._call(ask(self._connection, where, part))
            except ValueTooLargeError:
                if len(part) == 1:
                    raise
                waiting[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
        return found

    # Write

    async def put(
        self, key: Key, value: Mapping[str, Any], *, collection: Collection = None, ttl: SupportsFloat | None = None
    ) -> None:
        """Store a value, replacing what was there, its TTL included."""
        seconds = check_ttl(ttl)
        text = dump_json(value).encode()
        await self._call(requests.put(self._connection, to_model(collection), _key(key), text, ttl=seconds))

    async def put_many(
        self,
        keys: Sequence[Key],
        values: Sequence[Mapping[str, Any]],
        *,
        collection: Collection = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store many values with one TTL; of a key given twice the last value stays. ValueError when the lengths differ."""
        seconds = check_ttl(ttl)
        listed = check_keys(keys)
        texts = [dump_json(value).encode() for value in check_values(values, len(listed))]
        where = to_model(collection)
        for part in _batches([_size(key) + len(text) for key, text in zip(listed, texts, strict=True)]):
            packed = [_key(key) for key in listed[part]]
            await self._call(requests.put_many(self._connection, where, packed, texts[part], ttl=seconds))

    async def delete(self, key: Key, *, collection: Collection = None, expected: Expected = ANY) -> bool:
        """Delete; whether it was there. With an expected version, only that is deleted (else ConflictError)."""
        return await self._call(
            requests.delete(self._connection, to_model(collection), _key(key), expected=_expected(expected))
        )

    async def delete_many(self, keys: Sequence[Key], *, collection: Collection = None) -> int:
        """Delete many; how many were there."""
        listed = check_keys(keys)
        where = to_model(collection)
        deleted = 0
        for part in _batches([_size(key) for key in listed]):
            deleted += await self._call(requests.delete_many(self._connection, where, [_key(key) for key in listed[part]]))
        return deleted

    # Browse and edit, as `stores.browsing` does

    async def scan_collections(self, *, cursor: bytes | None = None, limit: int = _PAGE) -> Page[Name]:
        """A page of the store's collections; of a flat keyspace perhaps as a search some seconds ago found them."""
        at_most = check_page(cursor, limit)
        page = await self._call(requests.scan_collections(self._connection, cursor=cursor, limit=at_most))
        return Page([to_name(row) for row in page.items], page.cursor, page.scanned)

    async def scan_keys(
        self, collection: Collection = None, *, cursor: bytes | None = None, limit: int = _PAGE, match: str | None = None
    ) -> Page[Name]:
        """A page of a collection's keys."""
        at_most = check_page(cursor, limit, match)
        page = await self._call(
            requests.scan_keys(
                self._connection, to_model(collection), cursor=cursor, limit=at_most, match=match, describe=False
            )
        )
        return Page([to_name(row) for row in page.items], page.cursor, page.scanned)

    def close_cursor(self, cursor: bytes) -> None:
        """Let go of a scan that is not walked to its end."""
        self._link.tell(requests.close_cursor(self._connection, cursor))

    async def describe(self, keys: Sequence[Key], *, collection: Collection = None) -> list[Description | None]:
        """Metadata of many keys without their values, in the keys' order."""
        rows = await self._read_many(requests.describe, check_keys(keys), collection)
        return [to_description(row) for row in rows]

    async def read(self, key: Key, *, collection: Collection = None, limit: int | None = None) -> Record | None:
        """One entry with its version, ours or foreign; None when it is missing or expired."""
        return to_record(await self._call(requests.read(self._connection, to_model(collection), _key(key), length=limit)))

    async def edit(
        self,
        key: Key,
        value: Mapping[str, Any],
        *,
        collection: Collection = None,
        ttl: SupportsFloat | Keep | None = KEEP,
        expected: Expected = ANY,
    ) -> Version:
        """Write a value; the TTL stays unless one is given. Raises ConflictError when another version is there."""
        deadline = requests.KEEP if isinstance(ttl, Keep) else check_ttl(ttl)
        text = dump_json(value).encode()
        request = requests.edit(
            self._connection, to_model(collection), _key(key), text, ttl=deadline, expected=_expected(expected)
        )
        version = await self._call(request)
        return Version(version)

    async def expire(
        self, key: Key, ttl: SupportsFloat | None, *, collection: Collection = None, expected: Expected = ANY
    ) -> bool:
        """Give an entry another TTL (None: it lives on); the value stays. False when it is not there."""
        return await self._call(
            requests.expire(self._connection, to_model(collection), _key(key), check_ttl(ttl), expected=_expected(expected))
        )

    async def snapshot(self, key: Key, *, collection: Collection = None) -> Record | None:
        """The whole entry, foreign data too, in a form that `restore` can put back. ValueTooLargeError over a reply's limit."""
        return to_record(await self._call(requests.snapshot(self._connection, to_model(collection), _key(key))))

    async def restore(self, key: Key, record: Record, *, collection: Collection = None, expected: Expected = ANY) -> Version:
        """Put a snapshot's value, creation time and absolute deadline back. Raises ConflictError as `edit` does."""
        request = requests.restore(
            self._connection, to_model(collection), _key(key), from_record(record), expected=_expected(expected)
        )
        version = await self._call(request)
        return Version(version)


# Capabilities. Each is a protocol that programs check with isinstance.


class _Keys(RemoteStore):
    async def keys(self, collection: Collection = None, *, limit: int | None = None) -> list[str]:
        """All keys of the collection, or the first `limit`."""
        at_most = check_limit(limit)
        return await walked(lambda cursor: self.scan_keys(collection, cursor=cursor), self.close_cursor, at_most)


class _Collections(RemoteStore):
    async def collections(self, *, limit: int | None = None) -> list[str]:
        """All collections, or the first `limit`."""
        at_most = check_limit(limit)
        return await walked(lambda cursor: self.scan_collections(cursor=cursor), self.close_cursor, at_most, but=OUTSIDE)


class _Destroy(RemoteStore):
    async def destroy(self) -> bool:
        """Empty the whole store. The connection must allow it."""
        return await self._call(requests.destroy(self._connection))


class _DestroyCollection(RemoteStore):
    async def destroy_collection(self, collection: str) -> bool:
        """Delete a collection with all that it holds; whether it was there. TypeError for None: it must be named."""
        check_name(collection)
        return await self._call(requests.destroy_collection(self._connection, to_model(collection)))


class _Cull(RemoteStore):
    async def cull(self) -> None:
        """Remove what has expired but still takes room."""
        await self._call(requests.cull(self._connection))


_CAPABILITIES: dict[str, type[RemoteStore]] = {
    "keys": _Keys,
    "collections": _Collections,
    "destroy": _Destroy,
    "destroy_collection": _DestroyCollection,
    "cull": _Cull,
}


@cache
def _class_with(capabilities: frozenset[str]) -> type[RemoteStore]:
    bases = tuple(cls for name, cls in _CAPABILITIES.items() if name in capabilities)
    return cast("type[RemoteStore]", type("RemoteStore", bases, {"__module__": __name__})) if bases else RemoteStore


def _key(key: Key) -> Any:
    """A key as requests take it. TypeError for what is none, InvalidKeyError as `to_model`."""
    if type(key) is str and key.isascii():
        return key  # nearly always
    check_key(key)
    return to_model(key)


def _expected(expected: Expected) -> Any:
    return expected


def _size(key: Key) -> int:
    return 16 + (4 * len(key) if isinstance(key, str) else len(key.value))


def _batches(sizes: Sequence[int]) -> Iterator[slice]:
    """Cut a request into pieces that the protocol's limits allow."""
    start = held = 0
    for at, size in enumerate(sizes):
        if at > start and (held + size > _BATCH_BYTES or at - start >= MAX_KEYS):
            yield slice(start, at)
            start, held = at, 0
        held += size
    if start < len(sizes):
        yield slice(start, len(sizes))
