"""Editing a value and saving it without losing what somebody else wrote: a part of the browser screen, kept apart for its size.

The other things that can be done to entries are in `kvtui.screens.entry_actions`.
"""

from __future__ import annotations

from textual import work

from kvd.errors import ConnectionLostError, DaemonError
from kvd.model import ABSENT, Record, Version
from kvtui import jsontext, operations
from kvtui.documents import TextDocument
from kvtui.external import NoEditorError, edit_outside, editor_command
from kvtui.limits import Limits
from kvtui.screens.dialogs import Answer, Ask
from kvtui.screens.offers import Offers
from kvtui.widgets.key_list import foreign_text
from kvtui.widgets.value_pane import Edited, ValuePane
from kvtui.widgets.value_reader import make_document

__all__ = ["EditActions"]


class EditActions(Offers):
    """The actions on a value that is edited."""

    # Editing

    def action_edit(self) -> None:
        entry = self.current()
        if self.refused("entry.edit") or entry is None:
            return
        self.value_pane.limits = Limits.of(self.info(entry.place.connection))
        if (why_not := self.value_pane.edit()) is not None:
            self.say(why_not, wrong=True)

    @work(exclusive=True, group="edit outside")
    async def action_edit_external(self) -> None:
        entry = self.current()
        if self.refused("entry.edit_external") or entry is None or self.value_pane.edited is not None:
            return
        try:
            editor_command()
            record = await operations.whole(self.session, entry)
            if record is None:
                self.say("This key is gone.", wrong=True)
                return
            if record.kind != "entry":
                self.say(foreign_text(record.kind, "is only shown"), wrong=True)
                return
            before = jsontext.indent(record.body.decode("utf-8", "surrogateescape"))
            text = before
            while True:
                with self.app.suspend():
                    text = edit_outside(text)
                if text.rstrip() == before.rstrip():
                    self.say("Nothing was changed.")
                    return
                try:
                    value = jsontext.check_value(text)
                    break
                except jsontext.InvalidJsonError as error:
                    again = Ask(
                        "This is not a value",
                        [str(error)],
                        [Answer("again", "Edit again", "primary"), Answer("drop", "Discard the changes", "error")],
                    )
                    if await self.app.push_screen_wait(again) == "drop":
                        return
        except (NoEditorError, DaemonError) as error:
            self.say(str(error), wrong=True)
            return
        await self._save(Edited(entry, record), value)

    def on_value_pane_save_wanted(self, message: ValuePane.SaveWanted) -> None:
        self.save(message.edited, message.value)

    @work(exclusive=True, group="save")
    async def save(self, edited: Edited, value: str) -> None:
        """Write what was edited, asking where it is no longer what was read."""
        editor = self.value_pane.editor
        try:
            await self._save(edited, value)
        finally:
            editor.read_only = False

    async def _save(self, edited: Edited, value: str) -> None:
        pane = self.value_pane
        base: Version | None = edited.base.version
        while base is not None:
            try:
                await operations.save(self.session, edited.entry, value, base)
                break
            except operations.Conflict as conflict:
                if _is(conflict.current, value):
                    break  # the answer was lost, but not the write
                base = await self._settle(edited, conflict.current)
            except DaemonError as error:
                lost = isinstance(error, ConnectionLostError)
                self._not_saved("The daemon is away and may not have saved this. What you typed stays." if lost else str(error))
                return
        if base is None:
            return
        self.say("Saved.")
        if pane.edited is None:
            pane.reread()
        else:
            pane.end_edit()

    async def _settle(self, edited: Edited, current: Record | None) -> Version | None:
        """Ask what becomes of an edit whose entry is another one now; answers what to write on top of, None for not at all."""
        choice = await self.app.push_screen_wait(_conflict_question(edited, current))
        if choice == "mine":
            return ABSENT if current is None else current.version
        if choice == "theirs":
            self.value_pane.end_edit()
        else:
            self._not_saved(
                "Not saved yet: this key is gone." if current is None else "Not saved yet: someone else changed it."
            )
        return None

    def _not_saved(self, why: str) -> None:
        if self.value_pane.edited is None:
            self.say(why, wrong=True)
        else:
            self.value_pane.complain(why, wrong=True)

    @work(exclusive=True, group="leave")
    async def on_value_pane_leave_wanted(self) -> None:
        if await self.may_drop_edit():
            self.value_pane.end_edit()

    async def may_drop_edit(self) -> bool:
        """Ask whether what was typed may be given up; True at once when nothing was."""
        pane = self.value_pane
        if pane.edited is None or not pane.dirty:
            return True
        question = Ask(
            "Discard the changes?",
            ["What you typed was not saved."],
            [Answer("keep", "Keep editing"), Answer("drop", "Discard", "error")],
            names=[pane.edited.entry.label],
        )
        return await self.app.push_screen_wait(question) == "drop"


def _is(current: Record | None, value: str) -> bool:
    """Whether what is there is just this value."""
    if current is None or current.kind != "entry" or len(current.body) < current.length:
        return False
    return jsontext.compact(current.body.decode("utf-8", "surrogateescape")) == value


def _conflict_question(edited: Edited, current: Record | None) -> Ask:
    """What to ask when what was edited is no longer what is there."""
    names = [edited.entry.label]
    keep = Answer("keep", "Keep editing")
    if current is None:
        lines = ["It expired or was deleted while you were editing.", "Creating it again makes a key that never expires."]
        answers = [keep, Answer("theirs", "Let it go"), Answer("mine", "Create it again", "error")]
        return Ask("This key is gone", lines, answers, names=names)
    if current.body == edited.base.body:
        lines = ["Only its TTL was changed while you were editing.", "Saving keeps the new TTL."]
        return Ask("The TTL was changed", lines, [Answer("mine", "Save", "primary"), keep], names=names)
    answers = [keep, Answer("theirs", "Take theirs"), Answer("mine", "Overwrite", "error")]
    document = make_document(current, as_hex=False, before=make_document(edited.base, as_hex=False))
    if not isinstance(document, TextDocument):
        document = TextDocument("(too large to be shown here)", is_json=False)
    lines = ["Someone else changed it while you were editing.", "This is there now, with what they changed marked:"]
    return Ask("Changed by someone else", lines, answers, names=names, document=document)
