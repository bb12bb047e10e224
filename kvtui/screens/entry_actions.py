"""What can be done to the current or marked keys: the questions that come before, and the words that come after.

A part of the browser screen, kept apart for its size. The work itself is in `kvtui.operations`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual import work
from textual.screen import Screen

from kvd.durations import format_ttl, parse_ttl
from kvd.errors import ConnectionLostError, DaemonError
from kvd.model import ABSENT, ConnectionInfo, Record, Version
from kvtui import jsontext, operations
from kvtui.codecs import elide, printable
from kvtui.countdown import left_text, moment_text
from kvtui.documents import TextDocument
from kvtui.external import NoEditorError, edit_outside, editor_command
from kvtui.messages import Entry, Place
from kvtui.screens.create import CreateScreen, Draft
from kvtui.screens.dialogs import Answer, Ask, Prompt
from kvtui.screens.pick import Choice, Pick
from kvtui.session import Session
from kvtui.widgets.keys_pane import KeysPane
from kvtui.widgets.value_pane import Edited, ValuePane, make_document

__all__ = ["EntryActions"]


class EntryActions(Screen[None]):
    """The actions on entries, for the browser screen."""

    session: Session

    @property
    def keys_pane(self) -> KeysPane:
        """The pane of keys."""
        return self.query_one(KeysPane)

    @property
    def value_pane(self) -> ValuePane:
        """The pane of the value."""
        return self.query_one(ValuePane)

    def info(self, connection: str) -> ConnectionInfo | None:
        """What is known of a connection."""
        raise NotImplementedError

    def place_for_new(self) -> Place | None:
        """Where a new key goes."""
        raise NotImplementedError

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Say something in passing."""
        self.notify(printable(text), severity="error" if wrong else "information", markup=False, timeout=8 if wrong else 3)

    def _may_write(self, connection: str) -> bool:
        info = self.info(connection)
        if info is not None and info.read_only:
            self.say(f"{connection} is read-only.", wrong=True)
            return False
        return True

    def _writable_choice(self) -> list[Entry]:
        """The marked or current keys, when there are some and they may be changed."""
        chosen = self.keys_pane.chosen
        return chosen if chosen and self._may_write(chosen[0].place.connection) else []

    def _current(self, *, writing: bool = False) -> Entry | None:
        entry = self.value_pane.entry if self.value_pane.edited is None else self.value_pane.edited.entry
        if entry is None or (writing and not self._may_write(entry.place.connection)):
            return None
        return entry

    # Editing

    def action_edit(self) -> None:
        if self._current(writing=True) is None:
            return
        if (why_not := self.value_pane.edit()) is not None:
            self.say(why_not, wrong=True)

    @work(exclusive=True, group="edit outside")
    async def action_edit_external(self) -> None:
        entry = self._current(writing=True)
        if entry is None or self.value_pane.edited is not None:
            return
        try:
            editor_command()
            record = await operations.whole(self.session, entry)
            if record is None:
                self.say("This key is gone.", wrong=True)
                return
            if record.kind != "entry":
                self.say(f"A {record.kind} was not written by a store and is only shown.", wrong=True)
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
                        [Answer("again", "Edit again", "primary"), Answer("drop", "Drop the changes", "error")],
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
        await self._save(edited, value)

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
            self._not_saved("Not saved yet: someone else changed it.")
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
            "Give up the changes?",
            ["What you typed was not saved."],
            [Answer("keep", "Keep editing"), Answer("drop", "Give up", "error")],
            names=[pane.edited.entry.label],
        )
        return await self.app.push_screen_wait(question) == "drop"

    # TTL

    @work(exclusive=True, group="ask")
    async def action_ttl(self) -> None:
        entries = self._writable_choice()
        if not entries:
            return

        def meaning(text: str) -> str:
            if not text.strip():
                raise ValueError("90s, 2h30m, never, or a date like 2031-01-31 18:00")
            ttl = parse_ttl(text)
            return "never expires" if ttl is None else f"expires {moment_text(time.time() + ttl)}"

        deadline = self.keys_pane.deadline(entries[0].key)
        lines = []
        if len(entries) == 1:
            lines.append("never expires" if deadline is None else f"{left_text(deadline, time.time())} left")
        prompt = Prompt(
            "Set TTL", _subject(entries), placeholder="90s, 2h30m, never, 2031-01-31 18:00", check=meaning, lines=lines
        )
        text = await self.app.push_screen_wait(prompt)
        if text is None:
            return
        ttl = parse_ttl(text)
        found, problems = await operations.set_ttl(self.session, entries, ttl)
        self.keys_pane.describe([entry.key for entry in entries])
        self.value_pane.reread()
        if problems:
            self.say(problems[0], wrong=True)
        elif found == 0:
            self.say("This key is gone." if len(entries) == 1 else "These keys are gone.", wrong=True)
        else:
            whose = "" if len(entries) == 1 else f" for {found:,} keys"
            self.say(f"TTL set to {format_ttl(ttl)}{whose}." if ttl is not None else f"TTL removed{whose}.")

    # Deleting

    @work(exclusive=True, group="ask")
    async def action_delete(self) -> None:
        entries = self._writable_choice()
        if not entries:
            return
        place = entries[0].place
        many = len(entries) > 1
        info = self.info(place.connection)
        record = self.value_pane.record
        seen = record.version if record is not None and not many and self.value_pane.entry == entries[0] else None
        lines = [f"in {place.label}"]
        while True:
            question = Ask(
                f"Delete {len(entries):,} keys?" if many else "Delete this key?",
                lines,
                [Answer("cancel", "Cancel"), Answer("delete", f"Delete {len(entries):,} keys" if many else "Delete", "error")],
                names=[entry.label for entry in entries],
                must_type=str(len(entries)) if many and info is not None and info.production else None,
            )
            if await self.app.push_screen_wait(question) != "delete":
                return
            try:
                found, _ = await operations.delete(self.session, entries, seen=seen)
            except operations.Conflict as conflict:
                if conflict.current is None:
                    found = 0
                else:
                    seen = conflict.current.version
                    lines = [f"in {place.label}", "Someone else changed it since you looked. Nothing was deleted yet."]
                    self.value_pane.reread()
                    continue
            except DaemonError as error:
                self.say(str(error), wrong=True)
                return
            break
        self.keys_pane.content.unmark([entry.key for entry in entries])
        self.keys_pane.describe([entry.key for entry in entries])
        if many:
            self.say(f"{found:,} of {len(entries):,} keys deleted." if found < len(entries) else f"{found:,} keys deleted.")
        else:
            self.say(f"Deleted {elide(entries[0].label, 40)}." if found else "This key was gone already.")

    # Adding, duplicating, renaming

    @work(exclusive=True, group="ask")
    async def action_add(self) -> None:
        place = self.place_for_new()
        if place is None:
            self.say("Open a connection first.", wrong=True)
            return
        if self._may_write(place.connection):
            await self._create(Draft(place.connection, place.collection if isinstance(place.collection, str) else ""))

    @work(exclusive=True, group="ask")
    async def action_duplicate(self) -> None:
        entry = self._current(writing=True)
        record = self.value_pane.record
        if entry is None or record is None or record.kind != "entry" or len(record.body) < record.length:
            return
        ttl = "" if record.expires_at is None else f"{max(1, round(record.expires_at - time.time()))}s"
        collection = entry.place.collection if isinstance(entry.place.collection, str) else ""
        value = jsontext.indent(record.body.decode("utf-8", "surrogateescape"))
        await self._create(Draft(entry.place.connection, collection, entry.name, ttl, value, "Duplicate"))

    async def _create(self, draft: Draft) -> None:
        new = await self.app.push_screen_wait(CreateScreen(self.session, draft))
        if new is not None:
            self.say(f"Created {elide(printable(new.key), 40)}.")
            self.show_new(new)

    def show_new(self, new: operations.NewEntry) -> None:
        """Go to an entry that was just created."""
        raise NotImplementedError

    @work(exclusive=True, group="ask")
    async def action_rename(self) -> None:
        entry = self._current(writing=True)
        record = self.value_pane.record
        if entry is None or record is None:
            return
        if record.kind != "entry":
            self.say(f"A {record.kind} was not written by a store and cannot be renamed here.", wrong=True)
            return

        def meaning(text: str) -> str:
            if text == entry.name:
                raise ValueError("type another name")
            return "value and TTL stay"

        name = await self.app.push_screen_wait(Prompt("Rename", elide(entry.label, 160), value=entry.name, check=meaning))
        if name is None:
            return
        try:
            await operations.rename(self.session, entry, name)
        except operations.Taken:
            self.say("A key of this name is there already; nothing was changed.", wrong=True)
        except operations.Conflict as conflict:
            gone = conflict.current is None
            self.say(
                "This key is gone." if gone else "Someone else changed it meanwhile: both names are there now.", wrong=True
            )
        except DaemonError as error:
            self.say(str(error), wrong=True)
        else:
            self.keys_pane.describe([entry.key, name])
            self.keys_pane.open(entry.place, seek=name)
            self.say("Renamed.")

    # Copying

    def action_copy_key(self) -> None:
        entry = self._current()
        if entry is not None:
            self.app.copy_to_clipboard(entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
            self.say("Key copied.")

    @work(exclusive=True, group="copy")
    async def action_copy(self) -> None:
        entry = self._current()
        record = None if entry is None else await self._for_copy(entry)
        if record is not None:
            self.app.copy_to_clipboard(record.body.decode("utf-8", "backslashreplace"))
            self.say("Value copied.")

    @work(exclusive=True, group="copy")
    async def action_copy_as(self) -> None:
        entry = self._current()
        record = None if entry is None else await self._for_copy(entry)
        if entry is None or record is None:
            return
        forms = dict(operations.copies(entry, record))
        shown = [Choice(name, name, elide(printable(text[:200]), 120)) for name, text in forms.items()]
        picked = await self.app.push_screen_wait(Pick("Copy as", shown))
        if picked is not None:
            self.app.copy_to_clipboard(forms[picked])
            self.say(f"Copied as {picked}.")

    async def _for_copy(self, entry: Entry) -> Record | None:
        try:
            record = await operations.whole(self.session, entry)
        except DaemonError as error:
            self.say(str(error), wrong=True)
            return None
        if record is None:
            self.say("This key is gone.", wrong=True)
        return record


def _is(current: Record | None, value: str) -> bool:
    """Whether what is there is just this value."""
    if current is None or current.kind != "entry" or len(current.body) < current.length:
        return False
    return jsontext.compact(current.body.decode("utf-8", "surrogateescape")) == value


def _subject(entries: Sequence[Entry]) -> str:
    return elide(entries[0].label, 160) if len(entries) == 1 else f"{len(entries):,} marked keys"


def _conflict_question(edited: Edited, current: Record | None) -> Ask:
    """What to ask when what was edited is no longer what is there."""
    names = [edited.entry.label]
    keep = Answer("keep", "Keep editing")
    if current is None:
        lines = ["It expired or was deleted while you were editing. Creating it again makes a key that never expires."]
        answers = [keep, Answer("theirs", "Let it go"), Answer("mine", "Create it again", "error")]
        return Ask("This key is gone", lines, answers, names=names)
    if current.body == edited.base.body:
        lines = ["Only its TTL was changed while you were editing. Saving keeps the new TTL."]
        return Ask("The TTL was changed", lines, [Answer("mine", "Save", "primary"), keep], names=names)
    answers = [keep, Answer("theirs", "Take theirs"), Answer("mine", "Overwrite", "error")]
    document = make_document(current, as_hex=False)
    if not isinstance(document, TextDocument):
        document = TextDocument("(too large to be shown here)", is_json=False)
    lines = ["Someone else changed it while you were editing. This is there now:"]
    return Ask("Changed by someone else", lines, answers, names=names, document=document)
