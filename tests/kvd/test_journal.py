"""The journal beside its backends: what is told, whose steps are whose, and what several clients do at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvd import requests
from kvd.client import Client
from kvd.errors import RequestError
from kvd.model import Change as Event, Undone
from kvd.protocol import MAX_IMAGE, MAX_JOURNAL, MAX_TITLE
from kvd.requests import Request, journalled, new_step
from tests.daemonkit import SPARE, Daemon, running

pytestmark = pytest.mark.anyio

C = "scratch"


@pytest.fixture(scope="module")
def server() -> Iterator[Daemon]:
    with running() as daemon:
        yield daemon
        assert "Traceback" not in daemon.said()


@pytest.fixture
async def client(server: Daemon) -> AsyncIterator[Client]:
    async with await Client.open(server.socket, spawn=False) as opened:
        yield opened


@pytest.fixture
async def other(server: Daemon) -> AsyncIterator[Client]:
    async with await Client.open(server.socket, spawn=False) as opened:
        yield opened


async def do(client: Client, *writes: Request[Any], title: str | None = None) -> str:
    step = new_step()
    for write in writes:
        await client.call(journalled(write, step, title))
    return step


async def undone(client: Client, step: str | None = None, **more: Any) -> Undone:
    done = await client.call(requests.undo(step, **more))
    assert done is not None
    return done


async def refusal(client: Client, step: str) -> str:
    with pytest.raises(RequestError) as refused:
        await client.call(requests.undo(step))
    return refused.value.code


async def texts(client: Client, name: str, *keys: str) -> list[bytes | None]:
    return await client.call(requests.get_many(C, name, keys))


# What is told


async def test_a_title_may_hold_anything_and_is_cut(client: Client, unique_name: str) -> None:
    step = await do(client, requests.put(C, unique_name, "\udcff\n", b"{}"), title="put \udcff\n" + "x" * 500)
    [told] = await client.call(requests.steps(step=step))
    assert told.title is not None
    assert told.title.startswith("put \\udcff\nxxx")
    assert len(told.title) == MAX_TITLE
    assert told.changes[0].key == "\udcff\n"


async def test_steps_tell_what_was_done(client: Client, unique_name: str) -> None:
    await client.call(requests.put(C, unique_name, "b", b'{"n": 1}'))
    step = await do(
        client,
        requests.edit(C, unique_name, "a", b'{"n": 1}', ttl=60),
        requests.edit(C, unique_name, "b", b'{"n": 2}'),
        requests.expire(C, None, "nothing there", 5),
        requests.expire(C, unique_name, "b", None),
        requests.put(C, None, "c", b'{"long": "%s"}' % (b"x" * 2000)),
        requests.delete_many(C, unique_name, ["a", "none"]),
        title="this and that",
    )
    [told] = await client.call(requests.steps(step=step))
    assert (told.title, told.connection, told.state, told.count, told.why) == ("this and that", C, "done", 3, None)
    shown = {(change.collection, change.key): change for change in told.changes}
    assert shown[unique_name, "a"].operation == "delete"
    assert (shown[unique_name, "b"].operation, shown[unique_name, "b"].ttl) == ("expire", None)
    assert (shown["default_collection", "c"].operation, shown["default_collection", "c"].value) == ("put", None)
    kept = await do(client, requests.edit(C, unique_name, "b", b'{"n": 3}'))
    [told] = await client.call(requests.steps(connection=C, limit=1))
    assert told.step == kept
    [change] = told.changes
    assert (change.value, change.keeps_ttl, change.ttl, change.done) == (b'{"n": 3}', True, None, True)
    assert (await client.call(requests.steps(connection="frozen"))) == []
    assert await undone(client, step) == Undone(
        step=step, title="this and that", connection=C, changed=2, left=0, problems=(await undone(client, step)).problems
    )
    assert await texts(client, unique_name, "a", "b") == [None, b'{"n": 3}']


async def test_a_step_belongs_to_one_connection(client: Client, unique_name: str) -> None:
    step = await do(client, requests.put(C, unique_name, "k", b"{}"))
    with pytest.raises(RequestError, match="is one of connection scratch") as refused:
        await client.call(journalled(requests.put("open", unique_name, "k", b"{}"), step))
    assert refused.value.code == "bad_request"
    assert await client.call(requests.get("open", unique_name, "k")) is None


# Undo


async def test_the_latest_is_undone_first_and_redone_last(client: Client, unique_name: str) -> None:
    steps = [await do(client, requests.put(C, unique_name, key, b"{}")) for key in "abc"]
    assert [(await undone(client, connection=C)).step for _ in steps] == steps[::-1]
    again = [await client.call(requests.redo()) for _ in range(4)]
    assert [one and one.step for one in again] == [*steps, None]
    assert await texts(client, unique_name, *"abc") == [b"{}"] * 3
    assert (await undone(client, steps[0])).changed == 1
    redone = await client.call(requests.redo())
    assert redone is not None
    assert redone.step == steps[0]
    assert (await undone(client, steps[0])).changed == 1
    assert (await undone(client, steps[0])).changed == 0


async def test_something_new_drops_what_could_be_redone(client: Client, unique_name: str) -> None:
    step = await do(client, requests.put(C, unique_name, "k", b"{}"))
    await undone(client, step)
    await do(client, requests.put("open", unique_name, "k", b"{}"))
    assert await client.call(requests.redo()) is None
    done = await client.call(requests.redo(step))
    assert done is not None
    assert (done.changed, [problem.reason for problem in done.problems]) == (0, ["impossible"])
    [told] = await client.call(requests.steps(step=step))
    assert (told.state, told.can_redo, told.why) == ("undone", 0, "something new was done since it was undone")


async def test_undos_in_a_row_take_a_step_each(client: Client, unique_name: str) -> None:
    for key in ("a", "b", "c"):
        await do(client, requests.put(C, unique_name, key, b"{}"))
    done = await asyncio.gather(*(undone(client) for _ in range(3)))
    assert len({one.step for one in done}) == 3
    assert await texts(client, unique_name, "a", "b", "c") == [None] * 3


async def test_two_clients_undo_the_same_step_at_once(client: Client, other: Client, unique_name: str) -> None:
    keys = [f"k{number}" for number in range(400)]
    await client.call(requests.put_many(C, unique_name, keys, [b"{}"] * 400))
    step = await do(client, requests.delete_many(C, unique_name, keys))
    done = await asyncio.gather(*(undone(one, step) for one in (client, other, client, other)))
    assert sum(one.changed for one in done) == 400
    assert not any(one.problems for one in done)
    assert await texts(client, unique_name, *keys) == [b"{}"] * 400


async def test_what_was_asked_before_on_the_line_comes_before(client: Client, unique_name: str) -> None:
    keys = [f"k{number}" for number in range(300)]
    await client.call(requests.put_many(C, unique_name, keys, [b"{}"] * 300))
    step = new_step()
    deleting = asyncio.create_task(client.call(journalled(requests.delete_many(C, unique_name, keys), step)))
    await asyncio.sleep(0)
    assert await refusal(client, step) in {"conflict", "unknown_step"}
    assert await deleting == 300
    _, found = await asyncio.gather(undone(client, step, limit=300), texts(client, unique_name, *keys))
    assert found == [b"{}"] * 300


async def test_undo_makes_events(client: Client, other: Client, unique_name: str) -> None:
    changes = other.changes()
    await other.call(requests.subscribe(C))
    await client.call(requests.put(C, unique_name, "b", b"{}"))
    step = await do(client, requests.put(C, unique_name, "a", b"{}"), requests.delete_many(C, unique_name, ["b"]))
    await undone(client, step)
    seen: list[Event] = [await asyncio.wait_for(anext(changes), 10) for _ in range(5)]
    assert [(change.operation, change.keys) for change in seen[:3]] == [("put", ["b"]), ("put", ["a"]), ("delete", ["b"])]
    assert {(change.operation, change.keys[0]) for change in seen[3:]} == {("delete", "a"), ("put", "b")}


async def test_ten_thousand_keys(client: Client, server: Daemon, unique_name: str) -> None:
    keys = [f"k{number}" for number in range(10_000)]
    for start in range(0, 10_000, 1_000):
        piece = keys[start : start + 1_000]
        await client.call(requests.put_many(C, unique_name, piece, [b'{"key": "%s"}' % key.encode() for key in piece]))
    before = server.memory()
    step = new_step()
    for start in range(0, 10_000, 1_000):
        await client.call(journalled(requests.delete_many(C, unique_name, keys[start : start + 1_000]), step))
    [told] = await client.call(requests.steps(step=step))
    assert told.count == told.can_undo == 10_000
    assert len(told.changes) < 2_000
    assert server.memory() - before < 40 << 20
    left = [10_000]
    while left[-1]:
        left.append((await undone(client, step)).left)
    assert len(left) == 51
    assert [len(text or b"") for text in await texts(client, unique_name, *keys)] == [len(key) + 11 for key in keys]


# What cannot be undone


async def test_what_is_destroyed_cannot_be_undone_and_says_so(client: Client, unique_name: str) -> None:
    await client.call(requests.put("open", unique_name, "k", b"{}"))
    step = await do(client, requests.destroy_collection("open", unique_name), requests.destroy("open"))
    [told] = await client.call(requests.steps(step=step))
    assert [(change.operation, change.collection, change.key) for change in told.changes] == [
        ("destroy", unique_name, None),
        ("destroy", None, None),
    ]
    assert (told.state, told.can_undo) == ("done", 0)
    done = await undone(client, step)
    assert (done.changed, [problem.reason for problem in done.problems]) == (0, ["impossible"] * 2)
    latest = await client.call(requests.undo(connection="open"))
    assert latest is None or latest.step != step


async def test_what_replaces_something_too_large_is_done_and_says_so(client: Client, unique_name: str) -> None:
    large = b'{"a": "%s"}' % (b"x" * (MAX_IMAGE - 500_000))
    await client.call(requests.put(C, unique_name, "k", large))
    step = await do(client, requests.delete(C, unique_name, "k"))
    assert (await undone(client, step)).changed == 1  # it fits
    [told] = await client.call(requests.steps(step=step))
    assert told.state == "undone"
    # what is stored is longer than what was sent: quotes and letters beyond ASCII are written out
    await client.call(requests.put(C, unique_name, "k", b'{"a": "%s"}' % ("é" * 4_000_000).encode()))
    await client.call(requests.put(C, unique_name, "other", b"{}"))
    step = await do(client, requests.delete(C, unique_name, "k"), requests.put(C, unique_name, "other", b"{}"))
    [told] = await client.call(requests.steps(step=step))
    assert [change.why for change in told.changes] == ["what it replaced has over 16 MiB", None]
    done = await undone(client, step)
    assert (done.changed, [(problem.key, problem.reason) for problem in done.problems]) == (1, [("k", "impossible")])


async def test_a_store_that_cannot_compare_is_written_all_the_same(client: Client) -> None:
    name = (await client.call(requests.open_url("null:"))).connection
    step = await do(client, requests.put(name, "c", "k", b"{}"), requests.put_many(name, "c", ["a", "b"], [b"{}"] * 2))
    [told] = await client.call(requests.steps(step=step))
    assert {change.why for change in told.changes} == {"null stores cannot compare and set"}
    assert (await undone(client, step)).changed == 0


async def test_the_daemon_stays_within_its_bounds(unique_name: str) -> None:
    with running() as daemon:
        async with await Client.open(daemon.socket, spawn=False) as client:
            text = b'{"a": "%s"}' % (b"x" * (6 << 20))
            for _ in range(25):
                await do(client, requests.put(C, unique_name, "k", text))
            told = (await client.call(requests.status()))["journal"]
            assert told["bytes"] <= MAX_JOURNAL
            assert 9 <= told["steps"] <= 11
            assert daemon.memory() < 300 << 20


# Whose steps are whose


async def test_the_steps_of_a_demo_are_its_client_s_and_leave_with_it(server: Daemon, other: Client) -> None:
    async with await Client.open(server.socket, spawn=False) as client:
        demo = (await client.call(requests.open_demo())).connection
        step = await do(client, requests.delete(demo, "users", "user:0001"))
        assert await other.call(requests.steps(step=step)) == []
        assert await refusal(other, step) == "unknown_connection"
        assert (await undone(client, step)).changed == 1
        await client.call(requests.redo(step))
    async with asyncio.timeout(60):
        while await refusal(other, step) != "unknown_step":  # noqa: ASYNC110 - until it is noticed that the client left
            await asyncio.sleep(0.01)


async def test_the_steps_of_a_url_wait_until_it_is_opened_again(server: Daemon, other: Client, tmp_path: Path) -> None:
    (tmp_path / "tree" / "c").mkdir(parents=True)
    url = f"file://{tmp_path}/tree"
    async with await Client.open(server.socket, spawn=False) as client:
        name = (await client.call(requests.open_url(url))).connection
        await client.call(requests.put(name, "c", "k", b'{"n": 1}'))
        step = await do(client, requests.delete(name, "c", "k"))
    latest = await other.call(requests.undo())
    assert latest is None or latest.step != step
    assert await refusal(other, step) == "unknown_connection"
    await other.call(requests.open_url(url))
    assert (await undone(other, step)).changed == 1
    assert await other.call(requests.get(name, "c", "k")) == b'{"n": 1}'


async def test_what_the_configuration_changes(tmp_path: Path) -> None:
    def tree(folder: str, more: str = "") -> str:
        return f'{SPARE}\n[connections.tree]\nstore = "filetree"\n{more}\nargs.data_directory = "{tmp_path}/{folder}"\n'

    with running(tree("one")) as daemon:
        async with await Client.open(daemon.socket, spawn=False) as client:
            await client.call(requests.put("tree", "c", "k", b'{"n": 1}'))
            step = await do(client, requests.delete("tree", "c", "k"))
            memory = await do(client, requests.put(C, "c", "k", b"{}"))
            daemon.config.write_text(tree("one", "read_only = true"))
            await client.call(requests.reload())
            assert await refusal(client, step) == "read_only"
            daemon.config.write_text(tree("one", "production = true"))
            await client.call(requests.reload())
            assert (await undone(client, step)).changed == 1
            daemon.config.write_text(tree("two"))
            await client.call(requests.reload())
            assert await refusal(client, step) == "unknown_step"
            assert [one.step for one in await client.call(requests.steps())] == [memory]
            daemon.config.write_text(SPARE.replace("[connections.scratch]", "[connections.renamed]"))
            await client.call(requests.reload())
            assert (await undone(client, memory)).changed == 1  # what holds entries stays
