"""What an item of memcached's tells: its deadline, its kind, its description and its record."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta

from stores.backends.envelope import open_text, peek
from stores.backends.memcached_protocol import Answer
from stores.entry import ManagedEntry, utc_now
from stores.errors import DeserializationError, UnsupportedError
from stores.lifecycle import Scope
from stores.names import Key, shown
from stores.records import ENTRY, Description, Record, Version
from stores.serialization import SerializationAdapter

__all__ = ["Items", "earlier", "exptime", "flags_of", "foreign"]

RELATIVE_LIMIT = 30 * 24 * 3600
"""Seconds over which memcached takes a time to live for a point in time."""

LAST_MOMENT = 2**31 - 1
MAX_FLAGS = 2**32 - 1
_KIND = re.compile(r"item(?:, flags ([0-9]{1,10}))?")
JITTER = timedelta(seconds=3)
"""How far apart two deadlines may look that are one: memcached counts whole seconds on a clock of its own."""


class Items:
    """Reads items, with the store's adapter."""

    def __init__(self, adapter: SerializationAdapter) -> None:
        """Take the adapter."""
        self._adapter = adapter

    def entry(self, answer: Answer) -> ManagedEntry:
        """The entry. DeserializationError for what is none."""
        entry = self._adapter.load_json(answer.value)
        entry.expires_at = earlier(entry.expires_at, answer)
        return entry

    def description(self, answer: Answer, value: bytes | None) -> Description | None:
        """What is known of an item that was asked for t, s, c and f; `value` where it was looked into."""
        if answer.code != b"HD":
            return None
        flags = answer.flags
        size, stamp = flags["s"], b"%d" % flags["c"]
        if value is None:
            return Description("unknown" if not flags["f"] else _kind(flags["f"]), size, None, earlier(None, answer), stamp)
        times = peek(value) if open_text(value) else None
        if times is not None:
            return Description(ENTRY, size, times.created_at, earlier(times.expires_at, answer), stamp)
        try:
            entry = self._adapter.load_json(value)
        except DeserializationError:
            return Description(_kind(0), size, None, earlier(None, answer), stamp)
        return Description(ENTRY, size, entry.created_at, earlier(entry.expires_at, answer), stamp)

    def record(self, answer: Answer, limit: int | None) -> Record | None:
        """What an item is that was asked for v, t, s, c and f; of foreign data at most `limit` bytes."""
        if answer.code != b"VA":
            return None
        version = Version(b"%d" % answer.flags["c"])
        size = answer.flags["s"]
        try:
            entry = None if answer.flags["f"] else self.entry(answer)
        except DeserializationError:
            entry = None
        if entry is None:
            return Record(
                kind=_kind(answer.flags["f"]),
                body=answer.value[:limit],
                length=size,
                size=size,
                expires_at=earlier(None, answer),
                version=version,
            )
        return Record.of(entry, size=size, version=version)


def exptime(expires_at: datetime | None) -> int:
    """A deadline as memcached takes it, 0 for none: a second late, because its clock is up to a second off."""
    if expires_at is None:
        return 0
    left = max(1, math.ceil((expires_at - utc_now()).total_seconds())) + 1
    if left <= RELATIVE_LIMIT:
        return left
    moment = math.ceil(expires_at.timestamp()) + 1
    return moment if moment <= LAST_MOMENT else 0


def earlier(envelope: datetime | None, answer: Answer) -> datetime | None:
    """The effective deadline: the envelope's, or the server's where that is clearly earlier."""
    left = answer.flags.get("t", -1)
    if left < 0:
        return envelope
    native = utc_now() + timedelta(seconds=left)
    return native if envelope is None or native < envelope - JITTER else envelope


def flags_of(kind: str) -> int:
    """The client's flags that a record's kind tells. UnsupportedError for a kind of another store."""
    item = _KIND.fullmatch(kind)
    client_flags = None if item is None else int(item[1] or 0)
    if client_flags is None or client_flags > MAX_FLAGS:  # some servers would cut them
        raise UnsupportedError(f"What is {kind!r} cannot be stored in memcached.")
    return client_flags


def foreign(collection: Scope, key: Key, why: str) -> DeserializationError:
    """What is told of a key that holds no entry."""
    return DeserializationError(f"Key {shown(key)} in collection {shown(collection)} holds an item that is not an entry. {why}")


def _kind(client_flags: int) -> str:
    return f"item, flags {client_flags}" if client_flags else "item"
