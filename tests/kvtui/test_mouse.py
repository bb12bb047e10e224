"""The mouse does what it points at."""

import pytest

from kvtui.widgets.bars import HintBar
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def click_hint(tui: Tui, label: str) -> None:
    line = tui.text.splitlines()[-1]
    assert await tui.pilot.click(HintBar, offset=(line.index(label) + 1, 0))


async def test_a_click_on_the_footer_presses_the_key(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2")
        await click_hint(tui, "TTL")
        await tui.sees("Set TTL")
        await tui.press("escape")
        await click_hint(tui, "filter")
        await tui.sees("esc clear")
        await tui.type("morn")
        await tui.sees("1 of 2")
        await click_hint(tui, "clear")
        await tui.sees("2 keys")
        assert tui.browser.keys_pane.content.has_focus
        await click_hint(tui, "? help")
        await tui.sees("Keys and commands")


async def test_a_click_on_a_key_shows_it_and_the_next_one_goes_to_its_value(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        listing = tui.browser.keys_pane.content
        await tui.pilot.click(listing, offset=(4, 2))
        await tui.sees('"to": "ada"')
        assert listing.has_focus
        await tui.pilot.click(listing, offset=(4, 2))
        await tui.until(lambda: tui.browser.value_pane.view.has_focus)
        await tui.pilot.click(listing, offset=(4, 0))
        await tui.pilot.click(listing, offset=(4, 20))
        assert listing.cursor == 1, "neither the header nor what is below the last key"


async def test_what_is_said_in_a_pane_can_be_clicked() -> None:
    async with running(Daemon().open) as tui:
        await tui.sees("a  add a key")
        notice = tui.browser.keys_pane.notice
        lines = tui.within(notice).splitlines()
        row = next(row for row, line in enumerate(lines) if "a  add a key" in line)
        await tui.pilot.click(notice, offset=(2, 1))
        assert tui.browser.keys_pane.content.has_focus
        await tui.pilot.click(notice, offset=(lines[row].index("add a key"), row))
        await tui.sees("New key")
