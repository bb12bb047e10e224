"""A list of any length that draws its lines by hand: no widget, and no object, per line.

Subclasses say how many lines there are and draw one; this class keeps the cursor, moves it, and scrolls. A fixed header may
stand above the lines, and headings between them, on which the cursor never stands. Styles come from component classes, so that
a change of theme needs nothing more than a repaint.
"""

from __future__ import annotations

from itertools import chain
from typing import ClassVar

from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

__all__ = ["Lines"]


class Lines(ScrollView, can_focus=True):
    """A scrolling list of lines with a cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("g,home", "first", show=False),
        Binding("G,end", "last", show=False),
        Binding("ctrl+d", "page(0.5)", show=False),
        Binding("ctrl+u", "page(-0.5)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--cursor", "lines--idle", "lines--faint", "lines--accent", "lines--head"}
    HEADER: ClassVar[int] = 0
    """Fixed lines above the list."""

    _ground = Style()
    """The style on which lines are drawn."""

    cursor: reactive[int] = reactive(0, repaint=False, init=False, always_update=False)

    class Moved(Message):
        """The cursor came to stand on another line."""

        def __init__(self, lines: Lines) -> None:
            super().__init__()
            self.lines = lines

        @property
        def control(self) -> Lines:
            """The list."""
            return self.lines

    class Pressed(Message):
        """A line was clicked while the cursor stood on it."""

        def __init__(self, lines: Lines) -> None:
            super().__init__()
            self.lines = lines

        @property
        def control(self) -> Lines:
            """The list."""
            return self.lines

    @property
    def count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def draw(self, index: int, width: int, *, at_cursor: bool) -> Strip:
        """Draw a line."""
        raise NotImplementedError

    def is_heading(self, index: int) -> bool:
        """Whether a line is only a heading of those below it."""
        del index
        return False

    def draw_header(self, width: int) -> Strip:
        """Draw the fixed line above the list."""
        return Strip.blank(width)

    # What lines there are

    def changed(self) -> None:
        """Take up that the lines are others now: measure, keep the cursor inside, repaint."""
        self.virtual_size = Size(self.scrollable_content_region.width, self.count + self.HEADER)
        last = max(0, self.count - 1)
        if self.cursor > last:
            self.set_reactive(Lines.cursor, last)
        self.refresh()

    def place_cursor(self, index: int) -> None:
        """Put the cursor on a line without telling anyone: the line is the same one, elsewhere."""
        before = self.cursor
        self.set_reactive(Lines.cursor, self.validate_cursor(index))
        if before != self.cursor:
            self.scroll_to_cursor()
            self.refresh()

    def on_resize(self) -> None:
        self.changed()
        self.scroll_to_cursor()

    # Moving

    def watch_cursor(self, before: int, after: int) -> None:
        self.refresh_index(before)
        self.refresh_index(after)
        self.scroll_to_cursor()
        self.post_message(self.Moved(self))

    def validate_cursor(self, index: int) -> int:
        """The line itself; of a heading the next line in the direction of the move, or else in the other."""
        index = max(0, min(index, self.count - 1))
        down, up = range(index, self.count), range(index, -1, -1)
        tried = chain(down, up) if index >= self.cursor else chain(up, down)
        return next((line for line in tried if not self.is_heading(line)), index)

    def scroll_to_cursor(self) -> None:
        """Scroll just so far that the cursor's line is seen, and the headings right above it."""
        height = self.page_height
        top = self.scroll_offset.y
        first = self.cursor
        while first > 0 and self.is_heading(first - 1) and self.cursor - first < height - 1:
            first -= 1
        if first < top:
            self.scroll_to(y=first, animate=False)
        elif height > 0 and self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)

    @property
    def page_height(self) -> int:
        """Lines that are seen at once."""
        return max(0, self.scrollable_content_region.height - self.HEADER)

    @property
    def seen(self) -> range:
        """The lines that are seen now."""
        top = self.scroll_offset.y
        return range(top, min(self.count, top + self.page_height))

    def catch_up(self) -> None:
        """Take up what changed since it was last drawn: the next key or click means what stands there now."""

    def action_move(self, by: int) -> None:
        self.catch_up()
        self.cursor += by

    def action_first(self) -> None:
        self.catch_up()
        self.cursor = 0

    def action_last(self) -> None:
        self.catch_up()
        self.cursor = self.count - 1

    def action_page(self, pages: float) -> None:
        self.catch_up()
        self.cursor += int(pages * max(1, self.page_height - 1))

    def on_click(self, event: events.Click) -> None:
        if event.y < self.HEADER:
            return
        index = event.y - self.HEADER + self.scroll_offset.y
        if index < self.count and not self.is_heading(index):
            self.press(index)

    def press(self, index: int) -> None:
        """Answer a click on a line."""
        if index == self.cursor:
            self.post_message(self.Pressed(self))
        self.cursor = index

    # Drawing

    def refresh_index(self, index: int, x: int = 0, width: int | None = None) -> None:
        """Repaint a line, or some columns of it, when it is seen."""
        y = index - self.scroll_offset.y + self.HEADER
        if self.HEADER <= y < self.scrollable_content_region.height:
            self.refresh(Region(x, y, width if width is not None else self.size.width, 1))

    def render_lines(self, crop: Region) -> list[Strip]:
        self._ground = self.rich_style  # asked for once: it goes up through all parents
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        ground = self._ground
        if y < self.HEADER:
            return self.draw_header(width).apply_style(ground)
        index = y - self.HEADER + self.scroll_offset.y
        if index >= self.count:
            return Strip.blank(width, ground)
        return self.draw(index, width, at_cursor=index == self.cursor).adjust_cell_length(width).apply_style(ground)

    def cursor_style(self, *, strong: bool | None = None) -> Style:
        """The ground of the cursor's line: stronger while the list has the focus, unless that is told."""
        strong = self.has_focus if strong is None else strong
        ground = self.part("lines--cursor" if strong else "lines--idle")
        sixteen = ground.bgcolor is not None and ground.bgcolor.type is ColorType.STANDARD
        if sixteen or self.app.console.color_system == "standard":  # none of them is a ground beside the ground
            return Style(reverse=True) if strong else Style(underline=True)
        return ground

    def mark_cursor(self, strip: Strip, *, strong: bool | None = None) -> Strip:
        """A line as it is drawn where the cursor stands."""
        style = self.cursor_style(strong=strong)
        return self.strip((strip.text, style)) if style.reverse else strip.apply_style(style)  # reversed colours are a mosaic

    def part(self, name: str) -> Style:
        """The style of a component class."""
        return self.get_component_rich_style(name, partial=True)

    def on_focus(self) -> None:
        self.refresh_index(self.cursor)

    def on_blur(self) -> None:
        self.refresh_index(self.cursor)

    @staticmethod
    def strip(*parts: tuple[str, Style | None]) -> Strip:
        """A line from texts with their styles."""
        return Strip([Segment(text, style) for text, style in parts if text])
