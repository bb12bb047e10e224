"""Entries in this process's memory: one time-aware least-recently-used cache a collection.

What is kept is the value's JSON text, so that nobody's later change to a dict reaches the store. Nothing here ever waits:
every coroutine runs to its end in one step (`traits.immediate`).

Expired entries are hidden at once and leave by themselves within a second: deadlines are noted by the whole second, and one
timer wakes for the next of them. A collection leaves with its last entry.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import secrets
import time
import weakref
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import ClassVar

from stores.backends.memory_cache import Entries
from stores.base import (
    BaseDestroyCollectionStore,
    BaseDestroyStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
    SeedData,
)
from stores.cursors import HeldCursors
from stores.entry import ManagedEntry, read_json
from stores.errors import ConflictError, UnsupportedError
from stores.lifecycle import Scope
from stores.names import Collection, Key, Name, Page, Token, compile_glob, decode_name, encode_name
from stores.records import ABSENT, ANY, ENTRY, DatedText, Description, Expected, Record, Version
from stores.traits import Traits

__all__ = ["MemoryStore"]

LONGEST_SLEEP = 60.0
"""Seconds after which the timer looks at the wall clock again, which may have been set."""


class _Held:
    """One entry: the value's JSON text, its times, and a number that no other write has."""

    __slots__ = ("created_at", "deadline", "expires_at", "number", "text")

    def __init__(self, entry: ManagedEntry, number: int) -> None:
        self.text = entry.value_as_bytes
        self.created_at = entry.created_at
        self.expires_at = entry.expires_at
        self.deadline = math.inf if entry.expires_at is None else entry.expires_at.timestamp()
        self.number = number

    @property
    def version(self) -> Version:
        return Version(self.number.to_bytes(8))


