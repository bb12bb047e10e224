"""What can be done to the current or marked keys: the questions that come before, and the words that come after.

A part of the browser screen, kept apart for its size, as editing is (`kvtui.screens.edit_actions`). The work itself is in
`kvtui.operations`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from textual import work

from kvd import requests
from kvd.durations import format_ttl, parse_ttl
from kvd.errors import DaemonError
from kvd.model import Record
from kvtui import jsontext, operations
from kvtui.codecs import elide, size_text
from kvtui.countdown import left_text, moment_text
from kvtui.limits import Limits, undo_complaint
from kvtui.messages import Doing, Entry, label_of
from kvtui.screens.create import CreateScreen, Draft
from kvtui.screens.dialogs import Answer, Ask, Prompt
from kvtui.screens.edit_actions import EditActions
from kvtui.screens.pick import Choice, Pick
from kvtui.widgets.editor import EDIT_MOST

__all__ = ["EntryActions"]


COPY_MOST = 4 * 1_048_576
"""Bytes of a value that are copied: the terminal takes them all before it shows anything else."""
SLOW_FROM = 1_000
"""Keys from which on it is said that changing them goes on."""


class EntryActions(EditActions):
    """The actions on entries, for the browser screen."""

    # TTL

    @work(exclusive=True, group="ask")
    async def action_ttl(self) -> None:
        if self.refused("entry.ttl"):
            return
        chosen = self.keys_pane.chosen
        info = self.info(chosen[0].place.connection)
        entries = [entry for entry in chosen if self.can_expire(info, self.keys_pane.kind(entry.key))]

        def meaning(text: str) -> str:
            if not text.strip():
                raise ValueError("90s, 2h30m, never, or a date like 2031-01-31 18:00")
            ttl = parse_ttl(text)
            return "never expires" if ttl is None else f"expires {moment_text(time.time() + ttl)}"

        partial = self._partial(entries)

        def known() -> list[str]:
            said = [self._left(entries[0])] if len(entries) == 1 else []
            if cannot := len(chosen) - len(entries):
                said.append(f"Left alone: {cannot:,} that can have none.")
            return said + partial

        prompt = Prompt(
            "Set TTL", _subject(entries), placeholder="90s, 2h30m, never, 2031-01-31 18:00", check=meaning, lines=known
        )
        text = await self.app.push_screen_wait(prompt)
        if text is None:
            return
        if count := self._to_type(entries):
            question = Ask(
                f"Set the TTL of {len(entries):,} keys?",
                [meaning(text), f"in {entries[0].place.label}"],
                [Answer("cancel", "Cancel"), Answer("set", f"Set {len(entries):,} TTLs", "error")],
                names=[entry.label for entry in entries],
                must_type=count,
            )
            if await self.app.push_screen_wait(question) != "set":
                return
        self._set_ttl(entries, parse_ttl(text))

    def _partial(self, entries: Sequence[Entry]) -> list[str]:
        """That folders may hold more than what is known, where they do."""
        if len(entries) > 1 and self.keys_pane.is_tree and not self.keys_pane.is_complete:
            return ["Not all keys were read yet: folders may hold more."]
        return []

    def _left(self, entry: Entry) -> str:
        """How long an entry of the list lives on."""
        if self.keys_pane.index.row(entry.key) is None:
            return "gone"
        deadline, now = self.keys_pane.deadline(entry.key), time.time()
        if deadline is None:
            return "never expires"
        return "expired" if deadline <= now else f"{left_text(deadline, now)} left"

    def _to_type(self, entries: Sequence[Entry]) -> str | None:
        """What is to be typed before so many keys change; None where nothing is."""
        info = self.info(entries[0].place.connection)
        return str(len(entries)) if len(entries) > 1 and info is not None and info.production else None

    @work(group="change")
    async def _set_ttl(self, entries: Sequence[Entry], ttl: float | None) -> None:
        with self.progress("setting TTL", len(entries)) as told:
            found, problem = await operations.set_ttl(self.session, entries, ttl, told)
        self._show_changed(entries)
        self.value_pane.reread()
        if problem is not None:
            self.say(f"TTL set for {found:,} of {len(entries):,} keys only: {problem}" if found else problem, wrong=True)
        elif found == 0:
            self.say("This key is gone." if len(entries) == 1 else "These keys are gone.", wrong=True)
        else:
            whose = "" if len(entries) == 1 else f" for {found:,} keys"
            self.say(f"TTL set to {format_ttl(ttl)}{whose}." if ttl is not None else f"TTL removed{whose}.")

    # Deleting

    @work(exclusive=True, group="ask")
    async def action_delete(self) -> None:
        if self.refused("entry.delete"):
            return
        entries = self.keys_pane.chosen
        place = entries[0].place
        many = len(entries) > 1
        record = self.value_pane.record
        seen = record.version if record is not None and not many and self.value_pane.entry == entries[0] else None
        complaint = undo_complaint(self.info(place.connection), [self.keys_pane.stored_size(entry.key) for entry in entries])
        known = [f"in {place.label}", *self._partial(entries), *([complaint] if complaint else [])]
        lines = known
        while True:
            question = Ask(
                f"Delete {len(entries):,} keys?" if many else "Delete this key?",
                lines,
                [Answer("cancel", "Cancel"), Answer("delete", f"Delete {len(entries):,} keys" if many else "Delete", "error")],
                names=[entry.label for entry in entries],
                must_type=self._to_type(entries),
            )
            if await self.app.push_screen_wait(question) != "delete":
                return
            if many:
                self._delete_many(entries, can_undo=complaint is None)
                return
            try:
                was_there = await operations.delete(self.session, entries[0], seen=seen)
            except operations.Conflict as conflict:
                if conflict.current is None:
                    was_there = False
                else:
                    seen = conflict.current.version
                    lines = [*known, "Someone else changed it since you looked.", "Nothing was deleted yet."]
                    self.value_pane.reread()
                    continue
            except DaemonError as error:
                self.say(str(error), wrong=True)
                return
            break
        self._show_changed(entries, unmark=True)
        undoes = " z brings it back." if complaint is None else ""
        self.say(f"Deleted {elide(entries[0].label, 40)}.{undoes}" if was_there else "This key was gone already.")

    @work(group="change")
    async def _delete_many(self, entries: Sequence[Entry], *, can_undo: bool) -> None:
        with self.progress("deleting", len(entries)) as told:
            found, problem = await operations.delete_many(self.session, entries, told)
        self._show_changed(entries, unmark=problem is None)
        if problem is not None:
            self.say(f"{found:,} of {len(entries):,} keys deleted, then: {problem}", wrong=True)
            return
        few = f" of {len(entries):,}" if found < len(entries) else ""
        undoes = " z brings them back." if can_undo and found else ""
        self.say(f"{found:,}{few} keys deleted.{undoes}")

    # Changing many keys takes a while, in which other things can be done

    @contextmanager
    def progress(self, doing: str, count: int) -> Iterator[Callable[[int], None]]:
        """Say in the keys' frame how far it is, where there are so many that it takes a while."""
        operation, pane = object(), self.keys_pane

        def told(done: int) -> None:
            if count >= SLOW_FROM:
                pane.say_doing(operation, Doing(doing, done, count))

        told(0)
        yield told
        pane.say_doing(operation, None)  # when all is cancelled there is no pane any more

    def _show_changed(self, entries: Sequence[Entry], *, unmark: bool = False) -> None:
        """Show what has become of the entries, where they are still looked at."""
        self._hint()
        if self.keys_pane.place == entries[0].place:
            keys = [entry.key for entry in entries]
            if unmark:
                self.keys_pane.content.unmark(keys)
            self.keys_pane.describe(keys)

    async def may_quit(self) -> bool:
        """Ask whether an edit may be given up, and what is being done to many keys left half done."""
        if not await self.may_drop_edit():
            return False
        if not self.keys_pane.doing:
            return True
        lines = [*(f"Still {doing}." for doing in self.keys_pane.doing.values()), "The rest would be left as it is."]
        answers = [Answer("stay", "Stay"), Answer("quit", "Quit", "error")]
        return await self.app.push_screen_wait(Ask("Quit half way?", lines, answers)) == "quit"

    # Adding, duplicating, renaming

    @work(exclusive=True, group="ask")
    async def action_add(self) -> None:
        place = self.place_for_new()
        if not self.refused("browser.add") and place is not None:
            folder = self.keys_pane.content.folder if place == self.keys_pane.place and not place.by_token else None
            collection = place.collection if isinstance(place.collection, str) else ""
            await self._create(Draft(place.connection, collection, folder or ""))

    @work(exclusive=True, group="ask")
    async def action_duplicate(self) -> None:
        entry = self.current()
        record = self.value_pane.record
        if self.refused("entry.duplicate") or entry is None or record is None:
            return
        if len(record.body) < record.length:
            self.say(f"{size_text(record.length)} are too much to duplicate here.", wrong=True)
            return
        ttl = "" if record.expires_at is None else f"{max(1, round(record.expires_at - time.time()))}s"
        collection = entry.place.collection if isinstance(entry.place.collection, str) else ""
        value = record.body.decode("utf-8", "surrogateescape")
        if record.length <= EDIT_MOST:
            value = jsontext.indent(value)
        await self._create(Draft(entry.place.connection, collection, entry.name, ttl, value, "Duplicate"))

    async def _create(self, draft: Draft) -> None:
        new = await self.app.push_screen_wait(CreateScreen(self.session, draft, Limits.of(self.info(draft.connection))))
        if new is not None:
            self.say(f"Created {elide(label_of(new.key), 40)}.")
            self.show_new(new)

    def show_new(self, new: operations.NewEntry) -> None:
        """Go to an entry that was just created."""
        raise NotImplementedError

    @work(exclusive=True, group="ask")
    async def action_rename(self) -> None:
        entry = self.current()
        if self.refused("entry.rename") or entry is None or self.value_pane.record is None:
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
            if self.keys_pane.place == entry.place:
                self.keys_pane.describe([entry.key, name])
                self.keys_pane.go_to(name)
            self.say("Renamed.")

    # Copying

    def action_copy_key(self) -> None:
        entry = self.current()
        if not self.refused("entry.copy_key") and entry is not None:
            self.app.copy_to_clipboard(entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
            self.say("Key copied.")

    @work(exclusive=True, group="copy")
    async def action_copy(self) -> None:
        entry = None if self.refused("entry.copy") else self.current()
        record = None if entry is None else await self._for_copy(entry)
        if record is not None:
            self.app.copy_to_clipboard(record.body.decode("utf-8", "backslashreplace"))
            self.say("Value copied.")

    @work(exclusive=True, group="copy")
    async def action_copy_as(self) -> None:
        entry = None if self.refused("entry.copy_as") else self.current()
        record = None if entry is None else await self._for_copy(entry)
        if entry is None or record is None:
            return
        forms = dict(await asyncio.to_thread(operations.copies, entry, record))
        shown = [Choice(name, name, text[:200]) for name, text in forms.items()]
        picked = await self.app.push_screen_wait(Pick("Copy as", shown))
        if picked is not None:
            self.app.copy_to_clipboard(forms[picked])
            self.say(f"Copied as {picked}.")

    async def _for_copy(self, entry: Entry) -> Record | None:
        place = entry.place
        try:
            record = await self.session.call(requests.read(place.connection, place.collection, entry.key, length=COPY_MOST))
        except DaemonError as error:
            self.say(str(error), wrong=True)
            return None
        if record is None:
            self.say("This key is gone.", wrong=True)
        elif len(record.body) < record.length:
            self.say(f"{size_text(record.length)} are too much for the clipboard.", wrong=True)
            return None
        return record


def _subject(entries: Sequence[Entry]) -> str:
    return elide(entries[0].label, 160) if len(entries) == 1 else f"{len(entries):,} marked keys"
