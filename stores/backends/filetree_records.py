"""What a file of FileTreeStore's holds: an entry, its description, its record and its version. Nothing here reads a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b

from stores.backends.envelope import peek
from stores.backends.filetree_files import Found
from stores.entry import ManagedEntry, utc_now
from stores.errors import ConflictError, DeserializationError
from stores.records import ABSENT, ANY, ENTRY, Description, Expected, Record, Version
from stores.serialization import BasicSerializationAdapter, SerializationAdapter

__all__ = ["Contents", "expect", "version_of"]


class Contents:
    """Reads what was found in files, with the store's adapter."""

    def __init__(self, adapter: SerializationAdapter) -> None:
        """Take the adapter."""
        self._adapter = adapter

    def entry(self, found: Found) -> ManagedEntry:
        """The entry. DeserializationError for what is none."""
        if found.kind != "file":
            raise DeserializationError(f"It is a {found.kind}.")
        return self._adapter.load_json(found.content)

    def describe(self, found: Found) -> Description:
        """What is known of it, by its beginning."""
        kind, created_at, expires_at = found.kind, None, None
        if _may_be_entry(found):
            kind = "unknown"
            times = peek(found.content) if type(self._adapter) is BasicSerializationAdapter else None
            if times is not None and not found.is_whole:
                kind, (created_at, expires_at) = ENTRY, times
            elif found.is_whole:
                entry = self._entry_or_none(found)
                if entry is None:
                    kind = found.kind
                else:
                    kind, created_at, expires_at = ENTRY, entry.created_at, entry.expires_at
        return Description(kind, found.status.st_size, created_at, expires_at, found.stamp)

    def has_ended(self, found: Found | None) -> bool:
        """Whether it is an entry whose deadline has passed."""
        return found is not None and _is_past(self.describe(found).expires_at)

    def record(self, found: Found, limit: int | None, more: Callable[[], Found | None]) -> Record:
        """The record of what was peeked at.

        Args:
            found: all of what may be an entry, else the beginning.
            limit: bytes of foreign data that are enough.
            more: reads so many, where the beginning is not enough.
        """
        version, size = version_of(found), found.status.st_size
        entry = self._entry_or_none(found) if _may_be_entry(found) else None
        if entry is not None:
            return Record.of(entry, size=size, version=version)
        if found.kind != "file":
            return Record(kind=found.kind, body=found.content, length=len(found.content), size=size, version=version)
        if limit is None or limit > len(found.content):
            found = more() or found
        return Record(kind="file", body=found.content[:limit], length=size, size=size, version=version)

    def _entry_or_none(self, found: Found) -> ManagedEntry | None:
        try:
            return self.entry(found)
        except DeserializationError:
            return None


def version_of(found: Found | None) -> Version:
    """Of the file's identity and of what was read of it: all of what may be an entry, else the beginning."""
    return ABSENT if found is None else Version(blake2b(found.stamp + b"\n" + found.content, digest_size=16).digest())


def expect(now: Version, expected: Expected) -> Version:
    """The version that is there. ConflictError when another one was expected."""
    if expected is not ANY and now != expected:
        raise ConflictError
    return now


def _may_be_entry(found: Found) -> bool:
    return found.kind == "file" and found.content.lstrip()[:1] == b"{"


def _is_past(moment: datetime | None) -> bool:
    return moment is not None and moment <= utc_now()
