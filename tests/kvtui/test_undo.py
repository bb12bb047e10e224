"""What a person did is undone and redone, whatever else happens meanwhile; nothing that others wrote is touched."""

import asyncio
import json
import time

import pytest

from kvd.errors import RequestError
from tests.kvtui.conftest import delete_all, go_to, open_in_production, open_users, said, shows, stored
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


def footer(tui: Tui) -> str:
    return tui.text.splitlines()[-1]


def names(fake: Daemon) -> set[str]:
    return set(fake.data["scratch"]["greetings"])


async def delete_first(tui: Tui) -> None:
    """Delete `hello`, the first key of two."""
    await tui.sees('"to": "world"')
    await tui.press("2", "d")
    await tui.sees("Delete this key?")
    await tui.press("right", "enter")
    await said(tui, "Deleted hello.")
    await shows(tui, "morning")


async def test_a_deletion_is_undone_and_redone(fake: Daemon) -> None:
    before = stored(fake)
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        assert "z undo" not in footer(tui)
        await delete_first(tui)
        await said(tui, "z brings it back")
        await tui.until(lambda: "z undo" in footer(tui) and "Z redo" not in footer(tui))
        await tui.press("z")
        await said(tui, "Undid: delete hello in scratch/greetings.")
        await shows(tui, "hello", "morning")
        after = stored(fake)
        assert (after.body, after.expires_at, after.created_at) == (before.body, before.expires_at, before.created_at)
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "morning"
        await tui.until(lambda: "Z redo" in footer(tui) and "z undo" not in footer(tui))
        await tui.press("Z")
        await said(tui, "Redid: delete hello in scratch/greetings.")
        await shows(tui, "morning")
        assert names(fake) == {"morning"}


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
async def test_the_footer_has_room_for_undo_in_every_pane(fake: Daemon, size: tuple[int, int]) -> None:
    async with running(fake.open, size=size) as tui:
        await tui.press("2")
        await tui.sees("2 keys")
        await tui.press("d")
        await tui.sees("Delete this key?")
        await tui.press("right", "enter")
        for pane in "123":
            await tui.press(pane)
            await tui.until(lambda: footer(tui).rstrip().endswith("z undo  ? help  q quit"))
        await tui.press("z")
        await tui.until(lambda: footer(tui).rstrip().endswith("Z redo  ? help  q quit"))


