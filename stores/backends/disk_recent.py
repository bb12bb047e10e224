"""Texts that were read or written lately, for as long as no other program commits to their database.

To read them again needs no hop to the store's thread. In WAL mode, which diskcache's databases have, each commit changes the
header of the index that all processes share, the `-shm` file (https://sqlite.org/walformat.html). The event loop reads those
96 bytes by the descriptor that SQLite has open, and so takes no lock and waits for nobody. To ask SQLite itself takes locks,
for which it waits ten seconds where another process was stopped at a bad moment. A descriptor of our own would not do: closing
it would release the locks that SQLite holds on the file. Where there is no such file, or no such index, nothing is kept.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

from stores.backends.disk_places import Place
from stores.backends.disk_rows import Inline, Row, is_plain

__all__ = ["AT_ONCE", "Recent", "State"]

AT_ONCE: Final = 128
"""Texts that the event loop reads in one go; more of them go to the thread, so that nobody waits for their JSON."""
ROOM: Final = 4 << 20
"""Bytes that are kept at most."""
LONGEST: Final = 8 << 10
"""Characters of a key and a text that are kept."""
_OF_EACH: Final = 512
"""Bytes of what is kept beside them."""

_HEADER: Final = 48
"""Bytes of the index's header, which is written twice: where the copies differ, somebody is just writing it."""
_VERSION: Final = (3_007_000).to_bytes(4, sys.byteorder)
"""How the header of the only version begins that there is."""

State = tuple[int, bytes]
"""Of a database: how many times one had been opened by then, and the index's header."""


class Recent:
    """What is known of one database. The thread watches and keeps, the event loop finds; neither waits long."""

    def __init__(self, path: Path) -> None:
        """Know nothing yet of the database at the path."""
        self._path = os.fspath(path)
        self._lock = Lock()
        self._index: int | None = None
        """SQLite's descriptor of the shared index, open for as long as the thread's connection is."""
        self._opened = 0
        self._identity: tuple[int, int] | None = None
        self._state: State | None = None
        """In which what is kept is true."""
        self._kept: dict[Place, Inline | None] = {}
        """None where nothing is."""
        self._size = 0

    # In the thread

    def watch(self, connection: sqlite3.Connection, identity: tuple[int, int] | None) -> None:
        """Watch the database that has this device and inode, for as long as the connection to it is open."""
        self.stop()
        with suppress(sqlite3.Error, OSError):
            _data_version(connection)  # SQLite opens the index for the first look at the database
            index = _descriptor(f"{self._path}-shm")
            with self._lock:
                self._index, self._identity = index, identity
                self._opened += 1

    def stop(self) -> None:
        """Watch no more. To be done before the connection is closed."""
        with self._lock:
            self._index = self._state = None
            self._kept, self._size = {}, 0

    def keep(self, asked: State | None, places: Sequence[Place], rows: Sequence[Row | None]) -> None:
        """Keep what was read after the database was in the state `asked`."""
        if asked is None:
            return
        with self._lock:
            if asked != self._look():
                return
            if asked != self._state:
                self._state, self._kept, self._size = asked, {}, 0
            for place, row in zip(places, rows, strict=True):
                text = None if row is None else row.inline
                if row is None or text is not None:
                    self._add(place, text)

    def begin(self, writer: sqlite3.Connection) -> tuple[State, int] | None:
        """Within a transaction that writes: what `go_on` needs; None where nothing is known."""
        if not self._kept:
            return None
        with self._lock, suppress(sqlite3.Error):
            state = self._look()
            if state is not None and state == self._state:
                return state, _data_version(writer)
        return None

    def go_on(self, begun: tuple[State, int], writer: sqlite3.Connection, changed: Mapping[Place, Inline | None]) -> None:
        """After the transaction, which changed nothing else: what is known stays true. None where it is known no more."""
        with self._lock, suppress(sqlite3.Error):
            state = self._look()
            # a connection's own commits leave its `data_version` as it is: nobody else's came between
            if state is None or begun != (self._state, _data_version(writer)):
                return
            self._state = state
            for place, text in changed.items():
                self._drop(place)
                if text is not None:
                    self._add(place, text)

    def _add(self, place: Place, text: Inline | None) -> None:
        if (
            place in self._kept
            or not is_plain(place)
            or len(str(place.key)) + (0 if text is None else len(text.text)) > LONGEST
        ):
            return
        self._kept[place] = text
        self._size += _size(place, text)
        while self._size > ROOM:
            self._drop(next(iter(self._kept)))

    def _drop(self, place: Place) -> None:
        if place in self._kept:
            self._size -= _size(place, self._kept.pop(place))

    # On the event loop

    def find(self, places: Sequence[Place]) -> tuple[State | None, list[Inline | None] | None]:
        """The database's state, None where it is not known, and what is at the places, None where it is to be read."""
        if self._index is None or len(places) > AT_ONCE or not self._lock.acquire(blocking=False):
            return None, None
        state = None
        try:
            state = self._look()
            kept = self._kept
            return state, [kept[place] for place in places] if state == self._state else None
        except KeyError:
            return state, None
        finally:
            self._lock.release()

    def _look(self) -> State | None:
        if self._index is None:
            return None
        try:
            status = os.stat(self._path)  # noqa: PTH116 - half the time of a Path's
            headers = os.pread(self._index, 2 * _HEADER, 0)
        except OSError:
            return None
        header = headers[:_HEADER]
        if (status.st_dev, status.st_ino) != self._identity or header != headers[_HEADER:] or header[:4] != _VERSION:
            return None
        return self._opened, header


def _size(place: Place, text: Inline | None) -> int:
    return _OF_EACH + len(str(place.key)) + (0 if text is None else 2 * len(text.text))  # as it came, and what was made of it


def _data_version(connection: sqlite3.Connection) -> int:
    [version] = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


def _descriptor(path: str) -> int | None:
    """By which this process has the file open."""
    status = os.stat(path)  # noqa: PTH116 - as above
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - as above
        with suppress(OSError):  # one of them was for the list
            if os.path.samestat(os.fstat(int(name)), status):
                return int(name)
    return None
