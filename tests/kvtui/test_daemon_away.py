"""While the daemon is away what was read stays, and when it comes back so does the place."""

import asyncio

import pytest

from kvd.errors import ConnectionLostError
from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def test_the_connection_comes_back_and_the_place_is_kept(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "j")
        await tui.sees('"to": "ada"')
        fake.up = False
        fake.drop()
        await tui.sees("daemon away")
        assert "morning" in tui.pane(1)
        await tui.press("r")
        await tui.sees("the daemon is away")
        fake.put("scratch", "greetings", "meanwhile", {})
        fake.up = True
        await tui.sees("daemon ready", "The daemon is back.", "3 keys")
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "morning"


async def test_a_request_while_the_daemon_is_away_fails_at_once(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        fake.up = False
        fake.drop()
        await tui.sees("daemon away")
        with pytest.raises(ConnectionLostError):
            async with asyncio.timeout(60):
                await tui.browser.session.reload()


async def test_a_store_that_is_down_is_told_of_where_its_keys_are_shown(fake: Daemon) -> None:
    async with running(fake.open, size=(90, 24)) as tui:  # the list of connections is not seen beside the value
        await tui.sees("2 keys")
        await tui.press("3")
        fake.states["scratch"] = "down"
        fake.announce("connection", "scratch", "")
        await tui.sees("✕ scratch is down")
        fake.states["scratch"] = "ready"
        fake.announce("connection", "scratch", "")
        await tui.sees("● daemon ready")
