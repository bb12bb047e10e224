"""What DiskStore does in its thread: the SQLite database and the value files of a diskcache directory.

- One hop is one transaction. If it fails, what the hop asked for is done again piece by piece, so that a failure reaches only
  its owner.
- diskcache itself makes the layout, stores values, and evicts; it is opened for the first write and not before, because opening
  it writes. Its settings stay those of the directory. Until then a connection of our own reads.
- Rows are read with direct SQL. Nothing is ever unpickled: a pickle is bytes here.
- A file name in a row is a claim: one that leads out of the directory is neither read nor removed.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from stores.backends.disk_places import Place
from stores.backends.disk_recent import Recent, State
from stores.backends.disk_rows import (
    HEAD,
    IN_ONE,
    ROW,
    WRITE,
    Inline,
    Row,
    bind,
    decode,
    inline,
    is_plain,
    marks,
    select,
    to_bytes,
)
from stores.backends.worker import Access, Job
from stores.batches import batched
from stores.errors import BaseKeyValueError, ReadOnlyError, StoreSetupError

if TYPE_CHECKING:
    from diskcache import Cache

__all__ = ["Database"]

FILE: Final = "cache.db"


class _FileGoneError(Exception):
    """A value's file is not there: perhaps the row was replaced meanwhile, so look at it again."""


