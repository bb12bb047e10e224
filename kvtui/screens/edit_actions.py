"""Editing a value and saving it without losing what somebody else wrote: a part of the browser screen, kept apart for its size.

The other things that can be done to entries are in `kvtui.screens.entry_actions`.
"""

from __future__ import annotations

import asyncio

from textual import work

from kvd.errors import ConnectionLostError, DaemonError
from kvd.model import ABSENT, Record
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
        except (NoEditorError, DaemonError) as error:
            self.say(str(error), wrong=True)
            return
        if record is None:
            self.say("This key is gone.", wrong=True)
        elif record.kind != "entry":
            self.say(foreign_text(record.kind, "is only shown"), wrong=True)
        else:
            await self._edit_outside(Edited(entry, record))

    async def _edit_outside(self, edited: Edited) -> None:
        """Have a value edited until it is saved, or whoever edits it gives it up."""
        before = await asyncio.to_thread(jsontext.indent, edited.base.body.decode("utf-8", "surrogateescape"))
        text = before
        while True:
            try:
                with self.app.suspend():
                    text = edit_outside(text)
            except NoEditorError as error:
                self.say(str(error), wrong=True)
                return
            if text.rstrip() == before.rstrip():
                self.say("Nothing was changed.")
                return
            try:
                value = await asyncio.to_thread(jsontext.check_value, text)
            except jsontext.InvalidJsonError as error:
                title, why_not = "This is not a value", str(error)
            else:
                title, why_not = "Not saved", await self._save(edited, value) or ""
                if not why_not:
                    return
            answers = [Answer("again", "Edit again", "primary"), Answer("drop", "Discard the changes", "error")]
            if await self.app.push_screen_wait(Ask(title, [why_not], answers, names=[edited.entry.label])) == "drop":
                return

    def on_value_pane_save_wanted(self, message: ValuePane.SaveWanted) -> None:
        self.save(message.edited, message.value)

    @work(group="save")
    async def save(self, edited: Edited, value: str) -> None:
        """Write what was edited in place. Meanwhile it may have been given up, and something else be edited."""
        pane = self.value_pane
        why_not = await self._save(edited, value)
        if pane.edited is edited:
            pane.editor.read_only = False
            pane.complain(why_not or "", wrong=True)
        elif why_not is not None:
            self.say(why_not, wrong=True)

    async def _save(self, edited: Edited, value: str) -> str | None:
        """Write what was edited, asking where it is no longer what was read; answers why it is not saved, None when that is
        settled.
        """
        base = edited.base.version
        while True:
            try:
                await operations.save(self.session, edited.entry, value, base)
                break
            except operations.Conflict as conflict:
                current = conflict.current
                if _is(current, value):
                    break  # the answer was lost, but not the write
                choice = await self.app.push_screen_wait(_conflict_question(edited, current))
                if choice == "theirs":
                    self._end_edit(edited)
                    return None
                if choice != "mine":
                    return f"Not saved yet: {'this key is gone' if current is None else 'someone else changed it'}."
                base = ABSENT if current is None else current.version
            except ConnectionLostError:
                return "The daemon is away and may not have saved this. What you typed stays."
            except DaemonError as error:
                return str(error)
        self.say("Saved.")
        self._end_edit(edited)
        return None

    def _end_edit(self, edited: Edited) -> None:
        """Show what is there now, unless something else is being edited."""
        if self.value_pane.edited is edited:
            self.value_pane.end_edit()
        else:
            self.value_pane.reread()

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
