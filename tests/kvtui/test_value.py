import asyncio
import re

import pytest

from kvd.errors import RequestError
from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def test_a_value_that_cannot_be_read_says_why(fake: Daemon) -> None:
    fake.fail["read"] = RequestError("store_error", "the disk is broken")
    async with running(fake.open) as tui:
        await tui.sees("The value cannot be read", "the disk is broken", "2 keys")


async def test_bytes_are_shown_in_hexadecimal_and_foreign_values_are_not_edited(fake: Daemon) -> None:
    fake.data["scratch"]["greetings"].clear()
    fake.put("scratch", "greetings", "blob", b"\x00\xff\x10plain", kind="item, flags 16")
    async with running(fake.open, size=(160, 36)) as tui:
        await tui.sees("item, flags 16", "00 ff 10 70 6c 61 69 6e", "··")
        await tui.press("2", "e")
        await tui.sees("This item was not written by a store")
        assert tui.browser.value_pane.edited is None


async def test_a_large_value_is_read_in_parts(fake: Daemon) -> None:
    body = b"".join(b"%07d\n" % number for number in range(300_000))
    fake.data["scratch"]["greetings"].clear()
    fake.put("scratch", "greetings", "large", body, kind="string")
    async with running(fake.open) as tui:
        await tui.sees("2.4 MB", "in parts", "0000000␊0000001")
        await tui.press("3", "G")
        await tui.sees("0299999")


async def test_a_search_goes_from_match_to_match(fake: Daemon) -> None:
    fake.put(
        "scratch", "greetings", "hello", {f"name {number}": "needle" if number % 50 == 7 else "hay" for number in range(200)}
    )
    async with running(fake.open) as tui:
        await tui.sees('"name 0": "hay"')
        await tui.press("3", "slash")
        await tui.type("NEEDLE")
        await tui.sees("not found")
        await tui.press(*["backspace"] * 6)
        await tui.type("need")
        await tui.sees("1 of 4", '"name 7": "needle"')
        await tui.press("enter", "n")
        await tui.sees("2 of 4", '"name 57": "needle"')
        await tui.press("N", "N")
        await tui.sees("4 of 4", '"name 157": "needle"')
        await tui.press("escape")
        await tui.misses("4 of 4")
        assert tui.browser.value_pane.view.has_focus
        await tui.press("n")
        await tui.sees("Nothing is searched for yet")


async def test_a_search_goes_through_what_was_not_read(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.find.PART", 100_000)
    body = b"".join(b"%07d\n" % number for number in range(300_000))
    fake.data["scratch"]["greetings"].clear()
    fake.put("scratch", "greetings", "large", body, kind="string")
    async with running(fake.open) as tui:
        await tui.sees("in parts")
        await tui.press("3", "slash")
        await tui.type("0250000\n")
        await tui.sees("found at 1e8480", "0250000")
        await tui.press("n")  # round the end to the same place
        await tui.sees("found at 1e8480")
        await tui.press("x")
        await tui.sees("x shows text")
        await tui.press("N")
        await tui.sees("found at 1e8480", "30 32 35 30")


async def test_a_watched_value_shows_what_changes(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.widgets.value_reader.WATCH_SECONDS", 0.05)
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        fake.put("scratch", "greetings", "hello", {"to": "nobody", "by": "none"})
        await tui.press("2", "w")
        await tui.sees("value · watching", '▎   "to": "nobody"', "changed ")
        fake.fail["read"] = RequestError("unreachable", "the server does not answer")
        await tui.sees("could not be read again")
        assert '"to": "nobody"' in tui.text
        fake.fail.clear()
        await tui.misses("could not be read again")
        await tui.press("w")
        await tui.misses("watching")
        fake.put("scratch", "greetings", "hello", {"to": "unseen"})
        calls = fake.calls.count("read")
        await asyncio.sleep(0.3)
        assert fake.calls.count("read") == calls


async def test_a_watch_leaves_an_edit_alone(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.widgets.value_reader.WATCH_SECONDS", 0.05)
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "w", "e")
        await tui.sees("value · editing")
        tui.browser.value_pane.editor.text = '{"to": "mine"}'
        fake.put("scratch", "greetings", "hello", {"to": "theirs"})
        await asyncio.sleep(0.3)
        assert tui.browser.value_pane.editor.text == '{"to": "mine"}'


async def test_the_scores_of_a_sorted_set_stand_beside_their_members(fake: Daemon) -> None:
    fake.data["scratch"]["greetings"].clear()
    fake.put("scratch", "greetings", "board", [["eve", -1e9], ["a, b", 3.0]], kind="zset")
    async with running(fake.open) as tui:
        await tui.sees("zset", '["eve", -1000000000.0],', '["a, b", 3.0]')


@pytest.mark.parametrize("size", [300_000, 2_000_000])
async def test_the_other_form_of_a_value_begins_where_the_reader_is(fake: Daemon, size: int) -> None:
    fake.put(
        "scratch", "greetings", "a", b"".join(b"line %06d of it\n" % number for number in range(size // 18)), kind="string"
    )
    async with running(fake.open) as tui:
        await tui.sees("line 000000")
        view = tui.browser.value_pane.view
        view.scroll_to(y=view.count // 2, animate=False)
        await tui.until(lambda: "line 0" in tui.within(view).splitlines()[1])
        middle = tui.within(view)
        reader = re.search(r"line (\d+) of it", middle)
        assert reader is not None
        await tui.press("3")
        for _ in range(3):  # however often
            await tui.press("x")
            await tui.sees("6c 69 6e 65")
            first = tui.within(view).splitlines()[0]
            assert int(first.split()[0], 16) == pytest.approx(18 * int(reader[1]), abs=100)
            await tui.press("x")
            await tui.misses("6c 69 6e 65")
            assert tui.within(view) == middle


async def test_a_resized_value_stays_at_what_is_read(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "a", {f"name {number:04}": "word " * 40 for number in range(400)})
    async with running(fake.open, size=(160, 36)) as tui:
        await tui.sees("name 0000")
        await tui.press("3")
        view = tui.browser.value_pane.view
        view.scroll_to(y=view.count // 2, animate=False)
        await tui.sees("name 02")
        for columns in (100, 60, 200, 160):
            await tui.pilot.resize_terminal(columns, 36)
            await tui.sees("name 0200")