async def test_an_edit_is_undone_and_its_value_shown(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        tui.browser.value_pane.editor.text = '{"to": "moon"}'
        await tui.press("ctrl+s")
        await said(tui, "Saved.")
        await tui.sees('"to": "moon"')
        await tui.press("z")
        await said(tui, "Undid: edit hello in scratch/greetings.")
        await tui.sees('"to": "world"')
        assert json.loads(stored(fake).body) == {"to": "world"}


async def test_a_new_key_a_ttl_and_a_rename_are_undone_one_after_the_other(fake: Daemon) -> None:
    deadline = stored(fake).expires_at
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key")
        await tui.type("evening")
        await tui.press("ctrl+s")
        await said(tui, "Created evening.")
        await shows(tui, "evening", "hello", "morning")
        await go_to(tui, "scratch/greetings/hello")
        await tui.sees('"to": "world"')
        await tui.press("t")
        await tui.sees("Set TTL")
        await tui.type("90s\n")
        await said(tui, "TTL set to 1m30s.")
        await tui.press("R")
        await tui.sees("Rename")
        await tui.type("2\n")
        await said(tui, "Renamed.")
        await tui.sees("greetings / hello2")
        await tui.press("z")
        await said(tui, "Undid: rename hello to hello2 in scratch/greetings.")
        await tui.sees("greetings / hello ")
        assert names(fake) == {"hello", "morning", "evening"}
        await tui.press("z")
        await said(tui, "Undid: set TTL of hello to 1m30s in scratch/greetings.")
        assert stored(fake).expires_at == deadline
        await tui.press("z")
        await said(tui, "Undid: add evening in scratch/greetings.")
        await shows(tui, "hello", "morning")
        await tui.press("Z", "Z", "Z")
        await said(tui, "Redid: add evening", "Redid: set TTL", "Redid: rename hello to hello2")
        await tui.sees("greetings / hello2")
        assert names(fake) == {"hello2", "morning", "evening"}
        await tui.press("Z")
        await said(tui, "There is nothing to redo.")


async def test_undo_asked_for_twice_at_once_undoes_two_steps(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        await tui.press("d")
        await tui.sees("Delete this key?")
        await tui.press("right", "enter")
        await said(tui, "Deleted morning.")
        await shows(tui)
        await tui.type("zz")
        await said(tui, "Undid: delete morning", "Undid: delete hello")
        await shows(tui, "hello", "morning")
        await tui.press("z")
        await said(tui, "There is nothing to undo.")


async def test_what_somebody_else_wrote_since_is_named_and_left_alone(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "space", "space", "d")
        await tui.sees("Delete 2 keys?")
        await tui.press("right", "enter")
        await said(tui, "2 keys deleted. z brings them back.")
        fake.put("scratch", "greetings", "hello", {"to": "others"})
        await tui.press("z")
        await said(tui, "Undid 1 of 2: delete 2 keys in scratch/greetings.", "Changed by somebody else since: hello.")
        assert json.loads(stored(fake).body) == {"to": "others"}
        assert names(fake) == {"hello", "morning"}


async def test_a_rename_whose_target_was_changed_leaves_the_target(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "R")
        await tui.sees("Rename")
        await tui.type("2\n")
        await said(tui, "Renamed.")
        fake.put("scratch", "greetings", "hello2", {"to": "others"})
        await tui.press("z")
        await said(tui, "Undid 1 of 2: rename hello to hello2", "somebody else since: hello2.")
        assert names(fake) == {"hello", "hello2", "morning"}


@pytest.mark.parametrize("back", [True, False])
async def test_what_has_expired_since_comes_back_without_ttl_if_that_is_wanted(fake: Daemon, *, back: bool) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        before = fake.journal.steps[0].changes[0].before
        assert before is not None
        before.expires_at = time.time() - 1
        await tui.press("z")
        await tui.sees("This key has expired since", "It can come back without a TTL.", "hello")
        if not back:
            await tui.press("enter")
            await said(tui, "Not undone: delete hello in scratch/greetings.", "Expired since: hello.")
            assert names(fake) == {"morning"}
            return
        await tui.press("right", "enter")
        await said(tui, "Undid: delete hello in scratch/greetings.")
        await shows(tui, "hello", "morning")
        assert stored(fake).expires_at is None


async def test_undo_of_many_keys_says_how_far_it_is(fake: Daemon) -> None:
    for number in range(1_498):
        fake.put("scratch", "greetings", f"key:{number:05}", {})
    async with running(fake.open) as tui:
        await delete_all(tui, 1_500)
        assert len(fake.journal.steps) == 1
        fake.hold["undo"] = turn = asyncio.Event()
        await tui.press("z")
        await tui.until(lambda: "undo" in fake.calls)
        again = fake.hold["undo"] = asyncio.Event()
        turn.set()
        await tui.sees("undoing 500 of 1,500")
        await tui.press("z")
        await said(tui, "Still undoing 500 of 1,500.")
        again.set()
        await said(tui, "Undid: delete 1,500 keys in scratch/greetings.")
        await tui.until(lambda: len(tui.browser.keys_pane.index.view) == 1_500)
        assert len(names(fake)) == 1_500


async def test_undo_of_many_keys_that_ends_half_way_says_how_far_it_came(fake: Daemon) -> None:
    for number in range(1_498):
        fake.put("scratch", "greetings", f"key:{number:05}", {})
    async with running(fake.open) as tui:
        await delete_all(tui, 1_500)
        fake.hold["undo"] = turn = asyncio.Event()
        await tui.press("z")
        await tui.until(lambda: "undo" in fake.calls)
        again = fake.hold["undo"] = asyncio.Event()
        turn.set()
        await tui.sees("undoing 500 of 1,500")
        fake.fail["undo"] = RequestError("unreachable", "the server does not answer")
        again.set()
        await said(tui, "Undid 500 of 1,500: delete 1,500 keys", "The server does not answer.")
        fake.fail.clear()
        await tui.press("z")
        await said(tui, "Undid: delete 1,500 keys")
        await tui.until(lambda: len(tui.browser.keys_pane.index.view) == 1_500)


async def test_what_is_still_being_done_is_not_undone(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        fake.fail["undo"] = RequestError("conflict", "step 12ab of the journal is still being done", retry=True)
        await tui.press("z")
        await said(tui, "Not undone: delete hello in scratch/greetings. It is still being done.")


async def test_production_asks_for_the_count_before_many_keys_are_undone(fake: Daemon) -> None:
    fake.production.add("scratch")
    async with running(fake.open) as tui:
        await open_in_production(tui)
        await tui.press("space", "space", "d")
        await tui.sees("type 2 to go on")
        await tui.type("2\n")
        await tui.press("enter")
        await said(tui, "2 keys deleted.")
        await tui.press("z")
        await tui.sees("Undo this for 2 keys?", "delete 2 keys in scratch/greetings", "type 2 to go on")
        await tui.press("escape")
        await tui.misses("Undo this")
        assert not names(fake)
        await tui.press("z")
        await tui.sees("type 2 to go on")
        await tui.type("2\n")
        await tui.press("enter")
        await said(tui, "Undid: delete 2 keys")
        await shows(tui, "hello", "morning")


async def test_nothing_is_undone_where_nothing_may_be_written(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        fake.read_only.add("scratch")
        await tui.press("r")
        await tui.sees("read-only")
        await tui.press("z")
        await said(tui, "scratch is read-only.")
        assert names(fake) == {"morning"}


async def test_while_a_value_is_edited_undo_is_the_editors(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        await tui.press("e")
        await tui.sees("value · editing")
        await tui.type("z")
        await tui.sees("value · changed")
        await tui.press("ctrl+z")
        await tui.sees("value · editing")
        tui.browser.action_pane_2()
        await tui.press("z")
        await said(tui, "there ctrl+z undoes what was typed")
        assert names(fake) == {"morning"}


async def test_what_was_done_elsewhere_is_undone_only_after_asking(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
    async with running(fake.open) as tui:
        await tui.sees("1 key")
        assert "z undo" not in footer(tui)
        await tui.press("z")
        await tui.sees("Undo what was not done here?", "delete hello in scratch/greetings", "by another program")
        await tui.press("enter")
        await tui.misses("Undo what")
        assert names(fake) == {"morning"}
        await tui.press("z")
        await tui.sees("Undo what was not done here?")
        await tui.press("right", "enter")
        await said(tui, "Undid: delete hello")
        await shows(tui, "hello", "morning")


async def test_what_was_perhaps_done_is_undone_as_one_s_own(fake: Daemon) -> None:
    fake.lose["delete"] = RequestError("unreachable", "the store hung up")
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "d")
        await tui.sees("Delete this key?")
        await tui.press("right", "enter")
        await said(tui, "the store hung up")
        assert names(fake) == {"morning"}
        await tui.press("z")
        await said(tui, "Undid: delete hello in scratch/greetings.")
        assert names(fake) == {"hello", "morning"}


async def test_own_steps_are_undone_before_those_of_others(fake: Daemon) -> None:
    async with running(fake.open) as tui, running(fake.open) as other:
        await open_users(other)
        await other.sees("30 keys")
        await delete_first(tui)
        await other.press("d")
        await other.sees("Delete this key?")
        await other.press("right", "enter")
        await other.sees("Deleted user:00.")
        await tui.press("z")
        await said(tui, "Undid: delete hello")
        assert "user:00" not in fake.data["local"]["users"]


async def test_a_step_that_somebody_else_undid_meanwhile_is_undone_once(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        fake.hold["undo"] = turn = asyncio.Event()
        await tui.press("z")
        await tui.until(lambda: "undo" in fake.calls)
        step = fake.journal.steps[0]
        fake.journal.travel(fake.clients[0], step.id, back=True, never_expire=False, limit=500)
        turn.set()
        await said(tui, "Somebody else has undone this already: delete hello")
        assert names(fake) == {"hello", "morning"}
        await tui.until(lambda: "z undo" not in footer(tui))
        await tui.press("z")
        await said(tui, "There is nothing to undo.")


async def test_a_step_that_has_left_the_journal_says_so(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        fake.fail["undo"] = RequestError("unknown_step", "the journal has no step 12ab")
        await tui.press("z")
        await said(tui, "Not undone: delete hello in scratch/greetings. It has left the journal")


async def test_a_daemon_that_was_started_anew_has_no_journal_and_that_is_said(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        await tui.until(lambda: "z undo" in footer(tui))
        fake.journal.steps.clear()
        fake.pid = 2
        fake.drop()
        await said(tui, "The daemon is back.")
        await tui.until(lambda: "z undo" not in footer(tui))
        await tui.press("z")
        await said(tui, "There is nothing to undo.", "The daemon was started anew")
        await tui.press("at")
        await tui.sees("Nothing yet since the daemon was started anew.")


async def test_undo_while_the_daemon_is_away_says_so_and_works_when_it_is_back(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await delete_first(tui)
        fake.up = False
        fake.drop()
        await tui.sees("daemon away")
        await tui.press("z")
        await said(tui, "the daemon is away")
        fake.up = True
        await said(tui, "The daemon is back.")
        await tui.press("z")
        await said(tui, "Undid: delete hello")
        await shows(tui, "hello", "morning")


async def test_what_cannot_be_undone_is_said_before_it_is_deleted(fake: Daemon) -> None:
    fake.traits = {"compare_and_set": "none"}
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "d")
        await tui.sees("Delete this key?", "This cannot be undone in memory.")
        await tui.press("right", "enter")
        await said(tui, "Deleted hello.")
        assert "brings it back" not in tui.text


async def test_what_is_too_large_for_the_journal_is_said_before_it_is_deleted(
    fake: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvtui.limits.MAX_IMAGE", 20)
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "j", "d")
        await tui.sees("This is too large to be undone.")
        await tui.press("escape")
        await tui.misses("Delete this key?")
        await tui.press("k", "d")
        await tui.sees("Delete this key?")
        assert "too large" not in tui.text
        await tui.press("escape", "space", "space", "d")
        await tui.sees("Delete 2 keys?", "1 of them is too large to be undone.")
