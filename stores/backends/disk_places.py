"""Where DiskStore's rows are: diskcache's keys, the tokens that address them, and pages of them in the order of SQLite's index.

An index range is read in steps: numbers come first, then text in the order of its bytes, then blobs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Self

from stores.errors import InvalidKeyError
from stores.joined import SEPARATOR, compound, split_compound
from stores.lifecycle import Scope
from stores.names import Name, Page, Token, compile_glob, decode_name, encode_name, glob_prefix

__all__ = ["Keys", "Place", "collections_page", "keys_page", "outside_page", "prefix_of"]

STEP: Final = 64
"""Rows looked at before the next collection is jumped to."""
BUDGET: Final = 5_000
"""Rows looked at for one page where most of them may not belong on it."""
BLOBS: Final = b""
"""As an upper bound: what is not a blob."""

_LETTERS = {str: "t", bytes: "b", int: "i", float: "f"}
_READERS: dict[str, Callable[[bytes], str | bytes | int | float]] = {"t": decode_name, "b": bytes, "i": int, "f": float}


class Place(NamedTuple):
    """A row's key as diskcache has it. `raw` is 0 for a pickled key; -1 stands for the place before a key."""

    key: str | bytes | int | float
    raw: int

    @classmethod
    def parse(cls, token: bytes) -> Self:
        """The place of a token's value or of a cursor. InvalidKeyError when it is neither."""
        head, _, key = token.partition(b":")
        try:
            place = cls(_READERS[chr(head[0])](key), int(head[1:]))
            if isinstance(place.key, int):
                place.key.to_bytes(8, signed=True)  # SQLite takes no more
        except (KeyError, ValueError, IndexError, OverflowError):
            raise InvalidKeyError(f"{token!r} is not a token of a disk store.") from None
        return place

    @property
    def token(self) -> bytes:
        """The type, whether it is raw, and the key."""
        return f"{_LETTERS[type(self.key)]}{self.raw}:".encode() + self._bytes

    @property
    def _bytes(self) -> bytes:
        if isinstance(self.key, str):
            return encode_name(self.key)
        return self.key if isinstance(self.key, bytes) else repr(self.key).encode()

    @property
    def text(self) -> str:
        """The key as a person reads it."""
        if self.raw == 0:
            return f"pickle {self._bytes.hex()}"
        return decode_name(self._bytes)

    @property
    def split(self) -> tuple[str, str] | None:
        """Collection and key; None outside collections."""
        return split_compound(self.key) if isinstance(self.key, str) else None


Keys = Callable[[Place | None, str | bytes | None, int], list[tuple[Place, float | None]]]
"""Places and their expiry in the index's order: after a place, before a key, at most so many."""


def prefix_of(collection: Scope) -> str:
    """How all keys of a collection begin."""
    return compound(collection, "") if isinstance(collection, str) else decode_name(collection.value)


def collections_page(keys: Keys, cursor: bytes | None, limit: int) -> Page[Name]:
    """The first live key after a place names a collection; then jump behind all its keys."""
    names: list[Name] = []
    after = Place("", -1) if cursor is None else Place.parse(cursor)
    scanned, now = 0, time.time()
    while scanned < BUDGET:
        found = keys(after, BLOBS, STEP)
        named: str | None = None
        for place, expires in found:
            split = place.split
            if split is not None and split[0] == named:
                continue
            scanned += 1
            after = place
            if split is not None and _lives(expires, now):
                named = split[0]
                prefix = prefix_of(named)
                names.append(Name(named, Token(encode_name(prefix))))
                after = Place(_end(prefix), -1)
                if len(names) >= limit:
                    return Page(names, after.token, scanned)
        if len(found) < STEP:
            return Page(names, None, scanned)
    return Page(names, after.token, scanned)


def keys_page(keys: Keys, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
    """A range of the index; a glob's beginning narrows it."""
    prefix = prefix_of(collection)
    begin = prefix + ("" if match is None else glob_prefix(match))
    pattern = None if match is None else compile_glob(match)
    looked_at = limit if pattern is None else max(limit, BUDGET)
    found = keys(Place(begin, -1) if cursor is None else Place.parse(cursor), _end(begin), looked_at)
    now = time.time()
    names: list[Name] = []
    for scanned, (place, expires) in enumerate(found, 1):
        text = place.text[len(prefix) :]
        if _lives(expires, now) and (pattern is None or pattern.match(text)):
            names.append(Name(text, Token(place.token)))
            if len(names) >= limit:
                return Page(names, place.token, scanned)
    return Page(names, found[-1][0].token if len(found) == looked_at else None, len(found))


def outside_page(keys: Keys, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
    """What belongs to no collection: at a key of one, jump behind all its keys."""
    pattern: re.Pattern[str] | None = None if match is None else compile_glob(match)
    names: list[Name] = []
    after = None if cursor is None else Place.parse(cursor)
    scanned, now = 0, time.time()
    while scanned < BUDGET:
        found = keys(after, None, STEP)
        jumped = False
        for place, expires in found:
            scanned += 1
            split = place.split
            if split is not None:
                after, jumped = Place(_end(split[0] + SEPARATOR), -1), True
                break
            after, text = place, place.text
            if _lives(expires, now) and (pattern is None or pattern.match(text)):
                names.append(Name(text, Token(place.token), exact=isinstance(place.key, str)))
                if len(names) >= limit:
                    return Page(names, after.token, scanned)
        if len(found) < STEP and not jumped:
            return Page(names, None, scanned)
    return Page(names, None if after is None else after.token, scanned)


def _end(prefix: str) -> str:
    """The first text after all that begin with the prefix."""
    raw = encode_name(prefix).rstrip(b"\xff")
    return decode_name(raw[:-1] + bytes([raw[-1] + 1]))


def _lives(expires: float | None, now: float) -> bool:
    return expires is None or expires > now
