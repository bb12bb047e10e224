"""What is known of keys, in columns, and the flat view of them: those that match a filter, in an order.

A row is an index into the columns. A view is made in slices, so that a million keys never hold the event loop; changes are
then worked into it where they belong.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from enum import Enum
from typing import Any

from kvd.model import Description
from kvtui.filters import Matcher
from kvtui.ordered import Ordered

__all__ = ["SLICE", "Columns", "Line", "Sort", "View", "exhaust", "sorting"]

SLICE = 5_000
"""Rows handled between two turns of the event loop; about 5 ms."""

Line = int | str
"""What stands on a line: a key, by its row, or a folder, by what the names of all keys in it begin with."""


class Sort(Enum):
    """What keys are ordered by."""

    KEY = "key"
    TTL = "TTL"
    SIZE = "size"
    TYPE = "type"

    @property
    def following(self) -> Sort:
        """The order that comes next when one goes through them."""
        members = list(Sort)
        return members[(members.index(self) + 1) % len(members)]


class Columns:
    """Names and metadata of keys.

    `names`, `expires` (epoch seconds; infinity is never), `sizes` (bytes; -1 is unknown) and `kinds` are columns.
    """

    __slots__ = ("expires", "kinds", "names", "sizes")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.expires = array("d")
        self.sizes = array("q")
        self.kinds: list[str] = []

    def order(self, sort: Sort, *, frozen: bool = False) -> Callable[[int], Any]:
        """What rows are compared by, names after all else; `frozen`: as it is now, whatever is changed from now on."""
        names = self.names
        if sort is Sort.KEY:
            return names.__getitem__
        column = self._column(sort)[:] if frozen else self._column(sort)
        return lambda row: (column[row], names[row])

    def _column(self, sort: Sort) -> Sequence[Any]:
        columns: dict[Sort, Sequence[Any]] = {Sort.TTL: self.expires, Sort.SIZE: self.sizes, Sort.TYPE: self.kinds}
        return columns[sort]

    @staticmethod
    def values(description: Description) -> tuple[float, int, str]:
        """What stands in the columns of expiry, size and kind for a description."""
        expires = math.inf if description.expires_at is None else description.expires_at
        return expires, -1 if description.size is None else description.size, description.kind

    def moves(self, row: int, description: Description, sort: Sort) -> bool:
        """Whether a description gives the row another place in an order."""
        if sort is Sort.KEY:
            return False
        values = dict(zip((Sort.TTL, Sort.SIZE, Sort.TYPE), self.values(description), strict=True))
        return bool(self._column(sort)[row] != values[sort])


class View:
    """The flat view. It is empty until it was built.

    Args:
        columns: What is known of the keys.
        matcher: The filter.
        sort: The order.
        reverse: Whether the order is turned around.
    """

    def __init__(
        self, columns: Columns, matcher: Matcher | None = None, sort: Sort = Sort.KEY, *, reverse: bool = False
    ) -> None:
        self.columns = columns
        self.matcher = matcher
        self.sort = sort
        self.reverse = reverse
        self.rows: Ordered[int] = Ordered([], columns.order(self.basis))
        """The keys that match, in ascending order."""

    @property
    def basis(self) -> Sort:
        """What `rows` are ordered by."""
        return self.sort

    def __len__(self) -> int:
        """How many keys match."""
        return len(self.rows)

    # Lines

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self.rows)

    def line(self, index: int) -> Line:
        """What stands on a line."""
        return self.rows[len(self.rows) - 1 - index if self.reverse else index]

    def position(self, line: Line) -> int | None:
        """On which line a key or a folder stands; None when it is not shown."""
        place = self.rows.position(line) if isinstance(line, int) else None
        return place if place is None or not self.reverse else len(self.rows) - 1 - place

    def nearest(self, row: int) -> int | None:
        """The line of a key, or of the closed folder that hides it; None when it does not match."""
        return self.position(row)

    # Building

    def build(self, known: Sequence[int], before: View) -> Iterator[None]:
        """Filter and sort, a slice at each step.

        Args:
            known: All rows.
            before: A view of the same keys: what it has found out already is taken over.
        """
        if before.matcher is self.matcher and before.basis is self.basis:
            self.rows = before.rows.copy()
        else:
            matching: list[int] = []
            for start in range(0, len(known), SLICE):
                matching += self._matching(known[start : start + SLICE])
                yield
            items = yield from sorting(matching, self.columns.order(self.basis, frozen=True))
            self.rows = Ordered(items, self.columns.order(self.basis))

    def _matching(self, rows: Sequence[int]) -> Sequence[int]:
        matcher, names = self.matcher, self.columns.names
        return rows if matcher is None else [row for row in rows if matcher(names[row])]

    # Changing

    def insert(self, rows: Sequence[int]) -> None:
        """Work rows in that are not in here yet."""
        self.rows.insert(self._matching(rows))

    def remove(self, rows: Collection[int]) -> None:
        """Take rows out; their columns are still what they were when they were worked in."""
        self.rows.remove(rows)

    def settle(self, touched: Collection[int], alive: Sequence[int]) -> None:
        """Work in what changed while this was being built.

        Args:
            touched: Rows that came, changed or left; the names of those that left are still known.
            alive: Those of them that are there now.
        """
        self.rows.drop(touched)
        self.insert(alive)


def sorting(rows: Sequence[int], key: Callable[[int], Any]) -> Generator[None, None, list[int]]:
    """Sort rows, a slice at each step."""
    runs: list[list[int]] = []
    for start in range(0, len(rows), SLICE):
        runs.append(sorted(rows[start : start + SLICE], key=key))
        yield
    if len(runs) == 1:
        return runs[0]
    merged: list[int] = []
    for row in heapq.merge(*runs, key=key):
        merged.append(row)
        if len(merged) % SLICE == 0:
            yield
    return merged


def exhaust(steps: Iterable[None]) -> None:
    """Take all steps at once."""
    for _ in steps:
        pass
