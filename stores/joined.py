"""Names in a flat keyspace, where `collection::key` is one name and whatever has no `::` lies outside collections."""

from __future__ import annotations

from typing import Final

from stores.names import OUTSIDE, Key, Token, decode_name

__all__ = ["JOINT", "SEPARATOR", "collection_of", "compound", "split_compound", "written_names"]

SEPARATOR: Final = "::"
JOINT: Final = SEPARATOR.encode()


def compound(collection: str, key: str) -> str:
    """The name of an entry."""
    return collection + SEPARATOR + key  # a member of an `Enum` of texts would be formatted as something else


def split_compound(name: str) -> tuple[str, str] | None:
    """Collection and key of a name; None outside collections."""
    collection, separator, key = name.partition(SEPARATOR)
    return (collection, key) if separator and collection else None


def collection_of(name: bytes) -> bytes | None:
    """The collection in a stored name; None outside collections."""
    collection, joint, _ = name.partition(JOINT)
    return collection if joint and collection else None


def written_names(collection: str | Token, key: Key) -> tuple[str | None, str | None]:
    """Collection and key as an entry carries them; outside collections it has the short form, without."""
    if collection == OUTSIDE:
        return None, None
    named = collection if isinstance(collection, str) else decode_name(collection.value)
    return named, key if isinstance(key, str) else decode_name(key.value.partition(JOINT)[2])
