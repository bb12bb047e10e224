"""The application: themes, the session, the browser screen, and the commands that belong to no pane."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import ClassVar

from textual import events, on, work
from textual.app import App, ScreenError, SystemCommand
from textual.binding import BindingType
from textual.color import Color
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, TextArea
from textual.worker import WorkerFailed

from kvtui import keymap
from kvtui.codecs import printable, size_text
from kvtui.messages import Changed, Failed, Offline, Online
from kvtui.screens.browser import BrowserScreen
from kvtui.screens.pick import Pick, help_choices
from kvtui.session import DaemonClient, Session, Target, open_client
from kvtui.theme import DARK, LIGHT, TONES, ansi_variables, tone_variables
from kvtui.widgets.editor import EDIT_MOST
from kvtui.widgets.line_input import LineInput

__all__ = ["KvtuiApp"]

TONE_RULES = """
.tone--TONE { color: $tone-TONE; }
.-production.-TONE Pane { border: round $tone-TONE 50%; }
.-production.-TONE Pane.-at { border: round $tone-TONE; border-title-color: $tone-TONE; }
"""
"""How a connection's colour is worn."""

SETTLE_TURNS = 60
"""Turns for which keys wait for the keys before them to take effect."""
SETTLE_TURN = 0.005
"""Seconds of such a turn."""
CATCH_UP_SECONDS = 10.0
"""How long a key waits for what was typed before it: a large text takes a tenth of a second for each key."""


