"""The collections of a flat keyspace, found by one walk that all clients share.

Where collections are only beginnings of names, finding them means looking at every name. So, per connection:

- Who lists while a walk is under way joins it: gets at once what it has found, and the rest as it is found.
- What a walk has found is kept for `LIFE` times as long as finding it took, at most `LONGEST_LIFE`: however often clients list,
  a server spends a small part of its time on it. A client may ask for something newer (`max_age`).
- Only clients who wait drive a walk, one step at a time; all walks of a connection together make one step at a time, at the
  rate to which the store holds its walks.
- Collections that are written through the daemon are listed at once. One that lost its last key is listed until the next walk.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stores.errors import CursorExpiredError
from stores.names import Collection, Name

if TYPE_CHECKING:
    from stores.base import BaseStore

__all__ = ["Listed", "Listing"]

LIFE: Final = 20.0
LONGEST_LIFE: Final = 60.0
"""Seconds."""
REST: Final = 60.0
"""Seconds after which a walk that nobody drove on is not joined any more."""
MAX_WALKS: Final = 8
"""Walks that clients are on; over it the oldest one's cursors expire."""
STEP: Final = 1_000
"""Collections that one step asks for."""


class Listed(NamedTuple):
    """A page of collections."""

    items: list[Name]
    cursor: bytes | None
    scanned: int
    """Names that the walk looked at since this client's last page."""
    age: float
    """Seconds since the walk began: what changed in this time may be missing."""


class _Walk:
    """A search for collections: where it is, and what it has found."""

    def __init__(self) -> None:
        self.id = os.urandom(4).hex()
        self.place: bytes | None = None
        """The store's cursor."""
        self.found: list[Name | None] = []
        """In order, because clients are at different places of it; None: deleted since."""
        self.at: dict[bytes, int] = {}
        """Index in `found`, by token."""
        self.scanned = 0
        self.started = self.used = time.monotonic()
        self.cost = 0.0
        """Seconds that its steps took."""
        self.ended: float | None = None
        self.step: asyncio.Task[None] | None = None

    def add(self, name: Name) -> None:
        token = name.token.value
        index = self.at.setdefault(token, len(self.found))
        if index == len(self.found):
            self.found.append(name)

    def remove(self, name: Name) -> None:
        index = self.at.pop(name.token.value, None)
        if index is not None:
            self.found[index] = None

    def serves(self, max_age: float | None) -> bool:
        """Whether who lists now may be given this one."""
        now = time.monotonic()
        if max_age is not None:
            return now - self.started <= max_age
        if self.ended is None:
            return now - self.used <= REST
        return now - self.ended <= min(LIFE * self.cost, LONGEST_LIFE)


class Listing:
    """The walks of one open store."""

    def __init__(self, store: BaseStore, guard: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]) -> None:
        """Begin none. `guard` runs one operation on the store."""
        self._store = store
        self._guard = guard
        self._walks: dict[str, _Walk] = {}
        self._newest: _Walk | None = None
        self._turn = asyncio.Lock()

    async def page(self, cursor: bytes | None, limit: int, max_age: float | None) -> Listed:
        """The next collections.

        Args:
            cursor: the last page's; None starts.
            limit: at most so many.
            max_age: seconds since the walk's beginning that are not too long ago; None leaves it to the cost of a walk.

        Raises:
            CursorExpiredError: start again.
        """
        walk, position, told = self._begin(max_age) if cursor is None else self._find(cursor)
        walk.used = time.monotonic()
        if position >= len(walk.found) and walk.ended is None:
            await self._advance(walk)
        names = walk.found[position : position + limit]
        position += len(names)
        over = walk.ended is not None and position >= len(walk.found)
        following = None if over else b"%s.%d.%d" % (walk.id.encode(), position, walk.scanned)
        items = [name for name in names if name is not None]
        return Listed(items, following, walk.scanned - told, time.monotonic() - walk.started)

    def _begin(self, max_age: float | None) -> tuple[_Walk, int, int]:
        walk = self._newest
        if walk is None or not walk.serves(max_age):
            self._newest = walk = _Walk()
            self._walks[walk.id] = walk
            for other in list(self._walks.values())[:-1]:
                if len(self._walks) > MAX_WALKS or walk.started - other.used > REST:
                    self._drop(other)
        return walk, 0, 0

    def _find(self, cursor: bytes) -> tuple[_Walk, int, int]:
        try:
            name, position, told = cursor.split(b".")
            return self._walks[name.decode()], int(position), int(told)
        except (KeyError, ValueError):
            raise CursorExpiredError("This search for collections is over: start it again.") from None

    async def _advance(self, walk: _Walk) -> None:
        """Wait for the walk's next step, which is nobody's own: who leaves does not take it along."""
        if walk.step is None:
            walk.step = asyncio.get_running_loop().create_task(self._step(walk))
            walk.step.add_done_callback(_look)
        await asyncio.shield(walk.step)

    async def _step(self, walk: _Walk) -> None:
        try:
            async with self._turn:
                begun = time.monotonic()
                page = await self._guard(lambda: self._store.scan_collections(cursor=walk.place, limit=STEP))
        except BaseException:
            self._drop(walk)
            raise
        finally:
            walk.step = None
        now = time.monotonic()
        walk.place = page.cursor
        if walk.id not in self._walks:
            self._drop(walk)  # while the step was under way
        walk.scanned += page.scanned
        walk.cost += now - begun
        for name in page.items:
            walk.add(name)
        if page.cursor is None:
            walk.ended = now

    def wrote(self, operation: str, collection: Collection) -> None:
        """Note a change that went through the daemon."""
        if operation == "destroy" and not collection:
            self._newest = None
            return
        if not self._walks or operation not in {"put", "destroy"}:
            return
        name = self._store.collection_name(collection)
        for walk in self._walks.values():
            if operation == "put":
                walk.add(name)
            else:
                walk.remove(name)

    def close(self) -> None:
        """Stop all walks, with the store."""
        for walk in list(self._walks.values()):
            if walk.step is not None:
                walk.step.cancel()
            self._drop(walk)

    def _drop(self, walk: _Walk) -> None:
        self._walks.pop(walk.id, None)
        if walk is self._newest:
            self._newest = None
        if walk.place is not None:
            self._store.close_cursor(walk.place)
            walk.place = None


def _look(step: asyncio.Task[None]) -> None:
    """Look at a step's error, which went to those who waited, so that nobody complains that none did."""
    if not step.cancelled():
        step.exception()
