"""A sorted list to which many changes come: it is kept in blocks, so that none of them costs a step for every item."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort_right
from collections.abc import Callable, Collection, Hashable
from itertools import accumulate, chain
from typing import Any, Generic, TypeVar

__all__ = ["Ordered"]

T = TypeVar("T", bound=Hashable)

BLOCK = 1_000
"""Items of a block at first; it is halved when it has twice as many."""
FEW = 8
"""One change to so many items is few: each costs two bisections, where going through all costs a step for every item."""


class Ordered(Generic[T]):
    """Items in the order of a key, which stays the same for an item as long as it is in here.

    Args:
        items: What is in here at first, in order.
        key: What items are ordered by.
    """

    __slots__ = ("_blocks", "_key", "_starts")

    def __init__(self, items: list[T], key: Callable[[T], Any]) -> None:
        self._key: Callable[[T], Any] = key
        self._blocks: list[list[T]] = []
        self._starts: list[int] | None = None
        self._fill(items)

    def _fill(self, items: list[T]) -> None:
        self._blocks = [items[at : at + BLOCK] for at in range(0, len(items), BLOCK)]
        self._starts = None

    def copy(self) -> Ordered[T]:
        """Another list of the same."""
        made: Ordered[T] = Ordered([], self._key)
        made._blocks = [block[:] for block in self._blocks]
        made._starts = None
        return made

    @property
    def starts(self) -> list[int]:
        """At which place each block begins, and how many items there are."""
        if self._starts is None:
            self._starts = list(accumulate(map(len, self._blocks), initial=0))
        return self._starts

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, place: int) -> T:
        block = bisect_right(self.starts, place) - 1
        return self._blocks[block][place - self.starts[block]]

    def items(self, start: int = 0, end: int | None = None) -> list[T]:
        """What stands from one place up to another."""
        if end is None:
            end = len(self)
        if start >= end:
            return []
        if end - start == len(self):
            return list(chain.from_iterable(self._blocks))
        first, last = bisect_right(self.starts, start) - 1, bisect_left(self.starts, end)
        at = self.starts[first]
        return list(chain.from_iterable(self._blocks[first:last]))[start - at : end - at]

    def first(self, test: Callable[[T], bool], start: int = 0) -> int:
        """The first place from `start` on whose item passes a test, which all behind it pass, too."""
        blocks, starts = self._blocks, self.starts
        at = max(0, bisect_right(starts, start) - 1)
        block = bisect_left(blocks, True, at, key=lambda block: test(block[-1]))
        if block == len(blocks):
            return len(self)
        return max(start, starts[block] + bisect_left(blocks[block], True, key=test))

    def position(self, item: T) -> int | None:
        """Where an item stands, or None when it is not in here."""
        found = self._find(item)
        return None if found is None else self.starts[found[0]] + found[1]

    def _find(self, item: T) -> tuple[int, int] | None:
        blocks, key = self._blocks, self._key
        wanted = key(item)
        at = bisect_left(blocks, wanted, key=lambda block: key(block[-1]))
        for number in range(at, len(blocks)):
            block = blocks[number]
            place = bisect_left(block, wanted, key=key)
            while place < len(block) and key(block[place]) == wanted:
                if block[place] == item:
                    return number, place
                place += 1
            if place < len(block):
                return None
        return None

    def insert(self, new: Collection[T]) -> None:
        """Put items where they belong, behind those that are equal to them."""
        key, blocks = self._key, self._blocks
        if len(new) * FEW > len(self):
            self._fill(sorted([*self.items(), *new], key=key))
            return
        self._starts = None
        for item in sorted(new, key=key):
            number = min(bisect_right(blocks, key(item), key=lambda block: key(block[-1])), len(blocks) - 1)
            block = blocks[number]
            insort_right(block, item, key=key)
            if len(block) > 2 * BLOCK:
                blocks[number : number + 1] = block[:BLOCK], block[BLOCK:]

    def remove(self, gone: Collection[T]) -> None:
        """Take items out; those that are not in here are passed over."""
        if len(gone) * FEW > len(self):
            self.drop(gone)
            return
        for item in gone:
            if (found := self._find(item)) is not None:
                self._starts = None
                number, place = found
                del self._blocks[number][place]
                if not self._blocks[number]:
                    del self._blocks[number]

    def drop(self, gone: Collection[T]) -> None:
        """Take items out whose key may have changed, by going through all."""
        left = set(gone)
        self._fill([item for item in self.items() if item not in left])
