"""Themes are changed while everything that wears their colours is on the screen."""

import pytest
from textual.widgets import Input

from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def test_each_theme_can_be_worn(fake: Daemon) -> None:
    fake.colours["scratch"] = "orange"
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        for name in tui.app.available_themes:
            tui.app.theme = name
            await tui.settle()
            assert '"to": "world"' in tui.text, name


async def test_ctrl_c_says_how_to_quit(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("ctrl+c")
        await tui.sees("ctrl+q quits.")
        await tui.press("2", "R")
        await tui.until(lambda: isinstance(tui.app.focused, Input))
        await tui.press("ctrl+c")
        assert tui.app.is_running
