"""The pane of the value: reads it whole or in parts, shows it, and lets it be edited without losing anything.

While something is being edited the pane stays with its entry, whatever happens around it: another key is chosen, the key
expires, the daemon goes away. What was typed is given up only when the reader says so.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, NamedTuple

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Static

from kvd import requests
from kvd.errors import DaemonError, RequestError
from kvd.model import Change, Record
from kvtui import jsontext, keymap
from kvtui.codecs import printable, size_text
from kvtui.documents import CHUNK, BytesDocument, Document, TextDocument
from kvtui.messages import Entry
from kvtui.session import Session
from kvtui.widgets.editor import EDIT_MOST, Editor
from kvtui.widgets.entry_head import EntryHead
from kvtui.widgets.lines import Lines
from kvtui.widgets.notice import Notice
from kvtui.widgets.pane import Pane
from kvtui.widgets.value_view import ValueView

__all__ = ["Edited", "ValuePane"]

WHOLE_MOST = 1_048_576
"""Bytes up to which a value is read as a whole; beyond, in parts as they are looked at."""
SETTLE_SECONDS = 0.04
"""How long the cursor must stand still before the value is read."""


class Edited(NamedTuple):
    """What is being edited: where, and on top of which record."""

    entry: Entry
    base: Record


class ValuePane(Pane):
    """The value of one entry."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *keymap.bindings("value"),
        *keymap.bindings("entry", namespace="screen"),
    ]

    class Left(Message):
        """The reader wants back to the keys."""

    class Read(Message):
        """An entry was read; None: it is not there."""

        def __init__(self, entry: Entry, record: Record | None, document: Document | None) -> None:
            super().__init__()
            self.entry = entry
            self.record = record
            self.document = document

    class Failed(Message):
        """An entry could not be read."""

        def __init__(self, entry: Entry, reason: str) -> None:
            super().__init__()
            self.entry = entry
            self.reason = reason

    class SaveWanted(Message):
        """A checked value is to be written."""

        def __init__(self, edited: Edited, value: str) -> None:
            super().__init__()
            self.edited = edited
            self.value = value

    class LeaveWanted(Message):
        """The reader wants out of an editor with changes in it."""

    class EditEnded(Message):
        """Nothing is being edited any more."""

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.session = session
        self.entry: Entry | None = None
        self.record: Record | None = None
        self.edited: Edited | None = None
        self._as_hex = False
        self._next: Entry | None = None
        """Where the cursor went while something was being edited."""

    def compose(self) -> ComposeResult:
        yield EntryHead()
        yield ValueView()
        yield Editor()
        yield Static(id="complaint", markup=False)
        yield Notice()

    def on_mount(self) -> None:
        self._lay_out()
        self.caption("value")
        self.say("")

    @property
    def view(self) -> ValueView:
        """The reader."""
        return self.query_one(ValueView)

    @property
    def editor(self) -> Editor:
        """The editor."""
        return self.query_one(Editor)

    @property
    def content(self) -> ValueView | Editor:
        return self.view if self.edited is None else self.editor

    @property
    def dirty(self) -> bool:
        """Whether there is something that was typed and not saved."""
        return self.edited is not None and self.editor.dirty

    def _lay_out(self) -> None:
        self.editor.display = self.edited is not None
        self.view.display = self.edited is None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While the editor has the focus no other key of the pane works, typed ahead or not."""
        del action, parameters
        return not self.editor.has_focus

    # Showing

    def show(self, entry: Entry | None) -> None:
        """Show another entry, unless one is being edited: then afterwards."""
        if self.edited is not None:
            self._next = entry
            return
        if entry == self.entry:
            return
        self.entry = entry
        self.record = None
        self._as_hex = False
        if entry is None:
            self.workers.cancel_group(self, "read")
            self.caption("value")
            self.view.show(None)
            self.query_one(EntryHead).show(None, None)
            self.say("")
        else:
            self.reread()

    def reread(self) -> None:
        """Read again what is shown."""
        if self.entry is not None and self.edited is None:
            self._read(self.entry, as_hex=self._as_hex, settle=self.record is None)

    @work(exclusive=True, group="read")
    async def _read(self, entry: Entry, *, as_hex: bool, settle: bool) -> None:
        place = entry.place
        if settle:
            await asyncio.sleep(SETTLE_SECONDS)
        try:
            record = await self.session.call(requests.read(place.connection, place.collection, entry.key, length=WHOLE_MOST))
        except RequestError as error:
            self.post_message(self.Failed(entry, error.message))
            return
        except DaemonError as error:
            self.post_message(self.Failed(entry, str(error)))
            return
        document = None if record is None else await asyncio.to_thread(make_document, record, as_hex=as_hex)
        self.post_message(self.Read(entry, record, document))

    @on(Read)
    def _take(self, message: Read) -> None:
        if message.entry != self.entry or self.edited is not None:
            return
        same = self.record is not None
        self.record = message.record
        self.query_one(EntryHead).show(message.entry, message.record)
        if message.record is None:
            self.caption("value")
            self.say("This key is gone", "It expired or was deleted.", helps="browser.refresh")
            return
        self.view.show(message.document, keep_place=same)
        self._describe(message.record, message.document)
        self.show_content()

    def _describe(self, record: Record, document: Document | None) -> None:
        notes = []
        if record.kind != "entry":
            notes.append("read-only")
        if len(record.body) < record.length:
            notes.append("in parts")
        if isinstance(document, BytesDocument) and document.as_hex:
            notes.append("x shows text" if self._as_hex else "bytes")
        elif record.kind != "entry":
            notes.append("x shows bytes")
        self.caption("value", " · ".join(notes))

    @on(Failed)
    def _take_failure(self, message: Failed) -> None:
        if message.entry == self.entry and self.edited is None and self.record is None:
            self.say("The value cannot be read", message.reason, helps="browser.refresh", wrong=True)

    @on(ValueView.Needed)
    def _needed(self, message: ValueView.Needed) -> None:
        message.stop()
        if self.entry is not None and self.record is not None:
            self._read_part(self.entry, self.record, message.document, message.offset)

    @work(exclusive=True, group="part")
    async def _read_part(self, entry: Entry, known: Record, document: BytesDocument, offset: int) -> None:
        place = entry.place
        request = requests.read(place.connection, place.collection, entry.key, offset=offset, length=2 * CHUNK)
        try:
            record = await self.session.call(request)
        except DaemonError as error:
            self.notify(printable(str(error)), title="The value cannot be read on", severity="error", markup=False)
            return
        if record is None or record.version != known.version:
            self.reread()
            return
        document.take(offset, record.body)
        if self.view.document is document:
            self.view.refresh()
            self.view.ask()

    def take_change(self, change: Change) -> None:
        """Work a change that went through the daemon into what is shown."""
        entry = self.edited.entry if self.edited is not None else self.entry
        if entry is None or change.connection != entry.place.connection or change.operation == "connection":
            return
        if change.collection is not None and change.collection != entry.place.collection:
            return
        if change.keys and entry.key not in change.keys:
            return
        if self.edited is None:
            self.reread()
        elif not change.own and change.keys:
            gone = change.operation in {"delete", "expired"}
            self.complain(
                "This key is gone meanwhile; saving asks first." if gone else "Changed by someone else; saving asks first."
            )

    def action_view(self) -> None:
        if self.entry is None or self.record is None or self.edited is not None:
            return
        self._as_hex = not self._as_hex
        self.record = None
        self._read(self.entry, as_hex=self._as_hex, settle=False)

    def action_back(self) -> None:
        self.post_message(self.Left())

    @on(Lines.Moved)
    @on(Lines.Pressed)
    def _quiet(self, message: Lines.Moved | Lines.Pressed) -> None:
        message.stop()

    # Editing

    def edit(self, text: str | None = None) -> str | None:
        """Begin to edit what is shown, or the given text on top of it; answers why not, or None when it began."""
        record, entry = self.record, self.entry
        if self.edited is not None:
            self.focus_content()
            return None
        if record is None or entry is None:
            return "There is no value to edit."
        if record.kind != "entry":
            return f"A {record.kind} was not written by a store and is only shown."
        if record.length > EDIT_MOST:
            return f"{size_text(record.length)} are too much to edit in place; E edits in $EDITOR."
        original = jsontext.indent(record.body.decode("utf-8", "surrogateescape"))
        self.edited = Edited(entry, record)
        self._next = entry
        self.editor.start(original)
        if text is not None:
            self.editor.text = text
        self._lay_out()
        self.show_content()
        self.complain("")
        self.caption("value · editing", "ctrl+s saves · esc leaves")
        self.focus_content()
        return None

    @on(Editor.Changed)
    def _typed(self) -> None:
        if self.edited is not None:
            self.caption("value · changed" if self.editor.dirty else "value · editing", "ctrl+s saves · esc leaves")

    @on(Editor.Saved)
    def _save(self, message: Editor.Saved) -> None:
        message.stop()
        if self.edited is None:
            return
        try:
            value = jsontext.check_value(message.text)
        except jsontext.InvalidJsonError as error:
            self.complain(str(error), wrong=True)
            if error.line is not None and error.column is not None:
                self.editor.go_to(error.line, error.column)
            return
        self.complain("Saving…")
        self.post_message(self.SaveWanted(self.edited, value))

    @on(Editor.Left)
    def _leave(self, message: Editor.Left) -> None:
        message.stop()
        if self.dirty:
            self.post_message(self.LeaveWanted())
        else:
            self.end_edit()

    def end_edit(self) -> None:
        """Give up the editor and read again what is there."""
        if self.edited is None:
            return
        entry, following = self.edited.entry, self._next
        had_focus = self.editor.has_focus
        self.edited = None
        self._lay_out()
        self.complain("")
        self.caption("value")
        self.entry = entry
        self.record = None
        if had_focus:
            self.focus_content()
        if following != entry:
            self.show(following)
        else:
            self._read(entry, as_hex=self._as_hex, settle=False)
        self.post_message(self.EditEnded())

    def complain(self, text: str, *, wrong: bool = False) -> None:
        """Say something below the editor; nothing takes it away."""
        line = self.query_one("#complaint", Static)
        line.update(printable(text))
        line.set_class(bool(text), "-said")
        line.set_class(wrong, "-wrong")


def make_document(record: Record, *, as_hex: bool) -> Document:
    """How a record is shown: JSON indented, text as it is, everything else and everything large in rows of bytes."""
    if not as_hex and len(record.body) == record.length:
        try:
            text = record.body.decode()
        except UnicodeDecodeError:
            as_hex = True
        else:
            if "\0" not in text:
                is_json = record.kind == "entry" or jsontext.is_json(text)
                return TextDocument(jsontext.indent(text) if is_json else text, is_json=is_json)
            as_hex = True
    document = BytesDocument(record.length, as_hex=as_hex)
    document.take(0, record.body[: len(record.body) // CHUNK * CHUNK] if len(record.body) < record.length else record.body)
    return document
