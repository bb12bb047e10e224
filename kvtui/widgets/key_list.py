"""The keys of a collection with TTL, size and type, flat or in folders; TTLs count down, expired rows fade out.

The list draws the view of a `KeyIndex`. One timer repaints the TTL cells that are seen, and nothing else.
"""

from __future__ import annotations

import math
import time
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual.color import Color
from textual.message import Message
from textual.strip import Strip

from kvd.model import Key
from kvtui.codecs import elide, name_text, printable, size_text
from kvtui.countdown import FADE_SECONDS, TENTHS_BELOW, Urgency, left_text, urgency
from kvtui.index import KeyIndex
from kvtui.view import Line, Sort
from kvtui.widgets.key_cursor import KeyCursor

__all__ = ["KeyList", "foreign_text", "kind_label"]

TICK = 0.1
"""Seconds between two looks at what has to be repainted."""
TTL_WIDTH, SIZE_WIDTH, TYPE_WIDTH = 7, 7, 6
ONE_FROM, BOTH_FROM = 36, 50
"""Cells of the whole line from which one of size and type, and both of them are shown."""
INDENT, NAME_LEAST = 2, 12
"""Cells by which each folder moves what is in it, as long as so many are left for a name."""


def kind_label(kind: str) -> str:
    """The type of an entry as a person calls it: what stores write themselves is JSON."""
    return "json" if kind == "entry" else kind


def foreign_text(kind: str, so: str) -> str:
    """Why something that no store wrote is not changed: `so` says what becomes of it instead."""
    return f"This {kind.partition(',')[0]} was not written by a store and {so}."


class KeyList(KeyCursor):
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
        "keys--folder",
    }
    HEADER = 1

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
        super().__init__(index, id=id)
        self.fading: dict[Key, float] = {}
        """Expired keys that are still shown, with when their fading began (epoch seconds)."""
        self.kinds_first = False
        """Whether the type tells more than the size, where there is room for one of them."""
        self._second = 0

    def on_mount(self) -> None:
        self.set_interval(TICK, self._tick)

    def forget(self) -> None:
        super().forget()
        self.fading.clear()

    # Time

    def _tick(self) -> None:
        now = time.time()
        whole = int(now) != self._second
        self._second = int(now)
        ended: list[Key] = []
        left, width = self._ttl_cell()
        for line in self.seen:
            row = self.index.view.line(line)
            deadline = self.index.expires[row] if isinstance(row, int) else math.inf
            if not isinstance(row, int) or math.isinf(deadline):
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
        line = self.index.view.line(index)
        key_width, has_size, has_kind = self._columns(width)
        if not isinstance(line, int):
            strip = self._folder(line, key_width).adjust_cell_length(width)
            return self.mark_cursor(strip) if at_cursor else strip
        now = time.time()
        address = self.index.address(line)
        indent, shown = self._called(line, key_width)
        deadline = self.index.deadline(line)
        how = urgency(deadline, now)
        marked = address in self.marked
        kind = printable(kind_label(self.index.kinds[line]))
        faint = self.part("lines--faint")
        text = elide(shown or '""', key_width - indent)
        parts: list[tuple[str, Style | None]] = [
            ("● " if marked else "  ", self.part("keys--marked")),
            (" " * indent, None),
            (
                text + " " * (key_width - indent - cell_len(text) + 1),
                self.part("keys--marked") if marked else None if shown else faint,
            ),
            (f"{left_text(deadline, now) if kind else '':>{TTL_WIDTH}}", self.part(f"ttl--{how.value}")),
        ]
        if has_size:
            known = self.index.sizes[line]
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

    def _called(self, line: Line, room: int) -> tuple[int, str]:
        """How far what stands on a line is moved to the right, and how it is named there."""
        tree = self.index.tree
        name = self.index.names[line] if isinstance(line, int) else line
        if tree is None:
            return 0, name_text(name)
        indent = INDENT * (tree.level(line) + isinstance(line, int))
        return max(0, min(indent, room - NAME_LEAST)), name_text(name[len(tree.folder_of(line)) :])

    def _folder(self, folder: str, key_width: int) -> Strip:
        """A folder with how many keys are in it."""
        tree = self.index.tree
        assert tree is not None  # noqa: S101 - there are folders in trees only
        size, marked = tree.size(folder), self.marked.below(folder)
        indent, name = self._called(folder, key_width)
        count = f"{size:,}"
        room = key_width - indent - INDENT - max(0, len(count) - TTL_WIDTH)
        text = elide(name, room)
        faint = self.part("lines--faint")
        return self.strip(
            ("  " if not marked else "● " if marked == size else "◐ ", self.part("keys--marked")),
            (" " * indent, None),
            ("▾ " if tree.is_open(folder) else "▸ ", faint),
            (text + " " * (room - cell_len(text) + 1), self.part("keys--folder")),
            (f"{count:>{TTL_WIDTH}}", faint),
        )

    def _faded(self, strip: Strip, since: float, ground: Style) -> Strip:
        """The line in one colour that nears its ground as time goes by."""
        back = ground.bgcolor or self.rich_style.bgcolor
        fore = self.part("ttl--over").color or self.rich_style.color
        if back is None or fore is None:
            return strip
        part = min(1.0, max(0.0, since / FADE_SECONDS))
        colour = Color.from_rich_color(fore).blend(Color.from_rich_color(back), part)
        return self.strip((strip.text, Style(color=colour.rich_color)))
