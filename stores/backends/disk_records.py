"""What a row of DiskStore's holds: an entry, its JSON text, its description, its record.

It runs in the store's thread, but for what is known without it (`stores.backends.disk_recent`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from stores.backends.disk_database import Database
from stores.backends.disk_places import Place
from stores.backends.disk_recent import State
from stores.backends.disk_rows import PICKLE, Inline, Row
from stores.backends.envelope import open_text, peek
from stores.batches import batched
from stores.entry import ManagedEntry, moment_at
from stores.errors import DeserializationError, SerializationError, UnsupportedError
from stores.records import ENTRY, Description, Record
from stores.serialization import SerializationAdapter

__all__ = ["HEAD", "Contents", "Load", "restored"]

R = TypeVar("R")
Load = Callable[[Row | Inline, str | bytes], R]
"""Makes of a row and its content what is wanted."""

HEAD: Final = 2048
"""Characters of a value that are enough to describe it."""
READ_TOGETHER: Final = 600
"""Rows that are held at the same time."""
LOST: Final = "missing file"
"""The kind of a row whose file is gone."""

RESTORED: Final[dict[str, Callable[[bytes], str | bytes | float]]] = {
    "text": bytes.decode,
    "bytes": bytes,
    "pickle": bytes,
    "integer": int,
    "float": float,
}
"""Of each kind that can be put back: the value of its bytes. ValueError when they are of none."""


def restored(record: Record) -> tuple[str | bytes | float, int | None]:
    """The value of a record that is put back, and its mode where that cannot be told by the value.

    Raises:
        UnsupportedError: its kind is another store's.
        SerializationError: there is no such value of its kind.
    """
    if record.kind not in RESTORED:
        raise UnsupportedError(f"What is {record.kind!r} cannot be stored in diskcache's form.")
    try:
        return RESTORED[record.kind](record.body), PICKLE if record.kind == "pickle" else None
    except ValueError as exc:
        raise SerializationError(f"diskcache keeps no such {record.kind!r}: {exc}.") from exc


class Contents:
    """Reads rows, with the store's adapter."""

    def __init__(self, database: Database, adapter: SerializationAdapter) -> None:
        """Take where values in files are read, and the form of entries."""
        self._database = database
        self._adapter = adapter

    def look_up(self, places: Sequence[Place], load: Load[R], asked: State | None) -> list[R | None]:
        """What is loaded from each place; None where nothing is. Of many, only some are held as rows at a time."""
        found: list[R | None] = []
        for part in batched(places, READ_TOGETHER):
            rows = self._database.rows(part)
            self._database.touch(rows)
            self._database.keep(asked, part, rows)
            found += self.loaded(part, rows, load)
        return found

    def loaded(self, places: Sequence[Place], rows: Sequence[Row | Inline | None], load: Load[R]) -> list[R | None]:
        """What is loaded from each row."""
        return [None if row is None else self._loaded(place, row, load) for place, row in zip(places, rows, strict=True)]

    def _loaded(self, place: Place, row: Row | Inline, load: Load[R]) -> R | None:
        content = self._content(row)
        if content is None:
            return None
        try:
            return load(row, content)
        except DeserializationError as exc:
            where = "" if place.split is None else f" in collection {place.split[0]!r}"
            key = place.text if place.split is None else place.split[1]
            raise DeserializationError(f"Key {key!r}{where} of {self._database.directory} holds no entry. {exc}") from exc

    def _content(self, row: Row | Inline) -> str | bytes | None:
        if isinstance(row, Row):
            text = row.inline
            return self._database.content(row) if text is None else text.text
        return row.text

    def text(self, row: Row | Inline, content: str | bytes) -> tuple[bytes, datetime | None]:
        """The value's JSON text and its deadline. DeserializationError for what is no entry."""
        if isinstance(row, Row):
            return self._text(row, content)
        if row.dated is None:
            row.dated = self._text(row, content)
        return row.dated

    def _text(self, row: Row | Inline, content: str | bytes) -> tuple[bytes, datetime | None]:
        opened = open_text(content.encode() if isinstance(content, str) else content) if row.kind == "text" else None
        if opened is None:
            entry = self.entry(row, content)
            return entry.value_as_json.encode(), entry.expires_at
        text, until = opened
        return text, until if row.expire_time is None else moment_at(row.expire_time)

    def entry(self, row: Row | Inline, content: str | bytes) -> ManagedEntry:
        """The entry. DeserializationError for what is none."""
        if row.kind != "text":
            raise DeserializationError(f"It is {row.kind!r}.")
        entry = self._adapter.load_json(content)
        if row.expire_time is not None:
            entry.expires_at = moment_at(row.expire_time)
        return entry

    def description(self, row: Row | None) -> Description | None:
        """What is known of a row that was read up to `HEAD`."""
        if row is None:
            return None
        kind, created_at, expires_at = row.kind, None, None
        if kind == "text":
            content = self._database.content(row, HEAD)
            if content is None:
                kind = LOST
            elif len(content) >= row.size:
                try:
                    entry = self._adapter.load_json(content)
                except DeserializationError:
                    pass
                else:
                    kind, created_at, expires_at = ENTRY, entry.created_at, entry.expires_at
            elif times := peek(content):
                kind, (created_at, expires_at) = ENTRY, times
            else:
                kind = "unknown"
        if row.expire_time is not None:
            expires_at = moment_at(row.expire_time)
        return Description(kind, row.size, created_at, expires_at, row.stamp)

    def record(self, place: Place, limit: int | None) -> Record | None:
        """What is at a place."""
        row = self._database.row(place)
        if row is None:
            return None
        expires_at = None if row.expire_time is None else moment_at(row.expire_time)
        facts: dict[str, Any] = {"version": row.version, "expires_at": expires_at}
        content = self._database.content(row, None if row.kind == "text" else limit)
        if content is None:
            return Record(kind=LOST, body=b"", length=0, size=row.size, **facts)
        size = row.size if row.filename is not None else len(self._database.content(row) or b"")
        try:
            entry = self.entry(row, content)
        except DeserializationError:
            return Record(kind=row.kind, body=content[:limit], length=size, size=size, **facts)
        return Record.of(entry, size=size, version=row.version)
