"""Entries as files: a directory for each collection, `{key}.json` in it for each key, and a file about each collection.

    {data}/{collection}/{key}.json
    {metadata}/{collection}-info.json       the collection's own name, where the directory's is sanitized

- Nothing is read or written outside the data and metadata folders (`stores.backends.filetree_files`). Without a sanitization
  strategy a name must be able to be a file's.
- Where a collection lies follows from its name alone: what an info file says about directories is not trusted.
- A file that holds no entry is foreign data. Those that lie in no directory are outside collections.
- A commit looks and renames under a lock of this store's. Other programs do not know it, so compare-and-set holds among the
  users of one store only.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from stores.backends.filetree_files import Folder, Found, is_temporary
from stores.backends.filetree_names import (
    INFO,
    NAME_MAX,
    SUFFIX,
    Address,
    FileTreeV1CollectionSanitizationStrategy,
    FileTreeV1KeySanitizationStrategy,
    plain,
)
from stores.backends.filetree_records import Contents, expect, version_of
from stores.backends.filetree_scan import Scanner
from stores.batches import batched, made_in_turns, run_batched
from stores.coalesced import CoalescingStore
from stores.entry import ManagedEntry, dump_json, utc_now
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    InvalidKeyError,
    KeyValueStoreError,
    StoreClosedError,
    UnsupportedError,
)
from stores.lifecycle import Scope
from stores.locks import LoopLock
from stores.names import OUTSIDE, Key, Name, Page, Token, decode_name
from stores.records import ABSENT, Description, Expected, Record, Version
from stores.sanitization import SanitizationStrategy
from stores.serialization import SerializationAdapter
from stores.traits import Traits

__all__ = ["FileTreeStore", "FileTreeV1CollectionSanitizationStrategy", "FileTreeV1KeySanitizationStrategy"]

R = TypeVar("R")

CHUNK: Final = 64
THREADS: Final = 8
WRITTEN_TOGETHER: Final = 128
"""Files that are open at once while a batch is written."""
ABANDONED: Final = 3600.0
"""Seconds after which a temporary file's writer is taken for dead."""


