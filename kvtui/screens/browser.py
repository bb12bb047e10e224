"""The one screen of the program: connections, keys and value side by side, as many of them as the terminal has room for.

It arranges the panes, routes what the session and the panes tell, and keeps the place. What is done to entries is in
`kvtui.screens.entry_actions`.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from kvd.addresses import encode_part, parse_address
from kvd.errors import DaemonError
from kvd.model import ConnectionInfo
from kvtui import keymap
from kvtui.codecs import name_text
from kvtui.messages import Changed, Offline, Online, Place
from kvtui.operations import NewEntry
from kvtui.screens.dialogs import Prompt
from kvtui.screens.offers import WAYS
from kvtui.screens.undo_actions import UndoActions
from kvtui.session import Session
from kvtui.theme import HIGH_FROM, THREE_FROM, TONES, TWO_FROM
from kvtui.widgets.bars import HintBar, TopBar
from kvtui.widgets.connection_list import tone_of
from kvtui.widgets.keys_pane import KeysPane
from kvtui.widgets.pane import Pane
from kvtui.widgets.sidebar import Sidebar
from kvtui.widgets.value_pane import ValuePane

__all__ = ["BrowserScreen"]

NOT_WHILE_EDITING = {command.name for command in keymap.by_scope("browser", "entry")}


class BrowserScreen(UndoActions):
    """Connections, keys, value."""

    BINDINGS: ClassVar[list[BindingType]] = [*keymap.bindings("browser")]
    AUTO_FOCUS = ""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (TWO_FROM, "-medium"), (THREE_FROM, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (HIGH_FROM, "-high")]
        self.session = session
        self._at = 0
        self._zoomed = False

    def compose(self) -> ComposeResult:
        yield TopBar()
        with Horizontal(id="panes"):
            yield Sidebar(self.session)
            yield KeysPane(self.session)
            yield ValuePane(self.session)
        yield HintBar()

    def on_mount(self) -> None:
        self._go(0)

    @property
    def sidebar(self) -> Sidebar:
        """The pane of connections."""
        return self.query_one(Sidebar)

    @property
    def panes(self) -> tuple[Pane, Pane, Pane]:
        """The three panes from left to right."""
        return self.sidebar, self.keys_pane, self.value_pane

    def info(self, connection: str) -> ConnectionInfo | None:
        branch = self.sidebar.branch(connection)
        return None if branch is None else branch.info

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a value is being edited, keys that reach the screen were meant for the editor."""
        del parameters
        return not (self.value_pane.editor.has_focus and action in NOT_WHILE_EDITING)

    # Arranging

    def _go(self, pane: int) -> None:
        """Give a pane the focus, showing it when it is hidden."""
        self._at = pane
        if pane:
            self.keys_pane.content.follows_top = False
        self._lay_out()
        self.panes[pane].focus_content()

    def _lay_out(self) -> None:
        width = self.app.size.width
        if self._zoomed or width < TWO_FROM:
            shown = {self._at}
        elif width < THREE_FROM:
            shown = {0, 1} if self._at == 0 else {1, 2}
        else:
            shown = {0, 1, 2}
        for number, pane in enumerate(self.panes):
            pane.display = number in shown
            pane.set_class(number == self._at, "-at")
        self._hint()

    def on_resize(self, event: events.Resize) -> None:
        del event
        self._lay_out()

    def on_descendant_focus(self) -> None:
        focused = self.focused  # not the event's widget: events of several changes may come out of order
        for number, pane in enumerate(self.panes):
            if focused is not None and pane in focused.ancestors_with_self and number != self._at:
                self._at = number
                self.keys_pane.content.follows_top = False
                self._lay_out()
        self._hint()

    def _hint(self) -> None:
        """Show the keys of the focused pane."""
        own: tuple[keymap.Scope, ...]
        if self.value_pane.edited is not None and self._at == 2:  # noqa: PLR2004 - the value's pane
            own = ("editor",)
        elif self.keys_pane.filter.has_focus or self.value_pane.search.has_focus:
            own = ("filter",)
        else:
            own = (("sidebar", "browser"), ("keys", "entry", "browser"), ("entry", "value", "browser"))[self._at]
        typing = own in {("editor",), ("filter",)}
        hints = keymap.footer(*own, offered=lambda command: command.id not in WAYS and self.is_offered(command))
        # what was done last is what is wanted back, and there must be room for that
        ways = keymap.footer(*own, offered=lambda command: command.id in WAYS and self.is_offered(command))
        self.query_one(HintBar).set_hints(hints, ways + keymap.footer("app", typing=typing))

    def action_next_pane(self) -> None:
        self._go((self._at + 1) % 3)

    def action_previous_pane(self) -> None:
        self._go((self._at - 1) % 3)

    def action_pane_1(self) -> None:
        self._go(0)

    def action_pane_2(self) -> None:
        self._go(1)

    def action_pane_3(self) -> None:
        self._go(2)

    def action_zoom(self) -> None:
        self._zoomed = not self._zoomed
        self._lay_out()

    def action_next_match(self) -> None:
        self._go_on(1)

    def action_previous_match(self) -> None:
        self._go_on(-1)

    def _go_on(self, by: int) -> None:
        """All keys that are shown match their filter; in the value there is somewhere to go."""
        if self._at == 1 and self.keys_pane.filter.value:
            self.keys_pane.content.seek_key(by)
        elif self.value_pane.search.value:
            self.value_pane.go_on(by)
        else:
            self.say("Nothing is searched for yet; / begins.")

    def action_watch(self) -> None:
        self.value_pane.toggle_watch()

    def action_view(self) -> None:
        self.value_pane.toggle_hex()

    # What the session tells

    @on(Online)
    def _online(self, message: Online) -> None:
        bar = self.query_one(TopBar)
        bar.state = "ready"
        self.sidebar.take_connections(message.connections, message.problem, message.target)
        if message.problem is not None:
            self._show_problem(message.problem, message.connections)
        if message.again:
            self.say("The daemon is back.")
            self._read_again()

    @on(Offline)
    def _offline(self, message: Offline) -> None:
        bar = self.query_one(TopBar)
        bar.retry_at = message.retry_at
        bar.state = "away"

    @on(Changed)
    def _changed(self, message: Changed) -> None:
        change = message.change
        if change.operation == "resync" and not change.connection:  # some changes were not told
            self.sidebar.read_again()
            self.keys_pane.refresh_soon()
            self.value_pane.reread()
            return
        self.sidebar.take_change(change)
        self.keys_pane.take_change(change)
        self.value_pane.take_change(change)

    def _show_problem(self, problem: str, rows: list[ConnectionInfo]) -> None:
        """Say what is wrong with the configuration: in passing when there is something else to show."""
        if rows:
            self.say(problem, wrong=True)
        else:
            self.keys_pane.say("Broken configuration", problem, helps="browser.refresh", to="read it again", wrong=True)

    def _read_again(self) -> None:
        self._wear_anew()
        self.keys_pane.refresh_keys()
        self.value_pane.reread()

    @work(exclusive=True, group="refresh")
    async def action_refresh(self) -> None:
        try:
            rows, problem = await self.session.reload()
        except DaemonError as error:
            self.say(str(error), wrong=True)
            return
        if problem is not None:
            self._show_problem(problem, rows)
        self.sidebar.take_connections(rows, problem, max_age=0.0)  # who asks for a refresh wants what is there now
        self._read_again()

    # What the panes tell

    @on(Sidebar.Chosen)
    def _chosen(self, message: Sidebar.Chosen) -> None:
        info = self.info(message.place.connection)
        if message.enter or self.keys_pane.display:
            self._open(message.place, info)
        if message.enter:
            self._go(1)

    def _open(self, place: Place, info: ConnectionInfo | None, seek: str | None = None) -> None:
        self.keys_pane.open(place, info, seek)
        listing = self.sidebar.content
        listing.opened = place
        listing.refresh()
        self._wear(info)
        self._path()
        self._hint()

    def _wear(self, info: ConnectionInfo | None) -> None:
        """Show the connection's colour and trouble, and warn in production."""
        tone = None if info is None else tone_of(info)
        bar = self.query_one(TopBar)
        bar.production, bar.tone = info is not None and info.production, tone
        troubled = info is not None and info.state in {"degraded", "down"}
        bar.trouble = f"{info.name} is {info.state}" if info is not None and troubled else None
        self.set_class(bar.production, "-production")
        for name in TONES:
            self.set_class(name == tone, f"-{name}")

    @on(Sidebar.StatesRead)
    @on(Sidebar.Opened)
    def _wear_anew(self) -> None:
        """Take up that a connection may be another one now."""
        if self.keys_pane.place is not None:
            info = self.info(self.keys_pane.place.connection)
            self._wear(info)
            self.keys_pane.take_rules(info)
            self._hint()

    @on(Sidebar.Looked)
    def _looked(self, message: Sidebar.Looked) -> None:
        if self._at == 0 or self.keys_pane.place is None:
            self.keys_pane.close(message.branch)
            self.sidebar.content.opened = None
            self.sidebar.content.refresh()
            self._wear(message.branch.info)
            self.query_one(TopBar).path = (message.branch.info.name,)

    @on(Sidebar.Recovered)
    def _recovered(self, message: Sidebar.Recovered) -> None:
        if self.keys_pane.place is not None and self.keys_pane.place.connection == message.connection:
            self._read_again()

    @on(KeysPane.Selected)
    def _selected(self, message: KeysPane.Selected) -> None:
        self.value_pane.show(message.entry, message.folder)
        self._path()
        self._hint()

    @on(ValuePane.Read)
    def _value_read(self) -> None:
        self._hint()

    @on(KeysPane.Entered)
    def _entered(self) -> None:
        if self.keys_pane.place is not None:
            self._go(2)
        else:
            self._go(0)
            self.sidebar.action_open()

    @on(KeysPane.Left)
    def _left_keys(self) -> None:
        self._go(0)

    @on(ValuePane.Left)
    def _left_value(self) -> None:
        self._go(1)

    @on(ValuePane.EditEnded)
    def _edit_ended(self) -> None:
        self._path()
        self._hint()

    def _path(self) -> None:
        place, entry = self.keys_pane.place, self.value_pane.entry
        if place is not None:
            folder = name_text(self.keys_pane.content.folder or "")
            key = entry.label if entry is not None and entry.place == place else folder
            self.query_one(TopBar).path = (place.connection, place.name, key)

    # Going somewhere

    def place_for_new(self) -> Place | None:
        node = self.sidebar.content.node
        if self._at == 0 and node is not None:
            return node.place or Place(node.connection, None, "")
        if self.keys_pane.place is not None:
            return self.keys_pane.place
        return None if node is None else Place(node.connection, None, "")

    def show_new(self, new: NewEntry) -> None:
        info = self.info(new.connection)
        name = new.collection or (info.default_collection if info is not None else "default_collection")
        self._go_to(new.connection, name, new.key)

    def _go_to(self, connection: str, collection: str | None, key: str | None) -> None:
        branch = self.sidebar.branch(connection)
        if branch is None:
            return
        if not branch.expanded:
            self.sidebar.unfold(connection)
        if collection is None:
            self.sidebar.content.go_to(connection)
            self._go(0)
            return
        place = branch.find(collection) or branch.add(Place.typed(connection, collection))
        self.sidebar.content.rebuild()
        self._open(place, branch.info, seek=key)
        self._go(1)
        self.sidebar.content.go_to(connection, place)
        if key is not None and not place.by_token:
            self.keys_pane.describe([key])

    @work(exclusive=True, group="ask")
    async def action_goto(self) -> None:
        def parts(text: str) -> tuple[str, str | None, str | None]:
            # the slashes of a URL need no code where it is open
            named = max(
                (name for name in self.sidebar.content.branches if f"{text}/".startswith(f"{name}/")), key=len, default=""
            )
            address = parse_address(encode_part(named) + text[len(named) :])
            info = self.info(address.connection) if address.has_collection else None
            collection = address.collection or (info.default_collection if info is not None else None)
            return address.connection, collection, address.key or None

        def meaning(text: str) -> str:
            connection = parts(text.strip())[0] if text.strip() else ""
            if self.sidebar.branch(connection) is None:
                known = ", ".join(self.sidebar.content.branches)
                raise ValueError(
                    f"there is no connection {connection!r}; there are {known}" if connection else "connection/collection/key"
                )
            return ""

        place = self.keys_pane.place
        start = "" if place is None or place.by_token else f"{place.connection}/{encode_part(place.typable)}/"
        prompt = Prompt("Go to", value=start, placeholder="connection/collection/key", check=meaning)
        text = await self.app.push_screen_wait(prompt)
        if text is not None:
            connection, collection, key = parts(text.strip())
            self._go_to(connection, collection, key and key + text[len(text.rstrip()) :])  # a key's own blanks are meant
