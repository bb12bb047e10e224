"""The pane of keys: opens a collection, filters, sorts, marks, and says which key is the current one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input, Static

from kvd.model import ConnectionInfo, Key
from kvtui import keymap
from kvtui.codecs import printable
from kvtui.filters import compile_filter
from kvtui.messages import Entry, Folder, Place, sentence
from kvtui.separators import Separators
from kvtui.session import Session
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
        """Another key is the current one; None when there is none. In a tree the cursor may stand on a folder instead."""

        def __init__(self, entry: Entry | None, folder: Folder | None = None) -> None:
            super().__init__()
            self.entry = entry
            self.folder = folder

    class Entered(Message):
        """The value of the current key is wanted; or the connection, where only that is shown."""

    class Left(Message):
        """The reader wants back to the collections."""

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(session, id=id)
        self._trees: set[str] = set()
        """The connections whose keys are shown as trees."""
        self._opened: dict[Place, set[str]] = {}
        """The open folders of each place."""
        self._kept: Key | None = None
        """The current key when another filter was set: where it matches, no folder hides it."""

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

    def open(self, place: Place, info: ConnectionInfo | None, seek: str | None = None) -> None:
        """Show the keys of a collection, and put the cursor on the one whose name is given."""
        if place == self.place:
            self.take_rules(info)
            if seek is not None:
                self.go_to(seek)
            return
        self.want(seek)
        self.place = place
        self.content.kinds_first = place.by_token
        self._empty()
        self.take_rules(info)
        self.set_filter("")
        self.say("Reading keys…")
        self.refresh_keys()

    def take_rules(self, info: ConnectionInfo | None) -> None:
        """Take up what the connection says of its keys: what may be done to them, and where their names are cut."""
        self.production = info is not None and info.production
        self.read_only = info is not None and info.read_only
        separators = "" if info is None else info.separators
        if separators != self.index.separators.characters:
            self.index.separators = Separators(separators)
            self.index.is_cut = any(map(self.index.separators.cut, self.index.names))
            self._rebuild()
        self._take_form()
        self.describe_scan()

    # Flat or tree

    @property
    def is_tree(self) -> bool:
        """Whether the keys are to be shown as a tree."""
        return self.place is not None and self.place.connection in self._trees

    @property
    def why_no_tree(self) -> str | None:
        """Why the form of the keys cannot be changed to any other; None where it can."""
        if self.is_tree or self.index.is_cut:
            return None
        characters = self.index.separators.characters
        if not characters:
            return "This connection has no separators."
        return f"No key here has a separator ({' '.join(characters)})."

    def action_tree(self) -> None:
        """Show the keys of this connection as trees, or flat again; the cursor stays where it can."""
        if self.place is None or self.why_no_tree is not None:
            self.notify(printable(self.why_no_tree or "Open a collection first."), markup=False, timeout=3)
            return
        self.content.leave_folder()
        self._trees ^= {self.place.connection}
        self._take_form()

    def _take_form(self) -> None:
        """Show the keys flat or as a tree, as it is chosen for the connection."""
        index = self.index
        opened = set() if self.place is None else self._opened.setdefault(self.place, set())
        if self.place is not None and (index.as_tree != self.is_tree or index.opened is not opened):
            index.as_tree, index.opened = self.is_tree, opened
            self._rebuild()

    @on(KeyList.Large)
    def _folder_opened(self, message: KeyList.Large) -> None:
        message.stop()
        self._rebuild()

    def action_close(self) -> None:
        if not self.content.fold():
            self.action_back()

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
        problem = branch.problem
        if problem is None and info.reason is not None and info.state in {"down", "degraded"}:
            problem = [info.reason, *([sentence(info.advice)] if info.advice else [])]
        if problem:
            helps = "browser.refresh"
            self.say("This connection cannot be used", *lines, *problem, helps=helps, to="try again", wrong=True)
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
        self._kept = self.content.current
        self._rebuild()

    def _complain(self, text: str) -> None:
        line = self.query_one("#filter-complaint", Static)
        line.update(printable(text))
        line.set_class(bool(text), "-said")

    def _rebuild(self) -> None:
        """Show the keys in another way: at once, unless there are many."""
        self.workers.cancel_group(self, "view")
        if self.index.rebuild_at_once():
            self._rebuilt()
        else:
            self._rebuild_in_slices()

    @work(exclusive=True, group="view")
    async def _rebuild_in_slices(self) -> None:
        if await self.index.rebuild():
            self._rebuilt()

    def _rebuilt(self) -> None:
        if self._kept is not None:
            self.content.reveal(self._kept)
            self._kept = None
        if self.place is not None:
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
        elif self.content.folder is not None:
            self.content.unfold()
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
        self._say_current()

    def _say_current(self) -> None:
        folder, tree = self.content.folder, self.index.tree
        shown = None if folder is None or tree is None else Folder(folder, tree.size(folder), is_open=tree.is_open(folder))
        self.post_message(self.Selected(self.current, shown))

    def show_keys(self) -> None:
        super().show_keys()
        if self.content.folder is not None:
            self._say_current()  # it may have more keys now

    @on(Lines.Moved)
    def _moved(self, message: Lines.Moved) -> None:
        message.stop()
        self.want(None)

    @on(Lines.Pressed)
    def _pressed(self, message: Lines.Pressed) -> None:
        message.stop()
        self.action_open()