class MemoryStore(BaseDestroyStore, BaseDestroyCollectionStore, BaseEnumerateCollectionsStore, BaseEnumerateKeysStore):
    """A key-value store in this process's memory, lost when the process ends."""

    keeps_at_hand = True
    traits: ClassVar[Traits] = Traits(
        name="memory",
        persistent=False,
        immediate=True,
        atomic_batches=True,
        scan="snapshot",
        resumable_cursors=False,
    )
    _any_loop = True

    def __init__(
        self,
        *,
        max_entries_per_collection: int | None = None,
        default_collection: str | None = None,
        seed: SeedData | None = None,
    ) -> None:
        """Make an empty store.

        Args:
            max_entries_per_collection: the least recently used entry leaves when there would be more; None is no limit.
            default_collection: used where no collection is given; "default_collection" when None.
            seed: entries to begin with, as `{collection: {key: value}}`.

        Raises:
            ValueError: max_entries_per_collection is less than 1.
        """
        if max_entries_per_collection is not None and max_entries_per_collection < 1:
            raise ValueError(f"max_entries_per_collection is at least 1, or None, not {max_entries_per_collection!r}.")
        super().__init__(default_collection=default_collection, seed=seed)
        self.max_entries_per_collection = max_entries_per_collection
        self._caches: dict[str, Entries[_Held]] = {}
        self._writes = secrets.randbits(62)  # no version of an earlier store comes again
        self._cursors: HeldCursors[Iterator[Name]] = HeldCursors()
        self._due_heap: list[int] = []
        self._due: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_loop: asyncio.AbstractEventLoop | None = None

    @property
    def location(self) -> str:
        """Memory has no address: it is that of whichever process holds the store."""
        return "memory"

    async def _close(self) -> None:
        self._cursors.clear()

    # Entries

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        return _entry(self._held(collection, key))

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        return [_entry(self._held(collection, key)) for key in keys]

    def text_at_hand(self, key: Key, *, collection: Collection = None) -> bytes | None:
        """The text, if it is there."""
        cache = self._caches.get(collection or self.default_collection)  # type: ignore[arg-type] # a Token is not found
        if cache is None or self._loop is None:
            return None
        held = cache.get(key, time.time())  # type: ignore[arg-type] # as above
        return None if held is None else held.text

    def texts_at_hand(self, keys: Sequence[Key], *, collection: Collection = None) -> list[bytes] | None:
        """The texts, if all are there."""
        cache = self._caches.get(collection or self.default_collection)  # type: ignore[arg-type] # as above
        if cache is None or self._loop is None:
            return None
        found = cache.get_all(keys, time.time())  # type: ignore[arg-type] # as above
        return None if found is None else [held.text for held in found]

    async def _get_texts(self, *, collection: Scope, keys: Sequence[Key]) -> list[DatedText]:
        cache = self._caches.get(_text(collection))
        if cache is None:
            return [None] * len(keys)
        now = time.time()
        return [None if (held := cache.get(_text(key), now)) is None else (held.text, held.expires_at) for key in keys]

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        self._writes += 1
        self._store(collection, key, _Held(managed_entry, self._writes))

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
        ready = [_Held(entry, self._writes + number) for number, entry in enumerate(managed_entries, 1)]
        self._writes += len(ready)
        for key, held in zip(keys, ready, strict=True):
            self._store(collection, key, held)

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        name = _text(collection)
        cache = self._caches.get(name)
        if cache is None:
            return False
        lived = cache.pop(_text(key), time.time())
        if not cache:
            del self._caches[name]
        return lived

    def _held(self, collection: Scope, key: Key) -> _Held | None:
        cache = self._caches.get(_text(collection))
        return None if cache is None else cache.get(_text(key), time.time())

    def _holds_any(self, collection: str) -> bool:
        cache = self._caches.get(collection)
        if cache is None:
            return False
        cache.expire(time.time())
        if not cache:
            del self._caches[collection]
        return bool(cache)

    def _store(self, collection: Scope, key: Key, held: _Held) -> None:
        name = _text(collection)
        cache = self._caches.get(name)
        if cache is None:
            cache = self._caches[name] = Entries(self.max_entries_per_collection)
        if held.expires_at is not None:
            self._note_deadline(held.deadline)
        cache.put(_text(key), held, time.time())

    # Browse and edit

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        if cursor is None:
            names = (_name(text) for text in list(self._caches) if self._holds_any(text))
        else:
            names = self._cursors.take(cursor)  # type: ignore[assignment] # both are iterators of names
        items = list(islice(names, limit))
        return self._page(names, items, limit, len(items))

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        cache = self._caches.get(_text(collection))
        if cursor is not None:
            names = self._cursors.take(cursor)
        elif cache is None:
            return Page([], None, 0)
        else:
            names = map(_name, list(cache))
        looked_at = list(islice(names, limit))
        now = time.time()
        items = [] if cache is None else [name for name in looked_at if cache.holds(name.text, now)]
        if match is not None:
            pattern = compile_glob(match)
            items = [name for name in items if pattern.match(name.text)]
        return self._page(names, items, limit, len(looked_at))

    def _page(self, names: Iterator[Name], items: list[Name], limit: int, scanned: int) -> Page[Name]:
        return Page(items, None if scanned < limit else self._cursors.hold(names), scanned)

    def _close_cursor(self, cursor: bytes) -> None:
        self._cursors.drop(cursor)

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        found = [self._held(collection, key) for key in keys]
        return [
            None if held is None else Description(ENTRY, len(held.text), held.created_at, held.expires_at, held.version)
            for held in found
        ]

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        held = self._held(collection, key)
        if held is None:
            return None
        return Record(
            kind=ENTRY,
            body=held.text,
            length=len(held.text),
            size=len(held.text),
            created_at=held.created_at,
            expires_at=held.expires_at,
            version=held.version,
            entry=_entry(held),
        )

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        held = self._held(collection, key)
        if expected is not ANY and expected != (ABSENT if held is None else held.version):
            raise ConflictError
        if new is None:
            await self._delete_managed_entry(key=key, collection=collection)
            return ABSENT
        if isinstance(new, Record):
            raise UnsupportedError(f"Memory holds entries only, and this is {new.kind!r}.")
        await self._put_managed_entry(collection=collection, key=key, managed_entry=new)
        return Version(self._writes.to_bytes(8))

    # Destroy

    async def _delete_store(self) -> bool:
        self._caches.clear()
        return True

    async def _delete_collection(self, *, collection: Scope) -> bool:
        name = _text(collection)
        return self._holds_any(name) and self._caches.pop(name) is not None

    # Expiry

    def _note_deadline(self, deadline: float) -> None:
        second = math.ceil(deadline)
        loop = asyncio.get_running_loop()
        if second not in self._due:
            self._due.add(second)
            heapq.heappush(self._due_heap, second)
        elif self._timer_loop is loop:
            return
        if self._timer_loop is not loop or self._due_heap[0] == second:
            self._arm(loop)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_loop = loop
        delay = min(max(self._due_heap[0] - time.time(), 0.0), LONGEST_SLEEP)
        self._timer = loop.call_later(delay, _sweep, weakref.ref(self))

    def _leave_expired(self) -> None:
        now = time.time()
        for name, cache in list(self._caches.items()):
            cache.expire(now)
            if not cache:
                del self._caches[name]
        while self._due_heap and self._due_heap[0] <= now:
            self._due.discard(heapq.heappop(self._due_heap))
        self._timer = None
        if self._due_heap and self._timer_loop is not None:
            self._arm(self._timer_loop)


def _sweep(store: weakref.ref[MemoryStore]) -> None:
    alive = store()
    if alive is not None:
        alive._leave_expired()  # noqa: SLF001 - the timer is the store's; it must not keep it alive


def _entry(held: _Held | None) -> ManagedEntry | None:
    if held is None:
        return None
    return ManagedEntry(value=read_json(held.text), created_at=held.created_at, expires_at=held.expires_at)


def _text(name: str | Token) -> str:
    return name if isinstance(name, str) else decode_name(name.value)


def _name(text: str) -> Name:
    return Name(text, Token(encode_name(text)))
