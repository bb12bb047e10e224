"""Entries in DynamoDB's items, to and fro. Nothing here asks a server.

Where the attribute `ttl` is set it is the deadline; the envelope's finer one counts while both agree.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from stores.backends.dynamodb_items import FOREIGN, Item, checked, epoch, foreign_body, native_deadline, size_of, version_of
from stores.backends.envelope import open_text
from stores.entry import ManagedEntry
from stores.errors import DeserializationError
from stores.records import ENTRY, Description, Record
from stores.serialization import BasicSerializationAdapter

__all__ = ["describe", "dump", "load", "load_named", "record", "text"]

ADAPTER: Final = BasicSerializationAdapter()


def dump(place: Item, entry: ManagedEntry) -> Item:
    """The item of an entry. ValueTooLargeError when DynamoDB would not take it."""
    written = ADAPTER.dump_json(entry, key=place["key"]["S"], collection=place["collection"]["S"])
    item = {**place, "value": {"S": written}}
    if entry.expires_at is not None:
        item["ttl"] = {"N": str(epoch(entry.expires_at))}
    return checked(item)


def load(item: Item) -> ManagedEntry:
    """The entry of an item. DeserializationError when it holds none."""
    written = item.get("value", {}).get("S")
    if written is None:
        raise DeserializationError("It has no attribute `value` with text.")
    entry = ADAPTER.load_json(written)
    entry.expires_at = _deadline(item, entry.expires_at)
    return entry


def load_named(item: Item) -> ManagedEntry:
    """As `load`, with the names in the error."""
    try:
        return load(item)
    except DeserializationError as exc:
        key, collection = item["key"]["S"], item["collection"]["S"]
        raise DeserializationError(f"Key {key!r} in collection {collection!r} holds no entry. {exc}") from exc


def text(item: Item) -> tuple[bytes, datetime | None]:
    """The value's JSON text, and the deadline."""
    opened = open_text(item.get("value", {}).get("S", "").encode())
    if opened is None:
        entry = load_named(item)
        return entry.value_as_json.encode(), entry.expires_at
    found, until = opened
    return found, _deadline(item, until)


def record(item: Item, limit: int | None) -> Record:
    """What browsing sees of an item."""
    version, size = version_of(item), size_of(item)
    try:
        entry = load(item)
    except DeserializationError:
        body = foreign_body(item)
        deadline = native_deadline(item)
        return Record(kind=FOREIGN, body=body[:limit], length=len(body), size=size, expires_at=deadline, version=version)
    return Record.of(entry, size=size, version=version)


def describe(item: Item) -> Description:
    """An item's description."""
    size, stamp = size_of(item), version_of(item)[:8]
    try:
        entry = load(item)
    except DeserializationError:
        return Description(FOREIGN, size, None, native_deadline(item), stamp)
    return Description(ENTRY, size, entry.created_at, entry.expires_at, stamp)


def _deadline(item: Item, envelope: datetime | None) -> datetime | None:
    native = native_deadline(item)
    return native if native is not None and (envelope is None or epoch(envelope) != native.timestamp()) else envelope
