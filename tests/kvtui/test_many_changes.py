"""A collection that others write busily is followed, and neither the daemon nor the screen is kept busy with each key."""

import asyncio
import time

import pytest

from kvd.errors import RequestError
from kvtui.messages import Doing
from tests.kvtui.conftest import ask_to_delete_all, go_to
from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


def fill(fake: Daemon) -> None:
    """Add to the two keys as many as make 1,500."""
    for number in range(1_498):
        fake.put("scratch", "greetings", f"key:{number:05}", {})


async def test_changes_that_come_together_are_asked_about_together(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        before = fake.calls.count("describe")
        for number in range(200):
            fake.put("scratch", "greetings", f"new:{number}", {})
            fake.announce("put", "scratch", "greetings", f"new:{number}")
        await tui.sees("202 keys")
        assert fake.calls.count("describe") - before < 20


async def test_a_change_of_many_keys_is_followed_whole(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        names = [f"new:{number}" for number in range(1_000)]
        for name in names:
            fake.put("scratch", "greetings", name, {})
        fake.announce("put", "scratch", "greetings", *names)
        await tui.sees("1,002 keys")


async def test_marks_are_counted_while_keys_are_read(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.scan.UNASKED", 1_500)
    for number in range(2_000):
        fake.put("scratch", "greetings", f"key:{number:04}", {})
    async with running(fake.open) as tui:
        await tui.sees("more follow")
        await tui.press("2", "g", "v", "G", "v")
        await tui.sees("1,500 keys · 1,500 marked")


async def test_more_keys_are_deleted_than_one_request_can_name(fake: Daemon) -> None:
    fake.most_keys = 1_000
    fill(fake)
    async with running(fake.open) as tui:
        await ask_to_delete_all(tui, 1_500)
        await tui.press("right", "enter")
        await tui.sees("1,500 keys deleted.", "No keys here")
        assert not fake.data["scratch"]["greetings"]


async def test_a_deletion_that_ends_half_way_says_how_far_it_came(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "space", "space", "d")
        await tui.sees("Delete 2 keys?")
        fake.fail["delete_many"] = RequestError("unreachable", "the server does not answer")
        await tui.press("right", "enter")
        await tui.sees("0 of 2 keys deleted, then: the server does not answer")
        assert len(tui.browser.keys_pane.content.marked) == 2


async def test_how_far_a_deletion_is_stands_in_the_frame(fake: Daemon) -> None:
    fill(fake)
    async with running(fake.open, size=(80, 24)) as tui:
        await ask_to_delete_all(tui, 1_500)
        fake.hold["delete_many"] = turn = asyncio.Event()
        await tui.press("right", "enter")
        await tui.sees("deleting 0 of 1,500")
        again = fake.hold["delete_many"] = asyncio.Event()
        turn.set()
        await tui.sees("deleting 1,000 of 1,500")
        again.set()
        await tui.sees("1,500 keys deleted.", "No keys here")
        assert "deleting" not in tui.text


async def test_a_ttl_that_some_keys_do_not_get_is_not_tried_on_the_rest(fake: Daemon) -> None:
    fill(fake)
    async with running(fake.open) as tui:
        await tui.sees("1,500 keys")
        await tui.press("2", "g", "v", "G", "v", "t")
        await tui.sees("Set TTL")
        fake.hold["expire"] = turn = asyncio.Event()
        await tui.type("90s\n")
        await tui.sees("setting TTL 0 of 1,500")
        fake.hold["expire"] = asyncio.Event()
        turn.set()
        await tui.sees("setting TTL 100 of 1,500")
        fake.fail["expire"] = RequestError("unreachable", "the server does not answer")
        fake.hold.pop("expire").set()
        await tui.sees("TTL set for 100 of 1,500 keys only: the server does")
        assert fake.calls.count("expire") == 200
        assert "setting TTL" not in tui.text


async def test_a_key_that_can_have_no_ttl_holds_no_other_up(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "foreign", b"x", kind="string")
    async with running(fake.open) as tui:
        await tui.sees("3 keys")
        await tui.press("2", "g", "v", "G", "v", "t")
        await tui.sees("Set TTL")
        await tui.type("90s\n")
        await tui.sees("TTL set for 2 of 3 keys only: foreign has no TTL")
        keys = fake.data["scratch"]["greetings"]
        assert [name for name, stored in keys.items() if (stored.expires_at or 0) < time.time() + 60] == ["foreign"]


async def test_what_is_done_to_many_keys_goes_on_while_something_else_is_asked(fake: Daemon) -> None:
    fill(fake)
    fake.put("scratch", "other", "morning", {})
    async with running(fake.open) as tui:
        await ask_to_delete_all(tui, 1_500)
        fake.hold["delete_many"] = turn = asyncio.Event()
        await tui.press("right", "enter")
        await tui.sees("deleting 0 of 1,500")
        await tui.press("t")
        await tui.sees("Set TTL")
        await tui.press("escape")
        await go_to(tui, "scratch/other/morning")
        await tui.sees("scratch / other / morning")
        await tui.press("t")
        await tui.sees("Set TTL")
        await tui.type("never\n")
        await tui.sees("TTL removed.", "deleting 0 of 1,500")
        await tui.press("2", "space")
        turn.set()
        await tui.sees("1,500 keys deleted.", "1 key · 1 marked")
        assert not fake.data["scratch"]["greetings"]


async def test_each_of_two_things_done_to_many_keys_says_how_far_it_is(fake: Daemon) -> None:
    fill(fake)
    async with running(fake.open) as tui:
        await tui.sees("1,500 keys")
        await tui.press("2", "g", "v", "G", "v", "t")
        await tui.sees("Set TTL")
        fake.hold["expire"] = expiring = asyncio.Event()
        await tui.type("90s\n")
        await tui.sees("setting TTL 0 of 1,500")
        await tui.press("d")
        fake.hold["delete_many"] = deleting = asyncio.Event()
        await tui.sees("Delete 1,500 keys?")
        await tui.press("right", "enter")
        await tui.sees("setting TTL 0% · deleting 0%")
        expiring.set()
        await tui.sees("TTL set to 1m30s for 1,500 keys.")
        await tui.misses("setting TTL")
        assert "deleting 0 of 1,500" in tui.text
        await tui.press("q")
        await tui.sees("Still deleting 0 of 1,500.")
        await tui.press("escape")
        deleting.set()
        await tui.sees("1,500 keys deleted.", "No keys here")
        assert "deleting" not in tui.text


@pytest.mark.parametrize("width", [120, 60])
async def test_what_is_asked_before_quitting_stands_in_whole_lines(fake: Daemon, width: int) -> None:
    fill(fake)
    async with running(fake.open, size=(width, 24)) as tui:
        await tui.sees("scratch")
        tui.browser.keys_pane.say_doing(object(), Doing("setting TTL", 100_000, 1_000_000))
        await tui.press("q")
        await tui.sees("Quit half way?")
        lines = [line.strip("│ ") for line in tui.within(tui.app.screen.query_one(".dialog")).splitlines()]
        assert {"Still setting TTL 100,000 of 1,000,000.", "The rest would be left as it is."} <= set(lines)


async def test_quitting_half_way_asks_and_ends_quietly(fake: Daemon) -> None:
    fill(fake)
    async with running(fake.open) as tui:
        await ask_to_delete_all(tui, 1_500)
        fake.hold["delete_many"] = asyncio.Event()
        await tui.press("right", "enter")
        await tui.sees("deleting 0 of 1,500")
        await tui.press("q")
        await tui.sees("Quit half way?", "Still deleting 0 of 1,500.", "The rest would be left as it is.")
        await tui.press("escape")
        await tui.misses("Quit half way?")
        assert tui.app.is_running
        await tui.press("q")
        await tui.sees("Quit half way?")
        await tui.press("right", "enter")
        await tui.until(lambda: not tui.app.is_running)


async def test_keys_that_come_and_go_are_not_remembered(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        pane = tui.browser.keys_pane
        for number in range(5):
            fake.put("scratch", "greetings", f"k{number}", {})
            fake.announce("put", "scratch", "greetings", f"k{number}")
            await tui.sees("3 keys")
            del fake.data["scratch"]["greetings"][f"k{number}"]
            fake.announce("delete", "scratch", "greetings", f"k{number}")
            await tui.sees("2 keys")
        assert pane._scan is not None
        assert not pane._scan.seen
