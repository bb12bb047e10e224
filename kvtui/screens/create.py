"""The form for a new key, also used to duplicate one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Label, Static

from kvd.durations import parse_ttl
from kvd.errors import DaemonError
from kvtui import jsontext
from kvtui.codecs import printable, size_text
from kvtui.limits import Limits
from kvtui.messages import label_of
from kvtui.operations import NewEntry, Taken, create
from kvtui.screens.dialogs import Answer, Ask, Dialog
from kvtui.session import Session
from kvtui.widgets.editor import EDIT_MOST, Editor
from kvtui.widgets.line_input import Field

__all__ = ["CreateScreen", "Draft"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What the form starts with."""

    connection: str
    collection: str
    key: str = ""
    ttl: str = ""
    value: str = "{\n  \n}"
    title: str = "New key"


class CreateScreen(Dialog[NewEntry | None]):
    """Asks for collection, key, TTL and value, and creates the entry; never writes over one that is there. A value that was
    typed is given up only when the reader says so.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False, priority=True),
        Binding("ctrl+s", "save", show=False, priority=True),
        Binding("tab", "app.focus_next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", show=False, priority=True),
    ]

    def __init__(self, session: Session, draft: Draft, limits: Limits) -> None:
        super().__init__()
        self._session = session
        self._draft = draft
        self._limits = limits
        self._as_it_is = len(draft.value) > EDIT_MOST
        """Whether the value is too large to be edited here."""
        self._creating = False
        self._created: NewEntry | None = None

    def compose(self) -> ComposeResult:
        draft = self._draft
        with Vertical(classes="dialog -wide") as dialog:
            dialog.border_title = Content(printable(f"{draft.title} in {draft.connection}"))
            dialog.border_subtitle = "ctrl+s creates · esc leaves"
            for name, label, value, placeholder in (
                ("collection", "collection", draft.collection, "the connection's default collection"),
                ("key", "key", draft.key, ""),
                ("ttl", "TTL", draft.ttl, "never; or 90s, 2h30m, a date"),
            ):
                with Horizontal(classes="field"):
                    yield Label(label)
                    yield Field(value, placeholder=placeholder, id=name, compact=True, select_on_focus=False)
            with Horizontal(classes="field" if self._as_it_is else "field -tall"):
                yield Label("value")
                if self._as_it_is:
                    yield Static(f" {size_text(len(draft.value))}, as they are", classes="dialog--line")
                else:
                    yield Editor(id="value")
            yield Static(classes="dialog--hint", markup=False)

    def on_mount(self) -> None:
        if not self._as_it_is:
            self._start_editor()
        self.set_focus(self.query_one("#key", Input))

    def _start_editor(self) -> None:
        editor = self.query_one(Editor)
        editor.start(self._draft.value)
        editor.tab_behavior = "focus"
        if self._draft.value.count("\n") == 2:  # noqa: PLR2004 - the empty object: the cursor stands inside
            editor.move_cursor((1, 2))

    @on(Editor.Changed)
    def _typed(self) -> None:
        value = self.query_one(Editor).text
        too_much = self._limits.complaint(value)
        self._say(too_much or self._limits.room(value) or "", wrong=too_much is not None)

    @on(Input.Submitted)
    def _next(self) -> None:
        self.focus_next()

    @work
    async def action_leave(self) -> None:
        if not self._as_it_is and self.query_one(Editor).dirty:
            answers = [Answer("keep", "Keep editing"), Answer("drop", "Discard", "error")]
            names = [label_of(self._field("key"))]
            question = Ask("Discard the new key?", ["What you typed was not saved."], answers, names=names)
            if await self.app.push_screen_wait(question) != "drop":
                return
        self.dismiss(None)

    def on_screen_resume(self) -> None:
        if self._created is not None:  # while something else was asked
            self.dismiss(self._created)

    def action_save(self) -> None:
        if self._creating:
            return
        try:
            ttl = parse_ttl(self._field("ttl")) if self._field("ttl").strip() else None
        except ValueError as error:
            self._complain(str(error), "#ttl")
            return
        try:
            value = self._draft.value if self._as_it_is else jsontext.check_value(self.query_one(Editor).text)
        except jsontext.InvalidJsonError as error:
            self._complain(f"value: {error}", "#value")
            if error.line is not None and error.column is not None:
                self.query_one(Editor).go_to(error.line, error.column)
            return
        new = NewEntry(self._draft.connection, self._field("collection") or None, self._field("key"), value, ttl)
        self._create(new)

    @work
    async def _create(self, new: NewEntry) -> None:
        self._creating = True
        self._say("Creating…")
        try:
            await create(self._session, new)
        except Taken:
            self._complain("A key of this name is there already; nothing was written.", "#key")
        except DaemonError as error:
            self._complain(str(error), "#key")
        else:
            self._created = new
            self.dismiss(new)
        finally:
            self._creating = False

    def _field(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value

    def _say(self, text: str, *, wrong: bool = False) -> None:
        hint = self.query_one(".dialog--hint", Static)
        hint.set_class(wrong, "-wrong")
        hint.update(printable(text))

    def _complain(self, text: str, where: str) -> None:
        self._say(text, wrong=True)
        self.set_focus(self.query_one(where))
