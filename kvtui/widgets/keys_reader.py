"""What the pane of keys knows: walks a collection page by page, searches what it did not read, and follows changes.

The reader's own doing (filter, order, marks, moving) is in `kvtui.widgets.keys_pane`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from kvd import requests
from kvd.errors import DaemonError
from kvd.model import Change, Description, Key, KeyRow, Page
from kvtui.codecs import elide, printable
from kvtui.filters import store_glob
from kvtui.index import KeyIndex
from kvtui.messages import Doing, Entry, Place, label_of
from kvtui.scan import Scan
from kvtui.session import Session
from kvtui.widgets.key_list import KeyList
from kvtui.widgets.line_input import LineInput
from kvtui.widgets.notice import Notice
from kvtui.widgets.pane import Pane

__all__ = ["KeysReader"]

DESCRIBE_MOST = 500
DESCRIBE_SECONDS = 0.1
"""How many keys are asked about at once, and how often at most: somebody may write thousands of them a second."""
SWEEP_SECONDS = 2.0
SWEEP_MOST = 5_000
"""How often keys are asked about that expired out of sight, and how many of them."""
REFRESH_SECONDS = 2.0
"""How often a walk is begun at most because of changes that were not named."""
SHOW_SECONDS = 0.2
"""How often a running walk is drawn at most."""


class KeysReader(Pane):
    """The keys of one collection, as far as they are known."""

    class PageRead(Message):
        """Some keys were found."""

        def __init__(self, scan: Scan, page: Page[KeyRow]) -> None:
            super().__init__()
            self.scan = scan
            self.page = page

    class ScanEnded(Message):
        """A walk came to its end, or could not go on."""

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
        self.read_only = False
        """Whether the place may not be written, as the daemon says."""
        self._scan: Scan | None = None
        """The walk over the whole collection."""
        self._search: Scan | None = None
        """The store's own search for what the filter means, where the walk did not come to its end."""
        self.doing: dict[object, Doing] = {}
        """What is being done to many keys, by the operation. Others may only look."""
        self._shown_at = 0.0
        self._to_describe: dict[Key, None] = {}
        """Keys that changed and were not asked about yet."""
        self._describing: Timer | None = None
        self._seek: str | None = None
        """The name of a key to put the cursor on as soon as it is known."""
        self._absent = False
        """Whether the store said that there is no such key."""
        self._walked_at = 0.0
        self._again: Timer | None = None
        """When it is walked again after changes that were not named."""

    def compose(self) -> ComposeResult:
        yield LineInput(placeholder="text, glob *, re:…, ~fuzzy", id="filter", compact=True)
        yield Static(id="filter-complaint", markup=False)
        with Vertical(classes="layers"):  # whatever is said, the filter is seen
            yield KeyList(self.index)
            yield Notice()

    def on_mount(self) -> None:
        self.set_interval(SWEEP_SECONDS, self._sweep)

    @property
    def content(self) -> KeyList:
        return self.query_one(KeyList)

    @property
    def filter(self) -> LineInput:
        """Where the filter is typed."""
        return self.query_one("#filter", LineInput)

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

    def kind(self, address: Key) -> str:
        """What a key is; empty where that is not known."""
        row = self.index.row(address)
        return "" if row is None else self.index.kinds[row]

    def stored_size(self, address: Key) -> int:
        """How many bytes are stored of a key; -1 where that is not known."""
        row = self.index.row(address)
        return -1 if row is None else self.index.sizes[row]

    # Walking

    @property
    def is_complete(self) -> bool:
        """Whether all keys are known."""
        return self._scan is not None and self._scan.complete

    def refresh_keys(self) -> None:
        """Walk anew; what is shown stays until it is known to be gone."""
        if self.place is None:
            return
        self.end_walks()
        self._walked_at = time.monotonic()
        self._scan = Scan(self.place, production=self.production)
        self._walk(self._scan)
        self.describe_scan()

    def refresh_soon(self) -> None:
        """Walk anew, but neither often nor before the walk at hand is done: somebody may write all the time."""
        if self._again is None:
            wait = self._walked_at + REFRESH_SECONDS - time.monotonic()
            self._again = self.set_timer(max(0.001, wait), self._refresh_again)

    def _refresh_again(self) -> None:
        self._again = None
        scan = self._scan
        if scan is not None and not (scan.complete or scan.paused or scan.problem):
            self._again = self.set_timer(REFRESH_SECONDS, self._refresh_again)
        else:
            self.refresh_keys()

    @work(exclusive=True, group="scan")
    async def _walk(self, scan: Scan) -> None:
        await self._follow(scan)

    @work(exclusive=True, group="search")
    async def _walk_search(self, scan: Scan) -> None:
        await self._follow(scan)

    async def _follow(self, scan: Scan) -> None:
        async for page in scan.pages(self.session):
            self.post_message(self.PageRead(scan, page))
        self.post_message(self.ScanEnded(scan))

    @property
    def _can_search(self) -> bool:
        """Whether the walk waits, and the store can look for what the filter means in what was not read."""
        waits = self._scan is not None and self._scan.paused and not self._scan.complete
        return waits and self._search is None and store_glob(self.filter.value) is not None

    def search(self) -> None:
        """Have the store look for what the filter means among the keys that were not read."""
        if self.place is not None and self._can_search:
            self._search = Scan(self.place, production=self.production, match=store_glob(self.filter.value))
            self._walk_search(self._search)
            self.show_keys()

    def end_search(self) -> None:
        """The filter is another one now: what the store was asked for is not wanted any more."""
        if self._search is not None:
            self.workers.cancel_group(self, "search")
            self._let_go(self._search)
            self._search = None

    def end_walks(self) -> None:
        """Follow nothing to its end any more."""
        self.end_search()
        if self._scan is not None:
            self.workers.cancel_group(self, "scan")
            self._let_go(self._scan)
            self._scan = None

    @work(group="let go")
    async def _let_go(self, scan: Scan) -> None:
        await scan.let_go(self.session)

    def action_scan(self) -> None:
        if self._can_search:
            self.search()
            return
        scan = self._search or self._scan
        if scan is not None and not scan.complete:
            scan.toggle()
            self.describe_scan()

    @on(PageRead)
    def _take_page(self, message: PageRead) -> None:
        scan, found = message.scan, message.page.items
        if scan is not self._scan and scan is not self._search:
            return
        if scan.match is not None and (matcher := self.index.matcher) is not None:
            found = [row for row in found if matcher(row.key)]
        self.index.upsert(found, by_token=scan.place.by_token)
        if scan.paused or self.is_noticing or time.monotonic() - self._shown_at > SHOW_SECONDS:
            self.show_keys()

    @on(ScanEnded)
    def _take_end(self, message: ScanEnded) -> None:
        scan = message.scan
        if scan is self._scan and scan.complete:
            gone = [address for address in self.index.addresses() if address not in scan.seen]
            self.index.remove(gone)
            self.content.unmark(gone)
            scan.seen.clear()
            scan.settled = True
        if scan is self._scan or scan is self._search:
            self.show_keys()
            if scan.problem is not None and self.index.view:  # else the pane says it
                self.notify(
                    printable(" ".join(scan.problem)), title="Not all keys could be read", severity="error", markup=False
                )
        if scan is self._scan:
            self.content.follows_top = False

    # Saying

    def show_keys(self) -> None:
        """Draw what is known now, or say why there is nothing to draw."""
        scan = self._search or self._scan
        complete = scan is not None and scan.complete
        self._shown_at = time.monotonic()
        self.content.reload()
        self.seek()
        self.describe_scan()
        if self.index.view:
            self.show_content()
        elif scan is not None and scan.problem is not None:
            self.say("The keys cannot be read", *scan.problem, helps="browser.refresh", to="try again", wrong=True)
        elif len(self.index) or scan is self._search is not None:
            self._say_no_match(complete=complete)
        elif complete:
            self.say("No keys here", helps=None if self.read_only else "browser.add")
        else:
            self.say("Reading keys…")

    def _say_no_match(self, *, complete: bool) -> None:
        wanted = f"No key matches {self.filter.value}"
        if complete:
            self.say(wanted, helps="filter.clear", to="clear the filter")
        elif self._search is not None and not self._search.paused:
            self.say("Searching…", f"{self._search.looked_at:,} keys were looked at.", helps="keys.scan", to="pause")
        else:
            rest = f"{len(self.index):,} keys read so far; the rest may hold some."
            searches = self._can_search
            helps = "filter.keep" if searches and self.filter.has_focus and not self.production else "keys.scan"
            self.say(wanted, rest, helps=helps, to="search the rest" if searches else "read on")

    def want(self, name: str | None) -> None:
        """Take up the name of the key that is sought, None for none any more."""
        self._seek, self._absent = name, False

    def seek(self) -> None:
        """Put the cursor on the key that is sought as soon as it is known, or say that there is none."""
        name, scan = self._seek, self._scan
        if name is None:
            return
        address = self.index.find(name)
        if address is None:
            if scan is not None and (scan.complete or scan.paused) and (self._absent or scan.place.by_token):
                self.want(None)
                self.notify(f"There is no key {elide(label_of(name), 40)} here.", severity="error", markup=False)
        elif self.content.go_to(address):
            self.want(None)

    def say_doing(self, operation: object, doing: Doing | None) -> None:
        """Say in the frame what an operation does to many keys, until that is None."""
        if doing is None:
            self.doing.pop(operation, None)
        else:
            self.doing[operation] = doing
        self.describe_scan()

    def describe_scan(self) -> None:
        """Say in the frame how many keys there are and how far that is all, or what is being done to them."""
        total, shown = len(self.index), len(self.index.view)
        count = f"{total:,} key{'' if total == 1 else 's'}" if self.index.matcher is None else f"{shown:,} of {total:,}"
        parts = [count]
        if marked := len(self.content.marked):
            parts.append(f"{marked:,} marked")
        if progress := self._progress():
            parts.append(progress)
        if self.read_only:
            parts.append("read-only")
        name = "keys" if self.place is None else self.place.name
        if self.doing:
            parts = [doing.brief if len(self.doing) > 1 else str(doing) for doing in self.doing.values()]
        self.caption(name, *([] if self.place is None else parts))

    def _progress(self) -> str | None:
        """How far the walk or the search is; None when all is known."""
        scan = self._search or self._scan
        if scan is None or (scan.complete and scan.match is None):
            return None
        if scan.problem is not None:
            return "not all could be read"
        if scan.match is not None:
            return "all searched" if scan.complete else "p searches on" if scan.paused else "searching, p pauses"
        if not scan.paused:
            return "reading, p pauses"
        return "p searches the rest" if self._can_search else "more follow, p goes on"

    # Changes

    def take_change(self, change: Change) -> None:
        """Work a change that went through the daemon into what is shown."""
        place = self.place
        if place is None or change.connection != place.connection or change.operation == "connection":
            return
        if change.collection is not None and change.collection != place.collection:
            return
        if not change.keys or change.collection is None:
            self.refresh_soon()
        elif change.operation in {"delete", "expired"} and not any(self._is_fading(key) for key in change.keys):
            self._forget(change.keys)
        else:
            self.describe(change.keys)

    def _is_fading(self, key: Key) -> bool:
        """Whether a key is leaving by itself, so that it is let fade."""
        return key in self.content.fading

    def describe(self, keys: Sequence[Key]) -> None:
        """Ask what is known now of some keys: at once, unless others were asked about just now."""
        self._to_describe.update(dict.fromkeys(keys))
        if self._describing is None:
            self._describe_some()

    def _describe_some(self) -> None:
        self._describing = None
        keys = list(islice(self._to_describe, DESCRIBE_MOST))
        if self.place is not None and keys:
            for key in keys:
                del self._to_describe[key]
            self._describe(self.place, keys)
            self._describing = self.set_timer(DESCRIBE_SECONDS, self._describe_some)

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
        answers = list(zip(message.keys, message.found, strict=True))
        found = [(key, description) for key, description in answers if description is not None]
        self.index.describe(found)
        self._absent |= any(key == self._seek and description is None for key, description in answers)
        if self._scan is not None and not self._scan.settled:
            self._scan.seen.update(key for key, _ in found)
        self._forget([key for key, description in answers if description is None and key not in self.content.fading])

    def _forget(self, keys: Sequence[Key]) -> None:
        self.index.remove(keys)
        self.content.unmark(keys)
        self.show_keys()

    @on(KeyList.Expired)
    def _take_expired(self, message: KeyList.Expired) -> None:
        self.describe(message.addresses)

    @on(KeyList.Faded)
    def _take_faded(self, message: KeyList.Faded) -> None:
        self._forget(message.addresses)

    def _sweep(self) -> None:
        """Ask about expired keys that nobody sees: another program may have renewed them."""
        seen = {self.content.address_at(line) for line in self.content.seen}
        over = (key for key in self.index.expired(time.time()) if key not in seen and key not in self.content.fading)
        self.describe(list(islice(over, SWEEP_MOST)))
