"""The only list of keys: bindings, footer, help screen and palette all come from it.

A command belongs to a scope, which says where its keys work and who carries it out:

- app, browser: everywhere; the application, the browser screen
- entry: in the panes of keys and of the value; the browser screen, on the current or marked keys
- sidebar, keys, value: in that pane; the pane itself
- editor: while a value is being edited; the pane of the value
- filter: while a filter or a search is typed; built into the line where it is typed
- list: moving in any list; built into the list itself
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

__all__ = ["COMMANDS", "Command", "Scope", "bindings", "by_scope", "command", "footer", "key_label"]

Scope = Literal["app", "browser", "entry", "sidebar", "keys", "value", "editor", "filter", "list"]


@dataclass(frozen=True, slots=True)
class Command:
    """Something that a person can ask for."""

    scope: Scope
    name: str
    """The action's name; with the scope it is the id under which keys can be changed."""
    keys: str
    """Textual's names of the keys, separated by commas; empty for what only help and palette offer."""
    label: str
    """One or two words, for the footer."""
    help: str
    """What it does, for help and palette."""
    footer: bool = False
    writes: bool = False
    """Whether it changes data, so that a read-only connection refuses it."""

    @property
    def id(self) -> str:
        """The name under which its keys can be changed."""
        return f"{self.scope}.{self.name}"


COMMANDS: tuple[Command, ...] = (
    Command("sidebar", "open", "enter,l,right", "open", "Open the connection, or show the collection's keys", footer=True),
    Command("sidebar", "collapse", "h,left", "collapse", "Close the connection's list of collections"),
    Command("keys", "open", "enter,l,right", "value", "Open the folder, or go to the value"),
    Command("keys", "close", "h,left", "close", "Close the folder, go to the one around it, or go back"),
    Command("keys", "back", "escape", "back", "Clear filter and marks, or go back to the connections"),
    Command("value", "back", "escape,h,left", "back", "Go back to the keys", footer=True),
    Command("editor", "save", "ctrl+s", "save", "Save what was edited; the TTL stays as it is", footer=True),
    Command("editor", "leave", "escape", "leave", "Leave the editor, asking when something was changed", footer=True),
    Command("entry", "edit", "e", "edit", "Edit the value in place", footer=True, writes=True),
    Command("entry", "ttl", "t", "TTL", "Set the TTL of the key, or of each marked key", footer=True, writes=True),
    Command(
        "entry", "delete", "d,delete", "delete", "Delete the key, or all marked keys, after asking", footer=True, writes=True
    ),
    Command("browser", "add", "a", "add", "Add a key", footer=True, writes=True),
    Command("keys", "filter", "slash", "filter", "Filter: text, glob *?[], re:expression, ~fuzzy", footer=True),
    Command("keys", "mark", "space", "mark", "Mark the key or all in the folder, or unmark", footer=True),
    Command("keys", "mark_range", "v", "mark to here", "Mark all from the last marked key to this one"),
    Command("keys", "sort", "s", "sort", "Sort by key, TTL, size or type, one after the other", footer=True),
    Command("keys", "tree", "grave_accent", "tree", "Flat or tree by separator, for this connection", footer=True),
    Command("keys", "reverse", "S", "reverse", "Turn the order around"),
    Command("keys", "scan", "p", "pause", "Pause the scan of a large collection, or go on with it"),
    Command("entry", "copy", "y", "copy", "Copy the value to the clipboard", footer=True),
    Command("entry", "copy_as", "Y", "copy as", "Copy the value or address in another form"),
    Command("entry", "copy_key", "c", "copy key", "Copy the key to the clipboard"),
    Command("value", "search", "slash", "search", "Search in the value", footer=True),
    Command("entry", "next_match", "n", "next match", "Go to the next match of the search or the filter"),
    Command("entry", "previous_match", "N", "previous match", "Go to the match before"),
    Command("entry", "watch", "w", "watch", "Watch the value: read it each second, mark changes"),
    Command("entry", "view", "x", "hex", "Show the bytes in hexadecimal, or as text again"),
    Command("entry", "edit_external", "E", "edit outside", "Edit the value in the program named by $EDITOR", writes=True),
    Command("entry", "duplicate", "D", "duplicate", "Make another key with this value", writes=True),
    Command("entry", "rename", "R", "rename", "Rename the key; value and TTL stay", writes=True),
    Command("browser", "undo", "z", "undo", "Undo what was done last", footer=True),
    Command("browser", "redo", "Z", "redo", "Redo what was undone last", footer=True),
    Command("browser", "journal", "at", "done", "What was done, as commands"),
    Command("browser", "goto", "colon", "go to", "Go to a connection/collection/key"),
    Command("browser", "refresh", "r", "refresh", "Read again what is shown; the place is kept", footer=True),
    Command("browser", "next_pane", "tab", "next pane", "Go to the next pane"),
    Command("browser", "previous_pane", "shift+tab", "previous pane", "Go to the previous pane"),
    Command("browser", "pane_1", "1", "connections", "Go to the connections"),
    Command("browser", "pane_2", "2", "keys", "Go to the keys"),
    Command("browser", "pane_3", "3", "value", "Go to the value"),
    Command("browser", "zoom", "plus", "zoom", "Give the pane the whole screen, or back"),
    Command("app", "help", "question_mark,f1", "help", "All keys; type to find one, enter to do it", footer=True),
    Command("app", "command_palette", "ctrl+p", "palette", "Find a command by its name"),
    Command("app", "toggle_dark", "", "light or dark", "Change between the dark and the light theme"),
    Command("app", "quit_safely", "q,ctrl+q", "quit", "Quit; asks when something would be left undone", footer=True),
    Command("filter", "keep", "enter", "keep", "Keep the filter or search and go back to the list", footer=True),
    Command("filter", "clear", "escape", "clear", "Clear the filter or search", footer=True),
    Command("list", "move", "j,k,down,up", "move", "Down and up"),
    Command("list", "ends", "g,G,home,end", "ends", "To the first and the last"),
    Command("list", "half_pages", "ctrl+d,ctrl+u", "half pages", "Half a page down and up"),
    Command("list", "pages", "pagedown,pageup", "pages", "A page down and up"),
)

