"""The pane of the value with its editor: nothing that was typed is lost.

While something is being edited the pane stays with its entry, whatever happens around it: another key is chosen, the key
expires, the daemon goes away. What was typed is given up only when the reader says so.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Static

from kvd.model import Change, Record
from kvtui import jsontext, keymap
from kvtui.codecs import printable, size_text
from kvtui.limits import Limits
from kvtui.messages import Entry, Folder
from kvtui.session import Session
from kvtui.widgets.editor import EDIT_MOST, Editor
from kvtui.widgets.notice import Notice
from kvtui.widgets.value_reader import concerns
from kvtui.widgets.value_search import ValueSearch
from kvtui.widgets.value_view import ValueView

__all__ = ["Edited", "ValuePane"]


class Edited(NamedTuple):
    """What is being edited: where, and on top of which record."""

    entry: Entry
    base: Record


class ValuePane(ValueSearch):
    """The value of one entry, to be read and edited."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *keymap.bindings("value"),
        *keymap.bindings("entry", namespace="screen"),
    ]

    class Left(Message):
        """The reader wants back to the keys."""

    class SaveWanted(Message):
        """What was edited is to be saved."""

        def __init__(self, edited: Edited, value: str) -> None:
            super().__init__()
            self.edited = edited
            self.value = value

    class LeaveWanted(Message):
        """The reader wants out of an editor with changes in it."""

    class EditEnded(Message):
        """Nothing is being edited any more."""

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(session, id=id)
        self.edited: Edited | None = None
        self.limits = Limits()
        """What the store takes of the value that is edited."""
        self._too_much = False
        """Whether what is said below the editor is that the store takes no such value."""
        self._next: Entry | None = None
        """Where the cursor went while something was being edited."""

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield Editor()
        yield Static(id="complaint", markup=False)
        yield Notice()

    def on_mount(self) -> None:
        self._lay_out()

    @property
    def editor(self) -> Editor:
        """The editor."""
        return self.query_one(Editor)

    @property
    def content(self) -> ValueView | Editor:
        return self.view if self.edited is None else self.editor

    @property
    def holds(self) -> bool:
        return self.edited is not None

    @property
    def dirty(self) -> bool:
        """Whether there is something that was typed and not saved."""
        return self.edited is not None and self.editor.dirty

    def _lay_out(self) -> None:
        self.editor.display = self.edited is not None
        self.view.display = self.edited is None
        self.search.display = self.edited is None and bool(self.search.value)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While the editor has the focus no other key of the pane works, typed ahead or not."""
        del action, parameters
        return not self.editor.has_focus

    def show(self, entry: Entry | None, folder: Folder | None = None) -> None:
        """Show another entry, unless one is being edited: then afterwards."""
        if self.edited is not None:
            self._next = entry
        else:
            super().show(entry, folder)

    def take_change(self, change: Change) -> None:
        if self.edited is None:
            super().take_change(change)
        elif concerns(change, self.edited.entry) and not change.own and change.keys:
            gone = change.operation in {"delete", "expired"}
            self.complain("This key is gone; saving asks first." if gone else "Changed by someone else; saving asks first.")

    def action_search(self) -> None:
        if self.edited is None and self.record is not None:
            self.search.display = True
            self.screen.set_focus(self.search)

    def action_back(self) -> None:
        if self.search.value:
            self.set_search("")
        else:
            self.post_message(self.Left())

    # Editing

    @property
    def too_large(self) -> str | None:
        """Why what is shown is too large to be edited here; None where it is not."""
        if self.edited is not None or self.record is None or self.record.length <= EDIT_MOST:
            return None
        return f"{size_text(self.record.length)} are too much to edit in place; E edits in $EDITOR."

    def edit(self, text: str | None = None) -> str | None:
        """Begin to edit what is shown, or the given text on top of it; answers why not, or None when it began."""
        record, entry = self.record, self.entry
        if self.edited is not None:
            self.focus_content()
            return None
        if record is None or entry is None:
            return "There is no value to edit."
        if (why_not := self.too_large) is not None:
            return why_not
        original = jsontext.indent(record.body.decode("utf-8", "surrogateescape"))
        self.edited = Edited(entry, record)
        self._next = entry
        self.editor.start(original)
        if text is not None:
            self.editor.text = text
        self._lay_out()
        self.show_content()
        self.complain("")
        self._describe_edit()
        self.focus_content()
        return None

    @on(Editor.Changed)
    def _typed(self) -> None:
        if self.edited is None:
            return
        self._describe_edit()
        too_much = self.limits.complaint(self.editor.text)
        if too_much is not None or self._too_much:
            self.complain(too_much or "")
        self._too_much = too_much is not None

    def _describe_edit(self) -> None:
        """Say in the frame that the value is being edited, and how much of it the store takes where that is little."""
        room = self.limits.room(self.editor.text)
        title = "value · changed" if self.editor.dirty else "value · editing"
        self.caption(title, *([room] if room else []), "ctrl+s saves", "esc leaves")

    @on(Editor.Saved)
    def _save(self, message: Editor.Saved) -> None:
        message.stop()
        if self.edited is None:
            return
        try:
            value = jsontext.check_value(message.text)
        except jsontext.InvalidJsonError as error:
            self.editor.read_only = False
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
            self.read(entry)
        self.post_message(self.EditEnded())

    def complain(self, text: str, *, wrong: bool = False) -> None:
        """Say something below the editor; nothing takes it away."""
        line = self.query_one("#complaint", Static)
        line.update(printable(text))
        line.set_class(bool(text), "-said")
        line.set_class(wrong, "-wrong")
