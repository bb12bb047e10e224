"""The pane of keys: opens a collection, filters, sorts, marks, and says which key is the current one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input, Static

from kvd.model import Key
from kvtui import keymap
from kvtui.codecs import printable
from kvtui.filters import compile_filter
from kvtui.messages import Entry, Place
from kvtui.widgets.connection_list import Branch, marks_of
from kvtui.widgets.key_list import KeyList
from kvtui.widgets.keys_reader import KeysReader
from kvtui.widgets.line_input import LineInput
from kvtui.widgets.lines import Lines

__all__ = ["KeysPane"]


class KeysPane(KeysReader):
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
        """The value of the current key is wanted; or the connection, where only that is shown."""

    class Left(Message):
        """The reader wants back to the collections."""

    def on_mount(self) -> None:
        self.filter.display = False
        self.caption("keys")
        self.say("")

    @property
    def current(self) -> Entry | None:
        """The key of the cursor."""
        address = self.content.current
        return None if address is None else self.entry(address)

    def chosen_keys(self) -> Iterator[Key]:
        """The marked keys, else the current one."""
        marked = (key for key in self.content.marked if self.index.row(key) is not None)
        first = next(marked, self.content.current)
        if first is not None:
            yield first
            yield from marked

    @property
    def chosen(self) -> list[Entry]:
        """The marked keys, else the current one, with their places and names."""
        return [self.entry(key) for key in self.chosen_keys()]

    @property
    def first_chosen(self) -> Entry | None:
        """The first of them."""
        return next((self.entry(key) for key in self.chosen_keys()), None)

    # Opening

    def open(self, place: Place, *, production: bool = False, read_only: bool = False, seek: str | None = None) -> None:
        """Show the keys of a collection, and put the cursor on the one whose name is given."""
        self.read_only = read_only
        if place == self.place:
            if seek is not None:
                self.go_to(seek)
            return
        self.want(seek)
        self.place, self.production = place, production
        self.content.kinds_first = place.by_token
        self._empty()
        self.set_filter("")
        self.say("Reading keys…")
        self.refresh_keys()

    def take_rules(self, *, production: bool, read_only: bool) -> None:
        """Take up what may be done to the keys that are shown."""
        self.production, self.read_only = production, read_only
        self.describe_scan()

    def go_to(self, name: str) -> None:
        """Put the cursor on the key of a name, now or as soon as it is known; no filter hides it."""
        if self.index.matcher is not None and not self.index.matcher(name):
            self.set_filter("")
        self.want(name)
        self.seek()

    def close(self, branch: Branch) -> None:
        """Show no keys, but what there is to say of a connection."""
        self.workers.cancel_node(self)
        self.end_walks()
        self.place = None
        self.want(None)
        self._empty()
        self.set_filter("")
        info = branch.info
        self.caption(info.name)
        lines = [info.store if info.location in {"", info.store} else f"{info.store}  ·  {info.location}"]
        problem = branch.problem or (info.reason if info.state in {"down", "degraded"} else None)
        if problem:
            helps = "browser.refresh"
            self.say("This connection cannot be used", *lines, problem, helps=helps, to="try again", wrong=True)
            return
        if marks := marks_of(info):
            lines.append(" · ".join(marks))
        if branch.absence is not None and not branch.places:  # what is mistyped must not look as if it were empty
            lines.append(branch.absence)
        if branch.places or not branch.complete:
            to = "go to its collections" if branch.expanded else "open it"
            self.say(info.name, *lines, helps="sidebar.open", to=to)
        else:
            self.say(info.name, *lines, helps=None if info.read_only else "browser.add")

    def _empty(self) -> None:
        self._to_describe.clear()
        self.index.clear()
        self.content.forget()
        self.content.changed()
        self.post_message(self.Selected(None))

    # Filter, order, marks, moving

    def set_filter(self, text: str) -> None:
        """Show only the keys that match; the row of the filter is there while there is one."""
        with self.filter.prevent(Input.Changed):
            self.filter.value = text
        self.filter.display = bool(text)
        self._filter(text)

    def _filter(self, text: str) -> None:
        self.end_search()
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
            self.show_keys()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, message: Input.Changed) -> None:
        message.stop()
        self._filter(message.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self, message: Input.Submitted) -> None:
        message.stop()
        self.filter.display = bool(self.filter.value)
        self.focus_content()
        if not self.production:
            self.search()

    @on(LineInput.Left)
    def _filter_left(self, message: LineInput.Left) -> None:
        message.stop()
        self.action_back()

    def action_filter(self) -> None:
        if self.place is None:
            return
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
        self.describe_scan()

    def action_mark_range(self) -> None:
        self.content.mark_range()
        self.describe_scan()

    def action_open(self) -> None:
        if self.filter.has_focus:
            self.focus_content()
        elif self.content.current is not None or self.place is None:
            self.post_message(self.Entered())

    def action_back(self) -> None:
        if self.filter.has_focus or self.filter.value:
            self.set_filter("")
            self.focus_content()
        elif self.content.marked:
            self.content.unmark()
            self.describe_scan()
        else:
            self.post_message(self.Left())

    @on(KeyList.Current)
    def _current(self, message: KeyList.Current) -> None:
        message.stop()
        self.post_message(self.Selected(self.current))

    @on(Lines.Moved)
    def _moved(self, message: Lines.Moved) -> None:
        message.stop()
        self.want(None)

    @on(Lines.Pressed)
    def _pressed(self, message: Lines.Pressed) -> None:
        message.stop()
        self.action_open()
