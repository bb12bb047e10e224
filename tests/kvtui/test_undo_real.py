"""Undo through a real daemon: what was there comes back as it was, and the journal outlives the program, not the daemon."""

import json
import os
import signal
from pathlib import Path

import pytest

from kvd import requests
from kvd.blocking import BlockingClient
from kvtui.session import Target, open_client
from tests.kvtui.conftest import delete_all, said, shows
from tests.tuikit.drive import running

pytestmark = pytest.mark.anyio


async def test_a_deletion_comes_back_as_it_was(other: BlockingClient) -> None:
    other.call(requests.put("scratch", "shared", "brief", b'{"n": 1}', ttl=4_000))
    other.call(requests.put("scratch", "shared", "long", b'{"n": 12345678901234567890}'))
    before = other.call(requests.snapshot("scratch", "shared", "brief"))
    async with running(open_client) as tui:
        await tui.sees("2 keys")
        await delete_all(tui, 2)
        assert other.call(requests.get("scratch", "shared", "long")) is None
        await tui.press("z")
        await said(tui, "Undid: delete 2 keys in scratch/shared.")
        await shows(tui, "brief", "long")
    after = other.call(requests.snapshot("scratch", "shared", "brief"))
    assert before is not None
    assert after is not None
    assert (after.body, after.created_at, after.expires_at) == (before.body, before.created_at, before.expires_at)
    assert other.call(requests.get("scratch", "shared", "long")) == b'{"n": 12345678901234567890}'


async def test_an_edit_is_undone_by_a_later_run(other: BlockingClient) -> None:
    other.call(requests.put("scratch", "shared", "k", b'{"n": 1}', ttl=4_000))
    async with running(open_client) as tui:
        await tui.sees('"n": 1')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        tui.browser.value_pane.editor.text = '{"n": 2}'
        await tui.press("ctrl+s")
        await said(tui, "Saved.")
        await tui.sees('"n": 2')
    async with running(open_client) as tui:
        await tui.sees('"n": 2')
        await tui.press("z")
        await tui.sees("Undo what was not done here?", "edit k in scratch/shared")
        await tui.press("right", "enter")
        await said(tui, "Undid: edit k in scratch/shared.")
        await tui.sees('"n": 1')


async def test_a_rename_is_undone_and_redone(other: BlockingClient) -> None:
    other.call(requests.put("scratch", "shared", "old", b'{"n": 1}', ttl=4_000))
    async with running(open_client) as tui:
        await tui.sees('"n": 1')
        await tui.press("2", "R")
        await tui.sees("Rename")
        await tui.press("ctrl+u")
        await tui.type("new\n")
        await shows(tui, "new")
        await tui.press("z")
        await said(tui, "Undid: rename old to new in scratch/shared.")
        await shows(tui, "old")
        await tui.press("Z")
        await said(tui, "Redid: rename old to new in scratch/shared.")
        await shows(tui, "new")
        await tui.until(lambda: (tui.browser.keys_pane.current or tui.browser.keys_pane.entry("")).name == "new")
        other.call(requests.put("scratch", "shared", "new", b'{"n": 5}'))
        await tui.sees('"n": 5')
        await tui.press("z")
        await said(tui, "Undid 1 of 2: rename old to new in scratch/shared. Changed by somebody else since: new.")
        await shows(tui, "new", "old")
    assert json.loads(other.call(requests.get("scratch", "shared", "new")) or b"") == {"n": 5}


async def test_three_thousand_keys_are_one_step(other: BlockingClient) -> None:
    names = [f"key:{number:04}" for number in range(3_000)]
    other.call(requests.put_many("local", "many", names, [b'{"n": 1}'] * len(names)))
    async with running(open_client) as tui:
        await tui.sees("many")
        await tui.press("colon")
        await tui.sees("Go to")
        await tui.press("ctrl+u")
        await tui.type("local/many/\n")
        await tui.sees("3,000 keys")
        await delete_all(tui, 3_000)
        (step,) = other.call(requests.steps())
        assert (step.title, step.count, step.can_undo) == ("delete 3,000 keys in local/many", 3_000, 3_000)
        await tui.press("z")
        await said(tui, "Undid: delete 3,000 keys in local/many.")
        await tui.until(lambda: len(tui.browser.keys_pane.index.view) == 3_000)
        await tui.press("at")
        await tui.sees("undone", "kvd rm local/many/key:0000", "… and 2,995 more")


async def test_what_the_command_line_did_is_listed(other: BlockingClient) -> None:
    step = requests.new_step()
    other.call(requests.journalled(requests.put("scratch", "shared", "k", b'{"n": 1}', ttl=90), step, "put scratch/shared/k"))
    async with running(open_client) as tui:
        await tui.sees('"n": 1')
        await tui.press("at")
        await tui.sees("put scratch/shared/k", """kvd put scratch/shared/k '{"n": 1}' --ttl 1m30s""")


@pytest.mark.usefixtures("home")
async def test_a_killed_daemon_takes_its_journal_along_and_that_is_said() -> None:
    with BlockingClient.open() as client:
        pid = client.call(requests.status())["pid"]
        client.call(requests.put("local", "kept", "one", b'{"n": 1}'))
    async with running(open_client) as tui:
        await tui.sees("kept")
        await tui.press("colon")
        await tui.sees("Go to")
        await tui.press("ctrl+u")
        await tui.type("local/kept/one\n")
        await tui.sees('"n": 1')
        await tui.press("d")
        await tui.sees("Delete this key?")
        await tui.press("right", "enter")
        await said(tui, "Deleted one. z brings it back.")
        os.kill(pid, signal.SIGKILL)
        await said(tui, "The daemon is back.")
        await tui.press("z")
        await said(tui, "There is nothing to undo. The daemon was started anew")


async def test_the_demo_can_be_undone(home: Path) -> None:
    del home
    async with running(open_client, target=Target(demo=True)) as tui:
        await tui.sees("demo", "keys ─")
        await tui.press("colon")
        await tui.sees("Go to")
        await tui.press("ctrl+u")
        await tui.type("demo/users/\n")
        await tui.sees("60 keys")
        await delete_all(tui, 60)
        await tui.press("z")
        await said(tui, "Undid: delete 60 keys in demo/users.")
        await tui.until(lambda: len(tui.browser.keys_pane.index.view) == 60)
        await tui.press("at")
        await tui.sees("kvd rm demo/users/user:0000", "No shell reaches this connection")
