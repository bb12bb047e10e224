"""A collection that others write busily is followed, and neither the daemon nor the screen is kept busy with each key."""

import pytest

from kvd.errors import RequestError
from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


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
    for number in range(1_498):
        fake.put("scratch", "greetings", f"key:{number:05}", {})
    async with running(fake.open) as tui:
        await tui.sees("1,500 keys")
        await tui.press("2", "g", "v", "G", "v", "d")
        await tui.sees("Delete 1,500 keys?")
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
