"""What can be done here, and why not: a part of the browser screen, kept apart for its size.

A command is asked about before anything is typed for it. The footer leaves out what would come to nothing, palette and help
say so, and who asks for it nevertheless is told the reason.
"""

from __future__ import annotations

from textual.screen import Screen

from kvd.model import ConnectionInfo
from kvtui import keymap
from kvtui.codecs import printable
from kvtui.history import REDO, UNDO
from kvtui.messages import Entry, Place
from kvtui.session import Session
from kvtui.widgets.key_list import foreign_text
from kvtui.widgets.keys_pane import KeysPane
from kvtui.widgets.value_pane import ValuePane

__all__ = ["WAYS", "Offers"]

NOT_FOREIGN = {
    "entry.edit": "is only shown",
    "entry.edit_external": "is only shown",
    "entry.duplicate": "cannot be duplicated here",
    "entry.rename": "cannot be renamed here",
}
"""What is done to entries only, and what becomes of foreign data instead."""
ON_CHOSEN = {"entry.ttl", "entry.delete"}
"""What is done to the marked keys, if there are some."""
NEED_KEY = {"keys.mark", "keys.mark_range", "value.search"}
"""What is done to keys or values, beside all of the scope of entries."""
ON_FOLDER = {"keys.mark", "keys.mark_range", "entry.next_match", "entry.previous_match"}
"""What is done to folders as well."""
NEED_PLACE = {"keys.filter", "keys.sort", "keys.tree", "keys.reverse", "keys.scan"}
WAYS = {"browser.undo": UNDO, "browser.redo": REDO}
"""The commands that go through what was done."""
OURS = {"", "entry"}
"""What keys are that a store wrote, or that are not known yet."""


class Offers(Screen[None]):
    """The panes, and what they have to offer."""

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
        text = printable(text)
        if any(said.message == text for said in self.app._notifications):  # noqa: SLF001 - Textual has no other way
            return
        self.notify(text, severity="error" if wrong else "information", markup=False, timeout=8 if wrong else 3)

    def current(self) -> Entry | None:
        """The entry whose value is shown or edited."""
        pane = self.value_pane
        return pane.entry if pane.edited is None else pane.edited.entry

    def _hint(self) -> None:
        """Show the keys of the focused pane."""
        raise NotImplementedError

    def is_offered(self, command: keymap.Command) -> bool:
        """Whether the footer names a command."""
        if (way := WAYS.get(command.id)) is not None and not self.session.history.offers(way):
            return False
        return self.why_not(command) is None

    def refused(self, command_id: str) -> bool:
        """Whether a command would come to nothing here; says why."""
        reason = self.why_not(keymap.command(command_id))
        if reason is not None:
            self.say(reason, wrong=True)
        return reason is not None

    def why_not(self, command: keymap.Command) -> str | None:
        """Why a command would come to nothing here; None where it would not."""
        entry = self.keys_pane.first_chosen if command.id in ON_CHOSEN else self.current()
        if entry is None and (command.scope == "entry" or command.id in NEED_KEY):
            return self._why_no_key(command)
        if command.id in NEED_PLACE and self.keys_pane.place is None:
            return "Open a collection first."
        if command.id == "keys.tree":
            return self.keys_pane.why_no_tree
        place = self.place_for_new() if command.id == "browser.add" else None if entry is None else entry.place
        if place is None:
            return "Open a connection first." if command.id == "browser.add" else None
        info = self.info(place.connection)
        if command.writes and info is not None and info.read_only:
            return f"{place.connection} is read-only."
        if entry is None:
            return None
        if command.id in NOT_FOREIGN and (kind := self._kind(entry)) not in OURS:
            return foreign_text(kind, NOT_FOREIGN[command.id])
        if command.id == "entry.ttl" and info is not None and not self._any_can_expire(info):
            return f"This {self.keys_pane.kind(entry.key).partition(',')[0]} can have no TTL in {info.store}."
        return self.value_pane.too_large if command.id == "entry.edit" else None

    def _why_no_key(self, command: keymap.Command) -> str | None:
        if self.keys_pane.content.folder is None:
            return "There is no key here."
        return None if command.id in ON_FOLDER else "This is a folder; space marks the keys in it."

    def _kind(self, entry: Entry) -> str:
        record = self.value_pane.record
        return self.keys_pane.kind(entry.key) if record is None or entry != self.value_pane.entry else record.kind

    def can_expire(self, info: ConnectionInfo | None, kind: str) -> bool:
        """Whether what is of this kind can have a TTL in a connection, as far as is known."""
        return kind in OURS or info is None or bool(info.traits.get("foreign_ttl", True))

    def _any_can_expire(self, info: ConnectionInfo) -> bool:
        return any(self.can_expire(info, self.keys_pane.kind(key)) for key in self.keys_pane.chosen_keys())
