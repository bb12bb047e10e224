"""The pane of connections and collections: opens connections, reads their collections, says which one is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message

from kvd import requests
from kvd.errors import DaemonError
from kvd.model import Change, Collection, CollectionRow, ConnectionInfo, Page
from kvtui import keymap
from kvtui.messages import Place, told_by
from kvtui.session import Session
from kvtui.widgets.connection_list import Branch, ConnectionList, Node, in_groups
from kvtui.widgets.lines import Lines
from kvtui.widgets.notice import Notice
from kvtui.widgets.pane import Pane

__all__ = ["Sidebar"]

PAGE = 500
MOST = 10_000
"""Collections of one connection that are read without being asked for more."""
OPEN_AT_START = 3
"""Up to so many connections are opened at the start."""


class Sidebar(Pane):
    """Connections and their collections."""

    BINDINGS: ClassVar[list[BindingType]] = [*keymap.bindings("sidebar")]

    class Chosen(Message):
        """A collection is wanted."""

        def __init__(self, place: Place, *, enter: bool) -> None:
            super().__init__()
            self.place = place
            self.enter = enter
            """Whether its keys shall have the focus, too."""

    class Looked(Message):
        """The cursor stands on a connection itself."""

        def __init__(self, branch: Branch) -> None:
            super().__init__()
            self.branch = branch

    class Opened(Message):
        """A connection was opened, or could not be."""

        def __init__(self, connection: str, info: ConnectionInfo | None, problem: Sequence[str] | None) -> None:
            super().__init__()
            self.connection = connection
            self.info = info
            self.problem = problem

    class Recovered(Message):
        """A connection works again."""

        def __init__(self, connection: str) -> None:
            super().__init__()
            self.connection = connection

    class StatesRead(Message):
        """How the connections are now."""

        def __init__(self, connections: list[ConnectionInfo]) -> None:
            super().__init__()
            self.connections = connections

    class PageRead(Message):
        """Some collections of a connection were found."""

        def __init__(self, connection: str, page: Page[CollectionRow], seen: set[Collection], *, last: bool) -> None:
            super().__init__()
            self.connection = connection
            self.page = page
            self.seen = seen
            self.last = last

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.session = session
        self._wanted: str | None = None
        """The connection whose first collection is opened once it is known."""

    def compose(self) -> ComposeResult:
        yield ConnectionList()
        yield Notice()

    def on_mount(self) -> None:
        self.caption("connections")
        self.say("Starting the daemon…")

    @property
    def content(self) -> ConnectionList:
        return self.query_one(ConnectionList)

    def branch(self, connection: str) -> Branch | None:
        """What is known of a connection."""
        return self.content.branches.get(connection)

    # What the daemon says

    def take_connections(
        self, rows: list[ConnectionInfo], problem: str | None, target: str | None = None, *, max_age: float | None = None
    ) -> None:
        """Show the connections that there are now, keeping what is expanded; `max_age` is that of `unfold`."""
        listing = self.content
        before = listing.branches
        first = not before
        if not rows and problem is None:
            rows = [branch.info for branch in before.values()] if not first else []
        at = listing.node
        listing.branches = {}
        for info in in_groups(rows):
            branch = before.get(info.name) or Branch(info)
            self._take_info(branch, info)
            listing.branches[info.name] = branch
        listing.rebuild()
        if problem is not None and not rows:
            self.say("Broken configuration", problem, helps="browser.refresh", to="read it again", wrong=True)
            return
        if not rows:
            self.say("No connections", "They are named in connections.toml.", helps="browser.refresh", to="read it again")
            return
        self.show_content()
        for name, branch in listing.branches.items():
            if branch.expanded or name == target or (first and len(rows) <= OPEN_AT_START and not branch.info.production):
                self.unfold(name, max_age=max_age)
        if first:
            self._wanted = target or next(iter(listing.branches))
            listing.go_to(self._wanted)
        if first or listing.node != at:
            self._look()

    def read_again(self) -> None:
        """Read the collections that are shown once more."""
        for name, branch in self.content.branches.items():
            if branch.expanded:
                self.unfold(name)

    def take_change(self, change: Change) -> None:
        """Work a change into what is shown."""
        branch = self.branch(change.connection)
        if branch is None:
            return
        if change.operation == "connection":
            self.update_states()
            return
        if change.collection is None and change.operation in {"resync", "destroy"} and branch.expanded:
            self.unfold(change.connection)
            return
        name = change.collection
        if isinstance(name, str) and change.operation == "put" and branch.expanded and branch.find(name) is None:
            branch.add(Place.named(change.connection, name))
            self.content.rebuild()

    @work(exclusive=True, group="states")
    async def update_states(self) -> None:
        """Ask how the connections are."""
        try:
            rows = await self.session.call(requests.connections())
        except DaemonError:
            return
        self.post_message(self.StatesRead(rows))

    @on(StatesRead)
    def _take_states(self, message: StatesRead) -> None:
        for info in message.connections:
            if (branch := self.branch(info.name)) is not None:
                self._take_info(branch, info)
                if info.state == "ready" and branch.problem is not None:
                    self.unfold(info.name)
        self.content.rebuild()
        if (node := self.content.node) is not None and node.is_connection:
            self._look()  # what is said of it

    def _take_info(self, branch: Branch, info: ConnectionInfo) -> None:
        """Take up how a connection is. From trouble to ready it may go through other states, any of which may be missed."""
        branch.info = info
        if info.state in {"degraded", "down"}:
            branch.troubled = True
        elif info.state == "ready" and branch.troubled:
            branch.troubled = False
            self.post_message(self.Recovered(info.name))

    # Opening

    def unfold(self, connection: str, *, max_age: float | None = None) -> None:
        """Open a connection and read its collections, again if they are known; `max_age` is that of `scan_collections`."""
        branch = self.branch(connection)
        if branch is None:
            return
        branch.expanded = True
        if not branch.loading:
            branch.loading = True
            self._read(connection, max_age)
        self.content.rebuild()

    @work(group="read")
    async def _read(self, connection: str, max_age: float | None) -> None:
        try:
            info = await self.session.call(requests.connect(connection))
            self.post_message(self.Opened(connection, info, None))
            cursor: bytes | None = None
            seen: set[Collection] = set()
            while True:
                age = max_age if cursor is None else None
                page = await self.session.call(requests.scan_collections(connection, cursor=cursor, limit=PAGE, max_age=age))
                seen.update(Place.of(connection, row).collection for row in page.items)
                last = page.cursor is None or len(seen) >= MOST
                self.post_message(self.PageRead(connection, page, seen, last=last))
                cursor = page.cursor
                if last:
                    return
        except DaemonError as error:
            self.post_message(self.Opened(connection, None, told_by(error)))

    @on(Opened)
    def _take_opened(self, message: Opened) -> None:
        branch = self.branch(message.connection)
        if branch is None:
            return
        branch.problem = message.problem
        if message.info is not None:
            branch.absence = message.info.absence
            self._take_info(branch, message.info)
        else:
            branch.loading = False
            self.update_states()
        self.content.rebuild()
        if self.content.node == Node(message.connection):
            self._look()  # what is said of it

    @on(PageRead)
    def _take_page(self, message: PageRead) -> None:
        branch = self.branch(message.connection)
        if branch is None:
            return
        for row in message.page.items:
            branch.add(Place.of(message.connection, row))
        if message.last:
            branch.loading = False
            branch.complete = message.page.cursor is None
            if branch.complete:
                for collection in branch.collections.keys() - message.seen:
                    del branch.collections[collection]
        self.content.rebuild()
        if message.last and self.content.node == Node(message.connection):
            self._look()  # what is said of it
        if self._wanted == message.connection and branch.places:
            self._wanted = None
            if self.content.node == Node(message.connection):  # who went elsewhere stays there
                self.content.go_to(message.connection, branch.places[0])

    # Moving

    @on(Lines.Moved)
    def _moved(self, message: Lines.Moved) -> None:
        message.stop()
        self._look()

    def _look(self) -> None:
        """Show what the cursor stands on."""
        node = self.content.node
        if node is None:
            return
        if node.place is not None:
            self._wanted = None
            self.post_message(self.Chosen(node.place, enter=False))
        elif (branch := self.branch(node.connection)) is not None:
            self.post_message(self.Looked(branch))

    @on(Lines.Pressed)
    def _pressed(self, message: Lines.Pressed) -> None:
        message.stop()
        self.action_open()

    def action_open(self) -> None:
        node = self.content.node
        if node is None:
            return
        branch = self.branch(node.connection)
        if node.place is not None:
            self.post_message(self.Chosen(node.place, enter=True))
        elif (branch is not None and not branch.expanded) or (branch is not None and branch.problem is not None):
            self.unfold(node.connection)
        elif branch is not None and branch.places:
            self.content.go_to(node.connection, branch.places[0])

    def action_collapse(self) -> None:
        node = self.content.node
        branch = None if node is None else self.branch(node.connection)
        if node is None or branch is None:
            return
        if not node.is_connection:
            self.content.go_to(node.connection)
        else:
            branch.expanded = False
            self.content.rebuild()
