"""Entries in a directory of diskcache: rows of an SQLite database under `collection::key`, large values in files beside it.

- All of it happens in one thread (`stores.backends.disk_database`); what is asked for together goes there together. What was
  read lately, and nobody has changed since, is answered without it (`stores.backends.disk_recent`).
- diskcache's `expire_time` wins over the envelope's `expires_at` where it is set; writes set both.
- Every other row is foreign data: keys that are numbers, bytes or pickles, keys without `::`, values that are no entries.
- Looking makes no directory and no database, and an existing cache keeps its settings.
"""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar, overload

from stores.backends.disk_database import Database
from stores.backends.disk_errors import ERRORS, is_no_cache, told_by_code
from stores.backends.disk_places import Place, collections_page, keys_page, outside_page, prefix_of
from stores.backends.disk_records import HEAD, Contents, Load, restored
from stores.backends.disk_rows import Row, tag_of
from stores.backends.worker import Access, Worker
from stores.base import BaseContextManagerStore, BaseStore
from stores.batches import made_in_turns
from stores.entry import ManagedEntry, utc_now
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    Fault,
    InvalidKeyError,
    ReadOnlyError,
    StoreClosedError,
)
from stores.joined import SEPARATOR
from stores.lifecycle import Scope
from stores.names import OUTSIDE, Collection, Key, Name, Page, Token
from stores.records import ABSENT, ANY, ASK, Ask, DatedText, Description, Expected, Record, Version
from stores.traits import Traits

if TYPE_CHECKING:
    from diskcache import Cache

__all__ = ["DiskStore"]

R = TypeVar("R")

CULL_STEP: Final = 500
LARGEST: Final = 2**63 - 1
_others: Final[list[Database]] = []
"""Of the processes from which this one was forked, in which SQLite may not even close what they opened."""
TURN: Final = 32
"""Entries that the event loop reads without the thread before other tasks have their turn."""


