"""What was done is listed with the commands that do the same; from there it is undone, redone and copied."""

import pytest

from kvd.errors import RequestError
from tests.kvtui.conftest import delete_all, said, shows, stored
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def do_three(tui: Tui) -> None:
    """Set a TTL, edit, delete."""
    await tui.sees('"to": "world"')
    await tui.press("2", "t")
    await tui.sees("Set TTL")
    await tui.type("2h\n")
    await said(tui, "TTL set to 2h.")
    await tui.press("e")
    await tui.sees("value · editing")
    tui.browser.value_pane.editor.text = '{"to": "moon"}'
    await tui.press("ctrl+s")
    await said(tui, "Saved.")
    await tui.press("2", "d")
    await tui.sees("Delete this key?")
    await tui.press("right", "enter")
    await shows(tui, "morning")


async def test_nothing_done_yet_says_what_will_stand_there(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("at")
        await tui.sees("What was done", "Nothing yet.", "Edits, deletions and TTLs will stand here")
        await tui.press("z", "y", "j")
        assert tui.app.clipboard == ""
        await tui.press("escape")
        await tui.misses("What was done")


async def test_steps_are_listed_newest_first_with_their_commands(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await do_three(tui)
        await tui.press("at")
        await tui.sees("What was done", "kvd rm scratch/greetings/hello")
        places = [tui.text.find(title) for title in ("delete hello in", "edit hello in", "set TTL of hello to 2h in")]
        assert -1 < places[0] < places[1] < places[2]
        await tui.press("j")
        await tui.sees("""kvd put scratch/greetings/hello '{"to":"moon"}' --keep-ttl""")
        await tui.press("j")
        await tui.sees("kvd ttl scratch/greetings/hello 2h")
        await tui.press("y")
        await said(tui, "Command copied.")
        assert tui.app.clipboard == "kvd ttl scratch/greetings/hello 2h\n"


async def test_the_step_of_the_cursor_is_undone_and_redone(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await do_three(tui)
        await tui.press("at")
        await tui.sees("kvd rm scratch/greetings/hello")
        await tui.press("z")
        await said(tui, "Undid: delete hello in scratch/greetings.")
        await tui.sees("undone")
        assert stored(fake).body == b'{"to":"moon"}'
        await tui.press("j", "z")
        await said(tui, "Undid: edit hello in scratch/greetings.")
        assert stored(fake).body == b'{"to": "world"}'
        await tui.press("Z")
        await said(tui, "Redid: edit hello in scratch/greetings.")
        assert stored(fake).body == b'{"to":"moon"}'
        await tui.press("at")
        await tui.misses("What was done")
        await shows(tui, "hello", "morning")


async def test_of_many_commands_some_are_shown_and_the_rest_counted(fake: Daemon) -> None:
    for number in range(148):
        fake.put("scratch", "greetings", f"key:{number:03}", {})
    async with running(fake.open) as tui:
        await delete_all(tui, 150)
        await tui.press("at")
        await tui.sees("kvd rm scratch/greetings/hello", "… and 145 more")
        await tui.press("y")
        await said(tui, "100 commands copied, of 150.")
        lines = tui.app.clipboard.splitlines()
        assert len(lines) == 101
        assert lines[-1] == "# … and 50 more"


async def test_what_cannot_be_undone_says_why(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await do_three(tui)
        fake.journal.steps[-1].why = "it replaced more than the journal holds"
        await tui.press("at")
        await tui.sees("for good", "it replaced more than the journal holds")
        await tui.press("z")
        await said(tui, "Not undone: delete hello in scratch/greetings. It replaced more than the journal holds.")


async def test_what_the_daemon_cannot_tell_is_said(fake: Daemon) -> None:
    fake.fail["steps"] = RequestError("unknown_method", "there is no method steps")
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("at")
        await tui.sees("This daemon is older than the program and keeps no journal")
        await tui.press("escape", "z")
        await said(tui, "This daemon is older than the program and keeps no journal")


@pytest.mark.parametrize("size", [(40, 12), (60, 20), (80, 24), (200, 60)])
async def test_nothing_is_cut_in_a_small_terminal(fake: Daemon, size: tuple[int, int]) -> None:
    async with running(fake.open, size=size) as tui:
        await tui.until(lambda: tui.browser.sidebar.branch("scratch"))
        fake.journal.kept(
            fake.clients[0],
            "delete",
            {"connection": "scratch", "collection": "greetings", "key": "hello"},
            {"step": "s", "title": "delete hello in scratch/greetings"},
        )
        await tui.press("at")
        await tui.sees("What was done", "delete hello", "kvd rm scratch/greetings/hello")
        assert "esc" in tui.text
        region = tui.app.screen.query_one(".dialog").region
        assert tui.app.screen.region.contains_region(region)
