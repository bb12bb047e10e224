"""What browsing and editing see of a stored entry: records, descriptions, and the marks of compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NewType

from stores.entry import ManagedEntry, utc_now

__all__ = ["ABSENT", "ANY", "ASK", "ENTRY", "KEEP", "Ask", "DatedText", "Description", "Expected", "Keep", "Record", "Version"]

Version = NewType("Version", bytes)
"""What compare-and-set compares, opaque: it comes with a read and changes with every write of value or envelope."""

ABSENT: Final = Version(b"")
"""Expected version of what is not there (or has expired): the write succeeds only where nothing lives."""

ANY: Final = None
"""No expectation: whatever is there."""

Expected = Version | None


class Keep:
    """The type of `KEEP`."""


KEEP: Final = Keep()
"""As a TTL: the deadline stays what it is."""

DatedText = tuple[bytes, datetime | None] | None
"""A value's JSON text (UTF-8) with its deadline; None for what is missing or expired."""


class Ask:
    """The type of `ASK`."""


ASK: Final = Ask()
"""In place of a text: the store is to be asked in another way."""

ENTRY: Final = "entry"
"""The kind of a record that is one of ours. Every other kind names a type of foreign data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry as it is stored, ours or foreign, with the version that an edit may expect."""

    kind: str
    """`ENTRY`, or the type of foreign data: "string", "hash", "file", "object", "document", "pickle", …"""
    body: bytes
    """Of an entry the value's JSON text. Of foreign data the stored bytes (perhaps only the first ones, see `length`), or
    a JSON rendering where the type has no bytes of its own."""
    length: int
    """Length of the whole body in bytes."""
    size: int
    """Bytes that are stored, envelope included."""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    """The effective deadline: the earlier of the envelope's and the backend's own."""
    version: Version
    entry: ManagedEntry | None = None
    """The entry itself, where it is one of ours."""

    @classmethod
    def of(cls, entry: ManagedEntry, *, size: int, version: Version) -> Record:
        """The record of an entry of ours, of which `size` bytes are stored."""
        body = entry.value_as_json.encode()
        return cls(
            kind=ENTRY,
            body=body,
            length=len(body),
            size=size,
            created_at=entry.created_at,
            expires_at=entry.expires_at,
            version=version,
            entry=entry,
        )

    @property
    def is_expired(self) -> bool:
        """Whether the deadline has come."""
        return self.expires_at is not None and self.expires_at <= utc_now()


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of an entry without its value."""

    kind: str
    """As in `Record`; "unknown" where telling would cost a read of the value."""
    size: int | None
    """Stored bytes, None where the backend cannot say cheaply."""
    created_at: datetime | None
    expires_at: datetime | None
    stamp: bytes
    """Weak: another stamp means that the entry probably changed. Not comparable with a version."""
