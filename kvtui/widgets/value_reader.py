"""What the pane of the value shows: reads it whole or in parts, and watches it when asked to.

What was read before is kept until something else is known, and lines that are others than before are marked. Searching is in
`kvtui.widgets.value_search`, editing in `kvtui.widgets.value_pane`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from textual import on, work
from textual.message import Message
from textual.timer import Timer

from kvd import requests
from kvd.errors import DaemonError
from kvd.model import Change, Record
from kvtui import jsontext
from kvtui.codecs import name_text, printable
from kvtui.countdown import until_text
from kvtui.documents import CHUNK, BytesDocument, Document, TextDocument
from kvtui.messages import Entry, Folder, told_by
from kvtui.session import Session
from kvtui.widgets.entry_head import EntryHead
from kvtui.widgets.lines import Lines
from kvtui.widgets.pane import Pane
from kvtui.widgets.value_view import ValueView

__all__ = ["ValueReader", "make_document"]

WHOLE_MOST = 1_048_576
"""Bytes up to which a value is read as a whole; beyond, in parts as they are looked at."""
SETTLE_SECONDS = 0.04
"""How long the cursor must stand still before the value is read."""
SLOW_SECONDS = 0.4
"""How long another entry's value is shown before it is said that this one is being read."""
WATCH_SECONDS = 1.0
"""How often a watched value is read."""