_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "colon": ":",
    "plus": "+",
    "grave_accent": "`",
    "at": "@",
    "space": "space",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "shift+tab": "shift+tab",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
}


def key_label(keys: str) -> str:
    """The keys as a person calls them: "? f1"."""
    return " ".join(_NAMES.get(key, key) for key in keys.split(",") if key)


def by_scope(*scopes: Scope) -> list[Command]:
    """The commands of some scopes, in the list's order."""
    return [command for command in COMMANDS if command.scope in scopes]


def command(command_id: str) -> Command:
    """The command of an id."""
    return next(command for command in COMMANDS if command.id == command_id)


def bindings(*scopes: Scope, namespace: str = "", priority: bool = False) -> list[Binding]:
    """The bindings of some scopes.

    Args:
        scopes: Whose commands.
        namespace: Who carries them out, as Textual names it ("screen", "app"); empty for the widget that has the bindings.
        priority: Whether the keys work even where a widget inside takes all keys.
    """
    prefix = f"{namespace}." if namespace else ""
    return [
        Binding(command.keys, prefix + command.name, command.label, id=command.id, show=False, priority=priority)
        for command in by_scope(*scopes)
        if command.keys
    ]


def footer(*scopes: Scope, typing: bool = False, offered: Callable[[Command], bool] = lambda _: True) -> list[tuple[str, str]]:
    """The hints of some scopes for the footer: key, by Textual's name, and label.

    Args:
        scopes: Whose commands.
        typing: Whether characters are being typed, so that the last key of a command is named and not the first.
        offered: Whether a command does something here.
    """
    return [
        (command.keys.split(",")[-1 if typing else 0], command.label)
        for scope in scopes
        for command in by_scope(scope)
        if command.footer and offered(command)
    ]