class KvtuiApp(App[None]):
    """Browse and edit key-value stores.

    Args:
        target: What to open beside the configured connections.
        opener: Opens the line to the daemon.
        theme: The theme to begin with.
    """

    CSS_PATH = "app.tcss"
    CSS = "\n".join(TONE_RULES.replace("TONE", name) for name in TONES)
    TITLE = "kvtui"
    BINDINGS: ClassVar[list[BindingType]] = [*keymap.bindings("app")]
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        target: Target | None = None,
        opener: Callable[[], Awaitable[DaemonClient]] = open_client,
        theme: str = DARK.name,
    ) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = theme
        self.session = Session(self.post_message, opener, target)
        self.failure: str | None = None
        """Why the program had to end, for the terminal."""
        self._browser = BrowserScreen(self.session)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own colours for themes that do not name them."""
        theme = self.current_theme
        base = theme.to_color_system().generate()
        fore, back = Color.parse(base["foreground"]), Color.parse(base["surface"])
        if fore.ansi is not None:
            return tone_variables(dark=theme.dark) | ansi_variables(dark=theme.dark)

        def mixed(colour: str, part: float) -> str:
            return back.blend(Color.parse(base[colour]), part).hex6

        return tone_variables(dark=theme.dark) | {
            "faint": back.blend(fore, 0.62).hex6,
            "line": back.blend(fore, 0.25).hex6,
            "json-name": mixed("primary", 1),
            "json-string": mixed("success", 1),
            "json-number": mixed("warning", 1),
            "json-word": mixed("secondary", 1),
            "json-mark": back.blend(fore, 0.55).hex6,
            "field": base["background"],
            "cursor-ground": mixed("primary", 0.28),
            "cursor-idle": back.blend(fore, 0.08).hex6,
        }

    async def on_event(self, event: events.Event) -> None:
        """Carry out keys in the order they come, however fast: outside of text fields a key has no one to wait for.

        Textual hands a key to the focused widget and looks for its command once it has bubbled up again. Of keys that arrive
        together, the second is then taken by whoever had the focus before the first one took effect. Keys that work even in a
        text field it carries out before the field took what was typed before them, so that saving would leave that out.
        """
        if isinstance(event, events.InputEvent) and not self.is_running:
            return  # what was typed while the screens are taken away has no screen left to go to
        if isinstance(event, events.Paste) and len(event.text) > EDIT_MOST:
            size = size_text(len(event.text))
            self.notify(f"{size} are too much to paste; values of this size are edited with E, in $EDITOR.", severity="error")
            return
        if isinstance(event, events.Key):
            self.app_focus = True  # some terminals do not say that they have it again
            screen, focused = self.screen, self.focused
            if isinstance(focused, Input | TextArea) and not event.is_printable:
                await self._catch_up(focused)
            if isinstance(focused, LineInput) and event.key in LineInput.ENDS:
                await super().on_event(event)
                await self._leave(focused)
                return
            commands = not isinstance(focused, Input | TextArea)
            if commands and (await self._check_bindings(event.key, priority=True) or await self._check_bindings(event.key)):
                await self._settle(screen)
                return
        await super().on_event(event)

    async def _settle(self, before: Screen[object]) -> None:
        """Let a dialog that a key opens take the focus before the next key is looked at."""
        for turn in range(SETTLE_TURNS):
            await asyncio.sleep(0 if turn < 2 else SETTLE_TURN)  # noqa: PLR2004 - two turns start the worker that opens it
            if not self.is_running:  # closed meanwhile: there may be no screen
                return
            if self.screen is not before and self.screen.focused is not None:
                return
            if turn > 1 and self.screen is before:
                return

    @staticmethod
    async def _catch_up(field: Widget) -> None:
        """Let a text field take all that was typed or pasted into it so far."""
        taken = asyncio.Event()
        field.call_later(taken.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await taken.wait()

    async def _leave(self, line: LineInput) -> None:
        """Let a line that is done give up the focus before the next key is looked at."""
        for _ in range(SETTLE_TURNS):
            if not self.is_running or self.focused is not line:
                return
            await asyncio.sleep(SETTLE_TURN)

    def _handle_exception(self, error: Exception) -> None:
        """Let pass that a screen or a part of one is not there any more once the program is being closed.

        Textual takes screens apart one widget at a time, and each still carries out what was sent to it before. A screen
        that was opened in that moment gets no parts at all. There is no public way to say that this is no error.
        """
        cause = error.error if isinstance(error, WorkerFailed) else error
        if self.is_running or not isinstance(cause, NoMatches | ScreenError):
            super()._handle_exception(error)

    def on_mount(self) -> None:
        self.push_screen(self._browser)
        self.run_worker(self.session.run(), group="session", exit_on_error=True)

    # The session's messages are for the browser

    @on(Online)
    @on(Offline)
    @on(Changed)
    def _pass_on(self, message: Online | Offline | Changed) -> None:
        self._browser.post_message(message)

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        self.failure = message.reason
        self.exit(return_code=1)

    # Commands

    def action_help(self) -> None:
        if isinstance(self.screen, BrowserScreen):
            self.help_and_do()

    @work(exclusive=True, group="help")
    async def help_and_do(self) -> None:
        """Show all commands, and do the one that is picked."""
        picked = await self.push_screen_wait(Pick("Keys and commands", help_choices(self._browser.why_not), narrow=True))
        if picked is not None:
            self.do(picked)

    @work(group="do")
    async def do(self, command_id: str) -> None:
        """Carry out a command of the key map by its id."""
        scope, _, name = command_id.partition(".")
        browser = self._browser
        carriers = {
            "app": self,
            "sidebar": browser.sidebar,
            "keys": browser.keys_pane,
            "value": browser.value_pane,
            "editor": browser.value_pane.editor,
        }
        if scope in {"list", "filter"} or (scope == "editor" and browser.value_pane.edited is None):
            return
        await self.run_action(name, carriers.get(scope, browser))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every command of the key map, and Textual's themes and screenshot."""
        for command in keymap.COMMANDS:
            if command.scope not in {"list", "filter", "editor"} and command.name != "command_palette":
                said = filter(None, (keymap.key_label(command.keys), self._browser.why_not(command)))
                yield SystemCommand(command.help, printable(" · ".join(said)) or " ", partial(self.do, command.id))
        for system in super().get_system_commands(screen):
            if system.title in {"Theme", "Screenshot"}:
                yield system

    def action_toggle_dark(self) -> None:
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    @work(exclusive=True, group="quit")
    async def action_quit_safely(self) -> None:
        if await self._browser.may_quit():
            self.exit()

    def action_help_quit(self) -> None:
        """Answer ctrl+c, which ends other programs."""
        self.notify("ctrl+q quits.", timeout=3)

    async def action_quit(self) -> None:
        self.action_quit_safely()
