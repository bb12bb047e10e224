"""Driving the application without a terminal: start it, press keys, wait until the screen says what it should."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from textual import events
from textual.keys import key_to_character
from textual.pilot import Pilot
from textual.widget import Widget

from kvtui.app import KvtuiApp
from kvtui.screens.browser import BrowserScreen
from kvtui.session import DaemonClient, Target

PATIENCE = 60.0
QUIET = 0.005  # seconds in which threads and other programs answer, if they are about to
BUSY = 1.0  # seconds for which an application that is never done is waited for


class Tui:
    def __init__(self, app: KvtuiApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def browser(self) -> BrowserScreen:
        return self.app._browser

    @property
    def text(self) -> str:
        """The whole screen as text."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in lines)

    def pane(self, which: int) -> str:
        """What stands in a pane."""
        return self.within(self.browser.panes[which])

    def within(self, widget: Widget) -> str:
        region = widget.region
        lines = self.app.screen._compositor.render_strips()[region.y : region.bottom]
        return "\n".join(strip.crop(region.x, region.right).text for strip in lines)

    async def press(self, *keys: str) -> None:
        """Press keys, each when nothing happens any more because of the one before it."""
        for key in keys:
            self.app.post_message(events.Key(NAMES.get(key, key), key_to_character(key)))
            await self.settle()

    async def type(self, text: str) -> None:
        """Type as fast as it goes: no key waits for what the one before it does, as in a terminal."""
        for char in text:
            self.app.post_message(events.Key(NAMES.get(char, char), None if char == "\n" else char))
        await self.settle()

    async def settle(self) -> None:
        """Wait until the application itself waits: for a key, a clock, an answer.

        The pilot's way is to look every 20 ms whether the process was busy meanwhile: as long again as the work.
        """
        end = time.monotonic() + BUSY
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined] # what the loop will do before it waits
        while time.monotonic() < end:
            await asyncio.sleep(0)
            if ready:
                continue
            self.app.screen._on_timer_update()  # paints what changed, without waiting for the next frame
            used = time.process_time()
            await asyncio.sleep(QUIET)
            if not ready and time.process_time() - used < QUIET / 10:
                return

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what or 'this'} did not happen; the screen:\n{self.text}"
            await asyncio.sleep(0.02)

    async def sees(self, *texts: str) -> None:
        """Wait for each of these, one after the other."""
        screen = self.text
        for text in texts:
            if text not in screen:
                await self.until(lambda text=text: text in self.text, f"{text!r}")  # type: ignore[misc] # a lambda's default
                screen = self.text

    async def misses(self, text: str) -> None:
        await self.until(lambda: text not in self.text, f"{text!r} leaving")


NAMES = {
    "!": "exclamation_mark",
    " ": "space",
    "{": "left_curly_bracket",
    "}": "right_curly_bracket",
    '"': "quotation_mark",
    ":": "colon",
    "/": "slash",
    "*": "asterisk",
    "-": "minus",
    ".": "full_stop",
    ",": "comma",
    "~": "tilde",
    "?": "question_mark",
    "[": "left_square_bracket",
    "(": "left_parenthesis",
    "\n": "enter",
    "`": "grave_accent",
}


@asynccontextmanager
async def running(
    opener: Callable[[], Awaitable[DaemonClient]], *, size: tuple[int, int] = (120, 36), target: Target | None = None
) -> AsyncIterator[Tui]:
    app = KvtuiApp(target, opener)
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Tui(app, pilot)