class Database:
    """A diskcache directory. Everything but the constructor and the properties belongs to the store's thread."""

    def __init__(self, *, cache: Cache | None, directory: Path, max_size: int | None, read_only: bool, timeout: float) -> None:
        """Open nothing yet; see DiskStore for the arguments."""
        self.directory = directory
        self.touches = False
        """Whether a `get` is noted in the database: an eviction policy that goes by use, or statistics."""
        self._path = directory / FILE
        self.recent = Recent(self._path)
        self._given = cache
        self._max_size = max_size
        self._read_only = read_only
        self._timeout = timeout
        self._cache: Cache | None = None
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._writing = False
        self._final = False
        self._writes = 0
        self._made: list[str | None] = []
        self._gone: list[str | None] = []
        self._changed: dict[Place, Inline | None] = {}
        """What a transaction leaves at the places that it changes; None where that is not known, or nothing."""

    @property
    def is_opened_for_changes(self) -> bool:
        """Whether diskcache itself has been opened."""
        return self._cache is not None

    # Hops

    def run(self, jobs: Sequence[Job]) -> None:
        """Do a hop's jobs in one transaction."""
        try:
            with self._transaction(max(job.access for job in jobs)):
                for job in jobs:
                    job.error = None
                    try:
                        job.result = job.work()
                    except BaseKeyValueError as exc:  # raised before it changed anything
                        job.error = exc
        except _FileGoneError:
            self._run_each(jobs, final=True)
        except Exception as exc:  # noqa: BLE001 - it goes to whom it concerns
            if len(jobs) == 1 or _is_locked(exc):
                for job in jobs:
                    job.error = exc
            else:
                self._run_each(jobs, final=False)

    def _run_each(self, jobs: Sequence[Job], *, final: bool) -> None:
        self._final = final
        try:
            for job in jobs:
                self.run([job])
        finally:
            self._final = False

    @contextmanager
    def _transaction(self, access: Access) -> Iterator[None]:
        connection = self._opened(access)
        if connection is None:
            yield
            return
        self._made, self._gone, self._writes, self._changed = [], [], 0, {}
        connection.execute("BEGIN IMMEDIATE" if access else "BEGIN")
        self._writing = access > Access.READ
        begun = self.recent.begin(connection) if self._writing else None
        try:
            yield
            evicted = self._evict(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._remove(self._made)
            raise
        finally:
            self._writing = False
        if begun is not None and not evicted:
            self.recent.go_on(begun, connection, self._changed)
        self._remove(self._gone)

    def _evict(self, connection: sqlite3.Connection) -> bool:
        """Let diskcache remove a few expired and surplus rows for each row written, as its own `set` does; whether it did."""
        evicted = False
        for _ in range(self._writes):
            before = connection.total_changes
            assert self._cache is not None  # noqa: S101 - writes were counted
            self._cache._cull(time.time(), connection.execute, self._gone.append)  # noqa: SLF001 - diskcache 5 is final
            if connection.total_changes == before:
                break
            evicted = True
        return evicted

    # Opening

    def open(self) -> None:
        """Open what is there for reading. Nothing there is an empty store."""
        self._opened(Access.READ)

    def close(self) -> None:
        """Close the thread's connection."""
        self.recent.stop()
        if self._cache is not None:
            self._cache.close()
        elif self._connection is not None:
            self._connection.close()
        self._cache = self._connection = self._identity = None

    def _opened(self, access: Access) -> sqlite3.Connection | None:
        if access and self._read_only:
            raise ReadOnlyError(f"The disk store at {self.directory} was opened read-only.")
        identity = self._identify()
        if identity != self._identity:  # removed or replaced under an open connection: writes to it would be lost
            self.close()
        if self._connection is None and identity is not None and self._given is None:
            self._open_reader(identity)
        wanted = self._given is not None or access == Access.CREATE or (access and self._connection is not None)
        if wanted and self._cache is None:
            self._open_cache()
        return self._connection

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _open_reader(self, identity: tuple[int, int]) -> None:
        path = os.fsencode(self._path.absolute())  # of any bytes; two slashes at its beginning are no host
        uri = f"file://{quote(path)}?mode={'ro' if self._read_only else 'rw'}"
        if not os.access(self.directory, os.W_OK) and not self._path.with_name(FILE + "-wal").exists():
            uri += "&immutable=1"  # SQLite cannot make the files that it needs beside a database that may change
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=self._timeout)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ours = tables >= {"Cache", "Settings"}
            settings = dict(connection.execute("SELECT key, value FROM Settings")) if ours else {}
        except BaseException:
            connection.close()
            raise
        if ours:
            self._adopt(connection, identity, settings)
            return
        connection.close()
        if tables - {"Settings"}:  # with no more than that, another process is just making it, or could not make all of it
            raise StoreSetupError(f"{self._path} is an SQLite database, but not diskcache's.")

    def _open_cache(self) -> None:
        from diskcache import Cache, Disk  # noqa: PLC0415 - a driver is loaded when its store is used

        cache = self._given
        if cache is None:
            if self._connection is not None:
                names = {name for (name,) in self._connection.execute("SELECT key FROM Settings")}
                self.recent.stop()
                self._connection.close()
                self._connection = None
                if {name for name in names if name.startswith("disk_")} - {"disk_min_file_size", "disk_pickle_protocol"}:
                    raise StoreSetupError(f"The cache in {self.directory} was made with a Disk class of its own.")
                cache = Cache(str(self.directory), timeout=self._timeout)
                if self._max_size:
                    cache.reset("size_limit", self._max_size, update=False)
            elif self._max_size:
                cache = Cache(str(self.directory), timeout=self._timeout, size_limit=self._max_size)
            else:
                cache = Cache(str(self.directory), timeout=self._timeout, eviction_policy="none")
        if any(getattr(type(cache.disk), name) is not getattr(Disk, name) for name in ("put", "get", "store", "fetch")):
            raise StoreSetupError(f"The cache in {self.directory} has a Disk class of its own, which DiskStore cannot read.")
        self._cache = cache
        settings = {"eviction_policy": cache.eviction_policy, "statistics": cache.statistics}
        self._adopt(cache._con, self._identify(), settings)  # noqa: SLF001 - this thread's own connection

    def _adopt(self, connection: sqlite3.Connection, identity: tuple[int, int] | None, settings: dict[str, Any]) -> None:
        connection.text_factory = decode
        self._connection, self._identity = connection, identity
        by_use = settings.get("eviction_policy") in ("least-recently-used", "least-frequently-used")
        self.touches = not self._read_only and (by_use or bool(settings.get("statistics")))
        if not self.touches:
            self.recent.watch(connection, identity)

    # Rows

    def keep(self, asked: State | None, places: Sequence[Place], rows: Sequence[Row | None]) -> None:
        """Keep what was read, unless this very transaction may have written it, and not yet committed it."""
        if not self._writing:
            self.recent.keep(asked, places, rows)

    def row(self, place: Place, *, head: int | None = None) -> Row | None:
        """The row at a place, of a large value in its column only the first `head` characters."""
        if self._connection is None:
            return None
        key, bound = bind(place.key)
        columns = ROW if head is None else HEAD.format(head=head)
        found = self._connection.execute(f"{columns} WHERE key = {key} AND raw = ?", (bound, place.raw)).fetchone()
        return None if found is None else Row._make(found)

    def rows(self, places: Sequence[Place], *, head: int | None = None) -> list[Row | None]:
        """As `row` for each, in their order."""
        if self._connection is None or len(places) == 1:
            return [self.row(place, head=head) for place in places]
        columns = ROW if head is None else HEAD.format(head=head)
        plain = {place.key for place in places if is_plain(place)}
        found: dict[Any, Row] = {}
        for keys in batched(list(plain), IN_ONE):
            query = f"{columns} WHERE raw = 1 AND key IN ({marks(keys)})"
            found.update({row[-1]: Row._make(row) for row in select(self._connection, query, keys)})
        return [
            found.get(place.key) if place.raw == 1 and place.key in plain else self.row(place, head=head) for place in places
        ]

    def content(self, row: Row, limit: int | None = None) -> bytes | None:
        """The value's bytes, numbers as text; None when its file is gone."""
        if row.filename is None:
            return to_bytes(row.value)[:limit]
        try:
            with self._file(row.filename).open("rb") as file:
                return file.read() if limit is None else file.read(limit)
        except FileNotFoundError:
            if self._final or self._writing:
                return None
            raise _FileGoneError from None

    def keys(self, after: Place | None, before: str | bytes | None, limit: int) -> list[tuple[Place, float | None]]:
        """Places and their expiry in SQLite's order, a range of its index."""
        if self._connection is None:
            return []
        where, bounds = ["1"], []
        if after is not None:
            key, bound = bind(after.key)
            where.append(f"(key, raw) > ({key}, ?)")
            bounds += [bound, after.raw]
        if before is not None:
            key, bound = bind(before)
            where.append(f"key < {key}")
            bounds.append(bound)
        query = f"SELECT key, raw, expire_time FROM Cache WHERE {' AND '.join(where)} ORDER BY key, raw LIMIT ?"  # noqa: S608 - all are placeholders
        return [(Place(key, raw), expires) for key, raw, expires in self._connection.execute(query, (*bounds, limit))]

    def touch(self, rows: Sequence[Row | None]) -> None:
        """Note a `get` as diskcache does; in a transaction that writes, else not at all."""
        if not (self.touches and self._writing) or self._connection is None or self._cache is None:
            return
        found = [row.rowid for row in rows if row is not None]
        if self._cache.eviction_policy == "least-recently-used":
            now = time.time()
            self._connection.executemany("UPDATE Cache SET access_time = ? WHERE rowid = ?", [(now, rowid) for rowid in found])
        elif self._cache.eviction_policy == "least-frequently-used":
            query = "UPDATE Cache SET access_count = access_count + 1 WHERE rowid = ?"
            self._connection.executemany(query, [(rowid,) for rowid in found])
        if self._cache.statistics:
            query = "UPDATE Settings SET value = value + ? WHERE key = ?"
            self._connection.executemany(query, [(len(found), "hits"), (len(rows) - len(found), "misses")])

    # Writing

    def write(
        self,
        values: Mapping[Place, str | bytes | float],
        expire_time: float | None,
        *,
        tag: Any = None,
        mode: int | None = None,
    ) -> None:
        """Store values over whatever is there; `mode` where it is not the one of the value's type."""
        assert self._connection is not None and self._cache is not None  # noqa: S101, PT018 - the transaction writes
        self._gone += self._filenames(list(values))
        self._writes += len(values)
        store, now = self._cache.disk.store, time.time()
        records: dict[str, list[tuple[Any, ...]]] = {}
        for place, value in values.items():
            size, stored_mode, filename, column = store(value, False)
            self._made.append(filename)
            key, bound = bind(place.key)
            kept = stored_mode if mode is None else mode
            records.setdefault(key, []).append((bound, place.raw, now, expire_time, now, tag, size, kept, filename, column))
            self._changed[place] = inline(kept, filename, column, expire_time)
        for key, written in records.items():
            self._connection.executemany(WRITE.format(key=key), written)

    def _filenames(self, places: Sequence[Place]) -> list[str]:
        """The files of the rows that are there."""
        assert self._connection is not None  # noqa: S101 - the transaction writes
        found: list[tuple[str]] = []
        for keys in batched([place.key for place in places if is_plain(place)], IN_ONE):
            query = f"SELECT filename FROM Cache WHERE raw = 1 AND key IN ({marks(keys)}) AND filename IS NOT NULL"  # noqa: S608 - placeholders
            found += self._connection.execute(query, keys)
        rows = [self.row(place, head=1) for place in places if not is_plain(place)]
        return [name for (name,) in found] + [row.filename for row in rows if row is not None and row.filename is not None]

    def expire(self, row: Row, expire_time: float | None) -> None:
        """Give a row another deadline and nothing else."""
        assert self._connection is not None  # noqa: S101 - the row was read from it
        self._connection.execute("UPDATE Cache SET expire_time = ? WHERE rowid = ?", (expire_time, row.rowid))
        self._changed[Place(row.key, 1)] = None

    def delete(self, rows: Sequence[Row]) -> None:
        """Delete rows and their files."""
        for ids in batched([row.rowid for row in rows], IN_ONE):
            assert self._connection is not None  # noqa: S101 - the rows were read from it
            self._connection.execute(f"DELETE FROM Cache WHERE rowid IN ({marks(ids)})", ids)  # noqa: S608 - placeholders
        self._changed |= {Place(row.key, 1): None for row in rows}
        self._gone += [row.filename for row in rows]

    def delete_expired(self, limit: int) -> int:
        """Delete at most `limit` rows whose deadline has passed; how many there were."""
        if self._connection is None:
            return 0
        found = self._connection.execute(
            f"{HEAD.format(head=1)} WHERE expire_time < ? LIMIT ?", (time.time(), limit)
        ).fetchall()
        self.delete(list(map(Row._make, found)))
        return len(found)

    def _file(self, filename: str) -> Path:
        parts = Path(filename).parts
        if Path(filename).is_absolute() or ".." in parts:
            raise FileNotFoundError(filename)
        return self.directory.joinpath(*parts)

    def _remove(self, filenames: Sequence[str | None]) -> None:
        for filename in filenames:
            try:
                if filename is not None and self._cache is not None:
                    self._file(filename)
                    self._cache.disk.remove(filename)
            except FileNotFoundError:
                continue


def _is_locked(exc: Exception) -> bool:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