class ValueReader(Pane):
    """The value of one entry, to be read."""

    class Read(Message):
        """An entry was read; None: it is not there. No document: its value is the one that is shown."""

        def __init__(self, entry: Entry, record: Record | None, document: Document | None, *, as_hex: bool) -> None:
            super().__init__()
            self.entry = entry
            self.record = record
            self.document = document
            self.as_hex = as_hex

    class Failed(Message):
        """An entry could not be read."""

        def __init__(self, entry: Entry, problem: Sequence[str]) -> None:
            super().__init__()
            self.entry = entry
            self.problem = problem

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.session = session
        self.entry: Entry | None = None
        self.record: Record | None = None
        self.watching = False
        self._as_hex = False
        self._other_form = False
        """Whether what is read next is what was shown, in its other form."""
        self._reading = False
        self._stale = False
        """Whether the last attempt to read it again failed."""
        self._changed_at: float | None = None
        self._slow: Timer | None = None

    def on_mount(self) -> None:
        self.caption("value")
        self.say("")
        self.set_interval(WATCH_SECONDS, self._look_again)

    @property
    def view(self) -> ValueView:
        """The reader."""
        return self.query_one(ValueView)

    @property
    def holds(self) -> bool:
        """Whether what is shown has to stay as it is."""
        return False

    # Showing

    def show(self, entry: Entry | None, folder: Folder | None = None) -> None:
        """Show another entry, or say that there is a folder instead."""
        if entry == self.entry is not None:
            return
        self.entry = entry
        self.record = None
        self._as_hex = self._other_form = self._stale = False
        self._changed_at = None
        if self._slow is not None:
            self._slow.stop()
            self._slow = None
        if entry is None:
            self.workers.cancel_group(self, "read")
            self.caption("value")
            self.view.show(None)
            self.query_one(EntryHead).show(None, None)
            self._say_folder(folder)
        else:
            self._slow = self.set_timer(SLOW_SECONDS, self._say_slow)
            self.reread()

    def _say_folder(self, folder: Folder | None) -> None:
        if folder is None:
            self.say("")
        else:
            count = f"{folder.size:,} key{'' if folder.size == 1 else 's'}"
            to = "go into the folder" if folder.is_open else "open the folder"
            self.say(name_text(folder.name), count, helps="keys.open", to=to)

    def _say_slow(self) -> None:
        """Show no other entry's value below this one's name."""
        if self.record is None and self._reading and not self.holds:
            self.caption("value")
            self.say("Reading the value…")

    def reread(self) -> None:
        """Read again what is shown."""
        if self.entry is not None and not self.holds:
            self.read(self.entry, settle=self.record is None)

    @work(exclusive=True, group="read")
    async def read(self, entry: Entry, *, settle: bool = False) -> None:
        """Read an entry, waiting a little when the cursor may move on at once."""
        place, as_hex = entry.place, self._as_hex
        self._reading = True
        try:
            if settle:
                await asyncio.sleep(SETTLE_SECONDS)
            record = await self.session.call(requests.read(place.connection, place.collection, entry.key, length=WHOLE_MOST))
            known, document = self.record, None
            if record is not None and (known is None or known.version != record.version):
                before = None if known is None else self.view.document
                document = await asyncio.to_thread(make_document, record, as_hex=as_hex, before=before)
            self.post_message(self.Read(entry, record, document, as_hex=as_hex))
        except DaemonError as error:
            self.post_message(self.Failed(entry, told_by(error)))
        finally:
            self._reading = False

    @on(Read)
    def _take(self, message: Read) -> None:
        if message.entry != self.entry or message.as_hex != self._as_hex or self.holds:
            return
        before, self.record = self.record, message.record
        self._stale = False
        self.query_one(EntryHead).show(message.entry, message.record)
        if message.record is None:
            self.caption("value")
            self.say("This key is gone", "It expired or was deleted.", helps="browser.refresh", to="look again")
            return
        if message.document is not None:
            if before is not None:
                self._changed_at = time.time()
            self.view.show(message.document, keep_place=before is not None, other_form=self._other_form)
            self._other_form = False
            self.take_document()
        self.view.ask()
        self.describe()
        self.show_content()

    def describe(self) -> None:
        """Say in the frame what there is to know of what is shown."""
        self.caption("value · watching" if self.watching else "value", *self.notes())

    def take_document(self) -> None:
        """Another document is shown."""

    def notes(self) -> list[str]:
        """What there is to know of what is shown, in few words each."""
        record, document = self.record, self.view.document
        notes = []
        if self._stale:
            notes.append("could not be read again")
        if self._changed_at is not None:
            notes.append(f"changed {until_text(self._changed_at, time.time())}")
        if record is not None:
            if not record.length:
                notes.append("empty")
            if len(record.body) < record.length:
                notes.append("in parts")
            if isinstance(document, BytesDocument) and document.as_hex:
                notes.append("x shows text" if self._as_hex else "bytes")
            elif record.kind != "entry" and record.length:
                notes.append("x shows bytes")
        return notes

    @on(Failed)
    def _take_failure(self, message: Failed) -> None:
        if message.entry != self.entry or self.holds:
            return
        if self.record is None:
            self.say("The value cannot be read", *message.problem, helps="browser.refresh", to="try again", wrong=True)
        else:
            self._stale = True
            self.describe()

    @on(ValueView.Needed)
    def _needed(self, message: ValueView.Needed) -> None:
        message.stop()
        if self.entry is not None and self.record is not None:
            self._read_part(self.entry, self.record, message.document, message.offset)

    @work(exclusive=True, group="part")
    async def _read_part(self, entry: Entry, known: Record, document: BytesDocument, offset: int) -> None:
        body = await self.bytes_of(entry, known, offset, 2 * CHUNK)
        if body is None:
            return
        document.take(offset, body)
        if self.view.document is document:
            self.view.refresh()
            self.view.ask()

    async def bytes_of(self, entry: Entry, known: Record, offset: int, length: int) -> bytes | None:
        """Some bytes of what is shown; None, after doing what helps, when it is another value by now or cannot be read."""
        place = entry.place
        request = requests.read(place.connection, place.collection, entry.key, offset=offset, length=length)
        try:
            record = await self.session.call(request)
        except DaemonError as error:
            if not self._stale:  # what is scrolled through asks again and again
                self._stale = True
                self.notify(printable(str(error)), title="The value cannot be read on", severity="error", markup=False)
                self.describe()
            return None
        if record is None or record.version != known.version:
            self.reread()
            return None
        return record.body

    def take_change(self, change: Change) -> None:
        """Work a change that went through the daemon into what is shown."""
        if self.entry is not None and concerns(change, self.entry):
            self.reread()

    def toggle_hex(self) -> None:
        """Show the bytes in hexadecimal, or as text again."""
        if self.entry is None or self.record is None or self.holds:
            return
        self._as_hex = not self._as_hex
        self._other_form = True
        self.record = None
        self._changed_at = None
        self.read(self.entry)

    # Watching

    def toggle_watch(self) -> None:
        """Read the value again and again, or not any more."""
        self.watching = not self.watching
        if not self.holds:
            self.describe()
        self._look_again()

    def _look_again(self) -> None:
        if self.watching and self.entry is not None and not self.holds and not self._reading:
            self.read(self.entry)

    @on(Lines.Moved)
    @on(Lines.Pressed)
    def _quiet(self, message: Lines.Moved | Lines.Pressed) -> None:
        message.stop()


def concerns(change: Change, entry: Entry) -> bool:
    """Whether a change is one of this entry."""
    if change.connection != entry.place.connection or change.operation == "connection":
        return False
    if change.collection is not None and change.collection != entry.place.collection:
        return False
    return not change.keys or entry.key in change.keys


def make_document(record: Record, *, as_hex: bool, before: Document | None = None) -> Document:
    """How a record is shown: JSON indented, text as it is, everything else and everything large in rows of bytes.

    Args:
        record: What is shown.
        as_hex: Show its bytes.
        before: What was shown of it until now, to mark what is another.
    """
    if not as_hex and len(record.body) == record.length:
        try:
            text = record.body.decode()
        except UnicodeDecodeError:
            as_hex = True
        else:
            if "\0" not in text:
                is_json = record.kind == "entry" or jsontext.is_json(text)
                text = jsontext.indent(text) if is_json else text
                text = jsontext.join_pairs(text) if record.kind == "zset" else text
                document = TextDocument(text, is_json=is_json, body=record.body)
                if isinstance(before, TextDocument):
                    document.mark_changes(before)
                return document
            as_hex = True
    rows = BytesDocument(record.length, as_hex=as_hex)
    rows.take(0, record.body[: len(record.body) // CHUNK * CHUNK] if len(record.body) < record.length else record.body)
    return rows
