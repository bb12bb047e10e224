"""What a pane says instead of its content: it hides nothing that is still needed, and names keys that work where one is."""

import asyncio

import pytest

from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def test_a_filter_that_matches_nothing_is_seen_and_can_be_typed_on(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "slash")
        await tui.type("zz")
        await tui.sees("No key matches zz", "esc  clear the filter")
        assert tui.within(tui.browser.keys_pane.filter).strip() == "zz"
        await tui.type("[")
        await tui.sees("this glob has a [ without ]")
        await tui.press("escape")
        await tui.sees("2 keys", "hello")


async def test_no_other_value_stands_below_a_key_whose_value_takes_long(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        fake.hold["read"] = asyncio.Event()
        await tui.press("2", "j")
        await tui.sees("greetings / morning", "Reading the value…")
        assert "world" not in tui.pane(2)
        fake.hold.pop("read").set()
        await tui.sees('"to": "ada"')
        await tui.misses("Reading the value…")


async def test_the_key_that_opens_a_connection_works_where_it_is_named(fake: Daemon) -> None:
    fake.production.add("scratch")  # which is not opened at the start
    async with running(fake.open, size=(80, 24)) as tui:
        await tui.sees("enter  open it")
        await tui.press("2", "enter")
        await tui.sees("2 keys", "hello")
        await tui.press("k")
        await tui.sees("enter  go to its collections")
        await tui.press("2", "enter")
        await tui.sees("2 keys", "hello")


async def test_what_does_not_exist_does_not_look_as_if_it_were_empty() -> None:
    fake = Daemon()
    fake.missing["scratch"] = "bucket 'sesions'"
    async with running(fake.open) as tui:
        await tui.sees("bucket 'sesions' does not exist yet", "first write makes it", "a  add a key")
        fake.put("scratch", "greetings", "hello", {"to": "world"})
        await tui.press("r")
        await tui.sees("greetings")
        await tui.press("g")
        await tui.misses("does not exist yet")
