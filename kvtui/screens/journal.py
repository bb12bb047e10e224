"""What was done, newest first, and as commands: the daemon's journal."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Static

from kvd import requests
from kvd.errors import DaemonError
from kvd.model import Step
from kvtui.codecs import elide, printable
from kvtui.commandline import commands
from kvtui.countdown import until_text
from kvtui.history import REDO, UNDO, Way, reason_of, title_of
from kvtui.screens.dialogs import Dialog
from kvtui.session import Session
from kvtui.theme import HIGH_FROM, TWO_FROM
from kvtui.widgets.lines import Lines

__all__ = ["JournalScreen"]

TIME_WIDTH, PLACE_WIDTH = 9, 16
PLACE_FROM = 72
"""Cells of a line from which the connection stands in a column of its own."""
STATE_FROM = 22
"""Cells that what was done has beside a column of its state."""
LINES, LINES_LOW = 6, 2
"""Rows of commands that are shown, and in a low terminal."""
ROWS = 3
"""Rows that one of them takes at most."""


class StepList(Lines):
    """The steps of the journal."""

    HEADER = 1
    COMPONENT_CLASSES: ClassVar[set[str]] = {"step--partly"}

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []

    @property
    def count(self) -> int:
        return len(self.steps)

    @property
    def picked(self) -> Step | None:
        """The step of the cursor."""
        return self.steps[self.cursor] if self.cursor < len(self.steps) else None

    def take(self, steps: list[Step]) -> None:
        """Show steps; the cursor stays on its own."""
        at = self.picked
        self.steps = steps
        self.changed()
        if at is not None:
            self.place_cursor(next((line for line, step in enumerate(steps) if step.step == at.step), self.cursor))

    def _columns(self, width: int) -> tuple[int, int, int]:
        """The widths of what was done, of the connection, and of the state; 0 is no column."""
        place = PLACE_WIDTH if width >= PLACE_FROM else 0
        state = max(map(len, map(_state, self.steps)), default=0)
        title = width - 1 - TIME_WIDTH - 2 - (2 + place if place else 0) - 1
        if title - 2 - state < STATE_FROM:  # what is undone is faint all the same
            state = 0
        return max(4, title - (2 + state if state else 0)), place, state

    def draw_header(self, width: int) -> Strip:
        title, place, _ = self._columns(width)
        text = f" {'time':>{TIME_WIDTH}}  {'what':<{title}}" + (f"  {'connection':<{place}}" if place else "")
        return self.strip((text, self.part("lines--head")))

    def draw(self, index: int, width: int, *, at_cursor: bool) -> Strip:
        step = self.steps[index]
        title_width, place_width, state_width = self._columns(width)
        faint = self.part("lines--faint")
        title = title_of(step)
        if place_width:
            title = title.replace(f" in {step.connection}/", " in ")
        title = elide(printable(title), title_width)
        parts: list[tuple[str, Style | None]] = [
            (f" {until_text(step.at, time.time()):>{TIME_WIDTH}}  ", faint),
            (title + " " * (title_width - cell_len(title)), self._style(step, alone=not state_width)),
        ]
        if place_width:
            place = elide(printable(step.connection), place_width)
            parts.append((f"  {place}" + " " * (place_width - cell_len(place)), faint))
        if state_width:
            parts.append((f"  {_state(step)}", self._style(step, alone=True) or faint))
        strip = self.strip(*parts).adjust_cell_length(width)
        return self.mark_cursor(strip, strong=True) if at_cursor else strip

    def _style(self, step: Step, *, alone: bool) -> Style | None:
        """How a step is drawn; `alone`: nothing else says what has become of it."""
        if step.state == "partly":
            return self.part("step--partly") if alone else None
        return self.part("lines--faint") if step.state == "undone" else None


def _state(step: Step) -> str:
    """What has become of a step since, in a word or two."""
    if step.state == "done":
        return "" if step.can_undo else "for good"
    return step.state


class JournalScreen(Dialog[None]):
    """What was done, and for the step of the cursor the commands that do the same from a shell.

    Args:
        session: Asks the daemon.
        travel: Undoes a step, or does it again, and says what became of it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,at", "dismiss(None)", show=False),
        Binding("z", "travel('undo')", show=False),
        Binding("Z", "travel('redo')", show=False),
        Binding("y", "copy", show=False),
    ]

    class Taken(Message):
        """The journal was read, or could not be."""

        def __init__(self, steps: list[Step], problem: str | None = None) -> None:
            super().__init__()
            self.steps = steps
            self.problem = problem

    def __init__(self, session: Session, travel: Callable[[Way, Step], Awaitable[None]]) -> None:
        super().__init__()
        self._session = session
        self._travel = travel
        self._problem: str | None = None
        self._known = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -journal") as dialog:
            dialog.border_title = "What was done"
            yield StepList()
            yield Static(id="said", markup=False)

    def on_mount(self) -> None:
        self.set_focus(self.list)
        self._read()

    def on_resize(self) -> None:
        self._show()

    @property
    def list(self) -> StepList:
        """The steps."""
        return self.query_one(StepList)

    @work(exclusive=True, group="read")
    async def _read(self) -> None:
        try:
            self.post_message(self.Taken(await self._session.call(requests.steps())))
        except DaemonError as error:
            self.post_message(self.Taken([], reason_of(error)))

    @on(Taken)
    def _take(self, message: Taken) -> None:
        self._problem, self._known = message.problem, True
        if message.problem is None:
            self.list.take(message.steps)
        self._show()

    @on(Lines.Moved)
    def _moved(self) -> None:
        self._show()

    def _show(self) -> None:
        """Show the commands of the step of the cursor, or what there is to say."""
        step, room = self.list.picked, self.app.size.height * 9 // 10 - 2
        most = LINES if self.app.size.height >= HIGH_FROM else LINES_LOW
        redoes = "" if self.app.size.width < TWO_FROM else " · Z redoes"
        hints = "esc closes" if step is None else f"z undoes{redoes} · y copies · esc closes"
        self.query_one(".dialog").border_subtitle = hints
        said, block = self.query_one("#said", Static), most + (2 if most == LINES else 0)
        self.list.styles.height = 0 if step is None else max(2, min(self.list.count + self.list.HEADER, room - block))
        said.styles.height = "auto" if step is None else block
        if step is not None:
            said.update(self._commands(step, most))
            return
        faint, text = self._style("journal--faint"), Text()
        if not self._known:
            text.append("Reading…", faint)
        elif self._problem is not None:
            text.append(printable(self._problem), self._style("journal--wrong"))
        else:
            since = " since the daemon was started anew" if self._session.history.lost else ""
            text.append(f"Nothing yet{since}.\n\n", self._style("journal--text"))
            text.append("Edits, deletions and TTLs will stand here for a day, with the commands that do the same.", faint)
        said.update(text)

    def _commands(self, step: Step, most: int) -> Text:
        """The commands of a step, in at most so many rows; what is undone, or cannot be, is told apart."""
        text, faint = Text(overflow="fold"), self._style("journal--faint")
        width = max(20, self.list.size.width - 2)
        if step.connection == self._session.private and most == LINES:
            text.append("No shell reaches this connection: it is this program's own.\n", faint)
            most -= 1
        if step.why is not None and not any(change.why for change in step.changes):  # it is another one's, that is not told
            text.append(f"{elide(printable(step.why), width)}\n", faint)
            most -= 1
        shown = 0
        for change, command in zip(step.changes, commands(step), strict=True):
            why = f"  # {printable(change.why)}" if change.why else ""
            line = elide(command, ROWS * width - cell_len(why))
            rows = -(-cell_len(line + why) // width)
            if shown and rows + (shown + 1 < step.count) > most:
                break
            text.append(line, None if change.done else faint)
            text.append(f"{why}\n", faint)
            most, shown = most - rows, shown + 1
        if rest := step.count - shown:
            text.append(f"… and {rest:,} more", faint)
        return text

    COMPONENT_CLASSES: ClassVar[set[str]] = {"journal--text", "journal--faint", "journal--wrong"}

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)

    @work(exclusive=True, group="travel")
    async def action_travel(self, verb: str) -> None:
        step = self.list.picked
        if step is not None:
            await self._travel(UNDO if verb == UNDO.verb else REDO, step)
            self._read()

    @work(exclusive=True, group="copy")
    async def action_copy(self) -> None:
        step = self.list.picked
        if step is None:
            return
        try:
            whole = await self._session.call(requests.steps(step=step.step))
        except DaemonError as error:
            self.notify(printable(reason_of(error)), severity="error", markup=False)
            return
        step = whole[0] if whole else step
        lines = commands(step)
        rest = step.count - len(lines)
        self.app.copy_to_clipboard("\n".join([*lines, *([f"# … and {rest:,} more"] if rest else [])]) + "\n")
        many = f"{len(lines):,} commands" if len(lines) > 1 else "Command"
        self.notify(f"{many} copied" + (f", of {step.count:,}." if rest else "."), markup=False, timeout=3)
