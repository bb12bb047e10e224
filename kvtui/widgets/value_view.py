"""A value as lines to read, at any size. Draws rows of a document; asks for bytes that are not here yet."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from kvtui.codecs import take_cells
from kvtui.documents import BytesDocument, Document, Row
from kvtui.widgets.lines import Lines

__all__ = ["ValueView"]


class ValueView(Lines):
    """The reader of a value. It has no cursor: the keys that move it scroll."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "json--name",
        "json--string",
        "json--number",
        "json--word",
        "json--mark",
        "value--found",
        "value--here",
        "value--changed",
    }

    class Needed(Message):
        """Bytes are needed to draw what is seen."""

        def __init__(self, document: BytesDocument, offset: int) -> None:
            super().__init__()
            self.document = document
            self.offset = offset

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.document: Document | None = None
        self._count = 0
        self._width = 0
        """The width for which the rows were made."""
        self._byte = self._byte_row = 0

    @property
    def count(self) -> int:
        return self._count

    def show(self, document: Document | None, *, keep_place: bool = False, other_form: bool = False) -> None:
        """Show a document from its start.

        Args:
            document: What is shown; None: nothing.
            keep_place: Stay at the row.
            other_form: It is what was shown until now in another form: stay at the byte.
        """
        offset = self._offset() if other_form else 0
        self.document = document
        self.changed()
        if not keep_place:
            self._go_to(offset)

    def on_resize(self) -> None:
        if self._width == self.scrollable_content_region.width:
            self.changed()
        else:  # rows are others now, but what is read stays
            offset = self._offset()
            self.changed()
            self._go_to(offset)
        self.ask()

    def _offset(self) -> int:
        """The byte of the value at which the reader is."""
        top = self.scroll_offset.y
        if self.document is None or not top:
            return 0
        return self._byte if top == self._byte_row else self.document.offset_of(top)

    def _go_to(self, offset: int) -> None:
        """Scroll to a byte of the value, and remember it until the reader scrolls: its row may begin before it."""
        self._byte = offset
        self._byte_row = 0 if self.document is None or not offset else self.document.row_of(offset)
        self.scroll_to(y=self._byte_row, animate=False)

    def show_row(self, row: int) -> None:
        """Scroll as little as shows the row with some rows around it."""
        height = max(1, self.page_height)
        around = min(3, height // 3)
        if not self.scroll_offset.y + around <= row < self.scroll_offset.y + height - around:
            self.scroll_to(y=max(0, row - height // 2), animate=False)
        self.refresh()

    def changed(self) -> None:
        width = self._width = self.scrollable_content_region.width
        self._count = 0 if self.document is None else self.document.wrap(width - self.document.margin - 2)
        self.virtual_size = Size(width, self._count)
        self.refresh()

    def scroll_to_cursor(self) -> None:
        pass  # there is none

    def action_move(self, by: int) -> None:
        self.scroll_relative(y=by, animate=False)

    def action_first(self) -> None:
        self.scroll_to(y=0, animate=False)

    def action_last(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False)

    def action_page(self, pages: float) -> None:
        self.scroll_relative(y=int(pages * max(1, self.page_height - 1)), animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.ask()

    def ask(self) -> None:
        """Ask for bytes that are seen and not here."""
        seen = self.seen
        if isinstance(self.document, BytesDocument) and len(seen):
            offset = self.document.missing(seen.start, seen.stop)
            if offset is not None:
                self.post_message(self.Needed(self.document, offset))

    def draw(self, index: int, width: int, *, at_cursor: bool) -> Strip:
        del at_cursor
        document = self.document
        row = None if document is None else document.row(index)
        margin = 0 if document is None else document.margin
        if row is None:
            return self.strip((f"{'':{margin}} …", self.part("lines--faint")))
        parts: list[tuple[str, Style | None]] = [(f"{row.margin:>{margin}}", self.part("lines--faint"))]
        parts.append(("▎ " if row.changed else "  ", self.part("value--changed")))
        parts += self._coloured(row, width - margin - 2)
        strip = self.strip(*parts)
        return strip.adjust_cell_length(width).apply_style(self.part("lines--idle")) if row.changed else strip

    def _coloured(self, row: Row, width: int) -> list[tuple[str, Style | None]]:
        text = row.text if cell_len(row.text) <= width else take_cells(row.text, width - 1) + "…"
        parts: list[tuple[str, Style | None]] = []
        at = 0
        for start, end, name in row.spans:
            parts.append((text[at:start], None))
            parts.append((text[start:end], self.part(f"json--{name}")))
            at = end
        parts.append((text[at:], None))
        return self._lit(parts, row) if row.found else parts

    def _lit(self, parts: list[tuple[str, Style | None]], row: Row) -> list[tuple[str, Style | None]]:
        """The parts with what was found laid over them."""
        lit: list[tuple[str, Style | None]] = []
        at = 0
        for text, style in parts:
            cuts = {0, len(text)}
            cuts.update(cut - at for first, last, _ in row.found for cut in (first, last) if 0 < cut - at < len(text))
            for start, end in pairwise(sorted(cuts)):
                over = next((here for first, last, here in row.found if first <= at + start < last), None)
                found = style if over is None else self.part("value--here" if over else "value--found")
                lit.append((text[start:end], found))
            at += len(text)
        return lit
