"""What comes late, twice, or after its place was left: nothing typed is lost, and nobody is sent elsewhere."""

import asyncio
import time

import pytest
import time_machine
from textual import events
from textual.widgets import Button

from kvd.errors import RequestError
from kvtui.screens.browser import BrowserScreen
from kvtui.widgets.keys_reader import REFRESH_SECONDS
from tests.kvtui.conftest import open_users, stored
from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def test_a_save_that_ends_late_leaves_the_next_edit_alone(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        fake.hold["edit"] = asyncio.Event()
        await tui.press("down", "end", "left", "!", "ctrl+s")
        await tui.sees("Saving…")
        await tui.press("escape")
        await tui.sees("Discard the changes?")
        await tui.press("right", "enter")
        await tui.misses("Discard the changes?")
        await tui.press("2", "j")
        await tui.sees('"to": "ada"')
        await tui.press("e")
        await tui.sees("value · editing")
        await tui.press("down", "end", "left", "left", "?")
        fake.hold.pop("edit").set()
        await tui.until(lambda: b"world!" in stored(fake).body)
        await tui.sees("Saved.")
        await tui.pilot.pause()
        assert tui.browser.value_pane.edited is not None
        assert "ada?" in tui.browser.value_pane.editor.text
        assert not tui.browser.value_pane.editor.read_only


async def test_an_answer_twice_takes_away_one_dialog(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "d")
        await tui.sees("Delete this key?")
        button = tui.app.screen.query(Button).first()
        button.press()
        button.press()
        await tui.misses("Delete this key?")
        await tui.pilot.pause(0.2)
        assert isinstance(tui.app.screen, BrowserScreen)


async def test_a_key_in_a_terminal_without_focus_goes_where_the_focus_was(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        tui.app.post_message(events.AppBlur())
        await tui.pilot.pause()
        await tui.type("q")
        assert tui.browser.value_pane.editor.text.startswith("q{")


async def test_a_broken_configuration_of_a_daemon_that_came_back_is_said(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        fake.config_problem = "connections.toml:4: no such store"
        fake.drop()
        await tui.sees("Broken configuration", "daemon ready")
        await tui.press("1", "j", "k", "l", "h", "a")
        fake.config_problem = None
        await tui.press("r")
        await tui.sees("scratch", "2 keys")


async def test_the_cursor_is_on_no_heading_when_a_connection_left(fake: Daemon) -> None:
    fake.data = {"one": {}, "two": {}, "three": {}}
    fake.groups = {"three": "group"}
    async with running(fake.open) as tui:
        await tui.sees("three")
        await tui.press("j")
        del fake.data["two"]
        await tui.press("r")
        await tui.misses("two")
        assert tui.browser.sidebar.content.node is not None
        assert tui.browser.sidebar.content.node.heading is None


async def test_connections_that_are_read_late_move_no_cursor(fake: Daemon) -> None:
    fake.hold["scan_collections"] = asyncio.Event()
    async with running(fake.open) as tui:
        await tui.sees("scratch", "local")
        await tui.press("j", "j")
        assert tui.browser.sidebar.content.node is not None
        assert tui.browser.sidebar.content.node.connection == "local"
        fake.hold.pop("scan_collections").set()
        await tui.sees("greetings")
        await tui.pilot.pause()
        assert tui.browser.sidebar.content.node.connection == "local"


async def test_a_rename_that_ends_late_sends_nobody_back(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "R")
        await tui.sees("Rename")
        fake.hold["edit"] = asyncio.Event()
        await tui.type("2\n")
        await open_users(tui)
        await tui.sees("30 keys")
        fake.hold.pop("edit").set()
        await tui.sees("Renamed.")
        await tui.pilot.pause()
        assert "30 keys" in tui.pane(1)


async def test_a_ttl_that_others_renewed_keeps_a_row_that_nobody_sees(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.widgets.keys_reader.SWEEP_SECONDS", 0.1)
    for number in range(60):
        fake.put("scratch", "greetings", f"row {number:02}", {})
    renewed = fake.put("scratch", "greetings", "zz renewed", {}, ttl=600)
    fake.put("scratch", "greetings", "zz over", {}, ttl=600)
    async with running(fake.open) as tui:
        await tui.sees("64 keys")
        assert "zz" not in tui.text
        renewed.expires_at = (renewed.expires_at or 0) + 5000
        with time_machine.travel(time.time() + 601, tick=False):
            await tui.sees("63 keys")
        await tui.press("2", "G")
        await tui.sees("zz renewed")


async def test_a_new_key_is_not_given_up_unasked(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key")
        await tui.press("escape")
        await tui.misses("New key")
        await tui.press("a")
        await tui.sees("New key")
        await tui.press("tab", "tab")
        await tui.type('"a": 1')
        await tui.press("escape")
        await tui.sees("Discard the new key?")
        await tui.press("enter")
        await tui.misses("Discard the new key?")
        await tui.sees('"a": 1')
        await tui.press("escape", "right", "enter")
        await tui.misses("New key")
        assert isinstance(tui.app.screen, BrowserScreen)


async def test_a_key_is_created_once(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key")
        fake.hold["edit"] = asyncio.Event()
        await tui.type("one")
        await tui.press("ctrl+s", "ctrl+s")
        await tui.sees("Creating…")
        fake.hold.pop("edit").set()
        await tui.sees("Created one.")
        assert fake.calls.count("edit") == 1


async def test_the_cursor_stays_at_its_height_when_many_keys_come_before_it(fake: Daemon) -> None:
    for number in range(200):
        fake.put("local", "users", f"user:{number:03}", {})
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        tui.browser._go_to("local", "users", "user:100")
        await tui.sees("local / users / user:100")
        content = tui.browser.keys_pane.content
        await tui.press("k", "k", "k")
        height = content.cursor - content.scroll_offset.y
        for number in range(90):
            fake.put("local", "users", f"a{number}", {})
        fake.announce("resync", "local", "users")
        await tui.until(lambda: content.cursor > 180)
        await tui.pilot.pause()
        assert content.cursor - content.scroll_offset.y == height
        content.scroll_to(y=0, animate=False)
        await tui.pilot.pause()
        fake.put("local", "users", "a", {})
        fake.announce("put", "local", "users", "a")
        await tui.until(lambda: content.count == len(fake.data["local"]["users"]))
        await tui.pilot.pause()
        assert content.scroll_offset.y == 1, "who looks elsewhere goes on looking there"


async def test_changes_that_are_not_named_do_not_begin_walk_after_walk(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        fake.calls.clear()
        begin = time.monotonic()
        fake.put("scratch", "greetings", "new", {})
        for _ in range(50):
            fake.announce("put", "scratch", "greetings")
            fake.announce("resync", "", "")
            await tui.pilot.pause(0.01)
        await tui.sees("3 keys")
        assert fake.calls.count("scan_keys") <= 2 + (time.monotonic() - begin) / REFRESH_SECONDS
        assert "reload" not in fake.calls


async def test_rows_that_could_not_be_read_are_read_when_the_daemon_is_back(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "aaa", b"x" * 1_300_000, kind="string")
    async with running(fake.open) as tui:
        await tui.sees("in parts")
        fake.fail["read"] = RequestError("unreachable", "no route")
        await tui.press("3", "G", "k", "k", "j", "G")
        await tui.sees("no route", " …")
        assert tui.text.count("no route") == 1
        fake.fail.clear()
        fake.drop()
        await tui.sees("daemon ready", "xxxx")
        await tui.misses(" …")


async def test_what_is_too_large_for_the_clipboard_is_not_copied(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "aaa", b"x" * 5_000_000, kind="string")
    fake.put("scratch", "greetings", "aab", b'{"n": ' + b"9" * 5000 + b"}")
    async with running(fake.open) as tui:
        await tui.sees("in parts")
        await tui.press("2", "y")
        await tui.sees("5.0 MB are too much for the clipboard.")
        assert not tui.app.clipboard
        await tui.press("j", "Y")
        await tui.sees("Copy as", "JSON on one line")
        assert "Python literal" not in tui.text


async def test_the_filter_leaves_with_the_collection(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "slash")
        await tui.type("re:(")
        await tui.sees("broken regular expression")
        await tui.press("enter", "1", "k")
        await tui.sees("go to its collections")
        await tui.misses("broken")
        assert "re:(" not in tui.text
        await tui.press("2", "slash")
        assert not tui.browser.keys_pane.filter.has_focus


async def test_a_connection_that_is_read_only_from_now_on_says_so(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2")
        assert "delete" in tui.text
        fake.read_only.add("scratch")
        await tui.press("r")
        await tui.sees("2 keys · read-only")
        await tui.misses("delete")
