"""What a row of DiskStore's holds: an entry, its JSON text, its description, its record. It runs in the store's thread."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from stores.backends.disk_database import Database
from stores.backends.disk_places import Place
from stores.backends.disk_rows import Row
from stores.backends.envelope import open_text, peek
from stores.entry import ManagedEntry, moment_at
from stores.errors import DeserializationError
from stores.names import decode_name
from stores.records import ENTRY, Description, Record
from stores.serialization import SerializationAdapter

__all__ = ["HEAD", "RESTORED", "Contents"]

HEAD: Final = 2048
"""Characters of a value that are enough to describe it."""
LOST: Final = "missing file"
"""The kind of a row whose file is gone."""

RESTORED: Final[dict[str, Callable[[bytes], str | bytes | float]]] = {
    "text": decode_name,
    "bytes": bytes,
    "pickle": bytes,
    "integer": int,
    "float": float,
}
"""Of each kind that can be put back: the value of its bytes."""


class Contents:
    """Reads rows, with the store's adapter."""

    def __init__(self, database: Database, adapter: SerializationAdapter) -> None:
        """Take where values in files are read, and the form of entries."""
        self._database = database
        self._adapter = adapter

    def text(self, row: Row, content: str | bytes) -> tuple[bytes, datetime | None]:
        """The value's JSON text and its deadline. DeserializationError for what is no entry."""
        opened = open_text(content.encode() if isinstance(content, str) else content) if row.kind == "text" else None
        if opened is None:
            entry = self.entry(row, content)
            return entry.value_as_json.encode(), entry.expires_at
        text, until = opened
        return text, until if row.expire_time is None else moment_at(row.expire_time)

    def entry(self, row: Row, content: str | bytes) -> ManagedEntry:
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
