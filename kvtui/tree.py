"""The view of keys as a tree: names are cut behind each separator, and what begins alike stands in one folder.

- A folder's name is all that the names in it begin with, the separator at its end included. So no two folders and no folder and
  key are the same, whatever separators a name begins with, ends with or has twice; each key stands in the folder of all its
  name up to the last separator, under what follows it, be that nothing.
- Keys are sorted by name, so a folder is a range of them. Only open folders are written down, with the folders and keys right
  below them; a closed one costs nothing, and how many keys it has is found by bisection.
- In each folder, folders come first, in the order of names. Keys follow, in the order that is asked for.
- A folder is there as long as a key is in it. That it is open is remembered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from kvtui.filters import Matcher
from kvtui.ordered import Ordered
from kvtui.separators import LEVELS, Separators
from kvtui.view import SLICE, Columns, Line, Sort, View, exhaust, sorting

__all__ = ["Tree"]

UNFOLDED_MOST = 1_000
"""When a filter leaves no more keys than that, all folders are open until another filter is set."""
OPENED_AT_ONCE = 4 * SLICE
"""Keys of the largest folder that is opened without going through them in slices."""


class Opened:
    """An open folder."""

    __slots__ = ("first", "folders", "inner", "jumps", "keys", "keys_at")

    def __init__(self, folders: Ordered[str], keys: Ordered[int]) -> None:
        self.folders = folders
        self.keys = keys
        self.inner: set[str] = set()
        """Which of the folders are open."""
        self.first = self.keys_at = 0
        """The lines of what is first in it, and of its first key."""
        self.jumps: list[tuple[int, int]] = []
        """The places of the open folders, and how many lines there are in them and in those before them."""


class Run(NamedTuple):
    """Lines that follow each other in a list as well."""

    start: int
    """The first line."""
    items: Ordered[int] | Ordered[str]
    place: int
    """Where that stands in the list."""
    step: int
    """1, or -1 for lines that go through the list backwards."""


class Tree(View):
    """The tree.

    Args:
        columns: What is known of the keys.
        separators: Where names are cut.
        opened: The open folders; shared by all trees of a collection, one after the other.
        matcher: The filter.
        sort: The order of the keys in each folder.
        reverse: Whether the order is turned around; that of folders, which have nothing but a name, when keys go by name.
    """

    def __init__(
        self,
        columns: Columns,
        separators: Separators,
        opened: set[str],
        matcher: Matcher | None = None,
        sort: Sort = Sort.KEY,
        *,
        reverse: bool = False,
    ) -> None:
        super().__init__(columns, matcher, sort, reverse=reverse)
        self.separators = separators
        self.opened = opened
        self.closed: set[str] | None = None
        """The closed folders where a filter opened all others."""
        self._open: dict[str, Opened] = {"": self._empty()}
        """The open folders that are shown, and the root, which has no name."""

    @property
    def basis(self) -> Sort:
        return Sort.KEY

    def _empty(self) -> Opened:
        return Opened(Ordered([], str), Ordered([], self.columns.order(self.sort)))

    # Folders

    def is_open(self, folder: str) -> bool:
        """Whether a folder is open, or would be if it were shown."""
        return folder in self.opened if self.closed is None else folder not in self.closed

    def folder_of(self, line: Line) -> str:
        """The folder in which a key or a folder stands; empty for the root."""
        if isinstance(line, int):
            return ["", *self.separators.folders(self.columns.names[line])][-1]
        return ["", "", *self.separators.folders(line)][-2]  # there is none in what other separators made a folder

    def level(self, line: Line) -> int:
        """In how many folders a key or a folder stands."""
        if isinstance(line, int):
            return len(self.separators.folders(self.columns.names[line]))
        return len(self.separators.folders(line)) - 1

    def within(self, folder: str) -> list[int]:
        """The keys in a folder and in those below it that match, in the order of names."""
        return self.rows.items(*self._range(folder))

    def size(self, folder: str) -> int:
        """How many keys that is."""
        start, end = self._range(folder)
        return end - start

    def _range(self, folder: str) -> tuple[int, int]:
        names, length = self.columns.names, len(folder)
        start = self.rows.first(lambda row: names[row] >= folder)
        return start, self.rows.first(lambda row: names[row][:length] > folder, start)

    def open(self, folder: str) -> bool:
        """Open a folder. Answers False when it is too large to be shown at once: then the view has to be built anew."""
        if self.closed is None:
            self.opened.add(folder)
        else:
            self.closed.discard(folder)
        around = self._open.get(self.folder_of(folder))
        if around is None or folder in around.inner or around.folders.position(folder) is None:
            return True
        if self.size(folder) > OPENED_AT_ONCE:
            return False
        around.inner.add(folder)
        exhaust(self._fill(folder, self.within(folder)))
        self._forget_lines()
        return True

    def close(self, folder: str) -> None:
        """Close a folder. Those in it are open again when it is."""
        if self.closed is None:
            self.opened.discard(folder)
        else:
            self.closed.add(folder)
        if folder in self._open:
            self._open[self.folder_of(folder)].inner.discard(folder)
            self._drop(folder)

    def _drop(self, folder: str) -> None:
        for inner in self._open.pop(folder).inner:
            self._drop(inner)
        self._forget_lines()

    def reveal(self, row: int) -> bool:
        """Open all folders in which a key stands; answers as `open` does."""
        at_once = True
        for folder in self.separators.folders(self.columns.names[row]):
            at_once = self.open(folder) and at_once
        return at_once

    # Lines

    @property
    def count(self) -> int:
        return self._lines[1]

    def line(self, index: int) -> Line:
        runs, count = self._lines
        if not 0 <= index < count:
            raise IndexError(index)
        run = runs[bisect_right(runs, index, key=lambda run: run.start) - 1]
        return run.items[run.place + run.step * (index - run.start)]

    def position(self, line: Line) -> int | None:
        opened = self._open.get(self.folder_of(line))
        if opened is None:
            return None
        _ = self._lines  # they say where the folder is
        if isinstance(line, int):
            place = opened.keys.position(line)
            return None if place is None else opened.keys_at + self._shown(place, opened.keys, turned=self.reverse)
        place = opened.folders.position(line)
        if place is None:
            return None
        place = self._shown(place, opened.folders, turned=self._turned)
        before = bisect_left(opened.jumps, (place, 0)) - 1
        return opened.first + place + (opened.jumps[before][1] if before >= 0 else 0)

    def nearest(self, row: int) -> int | None:
        closed = (folder for folder in self.separators.folders(self.columns.names[row]) if folder not in self._open)
        folder = next(closed, None)
        return self.position(row if folder is None else folder)

    @property
    def _turned(self) -> bool:
        """Whether folders, which have nothing but a name, go backwards."""
        return self.reverse and self.sort is Sort.KEY

    @staticmethod
    def _shown(place: int, items: Ordered[int] | Ordered[str], *, turned: bool) -> int:
        """The place that is shown of one in the list, and the other way around."""
        return len(items) - 1 - place if turned else place

    @cached_property
    def _lines(self) -> tuple[list[Run], int]:
        """The runs of lines, and how many lines that is."""
        runs: list[Run] = []
        count = 0

        def run(items: Ordered[int] | Ordered[str], start: int, end: int, *, turned: bool) -> None:
            nonlocal count
            if end > start:
                runs.append(Run(count, items, self._shown(start, items, turned=turned), -1 if turned else 1))
                count += end - start

        def add(opened: Opened) -> None:
            folders, turned = opened.folders, self._turned
            opened.first = count
            opened.jumps = []
            done = 0
            for folder in sorted(opened.inner, reverse=turned):
                place = folders.position(folder)
                assert place is not None  # noqa: S101 - an open folder is one of them
                upto = self._shown(place, folders, turned=turned) + 1
                run(folders, done, upto, turned=turned)
                add(self._open[folder])
                opened.jumps.append((upto - 1, count - opened.first - upto))
                done = upto
            run(folders, done, len(folders), turned=turned)
            opened.keys_at = count
            run(opened.keys, 0, len(opened.keys), turned=self.reverse)

        add(self._open[""])
        return runs, count

    def _forget_lines(self) -> None:
        self.__dict__.pop("_lines", None)

    # Building

    def build(self, known: Sequence[int], before: View) -> Iterator[None]:
        yield from super().build(known, before)
        if before.matcher is self.matcher and isinstance(before, Tree):
            self.closed = before.closed
        elif self.matcher is not None and len(self.rows) <= UNFOLDED_MOST:
            self.closed = set()
        yield from self._fill("", self.rows.items())
        self._forget_lines()

    def _fill(self, name: str, items: Sequence[int]) -> Iterator[None]:
        """Write down what is in an open folder, and in the open ones in it, a slice at each step. `items`: what is within."""
        names = self.columns.names
        frozen = self.columns.order(self.sort, frozen=True) if self.sort is not Sort.KEY else None
        todo = [(name, 0, len(items))]
        steps = 0
        while todo:
            name, at, end = todo.pop()
            folders: list[str] = []
            keys: list[int] = []
            opened = self._open[name] = self._empty()
            full = len(self.separators.folders(name)) >= LEVELS
            while at < end:
                row = items[at]
                cut = 0 if full else self.separators.cut(names[row], len(name))
                if cut:
                    folder = names[row][:cut]
                    folders.append(folder)
                    after = self._after(folder, items, at, end)
                    if self.is_open(folder):
                        opened.inner.add(folder)
                        todo.append((folder, at, after))
                    at = after
                else:
                    keys.append(row)
                    at += 1
                steps += 1
                if steps % SLICE == 0:
                    yield
            if frozen is not None:
                keys = yield from sorting(keys, frozen)
            opened.folders = Ordered(folders, str)
            opened.keys = Ordered(keys, self.columns.order(self.sort))

    def _after(self, folder: str, items: Sequence[int], start: int, end: int) -> int:
        """Where the range of a folder ends that begins at `start`: most are small."""
        names, length = self.columns.names, len(folder)
        step = 1
        while start + step < end and names[items[start + step]].startswith(folder):
            step *= 2
        return bisect_right(items, folder, start + step // 2, min(start + step, end), key=lambda row: names[row][:length])

    # Changing

    def insert(self, rows: Sequence[int]) -> None:
        rows = self._matching(rows)
        self.rows.insert(rows)
        folders: dict[str, set[str]] = defaultdict(set)
        keys: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            parent = ""
            for folder in self.separators.folders(self.columns.names[row]):
                if folder not in self._open:
                    if self._open[parent].folders.position(folder) is None:
                        folders[parent].add(folder)
                    if not self._opens(folder):
                        break
                    self._open[folder] = self._empty()
                    self._open[parent].inner.add(folder)
                parent = folder
            else:
                keys[parent].append(row)
        for name, new in folders.items():
            self._open[name].folders.insert(new)
        for name, more in keys.items():
            self._open[name].keys.insert(more)
        self._forget_lines()

    def _opens(self, folder: str) -> bool:
        """Whether a folder that appears is open: not all those that a filter finds, when it goes on finding more."""
        if self.closed is not None and len(self._open) >= UNFOLDED_MOST:
            self.closed.add(folder)
        return self.is_open(folder)

    def remove(self, rows: Collection[int]) -> None:
        self.rows.remove(rows)
        keys: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            folder = self.folder_of(row)
            if folder in self._open:
                keys[folder].append(row)
        for name, gone in keys.items():
            self._open[name].keys.remove(gone)
        self._leave(rows)

    def settle(self, touched: Collection[int], alive: Sequence[int]) -> None:
        self.rows.drop(touched)
        for opened in self._open.values():
            opened.keys.drop(touched)
        self._leave(touched)
        self.insert(alive)

    def _leave(self, rows: Collection[int]) -> None:
        """Let folders go in which nothing is left after some keys went."""
        is_left: dict[str, bool] = {}
        empty: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            parent = ""
            for folder in self.separators.folders(self.columns.names[row]):
                if folder not in is_left:
                    is_left[folder] = bool(self.size(folder))
                    if not is_left[folder]:
                        empty[parent].append(folder)
                if not is_left[folder] or folder not in self._open:  # what is in it goes along, or is not written down
                    break
                parent = folder
        for parent, gone in empty.items():
            opened = self._open[parent]
            opened.folders.remove(gone)
            for folder in opened.inner.intersection(gone):
                opened.inner.discard(folder)
                self._drop(folder)
        self._forget_lines()
