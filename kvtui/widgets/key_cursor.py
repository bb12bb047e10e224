"""A list of keys with a cursor that follows its key or folder, not its place; folders that open and close; marks.

Whatever comes and goes around it, the cursor stays on its key. When that leaves, the cursor goes on to what came next. A folder
that is closed around it takes the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from textual.message import Message

from kvd.model import Key
from kvtui.index import KeyIndex
from kvtui.marks import Marks
from kvtui.widgets.lines import Lines

__all__ = ["KeyCursor"]

NEXT = 20
"""Lines below the cursor that are remembered for when those above them leave."""


class KeyCursor(Lines):
    """The list, without what it looks like."""

    class Current(Message):
        """Another key or folder has the cursor, or none has."""

    class Large(Message):
        """A folder was opened that is too large to be shown at once: the view has to be made anew."""

    def __init__(self, index: KeyIndex, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.index = index
        self.current: Key | None = None
        self.folder: str | None = None
        """The folder that has the cursor, instead of a key."""
        self._next: list[tuple[Key | None, str | None]] = []
        """The keys and folders below the cursor."""
        self._changes = 0
        """The changes of the index that were taken up."""
        self.marked = Marks()
        self.follows_top = True
        """Whether the cursor stays on the first line whatever comes before it: nobody has looked at a key yet."""

    @property
    def count(self) -> int:
        return self.index.view.count

    # The cursor and its key

    def address_at(self, index: int) -> Key | None:
        """The key on a line; None where there is none, but a folder."""
        return self._at(index)[0]

    def _at(self, index: int) -> tuple[Key | None, str | None]:
        """The key or the folder on a line."""
        if not 0 <= index < self.count:
            return None, None
        line = self.index.view.line(index)
        return (self.index.address(line), None) if isinstance(line, int) else (None, line)

    def _place(self, address: Key | None, folder: str | None) -> int | None:
        """Where a key or a folder stands, or the closed folder that hides it."""
        if folder is not None:
            return self.index.view.position(folder)
        return None if address is None else self.index.nearest(address)

    def watch_cursor(self, before: int, after: int) -> None:
        super().watch_cursor(before, after)
        self.follows_top = False
        self._take_current()

    def catch_up(self) -> None:
        if self._changes != self.index.changes:
            self.reload()

    def reload(self) -> None:
        """Take up that the index changed; the cursor stays on its key, at the same height of the screen. What comes above the
        first line is seen, as long as the cursor is.
        """
        self._changes = self.index.changes
        if self.follows_top:
            self.changed()
            self._take_current()
            return
        places = (self._place(*spot) for spot in ((self.current, self.folder), *self._next))
        place = next((place for place in places if place is not None), None)
        if place is not None and place != self.cursor:
            before = self.scroll_offset.y
            top = 0 if before == 0 and place < self.page_height else before + place - self.cursor
            self.set_reactive(Lines.cursor, place)
            self.changed()
            self.scroll_to(y=max(0, top), animate=False, immediate=True)
        else:
            self.changed()
        self._take_current()

    def go_to(self, address: Key) -> bool:
        """Put the cursor on a key, opening the folders in which it stands; False when it is not shown."""
        self.reveal(address)
        place = self.index.position(address)
        if place is None:
            return False
        self.current = None
        self.cursor = place
        self._take_current()
        self.scroll_to_cursor()
        return True

    def forget(self) -> None:
        """Start over at the top, without marks."""
        self.current = self.folder = None
        self._next = []
        self.marked.clear()
        self.follows_top = True
        self.set_reactive(Lines.cursor, 0)
        self.scroll_to(y=0, animate=False)

    def _take_current(self) -> None:
        self._next = [self._at(line) for line in range(self.cursor + 1, min(self.count, self.cursor + 1 + NEXT))]
        spot = self._at(self.cursor)
        if spot != (self.current, self.folder):
            self.current, self.folder = spot
            self.post_message(self.Current())

    def leave_folder(self) -> None:
        """Have the first key of the folder as the current one: the keys are going to be shown without folders."""
        tree = self.index.tree
        if tree is not None and self.folder is not None and (rows := tree.within(self.folder)):
            self.current, self.folder = self.index.address(rows[0]), None

    # Folders

    def reveal(self, address: Key) -> None:
        """Open the folders in which a key stands that is hidden by them."""
        row, tree = self.index.row(address), self.index.tree
        if row is not None and tree is not None and tree.position(row) is None and tree.nearest(row) is not None:
            self._opened(at_once=tree.reveal(row))

    def unfold(self) -> None:
        """Open the folder of the cursor; when it is open, go to the first line in it."""
        self.catch_up()
        tree, folder = self.index.tree, self.folder
        if tree is None or folder is None:
            return
        if tree.is_open(folder):
            self.action_move(1)
        else:
            self._opened(at_once=tree.open(folder))

    def fold(self) -> bool:
        """Close the folder of the cursor; when it is closed, or of a key, go to the folder around it. False when none is."""
        self.catch_up()
        tree = self.index.tree
        if tree is None or not self.count:
            return False
        if self.folder is not None and tree.is_open(self.folder):
            tree.close(self.folder)
            self._opened()
            return True
        around = tree.folder_of(tree.line(self.cursor))
        place = tree.position(around) if around else None
        if place is not None:
            self.cursor = place
        return place is not None

    def _opened(self, *, at_once: bool = True) -> None:
        """Take up that folders were opened or closed."""
        self.follows_top = False
        if at_once and not self.index.is_rebuilding:
            self.reload()
        else:
            self.post_message(self.Large())

    def press(self, index: int) -> None:
        """Answer a click on a line: a folder opens and closes wherever the cursor stands."""
        folder, tree = self._at(index)[1], self.index.tree
        if folder is None or tree is None:
            super().press(index)
            return
        self.cursor = index
        if tree.is_open(folder):
            self.fold()
        else:
            self.unfold()

    def seek_key(self, by: int) -> None:
        """Go to the next key, or with -1 to the one before, into closed folders as well."""
        self.catch_up()
        tree = self.index.tree
        if tree is None:
            self.action_move(by)
            return
        closed = self.folder is not None and not tree.is_open(self.folder)
        at = self.cursor if closed and by > 0 else self.cursor + by
        while 0 <= at < self.count and (folder := self._at(at)[1]) is not None:
            before = self.count
            if not tree.is_open(folder) and not tree.open(folder):
                self._opened(at_once=False)
                return
            if by < 0:
                at += self.count - before + (self.count > before)  # from its last line up
            at += by
        self._opened()
        if 0 <= at < self.count:
            self.cursor = at

    # Marks

    def toggle_mark(self) -> None:
        """Mark the current key, or all in the folder, or take the marks away, and go on to the next line."""
        self.catch_up()
        chosen = self._keys_on(self.cursor)
        if all(address in self.marked for address, _ in chosen):
            self.marked.discard(address for address, _ in chosen)
        else:
            self.marked.add(chosen)
        self.refresh()
        self.action_move(1)

    def mark_range(self) -> None:
        """Mark all from the key that was marked last to the current one."""
        self.catch_up()
        last = self.marked.last
        start = None if last is None else self.index.nearest(last)
        low, high = sorted((self.cursor if start is None else start, self.cursor))
        tree = self.index.tree
        opened = {line for line in range(low, high + 1) if tree is not None and tree.is_open(self._at(line)[1] or "")}
        self.marked.add(chain.from_iterable(self._keys_on(line) for line in range(low, high + 1) if line not in opened))
        self.refresh()

    def _keys_on(self, index: int) -> list[tuple[Key, str]]:
        """The key on a line, or all keys in the folder there, with their names."""
        if not 0 <= index < self.count:
            return []
        line = self.index.view.line(index)
        tree = self.index.tree
        rows = [line] if isinstance(line, int) else [] if tree is None else tree.within(line)
        return [(self.index.address(row), self.index.names[row]) for row in rows]

    def unmark(self, addresses: Iterable[Key] | None = None) -> None:
        """Take marks away, all unless some are named."""
        self.marked.discard(list(self.marked if addresses is None else addresses))
        self.refresh()
