"""The keys of one collection as far as they are known: columns, not objects, and a sorted, filtered view over them.

A row is an index into the columns; rows of keys that left are used again. `view` holds the rows that are shown, in order.
Changes that come together are worked into the view together, because that takes a step for each key in it. Sorting and
filtering anew goes in slices, so that a million keys never hold the event loop, and what changed meanwhile is worked in
at the end.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any

from kvd.model import Description, Key, KeyRow, Token
from kvtui.filters import Matcher

__all__ = ["KeyIndex", "Sort"]

SLICE = 5_000
"""Rows handled between two turns of the event loop; about 5 ms."""


def _first(pair: tuple[Any, int]) -> Any:
    return pair[0]


class Sort(Enum):
    """What the view is ordered by."""

    KEY = "key"
    TTL = "TTL"
    SIZE = "size"
    TYPE = "type"

    @property
    def following(self) -> Sort:
        """The order that comes next when one goes through them."""
        members = list(Sort)
        return members[(members.index(self) + 1) % len(members)]


class KeyIndex:
    """Keys with their metadata, and the view of them.

    `names`, `expires` (epoch seconds; infinity is never), `sizes` (bytes; -1 is unknown) and `kinds` are columns.
    """

    __slots__ = (
        "_free",
        "_rebuilding",
        "_rows",
        "_soonest",
        "_tokens",
        "_touched",
        "expires",
        "kinds",
        "matcher",
        "names",
        "reverse",
        "sizes",
        "sort",
        "view",
    )

    def __init__(self) -> None:
        self.names: list[str] = []
        self.expires = array("d")
        self.sizes = array("q")
        self.kinds: list[str] = []
        self._tokens: dict[int, Token] = {}
        self._rows: dict[Key, int] = {}
        self._free: list[int] = []
        self._rebuilding = 0
        self._soonest = math.inf
        """No deadline is before it."""
        self._touched: set[int] = set()
        self.view: list[int] = []
        self.matcher: Matcher | None = None
        self.sort = Sort.KEY
        self.reverse = False

    def __len__(self) -> int:
        return len(self._rows)

    def address(self, row: int) -> Key:
        """How the daemon is asked for the row's key."""
        return self._tokens.get(row) or self.names[row]

    def row(self, address: Key) -> int | None:
        """The row of a key, or None when it is not known."""
        return self._rows.get(address)

    def find(self, name: str) -> Key | None:
        """How the key of a name is asked for; None when it is not known."""
        if name in self._rows:
            return name
        row = next((row for row in self._rows.values() if self.names[row] == name), None)
        return None if row is None else self.address(row)

    def addresses(self) -> list[Key]:
        """All that is known, in no order."""
        return list(self._rows)

    def deadline(self, row: int) -> float | None:
        """When the row's key expires (epoch seconds), or None for never."""
        at = self.expires[row]
        return None if math.isinf(at) else at

    def expired(self, now: float) -> list[Key]:
        """The keys whose deadline has passed; nothing is gone through while none can have."""
        if now < self._soonest:
            return []
        expires = self.expires
        found = [address for address, row in self._rows.items() if expires[row] <= now]
        self._soonest = min(expires, default=math.inf)
        return found

    def position(self, address: Key) -> int | None:
        """Where in the view a key stands, or None when it is not shown."""
        row = self._rows.get(address)
        if row is None:
            return None
        try:
            return self.view.index(row)
        except ValueError:
            return None

    def upsert(self, found: Sequence[KeyRow], *, by_token: bool = False) -> int:
        """Add keys or renew what is known of them, and work them into the view; answers how many are new.

        Args:
            found: The keys; rows without a description keep what is known.
            by_token: Address all of them by their token, because their names are none (keys outside collections).
        """
        new = 0
        changed: list[int] = []
        for item in found:
            address: Key = item.token if by_token or not item.exact else item.key
            row = self._rows.get(address)
            if row is None:
                new += 1
                row = self._add(address, item.key)
            elif item.description is None:
                continue
            self._describe(row, item.description)
            changed.append(row)
        self._mend(changed, added=new)
        return new

    def describe(self, found: Iterable[tuple[Key, Description]]) -> None:
        """Renew what is known of keys, adding those that are new."""
        changed: list[int] = []
        new = 0
        for address, description in found:
            row = self._rows.get(address)
            if row is None:
                new += 1
                row = self._add(address, address if isinstance(address, str) else address.value.hex())
            self._describe(row, description)
            changed.append(row)
        self._mend(changed, added=new)

    def remove(self, addresses: Iterable[Key]) -> int:
        """Forget keys; answers how many were known."""
        gone = {row for address in addresses if (row := self._rows.pop(address, None)) is not None}
        if not gone:
            return 0
        for row in gone:
            self.names[row] = ""
            self.expires[row] = math.inf
            self._tokens.pop(row, None)
        self.view = [row for row in self.view if row not in gone]
        self._free.extend(gone)
        if self._rebuilding:
            self._touched |= gone
        return len(gone)

    def clear(self) -> None:
        """Forget everything, but not how it is sorted and filtered."""
        fresh = KeyIndex()
        fresh.matcher, fresh.sort, fresh.reverse = self.matcher, self.sort, self.reverse
        for name in self.__slots__:
            if name != "_rebuilding":
                setattr(self, name, getattr(fresh, name))
        self._rebuilding += 1  # what is being rebuilt is of the past

    async def rebuild(self) -> bool:
        """Filter and sort anew, in slices. Answers False when another rebuild overtook this one."""
        self._rebuilding += 1
        ticket = self._rebuilding
        self._touched = set()
        keyed, reverse = self._sort_key(), self.reverse
        runs: list[list[tuple[Any, int]]] = []
        rows = list(self._rows.values())
        for start in range(0, len(rows), SLICE):
            kept = self._matching(rows[start : start + SLICE])
            runs.append(sorted(((keyed(row), row) for row in kept), key=_first, reverse=reverse))
            await asyncio.sleep(0)
            if ticket != self._rebuilding:
                return False
        view: list[int] = []
        for _, row in heapq.merge(*runs, key=_first, reverse=reverse):
            view.append(row)
            if len(view) % SLICE == 0:
                await asyncio.sleep(0)
                if ticket != self._rebuilding:
                    return False
        touched, self._touched = self._touched, set()
        self._rebuilding = 0
        self.view = view
        if touched:
            self.view = [row for row in view if row not in touched]
            alive = set(self._rows.values())
            self._mend([row for row in touched if row in alive], added=len(touched))
        return True

    def _matching(self, rows: Sequence[int]) -> Sequence[int]:
        matcher, names = self.matcher, self.names
        return rows if matcher is None else [row for row in rows if matcher(names[row])]

    def _add(self, address: Key, name: str) -> int:
        if self._free:
            row = self._free.pop()
            self.names[row] = name
            self.expires[row], self.sizes[row], self.kinds[row] = math.inf, -1, ""
        else:
            row = len(self.names)
            self.names.append(name)
            self.expires.append(math.inf)
            self.sizes.append(-1)
            self.kinds.append("")
        self._rows[address] = row
        if isinstance(address, Token):
            self._tokens[row] = address
        return row

    def _describe(self, row: int, description: Description | None) -> None:
        if description is None:
            return
        if description.expires_at is None:
            self.expires[row] = math.inf
        else:
            self.expires[row] = description.expires_at
            self._soonest = min(self._soonest, description.expires_at)
        self.sizes[row] = -1 if description.size is None else description.size
        self.kinds[row] = description.kind

    def _mend(self, rows: Sequence[int], *, added: int) -> None:
        """Put changed rows where they belong in the view."""
        if self._rebuilding:
            self._touched.update(rows)
        if not rows:
            return
        if added < len(rows):  # some are shown already, perhaps at the wrong place or without matching
            if self.sort is Sort.KEY and not added:
                return
            moved = set(rows)
            self.view = [row for row in self.view if row not in moved]
        self.view += self._matching(rows)
        self.view.sort(key=self._sort_key(), reverse=self.reverse)  # nearly sorted: about n steps

    def _sort_key(self) -> Callable[[int], Any]:
        if self.sort is Sort.KEY:
            return self.names.__getitem__
        columns: dict[Sort, Sequence[Any]] = {Sort.TTL: self.expires, Sort.SIZE: self.sizes, Sort.TYPE: self.kinds}
        column = columns[self.sort]
        names = self.names
        return lambda row: (column[row], names[row])