class FileTreeStore(CoalescingStore):
    """A key-value store in a tree of JSON files that a person can read."""

    _asks_for_outside: ClassVar[bool] = True
    traits: ClassVar[Traits] = Traits(
        name="filetree",
        expiry="on read",
        compare_and_set="among clients",
        resumable_cursors=False,
        exact_keys=False,
        max_key_bytes=NAME_MAX - len(SUFFIX),
        max_collection_bytes=NAME_MAX - len(INFO),
        notes="Without a sanitization strategy, names must be able to be file names.",
    )
    _any_loop = True
    _errors: ClassVar[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
        OSError: KeyValueStoreError,
        IsADirectoryError: UnsupportedError,
    }

    def __init__(
        self,
        *,
        data_directory: Path | str,
        metadata_directory: Path | str | None = None,
        default_collection: str | None = None,
        serialization_adapter: SerializationAdapter | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        auto_create: bool = True,
    ) -> None:
        """Name the directories; nothing is opened yet.

        Args:
            data_directory: where collections have their directories.
            metadata_directory: where files about collections are; the data directory when None.
            default_collection: used where no collection is given; "default_collection" when None.
            serialization_adapter: the form of entries.
            key_sanitization_strategy: how keys become file names; keys with a separator are refused when None.
            collection_sanitization_strategy: how collections become directory names; refused likewise when None.
            auto_create: whether writes may make the directories; otherwise they must be there.

        Raises:
            ValueError: a directory is missing and `auto_create` is false.
        """
        super().__init__(
            default_collection=default_collection,
            serialization_adapter=serialization_adapter,
            key_sanitization_strategy=key_sanitization_strategy,
            collection_sanitization_strategy=collection_sanitization_strategy,
        )
        self._data = Folder(Path(data_directory))
        self._metadata = Folder(Path(metadata_directory or data_directory))
        self._auto_create = auto_create
        for folder in (self._data, self._metadata):
            self._check_there(folder.path)
        self._threads: ThreadPoolExecutor | None = None
        self._contents = Contents(self._adapter)
        self._batch = LoopLock()  # two batches at once only wait for each other's syncs
        self._scanner = Scanner(self._data, self._metadata, self._key_strategy, self._collection_strategy)

    @property
    def location(self) -> str:
        """The data directory."""
        return str(self._data.path)

    # Life

    async def _setup(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kv-filetree")
        await self._do(self._check_openable)

    def _check_openable(self) -> None:
        with suppress(FileNotFoundError), self._data.directory(None):
            pass  # whether it can be opened is all that was asked

    async def _missing(self) -> str | None:
        return None if await asyncio.to_thread(self._data.path.is_dir) else f"folder {self._data.path}"

    async def _close(self) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        self._scanner.close()

    def _forget(self) -> None:
        self._threads = None  # they are not in this process, though the locks that they held are
        self._data, self._metadata = Folder(self._data.path), Folder(self._metadata.path)
        self._scanner = Scanner(self._data, self._metadata, self._key_strategy, self._collection_strategy)

    async def _setup_collection(self, *, collection: str) -> None:
        await self._do(partial(self._make, collection))

    def _make(self, scope: Scope) -> None:
        """Make what a write to the collection needs and is not there."""
        directory = self._directory(scope)
        for folder, name in ((self._data, None), (self._metadata, None), (self._data, directory)):
            if not folder.where(name).is_dir():
                self._check_there(folder.where(name))
                folder.make(name)
        if directory is None or isinstance(scope, Token):
            return
        path = str(self._data.where(directory))
        about = dump_json({"collection": scope, "created_at": utc_now().isoformat(), "directory": path, "version": 1})
        with self._metadata.directory(None) as descriptor:
            if self._metadata.peek(directory + INFO, descriptor, self._metadata.path) is None:
                self._metadata.write([directory + INFO], [about.encode()], descriptor, self._metadata.path)

    def _check_there(self, path: Path) -> None:
        if not self._auto_create and not path.is_dir():
            raise ValueError(f"The directory {path} does not exist; make it, or set auto_create.")

    def _begin(self, work: Callable[[], R]) -> Future[R]:
        if self._threads is None:  # closed while the caller was on its way here
            raise StoreClosedError(f"The filetree store at {self.location} was closed.")
        return self._threads.submit(work)

    async def _do(self, work: Callable[[], R]) -> R:
        return await asyncio.wrap_future(self._begin(work))

    async def _many_addresses(
        self, work: Callable[[Sequence[Address]], Sequence[R]], collection: Scope, keys: Sequence[Key]
    ) -> list[R]:
        """Work on many keys in chunks, some at once; results in their order."""
        addresses = [self._address(collection, key) for key in keys]
        if len(addresses) == 1:
            return list(await self._do(partial(work, addresses)))
        return await run_batched(lambda chunk: self._do(partial(work, chunk)), addresses, size=CHUNK, limit=THREADS)

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        if isinstance(exc, OSError) and exc.errno == errno.ENAMETOOLONG:
            return InvalidKeyError(f"The file system at {self.location} has no room for so long a name.")
        return super()._translate(exc, scope, key)

    # Names

    def _directory(self, scope: Scope) -> str | None:
        if scope == OUTSIDE:
            return None
        if isinstance(scope, Token):
            return plain(decode_name(scope.value.removesuffix(b"/")))
        directory = plain(self._sanitize_collection(scope))
        if directory.endswith(INFO) and self._metadata.path == self._data.path:
            raise InvalidKeyError(f"Collection {scope!r} ends with {INFO}, as the files about collections do.")
        return directory

    def _address(self, scope: Scope, key: Key) -> Address:
        """The one mapping of a name to its file."""
        if isinstance(key, Token):
            return Address.parse(key.value)
        directory = self._directory(scope)
        return Address(directory, plain(key if directory is None else self._sanitize_key(key) + SUFFIX))

    # Entries

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        return await self._many_addresses(self._get, collection, keys)

    def _get(self, addresses: Sequence[Address]) -> list[ManagedEntry | None]:
        entries: list[ManagedEntry | None] = []
        for descriptor, where, names in self._opened(addresses):
            for name in names:
                found = None if descriptor is None else self._data.look(name, descriptor, where, limit=None)
                try:
                    entries.append(None if found is None else self._contents.entry(found))
                except DeserializationError as exc:
                    raise DeserializationError(f"{where / name} holds no entry. {exc}") from exc
        return entries

    def _opened(self, addresses: Sequence[Address]) -> Iterator[tuple[int | None, Path, list[str]]]:
        """Each directory opened once: its descriptor, None when it is missing; its path; the files asked for."""
        for directory, group in groupby(addresses, key=lambda address: address.directory):
            names = [address.file for address in group]
            try:
                with self._data.directory(directory) as descriptor:
                    yield descriptor, self._data.where(directory), names
            except FileNotFoundError:
                yield None, self._data.where(directory), names

    async def _put_entries(self, *, collection: Scope, keys: Sequence[Key], entries: Sequence[ManagedEntry]) -> None:
        def pair(key: Key, entry: ManagedEntry) -> tuple[Address, bytes]:
            return self._address(collection, key), self._adapter.dump_json(entry).encode()

        pairs = await made_in_turns(pair, keys, entries)
        for chunk in batched(pairs, WRITTEN_TOGETHER):
            async with self._batch:
                await self._do(partial(self._put, collection, chunk))

    def _put(self, scope: Scope, pairs: Sequence[tuple[Address, bytes]]) -> None:
        for directory, group in groupby(pairs, key=lambda pair: pair[0].directory):
            chunk = list(group)
            names, contents = [address.file for address, _ in chunk], [content for _, content in chunk]
            with self._writable(scope, directory) as descriptor:
                self._data.write(names, contents, descriptor, self._data.where(directory))

    @contextmanager
    def _writable(self, scope: Scope, directory: str | None) -> Iterator[int]:
        """A directory's descriptor; what somebody removed since the collection was set up is made again."""
        if not self._data.where(directory).is_dir():
            self._make(scope)
        with self._data.directory(directory) as descriptor:
            yield descriptor

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        [deleted] = await self._do(partial(self._delete, [self._address(collection, key)]))
        return deleted

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        return sum(await self._many_addresses(self._delete, collection, keys))

    def _delete(self, addresses: Sequence[Address]) -> list[bool]:
        deleted: list[bool] = []
        for descriptor, where, names in self._opened(addresses):
            for name in names:
                found = None if descriptor is None else self._data.peek(name, descriptor, where)
                removed = descriptor is not None and found is not None and self._data.remove(name, descriptor)
                deleted.append(removed and not self._contents.has_ended(found))
            if descriptor is not None:
                os.fsync(descriptor)
        return deleted

    async def cull(self) -> None:
        """Remove every expired entry, and what writers that died left behind."""
        with self._edge():
            await self.setup()
            for directory in await self._do(self._scanner.directories):
                await self._do(partial(self._cull, directory))

    def _cull(self, directory: str) -> None:
        where = self._data.where(directory)
        with self._data.directory(directory) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                if is_temporary(entry.name):
                    with suppress(FileNotFoundError):
                        if entry.stat(follow_symlinks=False).st_mtime < time.time() - ABANDONED:
                            self._data.remove(entry.name, descriptor)
                elif entry.is_file(follow_symlinks=False) and self._has_ended(entry.name, descriptor, where):
                    with suppress(ConflictError):
                        self._data.remove(entry.name, descriptor, partial(self._expect_ended, entry.name, descriptor, where))
            os.fsync(descriptor)

    def _has_ended(self, name: str, descriptor: int, where: Path) -> bool:
        return self._contents.has_ended(self._data.peek(name, descriptor, where))

    def _expect_ended(self, name: str, descriptor: int, where: Path) -> None:
        if not self._has_ended(name, descriptor, where):
            raise ConflictError

    # Browse

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        return await self._page(partial(self._scanner.collections, cursor, limit))

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        return await self._page(partial(self._scanner.keys, self._directory(collection), cursor, limit, match))

    async def _page(self, work: Callable[[], Page[Name]]) -> Page[Name]:
        """A page of a walk, which ends where nobody waits for the page any more."""
        making = self._begin(work)
        try:
            return await asyncio.wrap_future(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._scanner.forget)
            raise

    def _close_cursor(self, cursor: bytes) -> None:
        self._scanner.drop(cursor)

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        return await self._many_addresses(self._descriptions, collection, keys)

    def _descriptions(self, addresses: Sequence[Address]) -> list[Description | None]:
        described: list[Description | None] = []
        for descriptor, where, names in self._opened(addresses):
            for name in names:
                found = None if descriptor is None else self._data.peek(name, descriptor, where)
                described.append(None if found is None else self._contents.describe(found))
        return described

    # Edit

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        return await self._do(partial(self._record, self._address(collection, key), limit))

    def _record(self, address: Address, limit: int | None) -> Record | None:
        [found] = [
            None if descriptor is None else self._data.peek(name, descriptor, where, whole_json=True)
            for descriptor, where, [name] in self._opened([address])
        ]
        return None if found is None else self._contents.record(found, limit, partial(self._more, address, limit))

    def _more(self, address: Address, limit: int | None) -> Found | None:
        with self._data.directory(address.directory) as descriptor:
            return self._data.look(address.file, descriptor, self._data.where(address.directory), limit=limit)

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        address = self._address(collection, key)
        if isinstance(new, Record):
            if new.kind != "file":
                raise UnsupportedError(f"What is {new.kind!r} cannot be stored as a file.")
            return await self._do(partial(self._swap, collection, address, new.body, expected))
        content = None if new is None else self._adapter.dump_json(new).encode()
        return await self._do(partial(self._swap, collection, address, content, expected))

    def _swap(self, scope: Scope, address: Address, content: bytes | None, expected: Expected) -> Version:
        directory, name = address
        where = self._data.where(directory)
        if content is None and not where.is_dir():
            return expect(ABSENT, expected)
        with self._writable(scope, directory) as descriptor:

            def look() -> Version:
                return version_of(self._data.peek(name, descriptor, where, whole_json=True))

            if content is None:
                self._data.remove(name, descriptor, lambda: expect(look(), expected))
                os.fsync(descriptor)
                return ABSENT
            self._data.swap(name, content, descriptor, lambda: expect(look(), expected))
            return look()
