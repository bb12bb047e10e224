"""A collection in memory: entries by key, the deadline that each has, and with a limit cachetools' order of use.

What is past its deadline is not found, whether or not `expire` has removed it yet. (cachetools' own time-aware cache would take
a tenth of a second to list 100,000 keys, in which nobody else is served.)
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from functools import partial
from typing import Generic, Protocol, TypeVar

from cachetools import Cache, LRUCache

__all__ = ["Entries"]


class Mortal(Protocol):
    """What ends at a time."""

    @property
    def deadline(self) -> float:
        """Seconds since the epoch; infinite for what lives on."""


M = TypeVar("M", bound=Mortal)


class Entries(Generic[M]):
    """At most so many entries, as many as there are without a limit."""

    __slots__ = ("_deadlines", "_held", "_limit", "_look")

    def __init__(self, limit: int | None = None) -> None:
        """Make an empty one; with a limit, the least recently used entry makes room for a new one."""
        self._limit = math.inf if limit is None else limit
        self._held: MutableMapping[str, M]
        self._look: Callable[[str], M]
        """Gets an entry, and does not note that it was used."""
        if limit is None:
            self._held = {}
            self._look = self._held.__getitem__
        else:
            ordered: LRUCache[str, M] = LRUCache(limit)
            self._held = ordered
            self._look = partial(Cache.__getitem__, ordered)
        self._deadlines: list[tuple[float, str]] = []
        """A heap. Of an entry that was replaced the old deadline stays in it until it comes."""

    def get(self, key: str, now: float) -> M | None:
        """The entry, unless it is missing or past its deadline."""
        try:
            held = self._held[key]
        except KeyError:
            return None
        return held if held.deadline > now else None

    def get_all(self, keys: Iterable[str], now: float) -> list[M] | None:
        """The entries of all keys; None when one is missing or past its deadline."""
        held = self._held
        try:
            found = [held[key] for key in keys]
        except KeyError:
            return None
        if self._deadlines:
            for one in found:
                if one.deadline <= now:
                    return None
        return found

    def holds(self, key: str, now: float) -> bool:
        """Whether the entry is there; its use is not noted."""
        return key in self._held and self._look(key).deadline > now

    def put(self, key: str, held: M, now: float) -> None:
        """Store an entry, whatever was there."""
        entries = self._held
        if len(entries) >= self._limit and key not in entries:
            self.expire(now)  # before any that lives has to make room
        entries[key] = held
        if held.deadline < math.inf:
            heapq.heappush(self._deadlines, (held.deadline, key))
            if len(self._deadlines) > 2 * len(entries) + 64:
                now_held = ((self._look(name).deadline, name) for name in entries)
                self._deadlines = [one for one in now_held if one[0] < math.inf]
                heapq.heapify(self._deadlines)

    def pop(self, key: str, now: float) -> bool:
        """Remove an entry; whether it was there."""
        held = self._held.pop(key, None)
        return held is not None and held.deadline > now

    def expire(self, now: float) -> None:
        """Remove what is past its deadline."""
        deadlines, entries = self._deadlines, self._held
        while deadlines and deadlines[0][0] <= now:
            key = heapq.heappop(deadlines)[1]
            if key in entries and self._look(key).deadline <= now:
                del entries[key]

    def __len__(self) -> int:
        """How many there are, those included that are past but not yet removed."""
        return len(self._held)

    def __iter__(self) -> Iterator[str]:
        """The keys, those included of what is past but not yet removed."""
        return iter(self._held)
