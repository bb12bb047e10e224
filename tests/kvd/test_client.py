"""The client in coroutines with a real daemon: calls, refusals, changes, and how it ends."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from kvd import client as client_module, link, requests, spawn
from kvd.client import Client
from kvd.errors import Code, ConnectionLostError, RequestError
from kvd.model import ABSENT, Change
from kvd.protocol import MAX_FRAME, PART_SIZE, PROTOCOL
from kvd.requests import Request

pytestmark = pytest.mark.anyio

C = "scratch"


@pytest.fixture
async def client(daemon: Path) -> AsyncIterator[Client]:
    async with await Client.open(daemon) as opened:
        yield opened


async def test_what_is_put_is_got(client: Client, unique_name: str) -> None:
    await client.call(requests.put(C, unique_name, "k", b'{"a": 1}', ttl=50))
    assert await client.call(requests.get(C, unique_name, "k")) == b'{"a": 1}'
    (found,) = await client.call(requests.ttl_many(C, unique_name, ["k"]))
    assert found is not None
    text, ttl = found
    assert text == b'{"a": 1}'
    assert ttl is not None
    assert 20 < ttl <= 50
    assert client.server.pid != os.getpid()
    assert client.server.protocol == PROTOCOL


async def test_many_at_once_are_all_answered(client: Client, unique_name: str) -> None:
    async def one(number: int) -> bytes | None:
        await client.call(requests.put(C, unique_name, f"k{number}", b'{"n": %d}' % number))
        return await client.call(requests.get(C, unique_name, f"k{number}"))

    answers = await asyncio.gather(*(one(number) for number in range(500)))
    assert answers == [b'{"n": %d}' % number for number in range(500)]


async def test_more_than_the_daemon_takes_at_once_wait_their_turn(client: Client, unique_name: str) -> None:
    client._link.limit = 3
    await asyncio.gather(*(client.call(requests.put(C, unique_name, "k", b'{"n": %d}' % number)) for number in range(100)))
    assert await client.call(requests.get(C, unique_name, "k")) == b'{"n": 99}'


async def test_large_values_come_in_parts_and_leave_room_for_others(client: Client, unique_name: str) -> None:
    large = b'{"x": "' + b"y" * (4 * PART_SIZE) + b'"}'
    await client.call(requests.put(C, unique_name, "large", large))
    await client.call(requests.put(C, unique_name, "small", b"{}"))
    done: list[str] = []

    async def get(key: str) -> None:
        assert await client.call(requests.get(C, unique_name, key))
        done.append(key)

    await asyncio.gather(get("large"), get("small"))
    assert sorted(done) == ["large", "small"]


async def test_a_refusal_has_code_and_detail(client: Client, unique_name: str) -> None:
    with pytest.raises(RequestError, match="no connection 'nope'") as caught:
        await client.call(requests.get("nope", None, "k"))
    assert caught.value.code == Code.UNKNOWN_CONNECTION
    await client.call(requests.put(C, unique_name, "k", b"{}"))
    with pytest.raises(RequestError) as caught:
        await client.call(requests.edit(C, unique_name, "k", b'{"a": 1}', expected=ABSENT))
    assert caught.value.code == Code.CONFLICT
    assert caught.value.detail["record"]["body"] == b"{}"


async def test_what_cannot_be_sent_is_refused_here_and_the_connection_goes_on(client: Client, unique_name: str) -> None:
    with pytest.raises(RequestError) as caught:
        await client.call(requests.put(C, unique_name, "k", b"x" * MAX_FRAME))
    assert caught.value.code == Code.TOO_LARGE
    assert caught.value.message.startswith(f"{C}: put of key 'k' takes ")
    assert caught.value.message.endswith(f" bytes, and {MAX_FRAME:,} is the most a request may have")
    with pytest.raises(RequestError) as caught:
        await client.call(Request("get", {"key": object()}, bool))
    assert caught.value.code == Code.BAD_REQUEST
    assert await client.call(requests.get(C, unique_name, "k")) is None


async def test_changes_reach_who_subscribed(client: Client, daemon: Path, unique_name: str) -> None:
    await client.call(requests.connect(C))  # which is an event, whichever test is the first
    changes = client.changes()
    await client.call(requests.subscribe(C))
    async with await Client.open(daemon) as other:
        await other.call(requests.put(C, unique_name, "k", b"{}"))
    change = await asyncio.wait_for(anext(changes), 60)
    assert (change.connection, change.collection, change.keys, change.operation) == (C, unique_name, ["k"], "put")
    await client.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def test_after_the_end_every_call_says_so(daemon: Path) -> None:
    client = await Client.open(daemon)
    await client.aclose()
    await client.aclose()
    await client.closed()
    assert not client.is_open
    with pytest.raises(ConnectionLostError):
        await client.call(requests.status())


async def test_told_requests_are_done_in_turn(client: Client, unique_name: str) -> None:
    client.tell(requests.put(C, unique_name, "k", b"{}"))
    assert await client.call(requests.get(C, unique_name, "k")) == b"{}"


async def test_a_killed_daemon_ends_what_is_in_flight(home: Path) -> None:
    client = await Client.open()
    waiting = [asyncio.create_task(client.call(requests.status())) for _ in range(3)]
    os.kill(client.server.pid, signal.SIGKILL)
    await asyncio.wait_for(client.closed(), 60)
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, (dict, ConnectionLostError))
    async with await Client.open() as again:
        assert again.server.pid != client.server.pid


async def test_a_daemon_that_leaves_says_why(home: Path) -> None:
    client = await Client.open()
    await client.call(requests.stop())
    await asyncio.wait_for(client.closed(), 60)
    with pytest.raises(ConnectionLostError, match=r"the daemon left: .* asked for it"):
        await client.call(requests.status())


async def test_a_reader_of_changes_that_falls_behind_is_told_to_read_again(
    daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_MAX_CHANGES", 3)
    async with await Client.open(daemon) as client:
        changes = client.changes()
        for number in range(5):
            changes.add(Change(sequence=number, connection=C, collection=None, keys=[], operation="put"))
        assert [(await anext(changes)).operation for _ in range(2)] == ["resync", "put"]


async def test_who_no_longer_reads_changes_costs_nothing(client: Client) -> None:
    changes = client.changes()
    assert len(client._link.readers) == 1
    del changes
    assert len(client._link.readers) == 0


async def test_cancelled_while_opening_leaves_no_socket(daemon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[socket.socket] = []

    def find(path: Path) -> socket.socket:
        found.append(spawn.find_or_start(path))
        return found[-1]

    monkeypatch.setattr(client_module, "spawn", SimpleNamespace(find_or_start=find))
    for _ in range(5):
        opening = asyncio.create_task(Client.open(daemon))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    for _ in range(6_000):  # the threads find the daemon later, when nobody waits for them any more
        if len(found) == 5 and all(sock.fileno() < 0 for sock in found):
            break
        await asyncio.sleep(0.01)
    assert [sock.fileno() for sock in found] == [-1] * 5
