"""Going to a connection, a collection or a key by its address."""

import asyncio

import pytest

from tests.kvtui.conftest import go_to
from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def test_go_to_finds_a_key(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await go_to(tui, "local/users/user:17")
        await tui.sees('"number": 17')


@pytest.mark.parametrize(
    ("connection", "collection", "start"),
    [("local", "a/b%2F", "local/a%2Fb%252F/"), ("redis://h:6379/0", "users", "redis://h:6379/0/users/")],
)
async def test_go_to_begins_where_one_is(fake: Daemon, connection: str, collection: str, start: str) -> None:
    fake.put(connection, collection, "this/one", {"here": True})
    async with running(fake.open) as tui:
        await tui.sees("scratch")
        tui.browser._go_to(connection, collection, None)
        await tui.sees("1 key")
        await tui.press("colon")
        await tui.sees("Go to", start)
        await tui.type("this/one\n")
        await tui.misses("Go to")
        await tui.sees(f"{connection} / {collection} / this/one", '"here": true')
        assert tui.browser.keys_pane.content.count == 1


async def test_go_to_with_an_empty_collection_is_the_default_one(fake: Daemon) -> None:
    fake.put("local", "default_collection", "k", {"here": True})
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await go_to(tui, "local//k")
        await tui.sees("local / default_collection / k", '"here": true')


async def test_what_is_in_no_collection_is_gone_to_before_it_was_found(fake: Daemon) -> None:
    fake.hold["scan_collections"] = asyncio.Event()
    async with running(fake.open) as tui:
        await tui.sees("scratch")
        tui.browser._go_to("scratch", "(no collection)", None)
        place = tui.browser.keys_pane.place
        assert place is not None
        assert place.by_token
        fake.hold["scan_collections"].set()


async def test_a_missing_key_is_said_and_not_gone_to_later(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await go_to(tui, "local/users/zoe")
        await tui.sees("30 keys", "There is no key zoe here.")
        await tui.press("j", "j")
        fake.put("local", "users", "zoe", {})
        fake.announce("put", "local", "users", "zoe")
        await tui.sees("31 keys")
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "user:02"


async def test_what_is_gone_to_is_not_hidden_by_a_filter(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "slash")
        await tui.type("morn\n")
        await tui.sees("1 of 2")
        await go_to(tui, "scratch/greetings/hello")
        await tui.sees("scratch / greetings / hello", "2 keys")


async def test_a_key_that_ends_with_a_blank_is_another_one(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "hello ", {"blank": "yes"})
    async with running(fake.open) as tui:
        await tui.sees("3 keys")
        await go_to(tui, "scratch/greetings/hello ")
        await tui.sees('"blank": "yes"', "greetings / hello␠")
        await go_to(tui, "scratch/greetings/morning ")
        await tui.sees("There is no key morning␠ here.")
