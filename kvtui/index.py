"""The keys of one collection as far as they are known: columns, not objects, and a sorted, filtered view over them.

Rows of keys that left are used again. Changes that come together are worked into the view together. Another filter, order or
form is a view of its own, which is made beside the one that is shown and takes its place: in slices, and what changed meanwhile
is worked in at the end.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence

from kvd.model import Description, Key, KeyRow, Token
from kvtui.filters import Matcher
from kvtui.separators import Separators
from kvtui.tree import Tree
from kvtui.view import SLICE, Columns, Sort, View, exhaust

__all__ = ["KeyIndex"]


class KeyIndex(Columns):
    """Keys with their metadata, and the view of them.

    `matcher`, `sort`, `reverse`, `as_tree`, `separators` and `opened` say how the view is to be; it is so once it was rebuilt.
    """

    __slots__ = (
        "_free",
        "_left",
        "_next",
        "_rows",
        "_soonest",
        "_tokens",
        "_touched",
        "as_tree",
        "changes",
        "is_cut",
        "matcher",
        "opened",
        "reverse",
        "separators",
        "sort",
        "view",
    )

    def __init__(self) -> None:
        self.matcher: Matcher | None = None
        self.sort = Sort.KEY
        self.reverse = False
        self.as_tree = False
        self.separators = Separators("")
        """Where names are cut in a tree."""
        self.opened: set[str] = set()
        """The open folders of a tree."""
        self.changes = 0
        """How often the view changed."""
        self._start()

    def _start(self) -> None:
        super().__init__()
        self._tokens: dict[int, Token] = {}
        self._rows: dict[Key, int] = {}
        self._free: list[int] = []
        self._soonest = math.inf
        """No deadline is before it."""
        self.is_cut = False
        """Whether the name of a key was cut: else a tree shows what a flat view does."""
        self._next: View | None = None
        """The view that is being made."""
        self._touched: set[int] = set()
        """The rows that came, changed or left meanwhile."""
        self._left: set[int] = set()
        """Those that left: they keep their names until then."""
        self.view = self._make()
        self.changes += 1

    def _make(self) -> View:
        if not self.as_tree:
            return View(self, self.matcher, self.sort, reverse=self.reverse)
        return Tree(self, self.separators, self.opened, self.matcher, self.sort, reverse=self.reverse)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def tree(self) -> Tree | None:
        """The view, where it is a tree."""
        return self.view if isinstance(self.view, Tree) else None

    @property
    def is_rebuilding(self) -> bool:
        """Whether another view is being made."""
        return self._next is not None

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
        """On which line a key stands, or None when it is not shown."""
        row = self._rows.get(address)
        return None if row is None else self.view.position(row)

    def nearest(self, address: Key) -> int | None:
        """The line of a key, or of the closed folder that hides it; None when it is not shown at all."""
        row = self._rows.get(address)
        return None if row is None else self.view.nearest(row)

    # Changing

    def upsert(self, found: Sequence[KeyRow], *, by_token: bool = False) -> int:
        """Add keys or renew what is known of them, and work them into the view; answers how many are new.

        Args:
            found: The keys; rows without a description keep what is known.
            by_token: Address all of them by their token, because their names are none (keys outside collections).
        """
        before = len(self._rows)
        self._take((item.token if by_token or not item.exact else item.key, item.key, item.description) for item in found)
        return len(self._rows) - before

    def describe(self, found: Iterable[tuple[Key, Description]]) -> None:
        """Renew what is known of keys, adding those that are new."""
        self._take(
            (address, address if isinstance(address, str) else address.value.hex(), described) for address, described in found
        )

    def _take(self, found: Iterable[tuple[Key, str, Description | None]]) -> None:
        new: dict[int, None] = {}
        described: dict[int, Description] = {}
        for address, name, description in found:
            row = self._rows.get(address)
            if row is None:
                row = self._add(address, name)
                new[row] = None
            if description is not None:
                described[row] = description
        sort = self.view.sort
        moved = [row for row, known in described.items() if row not in new and self.moves(row, known, sort)]
        if moved:
            self.view.remove(moved)
        for row, known in described.items():
            self.expires[row], self.sizes[row], self.kinds[row] = self.values(known)
            self._soonest = min(self._soonest, self.expires[row])
        if new or moved:
            self.view.insert([*new, *moved])
            self.changes += 1
        if self._next is not None:
            self._touched.update(new, described)

    def remove(self, addresses: Iterable[Key]) -> int:
        """Forget keys; answers how many were known."""
        gone = {row for address in addresses if (row := self._rows.pop(address, None)) is not None}
        if gone:
            self.view.remove(gone)
            self.changes += 1
            self._left |= gone
            if self._next is None:
                self._let_go()
            else:
                self._touched |= gone
        return len(gone)

    def _let_go(self) -> None:
        """Make rows of keys that left free for others."""
        for row in self._left:
            self.names[row] = ""
            self.expires[row], self.sizes[row], self.kinds[row] = math.inf, -1, ""
            self._tokens.pop(row, None)
        self._free.extend(self._left)
        self._left = set()

    def clear(self) -> None:
        """Forget everything, but not how it is shown."""
        self._start()

    def _add(self, address: Key, name: str) -> int:
        if self._free:
            row = self._free.pop()
            self.names[row] = name
        else:
            row = len(self.names)
            self.names.append(name)
            self.expires.append(math.inf)
            self.sizes.append(-1)
            self.kinds.append("")
        self._rows[address] = row
        self.is_cut = self.is_cut or bool(self.separators.cut(name))
        if isinstance(address, Token):
            self._tokens[row] = address
        return row

    # Another view

    def rebuild_at_once(self) -> bool:
        """Make the view that is wanted now, unless it takes a while because there are so many keys; answers whether it did."""
        if len(self._rows) > SLICE:
            return False
        view = self._begin()
        exhaust(view.build(list(self._rows.values()), self.view))
        self._end(view)
        return True

    async def rebuild(self) -> bool:
        """Make the view that is wanted now, in slices. Answers False when another one overtook it."""
        view = self._begin()
        try:
            for _ in view.build(list(self._rows.values()), self.view):
                await asyncio.sleep(0)
                if self._next is not view:
                    return False
            self._end(view)
        finally:
            if self._next is view:  # it was given up
                self._next = None
                self._let_go()
        return True

    def _begin(self) -> View:
        self._let_go()
        self._touched = set()
        self._next = view = self._make()
        return view

    def _end(self, view: View) -> None:
        touched, self._touched = self._touched, set()
        if touched:
            alive = set(self._rows.values())
            view.settle(touched, [row for row in touched if row in alive])
        self.view = view
        self.changes += 1
        self._next = None
        self._let_go()
