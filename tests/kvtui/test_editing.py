import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kvd.errors import ConnectionLostError
from kvtui.screens.dialogs import Ask
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon, Stored

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def editing(fake: Daemon) -> AsyncIterator[Tui]:
    """The program with the value of `hello` in the editor."""
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        yield tui


def stored(fake: Daemon, key: str = "hello") -> Stored:
    return fake.data["scratch"]["greetings"][key]


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
        await tui.sees("Give up the changes?")
        await tui.press("enter")  # the first answer is to stay
        await tui.misses("Give up the changes?")
        assert tui.browser.value_pane.editor.text == "{}"
        await tui.press("escape", "right", "enter")
        await tui.until(lambda: tui.browser.value_pane.edited is None)
        assert json.loads(stored(fake).body) == {"to": "world"}


async def test_quitting_asks_when_something_was_changed(fake: Daemon) -> None:
    async with editing(fake) as tui:
        await replace(tui, "{}")
        await tui.press("ctrl+q")
        await tui.sees("Give up the changes?")
        await tui.press("escape")
        await tui.misses("Give up the changes?")
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
        await tui.sees("gone meanwhile")
        await tui.press("ctrl+s")
        await tui.sees("This key is gone", "Let it go", "Create it again")
        assert "hello" not in fake.data["scratch"]["greetings"]
        await tui.press("right", "right", "enter")
        await tui.until(lambda: "hello" in fake.data["scratch"]["greetings"])


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
        assert 75 < (stored(fake, "evening").expires_at or 0) - time.time() <= 90
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "evening"


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
        await tui.sees("users")
        await tui.press("1", "j", "j", "enter")
        await tui.sees("30 keys")
        await tui.press("space", *["j"] * 10, "v", "d")
        await tui.sees("Delete 12 keys?", "user:00", "and 5 more")
        await tui.press("right", "enter")
        await tui.sees("12 keys deleted.", "18 keys")


async def test_production_asks_for_the_count(fake: Daemon) -> None:
    fake.production.add("scratch")
    async with running(fake.open) as tui:
        await tui.sees("scratch")
        await tui.press("enter")
        await tui.sees("greetings")
        await tui.press("enter")
        await tui.sees("PRODUCTION", "2 keys")
        await tui.press("space", "space", "d")
        await tui.sees("type 2 to go on")
        await tui.press("right", "enter")
        assert len(fake.data["scratch"]["greetings"]) == 2
        await tui.press("escape")


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
        assert abs((stored(fake, "hello2").expires_at or 0) - deadline) < 0.5
        await tui.sees('"to": "world"')
        await tui.press("D")
        await tui.sees("Duplicate in scratch")
        await tui.type("3")
        await tui.press("ctrl+s")
        await tui.sees("Created hello23.")
        assert stored(fake, "hello23").body == b'{"to":"world"}'


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


async def test_a_key_larger_than_the_editor_is_edited_outside(
    fake: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put("scratch", "greetings", "hello", {"text": "x" * 100_000}, ttl=400)
    script = tmp_path / "editor.py"
    script.write_text("import sys; p = sys.argv[1]; t = open(p).read(); open(p, 'w').write(t.replace('xxx', 'y'))")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    monkeypatch.delenv("VISUAL", raising=False)
    async with running(fake.open) as tui:
        await tui.sees('"text"')
        await tui.press("2", "e")
        await tui.sees("too much to edit in place")
        monkeypatch.setattr(type(tui.app), "suspend", _no_terminal_to_give_up)
        await tui.press("E")
        await tui.sees("Saved.")
        assert json.loads(stored(fake).body) == {"text": "y" * 33_333 + "x"}
        assert stored(fake).expires_at is not None


def _no_terminal_to_give_up(self: object) -> object:
    import contextlib

    return contextlib.nullcontext()


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
            async with asyncio.timeout(1):
                await tui.browser.session.reload()


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


async def test_what_the_store_does_not_take_is_said_of_a_new_key(fake: Daemon) -> None:
    fake.traits = {"max_value_bytes": 1_000}
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key", "2 B of 1.0 KB")
