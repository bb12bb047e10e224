"""What every store answers above the key-value protocol: browse, describe, read, and careful edits.

A backend implements five verbs, and everything here is made of them:

    _scan_collections, _scan_keys   a page and a cursor
    _describe                       metadata of many keys in one round trip
    _read                           what is stored under one name, with its version
    _commit                         write or delete it, if it still has the version that was seen

Every edit is the same loop: read, decide, commit against what was read; a lost race is read and decided anew, or raised as a
ConflictError with what is there now when the caller expected a version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from random import random
from typing import Any, ClassVar, SupportsFloat

from stores.arguments import check_keys, check_page, check_ttl
from stores.entry import ManagedEntry, deadline_after, dump_json, utc_now
from stores.errors import ConflictError, DeserializationError, UnsupportedError
from stores.lifecycle import Lifecycle, Scope
from stores.names import OUTSIDE, Collection, Key, Name, Page, Token, decode_name, encode_name, shown
from stores.records import ABSENT, ANY, KEEP, Description, Expected, Keep, Record, Version

__all__ = ["BrowsableStore"]

PAGE_LIMIT = 500
EDIT_ATTEMPTS = 200
LONGEST_PAUSE = 0.05
"""Seconds between two of them."""
CONFLICT_PART = 64 << 10
"""Bytes of foreign data that an edit reads: it only says that they are there."""


class BrowsableStore(Lifecycle):
    """Browse, describe, read and edit."""

    _asks_for_outside: ClassVar[bool] = False
    """Whether names outside collections are looked for when a scan of collections ends, because it does not meet them."""

    # Verbs of the backend. `collection` is never None; names given as Token came from this store's own pages.

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        raise UnsupportedError(f"{self.traits.name} cannot list its collections.")

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        raise UnsupportedError(f"{self.traits.name} cannot list its keys.")

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        """Metadata in the order of the keys. What has expired may be described or left None."""
        raise UnsupportedError(f"{self.traits.name} cannot describe its entries.")

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        """What is stored, expired or not; of foreign data perhaps only the first `limit` bytes. None: nothing is there."""
        raise UnsupportedError(f"{self.traits.name} cannot be edited.")

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        """Write an entry, put a foreign record back as it was (its whole body), or delete (None), atomically.

        `expected` is a version that `_read` gave, ABSENT (nothing is stored, not even an expired entry), or ANY.
        Returns the new version, ABSENT after a delete. Raises ConflictError, without details, when another version is there.
        """
        raise UnsupportedError(f"{self.traits.name} cannot be edited.")

    async def _expire_foreign(self, *, collection: Scope, key: Key, record: Record, expires_at: datetime | None) -> None:
        """Give foreign data another native deadline, if it still is what was read; where the trait `foreign_ttl` says so."""
        raise UnsupportedError(
            f"What is stored here is {record.kind!r}, not an entry, and {self.traits.name} has no TTL of its own for it."
        )

    async def _snapshot(self, *, collection: Scope, key: Key) -> Record | None:
        """The record in a form that `_commit` can put back."""
        return await self._read(collection=collection, key=key, limit=None)

    def _close_cursor(self, cursor: bytes) -> None:
        """Let go of a held scan."""

    # Browse

    async def scan_collections(self, *, cursor: bytes | None = None, limit: int = PAGE_LIMIT) -> Page[Name]:
        """A page of the store's collections; `OUTSIDE` is among them where names lie outside of all.

        Args:
            cursor: the last page's; None starts.
            limit: a hint; a page may be empty, or one backend batch over.

        Raises:
            CursorExpiredError: start the scan again.
        """
        at_most = check_page(cursor, limit)
        with self._edge():
            await self.setup()
            page = await self._scan_collections(cursor=cursor, limit=at_most)
            if page.cursor is None and self._asks_for_outside and await self._has_outside():
                page.items.append(Name("", OUTSIDE, exact=False))
            return page

    def collection_name(self, collection: Collection = None) -> Name:
        """The collection as a scan of a flat keyspace (`Traits.flat`) lists it."""
        scope = self._scope(collection)
        stored = scope.value if isinstance(scope, Token) else encode_name(self._sanitize_collection(scope))
        text = decode_name(stored)
        return Name(text, Token(stored), stored != OUTSIDE.value and self._collection_strategy.keeps(text))

    async def _has_outside(self) -> bool:
        cursor: bytes | None = None
        while True:
            page = await self._scan_keys(collection=OUTSIDE, cursor=cursor, limit=PAGE_LIMIT, match=None)
            cursor = page.cursor
            if page.items and cursor is not None:
                self._close_cursor(cursor)
            if page.items or cursor is None:
                return bool(page.items)

    async def scan_keys(
        self,
        collection: Collection = None,
        *,
        cursor: bytes | None = None,
        limit: int = PAGE_LIMIT,
        match: str | None = None,
    ) -> Page[Name]:
        """A page of a collection's keys; of an unknown collection an empty one.

        Args:
            collection: a name, a token of `scan_collections`, `OUTSIDE`, or None for the default.
            cursor: the last page's; None starts.
            limit: a hint, as in `scan_collections`.
            match: a glob that the keys' text must match (`stores.names.compile_glob`).
        """
        at_most = check_page(cursor, limit, match)
        scope = self._scope(collection)
        with self._edge(scope):
            await self.setup()
            return await self._scan_keys(collection=scope, cursor=cursor, limit=at_most, match=match)

    def close_cursor(self, cursor: bytes) -> None:
        """Let go of a scan that is not walked to its end."""
        self._close_cursor(cursor)

    async def describe(self, keys: Sequence[Key], *, collection: Collection = None) -> list[Description | None]:
        """Metadata of many keys without their values, in the keys' order; None for what is missing or expired."""
        listed = check_keys(keys)
        scope = self._scope(collection)
        for key in listed:
            self._check_key(key)
        with self._edge(scope):
            await self.setup()
            if not listed:
                return []
            found = await self._describe(collection=scope, keys=listed)
        now = utc_now()
        return [None if one is None or (one.expires_at is not None and one.expires_at <= now) else one for one in found]

    async def read(self, key: Key, *, collection: Collection = None, limit: int | None = None) -> Record | None:
        """One entry with its version, ours or foreign; None when it is missing or expired.

        Args:
            key: the key, or a token.
            collection: as in `scan_keys`.
            limit: bytes of foreign data that are enough; the record's `length` tells how many there are.
        """
        record = await self._read_any(self._scope(collection), key, limit)
        return None if record is None or record.is_expired else record

    async def _read_any(self, scope: Scope, key: Key, limit: int | None = None) -> Record | None:
        self._check_key(key)
        with self._edge(scope, key):
            await self.setup()
            return await self._read(collection=scope, key=key, limit=limit)

    # Edit

    async def edit(
        self,
        key: Key,
        value: Mapping[str, Any],
        *,
        collection: Collection = None,
        ttl: SupportsFloat | Keep | None = KEEP,
        expected: Expected = ANY,
    ) -> Version:
        """Write a value over what is there: its deadline stays unless a TTL is given, and so does the time it was made.

        Args:
            key: the key, or a token.
            value: a mapping with string keys.
            collection: as in `scan_keys`.
            ttl: seconds, None to live on, or KEEP.
            expected: the version to replace, or ABSENT to create only.

        Returns:
            The new version.

        Raises:
            ConflictError: another version is there; it carries that record, or None when the entry is gone.
            DeserializationError: what is there is not an entry of ours; `put` would replace it.
        """
        deadline = None if isinstance(ttl, Keep) else check_ttl(ttl)
        dump_json(value)
        scope = self._scope(collection)

        def change(record: Record | None) -> ManagedEntry:
            now = utc_now()
            if record is not None and record.entry is None:
                raise DeserializationError(
                    f"Key {shown(key)} in collection {shown(scope)} holds {record.kind!r}, not an entry: "
                    "an edit leaves it as it is."
                )
            if record is None:
                return ManagedEntry(value=value, created_at=now, expires_at=deadline_after(now, deadline))
            expires_at = record.expires_at if isinstance(ttl, Keep) else deadline_after(now, deadline)
            return ManagedEntry(value=value, created_at=record.created_at or now, expires_at=expires_at)

        return await self._change(scope, key, expected, change, creates=True)

    async def expire(
        self, key: Key, ttl: SupportsFloat | None, *, collection: Collection = None, expected: Expected = ANY
    ) -> bool:
        """Give an entry another TTL (None: it lives on); value and creation time stay. False when it is not there.

        Raises:
            ConflictError: another version than the expected one is there.
            UnsupportedError: it is foreign data and the backend has no TTL for it.
        """
        seconds = check_ttl(ttl)
        scope = self._scope(collection)
        record = await self._read_any(scope, key, limit=0)
        if record is None or record.is_expired:
            if expected is ANY or expected == ABSENT:
                return False
            raise self._conflict(scope, key, None)
        if record.entry is None:
            if expected is not ANY and record.version != expected:
                raise self._conflict(scope, key, record)
            with self._edge(scope, key):
                deadline = deadline_after(utc_now(), seconds)
                await self._expire_foreign(collection=scope, key=key, record=record, expires_at=deadline)
            return True

        def change(record: Record | None) -> ManagedEntry | None:
            if record is None or record.entry is None:
                return None
            entry = record.entry
            return ManagedEntry(value=entry.value, created_at=entry.created_at, expires_at=deadline_after(utc_now(), seconds))

        return await self._change(scope, key, expected, change) != ABSENT

    async def snapshot(self, key: Key, *, collection: Collection = None) -> Record | None:
        """The whole entry, foreign data too, in a form that `restore` can put back."""
        scope = self._scope(collection)
        self._check_key(key)
        with self._edge(scope, key):
            await self.setup()
            record = await self._snapshot(collection=scope, key=key)
        return None if record is None or record.is_expired else record

    async def restore(self, key: Key, record: Record, *, collection: Collection = None, expected: Expected = ANY) -> Version:
        """Put a snapshot's value, creation time and absolute deadline back.

        Raises:
            ConflictError: as `edit` does.
            UnsupportedError: it is foreign data of another kind of store, or only a part of it.
        """
        self._check_whole(record)
        return await self._change(self._scope(collection), key, expected, lambda _: record.entry or record, creates=True)

    @staticmethod
    def _check_whole(record: Record) -> None:
        if record.entry is None and len(record.body) != record.length:
            raise UnsupportedError(f"Only a whole record can be put back, and of this {record.kind!r} a part is missing.")

    async def replace(self, key: Key, seen: Record | None, new: Record | None, *, collection: Collection = None) -> Version:
        """Have a record (None: nothing) stand where `seen` (None: nothing) stood when it was read a moment ago.

        It does as `restore` and `delete` with that version, but does not read it once more. One of the two is a record.

        Raises:
            ConflictError: something else is there; what it is, it does not carry. Where nothing was `seen` that may also be an
                expired entry.
            UnsupportedError: as `restore` does.
        """
        scope = self._scope(collection)
        self._check_key(key)
        if new is not None:
            self._check_whole(new)
            self._check_new_collection(scope)
        with self._edge(scope, key):
            await self.setup()
            if new is not None and isinstance(scope, str):
                await self.setup_collection(collection=scope)
            entry, expected = new and (new.entry or new), ABSENT if seen is None else seen.version
            return await self._commit(collection=scope, key=key, new=entry, expected=expected)

    async def _delete_expected(self, scope: Scope, key: Key, expected: Version) -> bool:
        deleted = False

        def change(record: Record | None) -> None:
            nonlocal deleted
            deleted = record is not None

        await self._change(scope, key, expected, change)
        return deleted

    async def _change(
        self,
        scope: Scope,
        key: Key,
        expected: Expected,
        change: Callable[[Record | None], ManagedEntry | Record | None],
        *,
        creates: bool = False,
    ) -> Version:
        """Read, decide, commit against what was read; ABSENT when there is nothing to write and nothing was there."""
        if creates:
            self._check_new_collection(scope)
        for attempt in range(EDIT_ATTEMPTS):
            stored = await self._read_any(scope, key, CONFLICT_PART)
            live = None if stored is None or stored.is_expired else stored
            if expected is not ANY and expected != (live.version if live else ABSENT):
                raise self._conflict(scope, key, live)
            new = change(live)
            if new is None and live is None:
                return ABSENT
            with self._edge(scope, key):
                if creates and isinstance(scope, str):
                    await self.setup_collection(collection=scope)
                try:
                    return await self._commit(collection=scope, key=key, new=new, expected=stored.version if stored else ABSENT)
                except ConflictError:
                    # one of those who race always wins; that all of them do, they must not run in step
                    pause = random() * min(attempt / 1000, LONGEST_PAUSE)
            await asyncio.sleep(pause)
        raise self._conflict(scope, key, await self._read_any(scope, key, CONFLICT_PART))

    def _conflict(self, scope: Scope, key: Key, current: Record | None) -> ConflictError:
        happened = "is gone" if current is None else "was changed by somebody else"
        return ConflictError(f"Key {shown(key)} in collection {shown(scope)} {happened}.", current=current)
