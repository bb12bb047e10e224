"""A collection in memory: entries by key, each with its deadline, the least recently used first.

Every GET of a memory store passes here, so a read is one look-up and one comparison. What is past its deadline is not found,
whether or not `expire` has removed it yet.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["Cache", "Mortal"]


class Mortal(Protocol):
    """What ends at a time."""

    @property
    def deadline(self) -> float:
        """Seconds since the epoch; infinite for what lives on."""


M = TypeVar("M", bound=Mortal)


class Cache(Generic[M]):
    """At most so many entries, as many as there are without a limit."""

    __slots__ = ("_deadlines", "_entries", "_limit")

    def __init__(self, limit: int | None = None) -> None:
        """Make an empty one; with a limit, the least recently used entry makes room for a new one."""
        self._limit = limit
        self._entries: OrderedDict[str, M] = OrderedDict()
        self._deadlines: list[tuple[float, str]] = []
        """A heap. Of an entry that was replaced the old deadline stays in it until it comes."""

    def get(self, key: str, now: float) -> M | None:
        """The entry, unless it is missing or past its deadline."""
        held = self._entries.get(key)
        if held is None or held.deadline <= now:
            return None
        if self._limit is not None:
            self._entries.move_to_end(key)
        return held

    def get_all(self, keys: Iterable[object], now: float) -> list[M] | None:
        """The entries of all keys; None when one is missing or past its deadline."""
        entries, limited = self._entries, self._limit is not None
        found: list[M] = []
        for key in keys:
            held = entries.get(key)  # type: ignore[call-overload] # what is no str is not found
            if held is None or held.deadline <= now:
                return None
            if limited:
                entries.move_to_end(key)  # type: ignore[arg-type] # it was found
            found.append(held)
        return found

    def holds(self, key: str, now: float) -> bool:
        """Whether the entry is there; its use is not noted."""
        held = self._entries.get(key)
        return held is not None and held.deadline > now

    def put(self, key: str, held: M, now: float) -> None:
        """Store an entry, whatever was there."""
        entries = self._entries
        entries[key] = held
        if held.deadline < math.inf:
            heapq.heappush(self._deadlines, (held.deadline, key))
            if len(self._deadlines) > 2 * len(entries) + 64:
                self._deadlines = [(one.deadline, name) for name, one in entries.items() if one.deadline < math.inf]
                heapq.heapify(self._deadlines)
        if self._limit is not None:
            entries.move_to_end(key)
            if len(entries) > self._limit:
                self.expire(now)
                while len(entries) > self._limit:
                    entries.popitem(last=False)

    def pop(self, key: str, now: float) -> bool:
        """Remove an entry; whether it was there."""
        held = self._entries.pop(key, None)
        return held is not None and held.deadline > now

    def expire(self, now: float) -> None:
        """Remove what is past its deadline."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            key = heapq.heappop(deadlines)[1]
            held = self._entries.get(key)
            if held is not None and held.deadline <= now:
                del self._entries[key]

    def __len__(self) -> int:
        """How many there are, those included that are past but not yet removed."""
        return len(self._entries)

    def keys(self, now: float) -> Iterator[str]:
        """The keys at this moment, of what is not past its deadline."""
        return iter([key for key, held in self._entries.items() if held.deadline > now])
