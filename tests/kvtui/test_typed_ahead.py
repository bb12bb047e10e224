"""Keys that come faster than they take effect, as over a slow line: none is lost, and none overtakes another."""

import asyncio
import json

import pytest
from textual import events

from kvtui.screens.pick import Choice, Pick
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


def at_once(tui: Tui, text: str, *keys: str) -> None:
    """Type a text and press keys, none of which waits for the one before it."""
    for char in text:
        tui.app.post_message(events.Key(char, char))
    for key in keys:
        tui.app.post_message(events.Key(key, None))


async def test_what_is_typed_just_before_ctrl_s_is_saved(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e", "down", "end", "left")
        await tui.sees("value · editing")
        at_once(tui, "wide", "ctrl+s")
        await tui.sees("Saved.")
    assert json.loads(fake.data["scratch"]["greetings"]["hello"].body) == {"to": "worldwide"}


async def test_a_key_is_created_under_its_whole_name(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("hello")
        await tui.press("2", "a")
        await tui.sees("New key in scratch")
        at_once(tui, "long:name", "ctrl+s")
        await tui.sees("Created long:name.")
    assert "long:name" in fake.data["scratch"]["greetings"]


async def test_nothing_can_be_typed_while_it_is_being_saved(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e", "down", "end", "left")
        fake.hold["edit"] = asyncio.Event()
        await tui.press("!", "ctrl+s")
        await tui.sees("Saving…")
        await tui.press("x", "backspace", "ctrl+s")
        assert '"to": "world!"' in tui.browser.value_pane.editor.text
        fake.hold.pop("edit").set()
        await tui.sees("Saved.")
    assert fake.calls.count("edit") == 1


async def test_what_could_not_be_saved_can_be_typed_on(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        at_once(tui, "?", "ctrl+s")
        await tui.sees("line 1, column 1")
        await tui.press("delete")
        fake.put("scratch", "greetings", "hello", {"to": "somebody else"})
        await tui.press("down", "end", "left", "!", "ctrl+s")
        await tui.sees("Changed by someone else")
        await tui.press("escape", "!")
        assert '"to": "world!!"' in tui.browser.value_pane.editor.text


async def test_what_is_pasted_just_before_ctrl_s_is_saved(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e", "down", "end", "left")
        await tui.sees("value · editing")
        tui.app.post_message(events.Paste("wide"))
        at_once(tui, " open", "ctrl+s")
        await tui.sees("Saved.")
    assert json.loads(fake.data["scratch"]["greetings"]["hello"].body) == {"to": "worldwide open"}


async def test_what_would_freeze_an_editor_is_not_pasted(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "slash")
        tui.app.post_message(events.Paste("y" * 1_000_000))
        await tui.sees("1.0 MB are too much to paste")
        tui.app.clear_notifications()  # it stands over the line that is typed in
        tui.app.post_message(events.Paste("morning"))
        await tui.sees("1 of 2")
        await tui.press("escape", "e")
        await tui.sees("value · editing")
        tui.app.post_message(events.Paste("z" * 1_000_000))
        tui.app.post_message(events.Paste("little"))
        await tui.until(lambda: tui.browser.value_pane.editor.text.startswith("little{"))


async def test_closing_while_keys_take_effect(fake: Daemon) -> None:
    for turns in range(0, 24, 2):
        async with running(fake.open) as tui:
            await tui.sees('"to": "world"')
            at_once(tui, "", "question_mark", "escape", "colon", "escape", "2", "slash", "x", "enter", "question_mark")
            for _ in range(turns):
                await asyncio.sleep(0.001)


async def test_closing_while_a_dialog_opens(fake: Daemon) -> None:
    for turns in range(8):
        async with running(fake.open) as tui:
            await tui.sees('"to": "world"')
            tui.app.push_screen(Pick("Letters", [Choice("a", "a", "first")], narrow=True))
            for _ in range(turns):
                await asyncio.sleep(0)
