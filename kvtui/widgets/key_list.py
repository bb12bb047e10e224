"""The keys of a collection with TTL, size and type; TTLs count down, expired rows fade out.

The list draws the view of a `KeyIndex` and follows its own cursor by key, not by place: whatever comes and goes around it,
the cursor stays on its key. One timer repaints the TTL cells that are seen, and nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual.color import Color
from textual.message import Message
from textual.strip import Strip

from kvd.model import Key
from kvtui.codecs import elide, name_text, printable, size_text
from kvtui.countdown import FADE_SECONDS, TENTHS_BELOW, Urgency, left_text, urgency
from kvtui.index import KeyIndex, Sort
from kvtui.widgets.lines import Lines

__all__ = ["KeyList", "foreign_text", "kind_label"]

TICK = 0.1
"""Seconds between two looks at what has to be repainted."""
TTL_WIDTH, SIZE_WIDTH, TYPE_WIDTH = 7, 7, 6
ONE_FROM, BOTH_FROM = 36, 50
"""Cells of the whole line from which one of size and type, and both of them are shown."""


def kind_label(kind: str) -> str:
    """The type of an entry as a person calls it: what stores write themselves is JSON."""
    return "json" if kind == "entry" else kind


def foreign_text(kind: str, so: str) -> str:
    """Why something that no store wrote is not changed: `so` says what becomes of it instead."""
    return f"This {kind.partition(',')[0]} was not written by a store and {so}."


class KeyList(Lines):
    """The list of keys."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "ttl--never",
        "ttl--far",
        "ttl--calm",
        "ttl--soon",
        "ttl--last",
        "ttl--over",
        "keys--marked",
        "keys--foreign",
    }
    HEADER = 1

    class Current(Message):
        """Another key has the cursor, or none has."""

        def __init__(self, key_list: KeyList, address: Key | None) -> None:
            super().__init__()
            self.key_list = key_list
            self.address = address

    class Expired(Message):
        """Keys that are seen have come to their end, as far as is known here."""

        def __init__(self, addresses: list[Key]) -> None:
            super().__init__()
            self.addresses = addresses

    class Faded(Message):
        """Expired keys have been shown to fade; they can go."""

        def __init__(self, addresses: list[Key]) -> None:
            super().__init__()
            self.addresses = addresses

    def __init__(self, index: KeyIndex, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.index = index
        self.current: Key | None = None
        self.marked: dict[Key, None] = {}
        """Marked keys in the order of marking."""
        self.fading: dict[Key, float] = {}
        """Expired keys that are still shown, with when their fading began (epoch seconds)."""
        self.kinds_first = False
        """Whether the type tells more than the size, where there is room for one of them."""
        self.follows_top = True
        """Whether the cursor stays on the first line whatever comes before it: nobody has looked at a key yet."""
        self._second = 0

    @property
    def count(self) -> int:
        return len(self.index.view)

    def on_mount(self) -> None:
        self.set_interval(TICK, self._tick)

    # The cursor and its key

    def address_at(self, index: int) -> Key | None:
        """The key on a line."""
        view = self.index.view
        return self.index.address(view[index]) if 0 <= index < len(view) else None

    def watch_cursor(self, before: int, after: int) -> None:
        super().watch_cursor(before, after)
        self.follows_top = False
        self._take_current()

    def reload(self) -> None:
        """Take up that the index changed; the cursor stays on its key, at the same height of the screen."""
        if self.follows_top:
            self.changed()
            self._take_current()
            return
        place = None if self.current is None else self.index.position(self.current)
        if place is not None and place != self.cursor:
            top = self.scroll_offset.y + place - self.cursor
            self.set_reactive(Lines.cursor, place)
            self.changed()
            self.scroll_to(y=max(0, top), animate=False, immediate=True)
        else:
            self.changed()
        self._take_current()

    def go_to(self, address: Key) -> bool:
        """Put the cursor on a key; False when it is not shown."""
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
        self.current = None
        self.marked.clear()
        self.fading.clear()
        self.follows_top = True
        self.set_reactive(Lines.cursor, 0)
        self.scroll_to(y=0, animate=False)

    def _take_current(self) -> None:
        address = self.address_at(self.cursor)
        if address != self.current:
            self.current = address
            self.post_message(self.Current(self, address))

    # Marks

    def toggle_mark(self) -> None:
        """Mark the current key or take its mark away, and go on to the next."""
        if self.current is None:
            return
        if self.current in self.marked:
            del self.marked[self.current]
        else:
            self.marked[self.current] = None
        self.refresh_index(self.cursor)
        self.action_move(1)

    def mark_range(self) -> None:
        """Mark all from the key that was marked last to the current one."""
        start = self.index.position(next(reversed(self.marked))) if self.marked else self.cursor
        low, high = sorted((self.cursor if start is None else start, self.cursor))
        for line in range(low, high + 1):
            if (address := self.address_at(line)) is not None:
                self.marked[address] = None
        self.refresh()

    def unmark(self, addresses: Iterable[Key] | None = None) -> None:
        """Take marks away, all unless some are named."""
        for address in list(self.marked if addresses is None else addresses):
            self.marked.pop(address, None)
        self.refresh()

    # Time

    def _tick(self) -> None:
        now = time.time()
        whole = int(now) != self._second
        self._second = int(now)
        ended: list[Key] = []
        left, width = self._ttl_cell()
        for line in self.seen:
            row = self.index.view[line]
            deadline = self.index.expires[row]
            if math.isinf(deadline):
                continue
            if deadline <= now:
                address = self.index.address(row)
                if address not in self.fading:
                    self.fading[address] = now
                    ended.append(address)
                self.refresh_index(line)
            elif whole or deadline - now < TENTHS_BELOW:
                self.refresh_index(line, left, width)
        if ended:
            self.post_message(self.Expired(ended))
        if self.fading:
            self._let_go(now)

    def _let_go(self, now: float) -> None:
        """End the fading of what faded long enough, and of what lives again."""
        done: list[Key] = []
        for address, since in list(self.fading.items()):
            row = self.index.row(address)
            if row is None or self.index.expires[row] > now:
                del self.fading[address]
                self.refresh()
            elif now - since >= FADE_SECONDS:
                del self.fading[address]
                done.append(address)
        if done:
            self.post_message(self.Faded(done))

    # Drawing

    def _columns(self, width: int) -> tuple[int, bool, bool]:
        """The key's width, and whether size and type are shown."""
        both, one = width >= BOTH_FROM, width >= ONE_FROM
        size, kind = both or (one and not self.kinds_first), both or (one and self.kinds_first)
        fixed = 2 + 1 + TTL_WIDTH + (2 + SIZE_WIDTH if size else 0) + (2 + TYPE_WIDTH if kind else 0) + 1
        return max(4, width - fixed), size, kind

    def _ttl_cell(self) -> tuple[int, int]:
        key, _, _ = self._columns(self.scrollable_content_region.width)
        return 2 + key + 1, TTL_WIDTH

    def draw_header(self, width: int) -> Strip:
        key, size, kind = self._columns(width)
        arrow = "↓" if self.index.reverse else "↑"

        def title(order: Sort, name: str, cells: int, *, right: bool) -> str:
            text = name if self.index.sort is not order else f"{arrow} {name}" if right else f"{name} {arrow}"
            return f"{text:>{cells}}" if right else f"{text:<{cells}}"

        text = "  " + title(Sort.KEY, "key", key, right=False) + " " + title(Sort.TTL, "TTL", TTL_WIDTH, right=True)
        text += "  " + title(Sort.SIZE, "size", SIZE_WIDTH, right=True) if size else ""
        text += "  " + title(Sort.TYPE, "type", TYPE_WIDTH, right=False) if kind else ""
        return self.strip((f"{text} "[:width], self.part("lines--head"))).adjust_cell_length(width, self.part("lines--head"))

    def draw(self, index: int, width: int, *, at_cursor: bool) -> Strip:
        now = time.time()
        row = self.index.view[index]
        address = self.index.address(row)
        key_width, has_size, has_kind = self._columns(width)
        name = name_text(self.index.names[row])
        text = elide(name or '""', key_width)
        deadline = self.index.deadline(row)
        how = urgency(deadline, now)
        marked = address in self.marked
        kind = printable(kind_label(self.index.kinds[row]))
        faint = self.part("lines--faint")
        key_style = self.part("keys--marked") if marked else None if name else faint
        parts: list[tuple[str, Style | None]] = [
            ("● " if marked else "  ", self.part("keys--marked")),
            (text + " " * (key_width - cell_len(text) + 1), key_style),
            (f"{left_text(deadline, now) if kind else '':>{TTL_WIDTH}}", self.part(f"ttl--{how.value}")),
        ]
        if has_size:
            known = self.index.sizes[row]
            parts.append((f"  {size_text(known if known >= 0 else None):>{SIZE_WIDTH}}", faint))
        if has_kind:
            parts.append(
                (f"  {elide(kind, TYPE_WIDTH):<{TYPE_WIDTH}}", faint if kind == "json" else self.part("keys--foreign"))
            )
        ground = self.cursor_style() if at_cursor else Style()
        strip = self.strip(*parts).adjust_cell_length(width)
        if how is Urgency.OVER:
            strip = self._faded(strip, now - self.fading.get(address, now), ground)
        return self.mark_cursor(strip) if at_cursor else strip

    def _faded(self, strip: Strip, since: float, ground: Style) -> Strip:
        """The line in one colour that nears its ground as time goes by."""
        back = ground.bgcolor or self.rich_style.bgcolor
        fore = self.part("ttl--over").color or self.rich_style.color
        if back is None or fore is None:
            return strip
        part = min(1.0, max(0.0, since / FADE_SECONDS))
        colour = Color.from_rich_color(fore).blend(Color.from_rich_color(back), part)
        return self.strip((strip.text, Style(color=colour.rich_color)))
