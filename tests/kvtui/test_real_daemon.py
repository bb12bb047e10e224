"""The program and a real daemon, in folders of their own, with the connections of a first run."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from kvd import requests
from kvd.blocking import BlockingClient
from kvtui.session import Target, open_client
from tests.tuikit.drive import running

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("home")
async def test_first_run_from_nothing_to_an_edited_entry() -> None:
    async with running(open_client) as tui:
        await tui.sees("scratch", "local", "empty, a adds keys")
        await tui.press("a")
        await tui.sees("New key in scratch")
        await tui.type("greeting")
        await tui.press("tab")
        await tui.type("10h")
        await tui.press("ctrl+s")
        await tui.sees("default_collection", "9h 5", "1 key")
        await tui.press("e")
        await tui.sees("value · editing")
        tui.browser.value_pane.editor.text = '{"hello": "world"}'
        await tui.press("ctrl+s")
        await tui.sees("Saved.", '"hello": "world"', "9h 5")


async def test_what_another_program_writes_appears(other: BlockingClient) -> None:
    other.call(requests.put("scratch", "shared", "first", b'{"n": 1}'))
    async with running(open_client) as tui:
        await tui.sees('"n": 1')
        other.call(requests.put("scratch", "shared", "second", b'{"n": 2}'))
        await tui.sees("2 keys", "second")
        other.call(requests.expire("scratch", "shared", "second", 1.0))
        other.call(requests.put("scratch", "shared", "first", b'{"n": 3}'))
        await tui.sees('"n": 3')
        await tui.misses("second")
        await tui.sees("1 key")


async def test_a_lost_race_is_seen(other: BlockingClient) -> None:
    other.call(requests.put("scratch", "shared", "k", b'{"n": 1}'))
    async with running(open_client) as tui:
        await tui.sees('"n": 1')
        await tui.press("2", "e")
        await tui.sees("value · editing")
        tui.browser.value_pane.editor.text = '{"n": 100}'
        other.call(requests.put("scratch", "shared", "k", b'{"n": 2}'))
        await tui.press("ctrl+s")
        await tui.sees("Changed by someone else", '"n": 2')
        await tui.press("right", "right", "enter")
        await tui.sees("Saved.")
    assert json.loads(other.call(requests.get("scratch", "shared", "k")) or b"") == {"n": 100}


@pytest.mark.usefixtures("home")
async def test_a_killed_daemon_comes_back_and_the_place_is_kept() -> None:
    with BlockingClient.open() as client:
        pid = client.call(requests.status())["pid"]
        for name in ("one", "two"):
            client.call(requests.put("local", "kept", name, json.dumps({"name": name}).encode()))
    async with running(open_client) as tui:
        await tui.sees("kept")
        while "keys ─" not in tui.text or '"name": "one"' not in tui.text:
            await tui.press("1", "j")
        await tui.press("2", "j")
        await tui.sees('"name": "two"')
        await tui.press("e")
        await tui.sees("value · editing")
        tui.browser.value_pane.editor.text = '{"name": "mine"}'
        os.kill(pid, signal.SIGKILL)
        await tui.sees("The daemon is back.")
        await tui.press("ctrl+s")
        await tui.sees("Saved.", '"name": "mine"')
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "two"


@pytest.mark.usefixtures("home")
async def test_the_demo_shows_what_the_program_is() -> None:
    async with running(open_client, target=Target(demo=True)) as tui:
        await tui.sees("demo", "keys ─")
        started = time.monotonic()
        for _ in range(8):
            await tui.press("1", "j")
            await tui.sees("key")
        assert time.monotonic() - started < 60


@pytest.mark.parametrize("scheme", ["disk", "file"])
async def test_a_folder_is_opened_without_configuration(home: Path, scheme: str) -> None:
    folder = home / "data-of-mine"
    folder.mkdir()
    async with running(open_client, target=Target(url=f"{scheme}://{folder}")) as tui:
        await tui.sees("data-of-mine")


async def test_what_no_store_wrote_is_gone_to_by_its_name(home: Path) -> None:
    (home / "note.txt").write_text("a foreign file")
    (home / "other.txt").write_text("another one")
    async with running(open_client, target=Target(url=f"file://{home}")) as tui:
        await tui.sees("(no collection)")
        await tui.press("colon")
        await tui.sees("Go to")
        await tui.press("ctrl+u")
        await tui.type(f"file://{home}/(no collection)/other.txt\n")
        await tui.sees("another one", "2 keys")
        await tui.press("2", "t")
        await tui.sees("This file can have no TTL in filetree.")


async def test_a_broken_configuration_names_the_line(home: Path) -> None:
    folder = home / "config" / "kvd"
    folder.mkdir(mode=0o700)
    (folder / "connections.toml").write_text('[connections.cache]\nstore = "rediss"\n')
    async with running(open_client) as tui:
        await tui.sees("did you mean 'redis'")
        assert re.search(r"connections\.toml:2", re.sub(r"\s|│", "", tui.text))
        (folder / "connections.toml").write_text('[connections.cache]\nstore = "memory"\n')
        await tui.press("r")
        await tui.sees("cache", "memory")


async def test_keys_are_cut_into_a_tree_where_the_configuration_says(home: Path, other: BlockingClient) -> None:
    folder = home / "config" / "kvd"
    folder.mkdir(mode=0o700)
    (folder / "connections.toml").write_text('[connections.paths]\nstore = "memory"\nseparators = "/"\n')
    other.call(requests.reload())
    names = ["usr/bin/env", "usr/bin/sh", "usr/a:b", "etc", "\udcff/x"]
    for name in names:
        other.call(requests.put("paths", "files", name, b"{}"))
    async with running(open_client) as tui:
        await tui.sees("5 keys")
        await tui.press("2", "`", "g")
        await tui.until(lambda: re.search(r"▸ usr/ +3 ", tui.text), "the folder")
        await tui.press("l", "l", "l", "j", "j")
        await tui.sees("paths / files / usr/bin/sh")
        await tui.press("h", "space", "d")
        await tui.sees("Delete 2 keys?")
        await tui.press("right", "enter")
        await tui.sees("2 keys deleted", "3 keys ─", "▸ \\xff/")
    for name in names:
        assert (other.call(requests.get("paths", "files", name)) is None) == name.startswith("usr/bin/")


async def test_a_read_only_connection_refuses(home: Path) -> None:
    folder = home / "config" / "kvd"
    folder.mkdir(mode=0o700)
    (folder / "connections.toml").write_text('[connections.frozen]\nstore = "memory"\nread_only = true\n')
    async with running(open_client) as tui:
        await tui.sees("frozen", "read-only")
        await tui.press("a")
        await tui.sees("frozen is read-only.")


async def test_what_expired_and_is_still_stored_is_no_row(home: Path) -> None:
    folder = home / "tree" / "c"
    folder.mkdir(parents=True)
    for key, year in (("old", 2001), ("new", 2999)):
        text = json.dumps(
            {"value": {"key": key}, "created_at": None, "expires_at": f"{year}-01-01T00:00:00+00:00", "version": 1}
        )
        (folder / f"{key}.json").write_text(text)
    async with running(open_client, target=Target(url=str(home / "tree"))) as tui:
        await tui.sees('"key": "new"', "1 key")
        assert "old" not in tui.pane(1)
    assert (folder / "old.json").exists()


@pytest.mark.parametrize("name", ["a\nb\x1b[31m", "[b]not bold[/b]", "\udcff\udcfe", "👩\u200d💻 emoji", "x" * 300])
async def test_odd_keys_are_shown_and_deleted(other: BlockingClient, name: str) -> None:
    other.call(requests.put("scratch", "odd", name, b'{"odd": "yes"}'))
    async with running(open_client) as tui:
        await tui.sees('"odd": "yes"', "1 key")
        await tui.press("2", "d")
        await tui.sees("Delete this key?")
        await tui.press("right", "enter")
        await tui.sees("No keys here")
    assert other.call(requests.get("scratch", "odd", name)) is None
