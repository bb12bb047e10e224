"""Texts that were read or written lately, for as long as no other program commits to their database.

To read them again needs no hop to the store's thread. SQLite's `data_version` tells whether anybody has committed since, in
this process or in another one. To ask for it takes two locks in shared memory and, after a commit only, one page that was just
written, so the event loop may do it. This holds in WAL mode, which diskcache's databases have; others are not watched.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Final
from urllib.parse import quote

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

State = tuple[int, int]
"""Of a database: which of the connections that watched it said so, and its `data_version`. Later states are greater."""


class Recent:
    """What is known of one database. The thread watches and keeps, the event loop finds; neither waits long."""

    def __init__(self, path: Path) -> None:
        """Know nothing yet of the database at the path."""
        self._path = os.fspath(path)
        self._lock = Lock()
        self._watch: sqlite3.Connection | None = None
        self._watches = 0
        self._identity: tuple[int, int] | None = None
        self._state: State = (0, 0)
        """In which what is kept is true."""
        self._kept: dict[Place, Inline | None] = {}
        """None where nothing is."""
        self._size = 0

    # In the thread

    def watch(self, identity: tuple[int, int] | None) -> None:
        """Watch the database that has this device and inode."""
        if self._watch is not None and identity == self._identity:
            return
        self.stop()
        try:
            uri = f"file:{quote(self._path)}?mode=ro"
            watch = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0, check_same_thread=False)
        except sqlite3.Error:
            return
        try:
            [mode] = watch.execute("PRAGMA journal_mode").fetchone()
            _data_version(watch)  # the first time reads more
        except sqlite3.Error:
            mode = None
        if mode != "wal":
            watch.close()
            return
        with self._lock:
            self._watch, self._identity = watch, identity
            self._watches += 1

    def stop(self) -> None:
        """Watch no more. To be done before the connection that writes is closed, which tidies up behind the last of all."""
        with self._lock:
            if self._watch is not None:
                self._watch.close()
            self._watch = None
            self._kept, self._size = {}, 0

    def keep(self, asked: State | None, places: Sequence[Place], rows: Sequence[Row | None]) -> None:
        """Keep what was read after the database was in the state `asked`."""
        if asked is None:
            return
        with self._lock:
            if asked < self._state or self._watch is None:
                return
            if asked > self._state:
                self._state, self._kept, self._size = asked, {}, 0
            for place, row in zip(places, rows, strict=True):
                text = None if row is None else row.inline
                if row is None or text is not None:
                    self._add(place, text)

    def begin(self, writer: sqlite3.Connection) -> tuple[State, int] | None:
        """Within a transaction that writes: what `go_on` needs; None where nothing is known."""
        if not self._kept:
            return None
        with self._lock:
            state = self._look()
            return (state, _data_version(writer)) if state is not None and state == self._state else None

    def go_on(self, begun: tuple[State, int], writer: sqlite3.Connection, changed: Mapping[Place, Inline | None]) -> None:
        """After the transaction, which changed nothing else: what is known stays true. None where it is known no more."""
        with self._lock:
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
        if self._watch is None or len(places) > AT_ONCE or not self._lock.acquire(blocking=False):
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
        if self._watch is None:
            return None
        try:
            status = os.stat(self._path)  # noqa: PTH116 - half the time of a Path's
            version = _data_version(self._watch)
        except (OSError, sqlite3.Error):
            return None
        return (self._watches, version) if (status.st_dev, status.st_ino) == self._identity else None


def _size(place: Place, text: Inline | None) -> int:
    return _OF_EACH + len(str(place.key)) + (0 if text is None else 2 * len(text.text))  # as it came, and what was made of it


def _data_version(connection: sqlite3.Connection) -> int:
    [version] = connection.execute("PRAGMA data_version").fetchone()
    return int(version)
