"""The editor of a value: Textual's text area with JSON colours of the current theme."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.color import Color
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import TextAreaTheme

from kvtui import keymap
from kvtui.codecs import signs

__all__ = ["EDIT_MOST", "Editor"]

EDIT_MOST = 65_536
"""Bytes up to which a value is edited in place: beyond, a key press takes longer than typing."""
THEME = "kvtui"
THEMED = ("faint", "cursor-idle", "foreground", "json-name", "json-string", "json-number", "json-word", "json-mark", "error")
"""The theme's colours that are used here."""


class Editor(TextArea):
    """A JSON editor. Its keys for saving and leaving are carried out by its parent pane."""

    BINDINGS: ClassVar[list[BindingType]] = [*keymap.bindings("editor", priority=True)]

    class Saved(Message):
        """The text is to be saved."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The reader wants out of the editor."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(
            id=id, tab_behavior="indent", show_line_numbers=True, highlight_cursor_line=False, soft_wrap=True, compact=True
        )
        self.indent_width = 2
        self._original = ""

    def on_mount(self) -> None:
        self.watch(self.app, "theme", self.take_theme, init=False)

    @property
    def dirty(self) -> bool:
        """Whether something was changed."""
        return self.text != self._original

    def start(self, text: str) -> None:
        """Begin to edit a text."""
        self.read_only = False
        if self.language is None:
            self._begin_json()
        self._original = text
        self.load_text(text)
        self.move_cursor((0, 0))

    def _begin_json(self) -> None:
        """Take up the grammar and its colours: with the first edit, not with the first screen."""
        try:
            self.language = "json"
        except Exception:  # noqa: BLE001 - tree-sitter fails in its own ways; plain text is edited as well
            self.language = None
        self.take_theme()

    def get_line(self, line_index: int) -> Text:
        """A line as it is drawn: what is pasted reaches the terminal as no command to it."""
        line = self.document.get_line(line_index)
        return Text("\t".join(map(signs, line.split("\t"))), end="", no_wrap=True)

    def go_to(self, line: int, column: int) -> None:
        """Put the cursor where something is wrong; both count from one."""
        self.move_cursor((line - 1, column - 1), center=True)

    async def _on_key(self, event: events.Key) -> None:
        """Carry out keys that are no characters at once, so that what is typed fast stays in order."""
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if not binding.priority:
                event.stop()
                event.prevent_default()  # the text area's own handler
                await self.run_action(binding.action)
                return

    def on_focus(self) -> None:
        self.highlight_cursor_line = True

    def on_blur(self) -> None:
        self.highlight_cursor_line = False

    def action_save(self) -> None:
        """Hand the text over; until `read_only` is taken back no more can be typed, which would be lost with the editor."""
        if not self.read_only:
            self.read_only = True
            self.post_message(self.Saved(self.text))

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def take_theme(self) -> None:
        """Colour the text as the application's theme wants it."""
        colours = {name: Color.parse(self.app.theme_variables[name]).rich_color for name in THEMED}
        syntax = {
            "json.label": "json-name",
            "string": "json-string",
            "json.string": "json-string",
            "number": "json-number",
            "float": "json-number",
            "boolean": "json-word",
            "json.null": "json-word",
            "json.error": "error",
            "punctuation.bracket": "json-mark",
            "punctuation.delimiter": "json-mark",
        }
        theme = TextAreaTheme(
            THEME,
            gutter_style=Style(color=colours["faint"]),
            cursor_line_style=Style(bgcolor=colours["cursor-idle"]),
            cursor_line_gutter_style=Style(color=colours["foreground"], bgcolor=colours["cursor-idle"]),
            syntax_styles={name: Style(color=colours[colour]) for name, colour in syntax.items()},
        )
        self.register_theme(theme)
        self.theme = THEME if self.theme != THEME else "css"
        self.theme = THEME
