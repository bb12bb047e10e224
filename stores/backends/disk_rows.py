"""Rows of diskcache's table: their columns, the SQL that reads and writes them, and how keys and texts are bound.

Text that is not UTF-8 comes and goes as a `str` with surrogates.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from stores.backends.disk_places import Place
from stores.records import Version

__all__ = [
    "HEAD",
    "IN_ONE",
    "PICKLE",
    "ROW",
    "WRITE",
    "Inline",
    "Row",
    "bind",
    "decode",
    "inline",
    "is_plain",
    "marks",
    "select",
    "tag_of",
    "to_bytes",
]

TEXT, PICKLE = 3, 4
"""diskcache's modes of a value: text in a file; a pickle. 1 is a value in its column, 2 bytes in a file."""

_KINDS = {str: "text", bytes: "bytes", int: "integer", float: "float"}
DIGEST: Final = 16
"""Bytes of a version before the tag."""
IN_ONE: Final = 200
"""Keys in one statement at most."""
ROW = "SELECT rowid, store_time, expire_time, size, mode, filename, tag, value, key FROM Cache"
HEAD = (
    "SELECT rowid, store_time, expire_time, coalesce(nullif(size, 0), length(CAST(value AS BLOB)), 0), mode, filename, tag,"
    " CASE WHEN typeof(value) IN ('text', 'blob') THEN substr(value, 1, {head}) ELSE value END, key FROM Cache"
)
WRITE = (
    "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag, size, mode, filename, value)"
    " VALUES ({key}, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?) ON CONFLICT (key, raw) DO UPDATE SET store_time = excluded.store_time,"
    " expire_time = excluded.expire_time, access_time = excluded.access_time, access_count = 0, tag = excluded.tag,"
    " size = excluded.size, mode = excluded.mode, filename = excluded.filename, value = excluded.value"
)


class Inline:
    """What a `get` needs to know of a row whose value is plain text in its column."""

    __slots__ = ("dated", "expire_time", "text")
    kind: Final = "text"

    def __init__(self, text: str, expire_time: float | None) -> None:
        """Take what is in the columns."""
        self.text = text
        self.expire_time = expire_time
        self.dated: tuple[bytes, datetime | None] | None = None
        """What the text says, once somebody has looked."""


class Row(NamedTuple):
    """A stored value without its file's content."""

    rowid: int
    store_time: float
    expire_time: float | None
    size: int
    mode: int
    filename: str | None
    tag: Any
    value: str | bytes | int | float | None
    key: str | bytes | int | float

    @property
    def kind(self) -> str:
        """The label of the value's type."""
        if self.mode == PICKLE:
            return "pickle"
        if self.filename is not None:
            return "text" if self.mode == TEXT else "bytes"
        return _KINDS.get(type(self.value), "null")

    @property
    def inline(self) -> Inline | None:
        """The value, where it is text that all can read as it is: it need not be made bytes first."""
        return inline(self.mode, self.filename, self.value, self.expire_time)

    @property
    def version(self) -> Version:
        """Changes with every write: rows keep their time, files have random names. It tells the tag (`tag_of`)."""
        facts = (self.rowid, self.store_time, self.expire_time, self.mode, self.filename, self.value)
        digest = blake2b(repr(facts).encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()
        tag = [self.tag.hex()] if isinstance(self.tag, bytes) else self.tag
        return Version(digest if tag is None else digest + json.dumps(tag).encode())

    @property
    def stamp(self) -> bytes:
        """As the version, without looking at the value."""
        return repr((self.rowid, self.store_time, self.expire_time)).encode()


def tag_of(version: Version) -> str | bytes | float | None:
    """The tag of the row that had the version; None where it had none, or the version is of no row."""
    try:
        tag = json.loads(version[DIGEST:] or b"null")
        tag = bytes.fromhex(tag[0]) if type(tag) is list else tag
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return tag if isinstance(tag, str | bytes | float) or type(tag) is int else None


def inline(mode: int, filename: str | None, value: object, expire_time: float | None) -> Inline | None:
    """See `Row.inline`."""
    if type(value) is str and filename is None and mode != PICKLE and value.isascii():
        return Inline(value, expire_time)
    return None


def decode(text: bytes) -> str:
    """SQLite's text, odd bytes as surrogates."""
    return text.decode("utf-8", "surrogateescape")


def select(connection: sqlite3.Connection, query: str, bound: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All that a query finds; `decode` is called for each text only where some text is not UTF-8."""
    connection.text_factory = str
    try:
        return connection.execute(query, bound).fetchall()
    except sqlite3.OperationalError:
        connection.text_factory = decode
        return connection.execute(query, bound).fetchall()
    finally:
        connection.text_factory = decode


def bind(key: str | bytes | float) -> tuple[str, str | bytes | float]:
    """The SQL of a key and what is bound to it; text that is not UTF-8 can only be bound as bytes."""
    if isinstance(key, str) and not key.isascii():
        # `+` takes the affinity off, which would turn the column's numbers into text and lose the index
        return "+CAST(? AS TEXT)", key.encode("utf-8", "surrogateescape")
    return "?", key


def is_plain(place: Place) -> bool:
    """Whether the key can be bound as it is, and what is found under it is told by it."""
    return place.raw == 1 and type(place.key) is str and place.key.isascii()


def marks(bound: Sequence[object]) -> str:
    """A placeholder for each."""
    return ", ".join("?" * len(bound))


def to_bytes(value: str | bytes | float | None) -> bytes:
    """A column's value as bytes, numbers as text."""
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else repr(value).encode()