class DiskStore(BaseContextManagerStore, BaseStore):
    """A key-value store in a directory, in the format of diskcache."""

    _asks_for_outside: ClassVar[bool] = True
    keeps_at_hand = True
    traits: ClassVar[Traits] = Traits(
        name="disk",
        foreign_ttl=True,
        atomic_batches=True,
        binary_keys=False,
        notes="Expired rows leave as new ones are written, a few at a time; `cull` removes them all.",
    )
    _any_loop = True
    _joins_names = True
    _errors = ERRORS

    @overload
    def __init__(self, *, disk_cache: Cache, default_collection: str | None = None, auto_create: bool = True) -> None: ...

    @overload
    def __init__(
        self,
        *,
        directory: Path | str,
        max_size: int | None = None,
        default_collection: str | None = None,
        auto_create: bool = True,
        read_only: bool = False,
        timeout: float = 60.0,
    ) -> None: ...

    def __init__(
        self,
        *,
        disk_cache: Cache | None = None,
        directory: Path | str | None = None,
        max_size: int | None = None,
        default_collection: str | None = None,
        auto_create: bool = True,
        read_only: bool = False,
        timeout: float = 60.0,
    ) -> None:
        """Name the directory; nothing is opened yet.

        Args:
            disk_cache: a diskcache Cache to use; it stays open when the store closes.
            directory: where the cache is, or is made at the first write.
            max_size: bytes from which the least recently stored entries leave; without it a new cache never evicts. An
                existing cache keeps its own policy, and its limit changes for what is written through this store only.
            default_collection: used where no collection is given; "default_collection" when None.
            auto_create: whether the first write may make the directory; otherwise it must be there.
            read_only: refuse every write and open the database read-only.
            timeout: seconds to wait for another process that is writing.

        Raises:
            ValueError: not one of `disk_cache` and `directory` was given, the directory is missing and `auto_create` is false,
                or max_size is no possible number of bytes.
        """
        if (disk_cache is None) == (directory is None):
            raise ValueError("DiskStore takes either disk_cache or directory.")
        if not 0 <= (max_size or 0) <= LARGEST:
            raise ValueError(f"max_size is a number of bytes from 0 to {LARGEST}, not {max_size!r}.")
        given = disk_cache.directory if disk_cache is not None else str(Path(directory or ""))
        # diskcache expands its directory like this, and both must look in one place
        folder = Path(os.path.expandvars(os.path.expanduser(given)))  # noqa: PTH111 - as said
        if not auto_create and not folder.is_dir():
            raise ValueError(f"The directory {folder} does not exist; make it, or set auto_create.")
        super().__init__(default_collection=default_collection, client_provided_by_user=disk_cache is not None)
        self._directory = folder
        self._read_only = read_only
        self._make_database = partial(
            Database, cache=disk_cache, directory=folder, max_size=max_size, read_only=read_only, timeout=timeout
        )
        self._database = self._make_database()
        self._contents = Contents(self._database, self._adapter)
        self._worker: Worker | None = None
        self._forgotten: weakref.finalize[[Callable[[], None]], DiskStore] | None = None
        self._read_on = 0
        """Entries since other tasks last had their turn."""

    @property
    def location(self) -> str:
        """The directory."""
        return str(self._directory)

    # Life

    async def _setup(self) -> None:
        self._worker = Worker(self._database.run, name="kv-disk")
        # the thread, which outlives a store that nobody closes, would keep the database open
        self._forgotten = weakref.finalize(self, self._worker.abandon, self._database.close)
        self._forgotten.atexit = False
        await self._worker.do(self._database.open)

    async def _missing(self) -> str | None:
        is_there = await asyncio.to_thread((self._directory / "cache.db").exists)
        return None if is_there else f"a cache in {self._directory}"

    async def _close(self) -> None:
        if self._worker is not None:
            worker, self._worker = self._worker, None
            if self._forgotten is not None:
                self._forgotten.detach()
            await worker.close(self._database.close)

    def _forget(self) -> None:
        _others.append(self._database)
        if self._forgotten is not None:
            self._forgotten.detach()
        self._worker = None  # its thread is not in this process
        self._database = self._make_database()
        self._contents = Contents(self._database, self._adapter)

    async def _do(self, work: Callable[[], R], access: Access = Access.READ) -> R:
        if access:
            self._check_writable()
        if self._worker is None:  # closed while the caller was on its way here
            raise StoreClosedError(f"The disk store at {self.location} was closed.")
        return await self._worker.do(work, access)

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError(f"The disk store at {self.location} was opened read-only.")

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        return told_by_code(exc, self.location) or super()._translate(exc, scope, key)

    def _fault(self, exc: BaseException) -> Fault | None:
        return Fault.FILE if is_no_cache(exc) else super()._fault(exc)

    # Names

    def _place(self, collection: Scope, key: Key) -> Place:
        """The one mapping of a name to its row."""
        if isinstance(key, Token):
            return Place.parse(key.value)
        if collection != OUTSIDE:
            return Place(prefix_of(collection) + key, 1)
        place = Place(key, 1)
        if place.split is not None:
            raise InvalidKeyError(f"{key!r} lies in a collection: it contains {SEPARATOR!r}.")
        return place

    def _places(self, collection: Scope, keys: Sequence[Key]) -> list[Place]:
        """As `_place` for each."""
        prefix = "" if collection == OUTSIDE else prefix_of(collection)
        return [Place(prefix + key, 1) if prefix and type(key) is str else self._place(collection, key) for key in keys]

    def _names(self, collection: Scope, key: Key) -> tuple[str | None, str]:
        """Collection and key as an entry names them."""
        if isinstance(collection, str) and isinstance(key, str):
            return collection, key
        place = self._place(collection, key)
        return place.split or (None, place.text)

    def _dump(self, collection: Scope, key: Key, entry: ManagedEntry) -> str:
        in_collection, named = self._names(collection, key)
        return self._adapter.dump_json(entry, key=named, collection=in_collection)

    # Entries

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        [entry] = await self._get_managed_entries(collection=collection, keys=[key])
        return entry

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        return await self._look_up(self._places(collection, keys), self._contents.entry)

    async def _get_texts(self, *, collection: Scope, keys: Sequence[Key]) -> list[DatedText]:
        return await self._look_up(self._places(collection, keys), self._contents.text)

    def text_at_hand(self, key: Key, *, collection: Collection = None) -> bytes | None:
        """The text, if it was read or written lately."""
        found = self.texts_at_hand((key,), collection=collection)
        return found[0] if found else None

    def texts_at_hand(self, keys: Sequence[Key], *, collection: Collection = None) -> list[bytes] | None:
        """The texts, if all are known."""
        scope = self._plain(keys, collection)
        _, known = (None, None) if scope is None else self._database.recent.find(self._places(scope, keys))
        texts: list[bytes] = []
        for one in known or ():
            if one is None:
                return None
            try:
                text, until = one.dated or self._contents.text(one, one.text)
            except DeserializationError:
                return None
            if until is not None and until <= utc_now():
                return None
            texts.append(text)
        return texts or None

    def texts_soon(
        self, keys: Sequence[Key], *, collection: Collection = None, answer: Callable[[list[bytes | None] | Ask], None]
    ) -> bool:
        """Have the rows read, where the thread has nothing else to do: while it is busy, reads had better go together."""
        worker, scope = self._worker, self._plain(keys, collection)
        if worker is None or worker.is_busy or scope is None or self._access_of_get:
            return False
        places = self._places(scope, keys)
        asked, _ = self._database.recent.find(places)
        reading = worker.do(partial(self._contents.look_up, places, self._contents.text, asked))
        reading.add_done_callback(partial(_texts_came, answer))
        return True

    @property
    def _access_of_get(self) -> Access:
        return Access.CHANGE if self._database.touches else Access.READ

    async def _look_up(self, places: Sequence[Place], load: Load[R]) -> list[R | None]:
        """What is loaded from each place; None where nothing is."""
        asked, known = self._database.recent.find(places)
        if known is None:
            return await self._do(partial(self._contents.look_up, places, load, asked), self._access_of_get)
        found: list[R | None] = []
        for start in range(0, len(places), TURN):
            part = places[start : start + TURN]
            self._read_on += len(part)
            if self._read_on > TURN:
                self._read_on = len(part)
                await asyncio.sleep(0)  # who reads in a loop, perhaps until another task writes, would never wait
            found += self._contents.loaded(part, known[start : start + TURN], load)
        return found

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        place, text = self._place(collection, key), self._dump(collection, key, managed_entry)
        await self._do(partial(self._database.write, {place: text}, _epoch(managed_entry.expires_at)), Access.CREATE)

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
        texts = await made_in_turns(partial(self._dump, collection), keys, managed_entries)
        placed = dict(zip(self._places(collection, keys), texts, strict=True))
        await self._do(partial(self._database.write, placed, _epoch(expires_at)), Access.CREATE)

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        return await self._delete_managed_entries(keys=[key], collection=collection) == 1

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        self._check_writable()
        places = self._places(collection, keys)

        def is_there() -> bool:
            return any(row is not None for row in self._database.rows(places, head=1))

        # diskcache writes its settings when it is opened for the first change: not for one that changes nothing
        if not self._database.is_opened_for_changes and not await self._do(is_there):
            return 0

        def delete() -> int:
            now = time.time()
            found = {row.rowid: row for row in self._database.rows(places, head=1) if row is not None}
            self._database.delete(list(found.values()))
            return sum(row.expire_time is None or row.expire_time > now for row in found.values())

        return await self._do(delete, Access.CHANGE)

    async def cull(self) -> None:
        """Remove every expired entry."""
        with self._edge():
            await self.setup()
            while await self._do(partial(self._database.delete_expired, CULL_STEP), Access.CHANGE):
                continue

    # Browse

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        return await self._do(partial(collections_page, self._database.keys, cursor, limit))

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        if collection == OUTSIDE:
            return await self._do(partial(outside_page, self._database.keys, cursor, limit, match))
        return await self._do(partial(keys_page, self._database.keys, collection, cursor, limit, match))

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        places = self._places(collection, keys)
        return await self._do(lambda: [self._contents.description(row) for row in self._database.rows(places, head=HEAD)])

    # Edit

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        return await self._do(partial(self._contents.record, self._place(collection, key), limit))

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        place = self._place(collection, key)
        value: str | bytes | float = b""
        mode = None
        if isinstance(new, ManagedEntry):
            value = self._dump(collection, key, new)
        elif new is not None:
            value, mode = restored(new)

        def commit() -> Version:
            row = self._expected(place, expected)
            if new is None:
                if row is not None:
                    self._database.delete([row])
                return ABSENT
            tag = tag_of(new.version) if isinstance(new, Record) else None if row is None else row.tag
            self._database.write({place: value}, _epoch(new.expires_at), tag=tag, mode=mode)
            written = self._database.row(place)
            return ABSENT if written is None else written.version

        return await self._do(commit, Access.CHANGE if new is None else Access.CREATE)

    def _expected(self, place: Place, expected: Expected) -> Row | None:
        row = self._database.row(place)
        if expected is not ANY and expected != (ABSENT if row is None else row.version):
            raise ConflictError
        return row

    async def _expire_foreign(self, *, collection: Scope, key: Key, record: Record, expires_at: datetime | None) -> None:
        place = self._place(collection, key)

        def expire() -> None:
            row = self._expected(place, record.version)
            if row is not None:
                self._database.expire(row, _epoch(expires_at))

        await self._do(expire, Access.CHANGE)


def _epoch(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _texts_came(answer: Callable[[list[bytes | None] | Ask], None], reading: asyncio.Future[list[DatedText]]) -> None:
    if reading.cancelled() or reading.exception() is not None:
        answer(ASK)
        return
    now = utc_now()
    answer([None if one is None or (one[1] is not None and one[1] <= now) else one[0] for one in reading.result()])
