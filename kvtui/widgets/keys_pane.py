"""The pane of keys: scans a collection page by page, filters, sorts, marks, and follows changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input, Static

from kvd import requests
from kvd.errors import DaemonError
from kvd.model import Change, Description, Key, KeyRow, Page
from kvtui import keymap
from kvtui.codecs import printable
from kvtui.filters import compile_filter
from kvtui.index import KeyIndex
from kvtui.messages import Entry, Place
from kvtui.scan import Scan
from kvtui.session import Session
from kvtui.widgets.connection_list import Branch
from kvtui.widgets.key_list import KeyList
from kvtui.widgets.lines import Lines
from kvtui.widgets.notice import Notice
from kvtui.widgets.pane import Pane

__all__ = ["KeysPane"]

DESCRIBE_MOST = 500
SWEEP_SECONDS = 2.0
SHOW_SECONDS = 0.2
"""How often a running scan is drawn at most."""


class KeysPane(Pane):
    """The keys of one collection."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *keymap.bindings("keys"),
        *keymap.bindings("entry", namespace="screen"),
    ]

    class Selected(Message):
        """Another key is the current one; None when there is none."""

        def __init__(self, entry: Entry | None) -> None:
            super().__init__()
            self.entry = entry

    class Entered(Message):
        """The value of the current key is wanted."""

    class Left(Message):
        """The reader wants back to the collections."""

    class PageRead(Message):
        """Some keys were found."""

        def __init__(self, scan: Scan, page: Page[KeyRow]) -> None:
            super().__init__()
            self.scan = scan
            self.page = page

    class ScanEnded(Message):
        """A scan came to its end, or could not go on."""

        def __init__(self, scan: Scan) -> None:
            super().__init__()
            self.scan = scan

    class Described(Message):
        """What is known now of some keys; None: gone."""

        def __init__(self, place: Place, keys: Sequence[Key], found: Sequence[Description | None]) -> None:
            super().__init__()
            self.place = place
            self.keys = keys
            self.found = found

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.session = session
        self.place: Place | None = None
        self.index = KeyIndex()
        self.production = False
        self._scan: Scan | None = None
        self._shown_at = 0.0
        self._seek: Key | None = None
        """A key to put the cursor on as soon as it is known."""

    def compose(self) -> ComposeResult:
        yield Input(placeholder="text, glob *, re:…, ~fuzzy", id="filter", compact=True)
        yield Static(id="filter-complaint", markup=False)
        yield KeyList(self.index)
        yield Notice()

    def on_mount(self) -> None:
        self.filter.display = False
        self.caption("keys")
        self.say("")
        self.set_interval(SWEEP_SECONDS, self._sweep)

    @property
    def content(self) -> KeyList:
        return self.query_one(KeyList)

    @property
    def filter(self) -> Input:
        """Where the filter is typed."""
        return self.query_one("#filter", Input)

    @property
    def current(self) -> Entry | None:
        """The key of the cursor."""
        address = self.content.current
        return None if address is None else self.entry(address)

    @property
    def chosen(self) -> list[Entry]:
        """The marked keys, else the current one."""
        marked = [self.entry(address) for address in self.content.marked if self.index.row(address) is not None]
        return marked or [entry for entry in [self.current] if entry is not None]

    def entry(self, address: Key) -> Entry:
        """A key of this pane with its place and name."""
        assert self.place is not None  # noqa: S101 - keys are only known of a place
        row = self.index.row(address)
        name = self.index.names[row] if row is not None else str(address)
        return Entry(self.place, address, name)

    def deadline(self, address: Key) -> float | None:
        """When a key expires, as far as is known."""
        row = self.index.row(address)
        return None if row is None else self.index.deadline(row)

    # Opening and scanning

    def open(self, place: Place, *, production: bool = False, seek: Key | None = None) -> None:
        """Show the keys of a collection."""
        if place == self.place:
            if seek is not None and not self.content.go_to(seek):
                self._seek = seek
            return
        self._seek = seek
        self.place, self.production = place, production
        self.index.clear()
        self.content.forget()
        self.content.changed()
        self.set_filter("")
        self.post_message(self.Selected(None))
        self.say("Reading keys…")
        self.refresh_keys()

    def close(self, branch: Branch) -> None:
        """Show no keys, but what there is to say of a connection."""
        self.workers.cancel_node(self)
        self.place = None
        self.index.clear()
        self.content.forget()
        self.content.changed()
        self.post_message(self.Selected(None))
        info = branch.info
        self.caption(info.name)
        lines = [info.store if info.location in {"", info.store} else f"{info.store}  ·  {info.location}"]
        problem = branch.problem or (info.reason if info.state in {"down", "degraded"} else None)
        if problem:
            self.say("This connection cannot be used", *lines, problem, helps="browser.refresh", wrong=True)
            return
        if info.read_only:
            lines.append("read-only")
        helps = "browser.add" if branch.expanded and branch.complete and not branch.places else "sidebar.open"
        self.say(info.name, *lines, helps=None if info.read_only and helps == "browser.add" else helps)

    def refresh_keys(self) -> None:
        """Scan anew; what is shown stays until it is known to be gone."""
        if self.place is None:
            return
        self._scan = Scan(self.place, production=self.production)
        self._walk(self._scan)
        self._describe_scan()

    @work(exclusive=True, group="scan")
    async def _walk(self, scan: Scan) -> None:
        async for page in scan.pages(self.session):
            self.post_message(self.PageRead(scan, page))
        self.post_message(self.ScanEnded(scan))

    @on(PageRead)
    def _take_page(self, message: PageRead) -> None:
        if message.scan is self._scan:
            self.index.upsert(message.page.items, by_token=message.scan.place.by_token)
            if message.scan.paused or self.is_noticing or time.monotonic() - self._shown_at > SHOW_SECONDS:
                self._show()

    @on(ScanEnded)
    def _take_end(self, message: ScanEnded) -> None:
        scan = message.scan
        if scan is not self._scan:
            return
        if scan.complete:
            self.index.remove([address for address in self.index.addresses() if address not in scan.seen])
            scan.seen.clear()
        self._show()

    def action_scan(self) -> None:
        if self._scan is not None and not self._scan.complete:
            self._scan.toggle()
            self._describe_scan()

    def _show(self) -> None:
        """Draw what is known now, or say why there is nothing to draw."""
        complete = self._scan is not None and self._scan.complete
        self._shown_at = time.monotonic()
        self.content.reload()
        if self._seek is not None and self.content.go_to(self._seek):
            self._seek = None
        self._describe_scan()
        if self.index.view:
            self.show_content()
        elif self._scan is not None and self._scan.problem is not None:
            self.say("The keys cannot be read", self._scan.problem, helps="browser.refresh", wrong=True)
        elif len(self.index):
            partial = [] if complete else [f"{len(self.index):,} keys read so far; the rest may hold some."]
            self.say(f"No key matches {self.filter.value}", *partial, helps="keys.back" if complete else "keys.scan")
        elif complete:
            self.say("No keys here", helps=None if self._read_only else "browser.add")
        else:
            self.say("Reading keys…")

    _read_only = False

    def set_read_only(self, read_only: bool) -> None:
        """Whether the place may not be written, as the daemon says."""
        self._read_only = read_only

    def _describe_scan(self) -> None:
        """Say in the frame how many keys there are and how far that is all."""
        total, shown = len(self.index), len(self.index.view)
        count = f"{total:,} key{'' if total == 1 else 's'}" if self.index.matcher is None else f"{shown:,} of {total:,}"
        parts = [count]
        if self._scan is not None and not self._scan.complete:
            if self._scan.problem is not None:
                parts.append("not all could be read")
            else:
                parts.append("more follow, p goes on" if self._scan.paused else "reading, p pauses")
        if marked := len(self.content.marked):
            parts.append(f"{marked} marked")
        if self._read_only:
            parts.append("read-only")
        name = "keys" if self.place is None else self.place.name
        self.caption(name, "" if self.place is None else " · ".join(parts))

    # Changes

    def take_change(self, change: Change) -> None:
        """Work a change that went through the daemon into what is shown."""
        place = self.place
        if place is None or change.connection != place.connection or change.operation == "connection":
            return
        if change.collection is not None and change.collection != place.collection:
            return
        if not change.keys or change.collection is None:
            self.refresh_keys()
        elif change.operation in {"delete", "expired"} and not any(self._is_fading(key) for key in change.keys):
            self._forget(change.keys)
        else:
            self.describe(change.keys[:DESCRIBE_MOST])

    def _is_fading(self, key: Key) -> bool:
        """Whether a key is leaving by itself, so that it is let fade."""
        return key in self.content.fading

    def describe(self, keys: Sequence[Key]) -> None:
        """Ask what is known now of some keys."""
        if self.place is not None and keys:
            self._describe(self.place, list(keys))

    @work(group="describe")
    async def _describe(self, place: Place, keys: list[Key]) -> None:
        try:
            found = await self.session.call(requests.describe(place.connection, place.collection, keys))
        except DaemonError:
            return  # the next refresh or event tells
        self.post_message(self.Described(place, keys, found))

    @on(Described)
    def _take_described(self, message: Described) -> None:
        if message.place != self.place:
            return
        gone: list[Key] = []
        for key, description in zip(message.keys, message.found, strict=True):
            if description is not None:
                self.index.describe(key, description)
                if self._scan is not None:
                    self._scan.seen.add(key)
            elif key not in self.content.fading:
                gone.append(key)
        self.index.remove(gone)
        self.content.unmark(gone)
        self._show()

    def _forget(self, keys: Sequence[Key]) -> None:
        self.index.remove(keys)
        self.content.unmark(keys)
        self._show()

    @on(KeyList.Expired)
    def _take_expired(self, message: KeyList.Expired) -> None:
        self.describe(message.addresses)

    @on(KeyList.Faded)
    def _take_faded(self, message: KeyList.Faded) -> None:
        self._forget(message.addresses)

    def _sweep(self) -> None:
        """Let go of expired keys that nobody sees."""
        seen = {self.content.address_at(line) for line in self.content.seen}
        if gone := [key for key in self.index.expired(time.time()) if key not in seen and key not in self.content.fading]:
            self._forget(gone)

    # Filter, order, marks, moving

    def set_filter(self, text: str) -> None:
        """Show only the keys that match; the row of the filter is there while there is one."""
        with self.filter.prevent(Input.Changed):
            self.filter.value = text
        self.filter.display = bool(text)
        self._filter(text)

    def _filter(self, text: str) -> None:
        try:
            self.index.matcher = compile_filter(text)
        except ValueError as error:
            self._complain(str(error))
            return
        self._complain("")
        self._rebuild()

    def _complain(self, text: str) -> None:
        line = self.query_one("#filter-complaint", Static)
        line.update(printable(text))
        line.set_class(bool(text), "-said")

    @work(exclusive=True, group="view")
    async def _rebuild(self) -> None:
        if await self.index.rebuild() and self.place is not None:
            self._show()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, message: Input.Changed) -> None:
        message.stop()
        self._filter(message.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self, message: Input.Submitted) -> None:
        message.stop()
        self.filter.display = bool(self.filter.value)
        self.focus_content()

    def action_filter(self) -> None:
        self.filter.display = True
        self.screen.set_focus(self.filter)

    def action_sort(self) -> None:
        self.index.sort = self.index.sort.following
        self.index.reverse = False
        self._rebuild()

    def action_reverse(self) -> None:
        self.index.reverse = not self.index.reverse
        self._rebuild()

    def action_mark(self) -> None:
        self.content.toggle_mark()
        self._describe_scan()

    def action_mark_range(self) -> None:
        self.content.mark_range()
        self._describe_scan()

    def action_open(self) -> None:
        if self.filter.has_focus:
            self.focus_content()
        elif self.content.current is not None:
            self.post_message(self.Entered())

    def action_back(self) -> None:
        if self.filter.has_focus or self.filter.value:
            self.set_filter("")
            self.focus_content()
        elif self.content.marked:
            self.content.unmark()
            self._describe_scan()
        else:
            self.post_message(self.Left())

    @on(KeyList.Current)
    def _current(self, message: KeyList.Current) -> None:
        message.stop()
        self.post_message(self.Selected(self.current))

    @on(Lines.Moved)
    def _moved(self, message: Lines.Moved) -> None:
        message.stop()

    @on(Lines.Pressed)
    def _pressed(self, message: Lines.Pressed) -> None:
        message.stop()
        self.action_open()
