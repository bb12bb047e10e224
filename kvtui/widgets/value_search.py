"""Searching in a value: in a text at every key that is typed, in the bytes of a large one when asked to go on."""

from __future__ import annotations

from textual import on, work
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Input

from kvtui.codecs import printable
from kvtui.documents import BytesDocument, TextDocument
from kvtui.find import find_bytes
from kvtui.session import Session
from kvtui.widgets.entry_head import EntryHead
from kvtui.widgets.line_input import LineInput
from kvtui.widgets.value_reader import ValueReader
from kvtui.widgets.value_view import ValueView

__all__ = ["ValueSearch"]


class OtherValueError(Exception):
    """What is searched is another value by now, or cannot be read."""


class ValueSearch(ValueReader):
    """The value of one entry, to be read and searched."""

    class Found(Message):
        """What was searched for in bytes stands here, or nowhere."""

        def __init__(self, document: BytesDocument, found: range | None) -> None:
            super().__init__()
            self.document = document
            self.found = found

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(session, id=id)
        self._finding = ""
        """How the search goes, in a few words."""

    def compose(self) -> ComposeResult:
        yield EntryHead()
        yield LineInput(placeholder="text to find", id="search", compact=True)
        yield ValueView()

    @property
    def search(self) -> LineInput:
        """Where is typed what to find."""
        return self.query_one("#search", LineInput)

    def take_document(self) -> None:
        self._find()

    def notes(self) -> list[str]:
        return [self._finding, *super().notes()] if self._finding else super().notes()

    @on(Input.Changed, "#search")
    def _search_typed(self, message: Input.Changed) -> None:
        message.stop()
        self._find()
        if isinstance(self.view.document, TextDocument):
            self.go_on(1)

    @on(Input.Submitted, "#search")
    def _search_done(self, message: Input.Submitted) -> None:
        message.stop()
        self.search.display = bool(self.search.value)
        self.focus_content()
        if isinstance(self.view.document, BytesDocument):
            self.go_on(1)

    @on(LineInput.Left)
    def _search_left(self, message: LineInput.Left) -> None:
        message.stop()
        self.set_search("")
        self.focus_content()

    def set_search(self, text: str) -> None:
        """Find another text; the row where it is typed is there while there is one."""
        with self.search.prevent(Input.Changed):
            self.search.value = text
        self.search.display = bool(text)
        self._find()

    def _find(self) -> None:
        """Mark what is searched for in what is shown; bytes are not looked through before that is asked for."""
        document, wanted = self.view.document, self.search.value
        self.workers.cancel_group(self, "find")
        self._finding = ""
        if isinstance(document, TextDocument):
            document.find(printable(wanted))
            if wanted:
                self._finding = f"{document.find_count:,} found" if document.find_count else "not found"
        elif isinstance(document, BytesDocument):
            document.found = None
        self.view.refresh()
        if not self.holds and self.record is not None:
            self.describe()

    def go_on(self, by: int) -> None:
        """Go to the next place of what is searched for (1), or the one before (-1)."""
        document, wanted = self.view.document, self.search.value
        if not wanted or self.holds:
            return
        top = self.view.scroll_offset.y
        if isinstance(document, TextDocument):
            row = document.go_on(by, top)
            if row is not None and document.at is not None:
                self._finding = f"{document.at + 1:,} of {document.find_count:,}"
                self.view.show_row(row)
        elif isinstance(document, BytesDocument):
            start = document.offset_of(top) if document.found is None else document.found.start + (by > 0)
            self._finding = "searching…"
            self._find_bytes(document, start, backwards=by < 0)
        self.describe()

    @work(exclusive=True, group="find")
    async def _find_bytes(self, document: BytesDocument, start: int, *, backwards: bool) -> None:
        entry, record = self.entry, self.record
        wanted = self.search.value.encode("utf-8", "surrogateescape")
        if entry is None or record is None:
            return

        async def read(offset: int, length: int) -> bytes:
            body = await self.bytes_of(entry, record, offset, length)
            if body is None:
                raise OtherValueError
            return body

        try:
            at = await find_bytes(read, document.length, wanted, start, backwards=backwards)
        except OtherValueError:
            self._finding = ""
            self.describe()
            return
        self.post_message(self.Found(document, None if at is None else range(at, at + len(wanted))))

    @on(Found)
    def _take_found(self, message: Found) -> None:
        document = message.document
        if document is not self.view.document:
            return
        document.found = message.found
        self._finding = "not found"
        if message.found is not None:
            self._finding = f"found at {message.found.start:x}"
            self.view.show_row(document.row_of(message.found.start))
        self.describe()
