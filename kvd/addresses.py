"""Addresses as people write them: `CONNECTION/COLLECTION/KEY`. Pure.

The key is all that follows the second slash, as it is. In connection and collection `/`, `%` and what cannot be typed are
percent-encoded; an empty collection is the connection's default one. A connection may be a URL, encoded like that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

__all__ = ["Address", "encode_part", "parse_address"]

_BARE = re.compile(r"/[^/]|[a-zA-Z][a-zA-Z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Address:
    """What an address names. `collection` None is the default one, or not given; `key` None is not given."""

    connection: str
    collection: str | None = None
    key: str | None = None
    has_collection: bool = False
    """Whether a collection was given, if only the default one by an empty name."""


def parse_address(text: str) -> Address:
    """Read an address.

    Raises:
        ValueError: it names no connection, or is a path or a URL as it is, whose slashes would be taken for the address's own.
    """
    if _BARE.match(text):
        raise ValueError(
            f"{text!r} is no address: a path or URL in one is percent-encoded, as in {encode_part(text)}/COLLECTION/KEY"
        )
    connection, *rest = text.split("/", 2)
    if not connection:
        raise ValueError(
            f"{text!r} is no address: it is written CONNECTION, CONNECTION/COLLECTION or CONNECTION/COLLECTION/KEY"
        )
    collection = _decode(rest[0]) if rest else ""
    # `sessions/` names the connection, as a folder's name may end with a slash
    return Address(
        _decode(connection),
        collection or None,
        rest[1] if len(rest) > 1 else None,
        has_collection=bool(collection) or len(rest) > 1,
    )


def encode_part(name: str) -> str:
    """A connection's or collection's name as it stands in an address."""
    try:
        if name.isprintable() and not {"/", "%"} & set(name):
            return name
        return quote(name, safe=" :@!$&'()*+,;=~", errors="surrogateescape")
    except UnicodeEncodeError:
        return name


def _decode(part: str) -> str:
    return unquote(part, errors="surrogateescape")
