"""A value in the editor: saved with its TTL, refused, changed by others meanwhile, and never lost."""

import dataclasses
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kvtui.screens.dialogs import Ask
from kvtui.widgets.entry_head import EntryHead
from tests.kvtui.conftest import stored
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def editing(fake: Daemon) -> AsyncIterator[Tui]:
    """The program with the value of `hello` in the editor."""
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        yield tui


async def replace(tui: Tui, text: str) -> None:
    tui.browser.value_pane.editor.text = text
    await tui.pilot.pause()


async def test_saving_keeps_the_ttl(fake: Daemon) -> None:
    deadline = stored(fake).expires_at
    async with editing(fake) as tui:
        await tui.press("down", "end")
        await tui.type(",")
        await tui.press("enter")
        await tui.type('"n": 1')
        await tui.sees("value · changed")
        await tui.press("ctrl+s")
        await tui.sees("Saved.", '"n": 1')
        assert json.loads(stored(fake).body) == {"to": "world", "n": 1}
        assert stored(fake).expires_at == deadline
        assert tui.browser.value_pane.edited is None


async def test_invalid_json_is_refused_with_its_place(fake: Daemon) -> None:
    before = stored(fake).body
    async with editing(fake) as tui:
        await replace(tui, '{\n  "a": 1\n  "b": 2\n}')
        await tui.press("ctrl+s")
        await tui.sees("line 3, column 3")
        assert tui.browser.value_pane.editor.cursor_location == (2, 2)
        assert stored(fake).body == before


async def test_leaving_asks_only_when_something_was_changed(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await tui.press("escape")
        await tui.misses("editing")
        await tui.press("e")
        await tui.sees("value · editing")
        await replace(tui, "{}")
        await tui.press("escape")
        await tui.sees("Discard the changes?")
        await tui.press("enter")  # the first answer is to stay
        await tui.misses("Discard the changes?")
        assert tui.browser.value_pane.editor.text == "{}"
        await tui.press("escape", "right", "enter")
        await tui.until(lambda: tui.browser.value_pane.edited is None)
        assert json.loads(stored(fake).body) == {"to": "world"}


async def test_quitting_asks_when_something_was_changed(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await replace(tui, "{}")
        await tui.press("ctrl+q")
        await tui.sees("Discard the changes?")
        await tui.press("escape")
        await tui.misses("Discard the changes?")
        assert tui.app.is_running


@pytest.mark.parametrize(
    ("moves", "expected"),
    [([], {"to": "someone else's"}), (["right"], {"to": "someone else's"}), (["right", "right"], {"to": "mine"})],
    ids=["keep editing", "take theirs", "overwrite"],
)
async def test_a_lost_race_shows_what_is_there_and_asks(fake: Daemon, moves: list[str], expected: dict[str, str]) -> None:
    async with editing(fake) as tui:
        await replace(tui, '{"to": "mine"}')
        fake.put("scratch", "greetings", "hello", {"to": "someone else's"}, ttl=500)
        await tui.press("ctrl+s")
        await tui.sees("Changed by someone else", "someone else's", "Keep editing", "Take theirs", "Overwrite")
        await tui.press(*moves, "enter")
        await tui.until(lambda: not isinstance(tui.app.screen, Ask))
        await tui.pilot.pause()
        await tui.until(lambda: json.loads(stored(fake).body) == expected)
        if not moves:
            assert tui.browser.value_pane.editor.text == '{"to": "mine"}'
        else:
            await tui.until(lambda: tui.browser.value_pane.edited is None)
        assert stored(fake).expires_at is not None


async def test_a_key_that_expired_is_not_brought_back_unseen(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await replace(tui, '{"to": "mine"}')
        del fake.data["scratch"]["greetings"]["hello"]
        fake.announce("expired", "scratch", "greetings", "hello")
        await tui.sees("This key is gone; saving asks first.")
        await tui.press("ctrl+s")
        await tui.sees("This key is gone", "Let it go", "Create it again")
        assert "hello" not in fake.data["scratch"]["greetings"]
        await tui.press("right", "right", "enter")
        await tui.until(lambda: "hello" in fake.data["scratch"]["greetings"])


async def test_a_deadline_that_passed_while_editing_is_said_so(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await tui.sees("  until ")
        pane = tui.browser.value_pane
        assert pane.record is not None
        pane.query_one(EntryHead).show(pane.entry, dataclasses.replace(pane.record, expires_at=time.time() - 1))
        await tui.sees("expired  at ")


async def test_a_changed_ttl_alone_is_no_lost_race(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await replace(tui, '{"to": "mine"}')
        fake.put("scratch", "greetings", "hello", {"to": "world"}, ttl=77)
        await tui.press("ctrl+s")
        await tui.sees("Only its TTL was changed")
        await tui.press("enter")
        await tui.until(lambda: json.loads(stored(fake).body) == {"to": "mine"})
        assert (stored(fake).expires_at or 0) - time.time() < 78


async def test_what_was_typed_outlives_the_daemon(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await replace(tui, '{"to": "nobody yet"}')
        fake.up = False
        fake.drop()
        await tui.sees("daemon away")
        await tui.press("ctrl+s")
        await tui.sees("What you typed stays")
        fake.up = True
        await tui.sees("daemon ready")
        assert tui.browser.value_pane.editor.text == '{"to": "nobody yet"}'
        await tui.press("ctrl+s")
        await tui.sees("Saved.")
        assert json.loads(stored(fake).body) == {"to": "nobody yet"}


async def test_a_write_whose_answer_was_lost_is_recognised(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await replace(tui, '{"to": "mine"}')
        fake.put("scratch", "greetings", "hello", {"to": "mine"}, ttl=500)
        await tui.press("ctrl+s")
        await tui.sees("Saved.")


async def test_the_editor_stays_while_the_cursor_moves_on(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await replace(tui, '{"to": "mine"}')
        tui.browser.action_pane_2()
        await tui.press("j")
        assert tui.browser.value_pane.editor.text == '{"to": "mine"}'
        await tui.press("3", "ctrl+s")
        await tui.sees("Saved.")
        assert json.loads(stored(fake).body) == {"to": "mine"}
        await tui.sees('"to": "ada"')  # where the cursor went meanwhile


async def test_what_the_store_does_not_take_is_said_while_it_is_typed(fake: Daemon) -> None:
    fake.traits = {"max_value_bytes": 1_000, "big_integers": False}
    async with editing(fake) as tui:
        await tui.sees("14 B of 1.0 KB")
        await replace(tui, json.dumps({"to": "x" * 2000}))
        await tui.sees("the value has 2.0 KB")
        await replace(tui, '{"to": 99999999999999999999}')
        await tui.sees("the integer at to has more")
        await replace(tui, '{"to": 1}')
        await tui.misses("the integer at")
        await tui.press("ctrl+s")
        await tui.sees("Saved.")
