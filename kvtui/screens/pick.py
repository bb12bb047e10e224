"""A list to pick from, narrowed by typing. The help screen is one, and so is "copy as"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Input

from kvtui import keymap
from kvtui.codecs import printable, take_cells
from kvtui.screens.dialogs import Dialog
from kvtui.widgets.line_input import Field
from kvtui.widgets.lines import Lines

__all__ = ["Choice", "Pick", "help_choices"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A line to pick: what it answers (None: it is a heading), its short name and what it says."""

    value: str | None
    short: str
    text: str
    faint: bool = False

    def matches(self, wanted: str) -> bool:
        """Whether each wanted word stands somewhere in the line."""
        line = f"{self.short} {self.text}".lower()
        return self.value is not None and all(word in line for word in wanted.lower().split())


class Choices(Lines):
    """The lines to pick from."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"choice--short", "choice--head"}

    def __init__(self, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.all = choices
        self.shown = list(choices)
        self._short = max((len(choice.short) for choice in choices if choice.value is not None), default=0) + 3

    @property
    def count(self) -> int:
        return len(self.shown)

    @property
    def picked(self) -> Choice | None:
        """The line of the cursor."""
        return self.shown[self.cursor] if self.cursor < len(self.shown) else None

    def narrow(self, wanted: str) -> None:
        """Show what matches; headings only while nothing is wanted."""
        self.shown = [choice for choice in self.all if choice.matches(wanted)] if wanted.strip() else list(self.all)
        self.changed()
        self.cursor = 0
        self.scroll_to_cursor()

    def is_heading(self, index: int) -> bool:
        return index < len(self.shown) and self.shown[index].value is None

    def draw(self, index: int, width: int, *, at_cursor: bool) -> Strip:
        choice = self.shown[index]
        if choice.value is None:
            return self.strip((f" {choice.text}", self.part("choice--head")))
        text = printable(choice.text)
        room = max(4, width - self._short - 2)
        text = text if cell_len(text) <= room else take_cells(text, room - 1) + "…"
        faint = self.part("lines--faint") if choice.faint else None
        strip = self.strip((f" {choice.short:<{self._short}}", faint or self.part("choice--short")), (text, faint))
        return self.mark_cursor(strip.adjust_cell_length(width), strong=True) if at_cursor else strip


class Pick(Dialog[str | None]):
    """A list to pick from. Answers with the value of what was picked, or None.

    Args:
        title: What is picked.
        choices: The lines.
        narrow: Whether typing narrows the list; else the list itself has the focus.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("enter", "pick", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
        Binding("pageup", "page(-1)", show=False, priority=True),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], *, narrow: bool = False) -> None:
        super().__init__()
        self._question = title
        self._choices = choices
        self._narrow = narrow

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -list") as dialog:
            dialog.border_title = Content(self._question)
            dialog.border_subtitle = "enter picks · esc leaves"
            if self._narrow:
                yield Field(placeholder="type to find", compact=True)
            yield Choices(self._choices)

    def on_mount(self) -> None:
        self.list.cursor = 0
        self.list.styles.height = min(len(self._choices), max(4, self.app.size.height - 8))
        self.set_focus(self.query_one(Input) if self._narrow else self.list)

    @property
    def list(self) -> Choices:
        """The lines."""
        return self.query_one(Choices)

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        self.list.narrow(message.value)

    @on(Lines.Pressed)
    def _pressed(self) -> None:
        self.action_pick()

    def action_pick(self) -> None:
        picked = self.list.picked
        if picked is not None and picked.value is not None:
            self.dismiss(picked.value)

    def action_move(self, by: int) -> None:
        self.list.action_move(by)

    def action_page(self, pages: int) -> None:
        self.list.action_page(pages)


GROUPS: tuple[tuple[str, keymap.Scope], ...] = (
    ("Everywhere", "browser"),
    ("A key", "entry"),
    ("Keys", "keys"),
    ("Filter", "filter"),
    ("Value", "value"),
    ("Editor", "editor"),
    ("Connections", "sidebar"),
    ("Lists", "list"),
    ("Program", "app"),
)


def help_choices(why_not: Callable[[keymap.Command], str | None]) -> list[Choice]:
    """All commands, grouped; each answers with its id. Faint is what would come to nothing."""
    choices: list[Choice] = []
    for title, scope in GROUPS:
        if choices:
            choices.append(Choice(None, "", ""))
        choices.append(Choice(None, "", title))
        choices += [
            Choice(command.id, keymap.key_label(command.keys) or "·", command.help, faint=why_not(command) is not None)
            for command in keymap.by_scope(scope)
        ]
    return choices
