"""Walks through the keyspace of Redis and Valkey by SCAN.

A walk through a collection is as good as SCAN itself: what is there all the time is shown, what comes or goes meanwhile may
be; its cursor is the server's. The search for collections looks at every name once, at a bounded rate, and remembers which
collections it has shown, so its cursor is held here.
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from typing import Any

from stores.base import BaseStore
from stores.cursors import HeldCursors
from stores.errors import CursorExpiredError
from stores.joined import JOINT, collection_of
from stores.lifecycle import Scope
from stores.names import OUTSIDE, Name, Page, Token, compile_glob, decode_name, encode_name
from stores.sanitization import PassthroughStrategy

__all__ = ["ScannedStore"]

SCAN_STEP = 1000
SCAN_LEAST = 10
SCAN_PAGE_BUDGET = 20_000
"""Names that one page looks at, at most: a rare match must not keep its caller waiting."""
COLLECTION_SCAN_RATE = 100_000
"""Names a second that the search for collections looks at, so that it never loads a server."""

MAX_PREFIXES = 1000
"""Collections whose names' beginning is kept at hand."""

_LITERAL = re.compile(rb"([*?\[\]\\])")


class _CollectionWalk:
    """A search for collections: where it is, and what it has found."""

    def __init__(self) -> None:
        self.position: Any = None
        self.seen: set[bytes] = set()
        self.found: list[Name] = []
        self.ended = False


class ScannedStore(BaseStore, ABC):
    """Browsing over one SCAN."""

    _joins_names = True

    def __init__(self, **options: Any) -> None:
        """As `BaseContextManagerStore`."""
        super().__init__(**options)
        self._walks: HeldCursors[_CollectionWalk] = HeldCursors()
        self._prefixes: dict[Scope, bytes] = {OUTSIDE: b""}
        self._keeps_keys = type(self._key_strategy) is PassthroughStrategy

    @abstractmethod
    async def _scan(self, position: Any, match: bytes | None, count: int) -> tuple[Any, list[bytes]]:
        """One SCAN from a position (None: the start): the next one (None: the end), and names."""

    def _freeze(self, position: Any) -> bytes:
        """A position as a cursor."""
        return b"%d" % position

    def _thaw(self, cursor: bytes) -> Any:
        try:
            return int(cursor)
        except ValueError:
            raise CursorExpiredError("This is no cursor of this store: start the scan again.") from None

    def _prefix(self, collection: Scope) -> bytes:
        """What the names of a collection start with."""
        prefix = self._prefixes.get(collection)
        if prefix is None:
            if len(self._prefixes) > MAX_PREFIXES:
                self._prefixes = {OUTSIDE: b""}
            stored = collection.value if isinstance(collection, Token) else encode_name(self._sanitize_collection(collection))
            self._prefixes[collection] = prefix = stored + JOINT
        return prefix

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        prefix = self._prefix(collection)
        pattern = None if collection == OUTSIDE else _LITERAL.sub(rb"\\\1", prefix) + _wider(match)
        wanted = None if match is None else compile_glob(match)
        position = None if cursor is None else self._thaw(cursor)
        found: dict[bytes, Name] = {}
        scanned, count = 0, min(limit, SCAN_STEP)
        while True:
            position, names = await self._scan(position, pattern, count)
            scanned += max(len(names), count)
            for name in names:
                if prefix or collection_of(name) is None:
                    text = decode_name(name[len(prefix) :])
                    if wanted is None or wanted.match(text):
                        found[name] = Name(text, Token(name), self._key_strategy.keeps(text))
            if position is None or len(found) >= limit or scanned >= SCAN_PAGE_BUDGET:
                break
            # nearly a page: no more than what is missing; else what is looked for is rare, and large steps get there sooner
            count = max(limit - len(found), SCAN_LEAST) if len(found) * 2 > limit else SCAN_STEP
        return Page(list(found.values()), None if position is None else self._freeze(position), scanned)

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        walk = _CollectionWalk() if cursor is None else self._walks.take(cursor)
        scanned = 0
        while len(walk.found) < limit and scanned < SCAN_PAGE_BUDGET and not walk.ended:
            started = time.monotonic()
            walk.position, names = await self._scan(walk.position, None, SCAN_STEP)
            walk.ended = walk.position is None
            scanned += len(names)
            for name in names:
                stored = collection_of(name)
                if (stored or b"") not in walk.seen:
                    walk.seen.add(stored or b"")
                    walk.found.append(self._collection_name(stored))
            if not walk.ended:
                await asyncio.sleep(started + len(names) / COLLECTION_SCAN_RATE - time.monotonic())
        items, walk.found = walk.found[:limit], walk.found[limit:]
        return Page(items, None if walk.ended and not walk.found else self._walks.hold(walk), scanned)

    def _collection_name(self, stored: bytes | None) -> Name:
        if stored is None:
            return Name("", OUTSIDE, exact=False)
        text = decode_name(stored)
        return Name(text, Token(stored), self._collection_strategy.keeps(text))

    def _close_cursor(self, cursor: bytes) -> None:
        self._walks.drop(cursor)


def _wider(match: str | None) -> bytes:
    """A pattern for the server that lets through all that `match` does; a server's `?` and `[` take bytes, not characters."""
    if match is None:
        return b"*"
    literal_and_stars = re.match(r"(?:\\.|[^\[?\\])*", match, re.DOTALL)
    sure = "" if literal_and_stars is None else literal_and_stars[0]
    return encode_name(sure) + (b"" if sure == match else b"*")
