"""Questions: one with buttons, one with a line to type. Both leave with escape, and then nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets import Button, Input, Static

from kvtui.codecs import elide, printable
from kvtui.documents import Document
from kvtui.theme import HIGH_FROM, TWO_FROM
from kvtui.widgets.line_input import Field, LineInput
from kvtui.widgets.value_view import ValueView

__all__ = ["Answer", "Ask", "Dialog", "Prompt"]

LISTED = 8
"""Names that a dialog lists before it only counts."""
LINE = 58
"""Cells of a line in a dialog."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A button: what it answers, what it says, and whether it destroys."""

    value: str
    label: str
    kind: Literal["default", "primary", "error"] = "default"


class Dialog(ModalScreen[ScreenResultType]):
    """What stands above the screen until it is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (TWO_FROM, "-broad")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (HIGH_FROM, "-high")]

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Answer, once: Textual takes away whichever screen is on top, and a double click answers twice."""
        return super().dismiss(result) if self.is_active else AwaitComplete()


class Ask(Dialog[str | None]):
    """A question with buttons. The first answer has the focus, so it must be the harmless one; or the line to type in has it.

    Args:
        title: The question.
        lines: What there is to know, a sentence each: then none is broken for its last word.
        answers: The buttons.
        names: What it is about, listed up to a few.
        document: A value to be read before answering.
        must_type: What has to be typed before anything but the first answer can be pressed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", show=False),
        Binding("left,h", "app.focus_previous", show=False),
        Binding("right,l", "app.focus_next", show=False),
    ]

    def __init__(
        self,
        title: str,
        lines: Sequence[str],
        answers: Sequence[Answer],
        *,
        names: Sequence[str] = (),
        document: Document | None = None,
        must_type: str | None = None,
    ) -> None:
        super().__init__()
        self._question = title
        self._lines = lines
        self._answers = answers
        self._names = names
        self._document = document
        self._must_type = must_type

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._question)
            if self._names:
                yield Static(self._listed(), classes="dialog--names", markup=False)
            for line in self._lines:
                yield Static(Text(printable(line)), classes="dialog--line", markup=False)
            if self._document is not None:
                yield ValueView()
            if self._must_type is not None:
                yield Field(placeholder=f"type {self._must_type} to go on", compact=True, id="must-type")
            with Horizontal(classes="dialog--buttons"):
                for answer in self._answers:
                    button = Button(Content(answer.label), name=answer.value, variant=answer.kind, compact=True)
                    button.disabled = self._must_type is not None and answer is not self._answers[0]
                    yield button

    def on_mount(self) -> None:
        self.set_focus(self.query(Button).first() if self._must_type is None else self.query_one(Input))
        if self._document is not None:
            self.query_one(ValueView).show(self._document)

    def _listed(self) -> Text:
        few = self._names if len(self._names) <= LISTED else self._names[: LISTED - 1]
        room = LINE * (LISTED // len(few))  # none hides those that follow
        text = Text("\n".join(elide(printable(name), room) for name in few), overflow="fold")
        if rest := len(self._names) - len(few):
            text.append(f"\nand {rest:,} more")
        return text

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        for button in list(self.query(Button))[1:]:
            button.disabled = message.value.strip() != self._must_type

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        if message.value.strip() == self._must_type:
            self.set_focus(list(self.query(Button))[1])

    @on(Button.Pressed)
    def _pressed(self, message: Button.Pressed) -> None:
        self.dismiss(message.button.name)


class Prompt(Dialog[str | None]):
    """A line to type.

    Args:
        title: What is wanted.
        subject: What it is about.
        value: What stands there at first.
        placeholder: Shown while the line is empty.
        check: Says what the typed text means, or raises ValueError with what is wrong about it.
        lines: What there is to know now; like `check` it is asked again each second, because time goes on.
    """

    def __init__(
        self,
        title: str,
        subject: str = "",
        *,
        value: str = "",
        placeholder: str = "",
        check: Callable[[str], str],
        lines: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        super().__init__()
        self._question = title
        self._subject = subject
        self._value = value
        self._placeholder = placeholder
        self._check = check
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._question)
            dialog.border_subtitle = "enter accepts · esc leaves"
            if self._subject:
                yield Static(Text(printable(self._subject), overflow="fold"), classes="dialog--names", markup=False)
            yield Static(classes="dialog--line", markup=False)
            line = LineInput(self._value, placeholder=self._placeholder, compact=True, select_on_focus=False)
            line.set_class(not self._subject, "-first")
            yield line
            yield Static(classes="dialog--hint", markup=False)

    def on_mount(self) -> None:
        self.set_focus(self.query_one(LineInput))
        self._hint(self._value, complain=False)
        self._say_lines()
        self.set_interval(1, self._look_again)

    def _say_lines(self) -> None:
        line = self.query_one(".dialog--line", Static)
        said = "\n".join(map(printable, self._lines()))
        line.update(said)
        line.display = bool(said)

    def _look_again(self) -> None:
        self._say_lines()
        text = self.query_one(LineInput).value
        self._hint(text, complain=bool(text))

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        self._hint(message.value, complain=bool(message.value))

    @on(LineInput.Left)
    def _left(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        if self._hint(message.value, complain=True):
            self.dismiss(message.value)

    def _hint(self, text: str, *, complain: bool) -> bool:
        """Say what the text means or what is wrong with it; answers whether it is right."""
        hint = self.query_one(".dialog--hint", Static)
        try:
            meaning = self._check(text)
        except ValueError as error:
            hint.set_class(complain, "-wrong")
            hint.update(printable(str(error)) if complain else "")
            return False
        hint.remove_class("-wrong")
        hint.update(printable(meaning))
        return True
