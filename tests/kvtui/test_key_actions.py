"""Keys are created, given TTLs, deleted, duplicated, renamed and copied; where nothing may change, nothing is offered."""

import json
import re
import time

import pytest

from tests.kvtui.conftest import open_in_production, open_users, stored
from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def test_read_only_connections_are_not_offered_changes(fake: Daemon) -> None:
    fake.read_only.add("scratch")
    async with running(fake.open) as tui:
        await tui.sees("read-only", '"to": "world"')
        await tui.press("2")
        assert "delete" not in tui.text
        for key in ("e", "t", "d", "a", "R"):
            await tui.press(key)
            await tui.sees("scratch is read-only.")
        assert len(tui.app.screen_stack) == 2


async def test_create_makes_a_key_and_goes_to_it(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key in scratch")
        await tui.type("evening")
        await tui.press("tab")
        await tui.type("90s")
        await tui.press("ctrl+s")
        await tui.sees("Created evening.", "3 keys")
        assert stored(fake, "evening").body == b"{}"
        assert 30 < (stored(fake, "evening").expires_at or 0) - time.time() <= 90
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "evening"
        await tui.press("a", "ctrl+s")
        await tui.sees('Created "" (the empty key).')


@pytest.mark.parametrize(
    ("ttl", "word"), [("-1", "negative"), ("abc", "not a TTL"), ("1e999", "too large"), ("2001-01-01", "in the past")]
)
async def test_create_never_overwrites_and_refuses_bad_ttls(fake: Daemon, ttl: str, word: str) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key")
        await tui.type("hello")
        await tui.press("tab")
        await tui.type(ttl)
        await tui.press("ctrl+s")
        await tui.sees(word)
        for _ in ttl:
            await tui.press("backspace")
        await tui.press("ctrl+s")
        await tui.sees("is there already")
        assert json.loads(stored(fake).body) == {"to": "world"}


async def test_ttl_says_what_it_means_before_it_is_set(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "j", "t")
        await tui.sees("Set TTL", "never expires")
        await tui.type("-1")
        await tui.press("enter")
        await tui.sees("negative")
        await tui.press("backspace", "backspace")
        await tui.type("2h")
        await tui.sees("expires 20")
        await tui.press("enter")
        await tui.sees("TTL set to 2h.", "1h 59m")
        assert json.loads(stored(fake, "morning").body) == {"to": "ada", "n": 1}


async def test_ttl_of_all_marked_keys(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "space", "space", "t")
        await tui.sees("2 marked keys")
        await tui.type("never")
        await tui.press("enter")
        await tui.sees("TTL removed for 2 keys.")
        assert all(entry.expires_at is None for entry in fake.data["scratch"]["greetings"].values())


async def test_delete_names_what_goes_and_starts_on_cancel(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "d")
        await tui.sees("Delete this key?", "in scratch / greetings")
        await tui.press("enter")
        await tui.misses("Delete this key?")
        assert len(fake.data["scratch"]["greetings"]) == 2
        await tui.press("ctrl+d")
        await tui.pilot.pause()
        assert len(tui.app.screen_stack) == 2


async def test_delete_leaves_alone_what_changed_since_it_was_seen(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "d")
        await tui.sees("Delete this key?")
        fake.put("scratch", "greetings", "hello", {"to": "someone"})
        await tui.press("right", "enter")
        await tui.sees("Someone else changed it since you looked")
        assert "hello" in fake.data["scratch"]["greetings"]
        await tui.press("right", "enter")
        await tui.sees("Deleted hello.")
        assert "hello" not in fake.data["scratch"]["greetings"]


async def test_many_marked_keys_go_together(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await open_users(tui)
        await tui.sees("30 keys")
        await tui.press("space", *["j"] * 10, "v", "d")
        await tui.sees("Delete 12 keys?", "user:00", "and 5 more")
        await tui.press("right", "enter")
        await tui.sees("12 keys deleted.", "18 keys")


async def test_production_asks_for_the_count_before_many_ttls_too(fake: Daemon) -> None:
    fake.production.add("scratch")
    async with running(fake.open) as tui:
        await open_in_production(tui)
        await tui.press("space", "space", "t")
        await tui.sees("Set TTL")
        await tui.type("1h\n")
        await tui.sees("Set the TTL of 2 keys?", "hello", "morning", "type 2 to go on")
        await tui.press("right", "enter")
        assert stored(fake, "morning").expires_at is None
        await tui.press("escape", "t")
        await tui.sees("Set TTL")
        await tui.type("1h\n")
        await tui.sees("type 2 to go on")
        await tui.type("2\n")
        await tui.press("enter")
        await tui.sees("TTL set to 1h for 2 keys.")
        assert (stored(fake, "morning").expires_at or 0) - time.time() < 3601


async def test_duplicate_and_rename_keep_value_and_ttl(fake: Daemon) -> None:
    deadline = stored(fake).expires_at or 0
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "R")
        await tui.sees("Rename")
        await tui.type("2")
        await tui.press("enter")
        await tui.sees("Renamed.")
        assert "hello" not in fake.data["scratch"]["greetings"]
        assert abs((stored(fake, "hello2").expires_at or 0) - deadline) < 30
        await tui.sees('"to": "world"')
        await tui.press("D")
        await tui.sees("Duplicate in scratch")
        await tui.type("3")
        await tui.press("ctrl+s")
        await tui.sees("Created hello23.")
        assert stored(fake, "hello23").body == b'{"to":"world"}'


async def test_what_is_too_large_for_the_editor_is_duplicated_as_it_is(fake: Daemon) -> None:
    body = b'{ "text": "' + b"x" * 500_000 + b'"}'
    fake.put("scratch", "greetings", "hello", body, ttl=400)
    async with running(fake.open) as tui:
        await tui.sees('"text"')
        await tui.press("2", "D")
        await tui.sees("Duplicate in scratch", "500 KB, as they are")
        await tui.type("2")
        await tui.press("ctrl+s")
        await tui.sees("Created hello2.")
        assert stored(fake, "hello2").body == body
        await tui.press("D", "escape")
        await tui.misses("Duplicate in")


async def test_rename_never_overwrites(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "R")
        for _ in "hello":
            await tui.press("backspace")
        await tui.type("morning")
        await tui.press("enter")
        await tui.sees("is there already")
        assert set(fake.data["scratch"]["greetings"]) == {"hello", "morning"}


async def test_copies_go_to_the_clipboard(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "y")
        await tui.sees("Value copied.")
        assert tui.app.clipboard == '{"to": "world"}'
        await tui.press("c")
        assert tui.app.clipboard == "hello"
        await tui.press("Y")
        await tui.sees("Copy as", "Python literal")
        await tui.press("j", "j", "j", "enter")
        await tui.until(lambda: tui.app.clipboard == "scratch/greetings/hello")


async def test_what_the_store_does_not_take_is_said_of_a_new_key(fake: Daemon) -> None:
    fake.traits = {"max_value_bytes": 1_000}
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key", "2 B of 1.0 KB")


async def test_the_ttl_goes_on_counting_while_another_is_typed(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "brief", {}, ttl=3000)
    async with running(fake.open) as tui:
        await tui.sees("greetings / brief")
        await tui.press("2", "t")
        await tui.sees("Set TTL", "s left")
        fake.put("scratch", "greetings", "brief", {}, ttl=1)
        fake.announce("expire", "scratch", "greetings", "brief")
        await tui.type("5m")
        await tui.sees("expires 20")
        dialog = tui.app.screen.query_one(".dialog")
        await tui.until(lambda: re.search(r"^│ +(expired|gone) +│$", tui.within(dialog), re.MULTILINE))
        await tui.type("\n")
        await tui.sees("This key is gone.")
