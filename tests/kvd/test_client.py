import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from kvd import client as client_module, paths, requests, spawn
from kvd.blocking import BlockingClient
from kvd.client import Client
from kvd.errors import Code, ConnectionLostError, IncompatibleError, RequestError, UnreachableDaemonError
from kvd.frames import Decoder, frame
from kvd.model import ABSENT, Change
from kvd.protocol import MAX_FRAME, MAX_ID, PART_SIZE, PROTOCOL, encode_event, encode_reply
from kvd.requests import Request

pytestmark = pytest.mark.anyio

C = "scratch"


@pytest.fixture
async def client(daemon: Path) -> AsyncIterator[Client]:
    async with await Client.open(daemon) as opened:
        yield opened


# With the daemon


async def test_what_is_put_is_got(client: Client, unique_name: str) -> None:
    await client.call(requests.put(C, unique_name, "k", b'{"a": 1}', ttl=50))
    assert await client.call(requests.get(C, unique_name, "k")) == b'{"a": 1}'
    (found,) = await client.call(requests.ttl_many(C, unique_name, ["k"]))
    assert found is not None
    text, ttl = found
    assert text == b'{"a": 1}'
    assert ttl is not None
    assert 49 < ttl <= 50
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
    with pytest.raises(RequestError) as caught:
        await client.call(Request("get", {"key": object()}, bool))
    assert caught.value.code == Code.BAD_REQUEST
    assert await client.call(requests.get(C, unique_name, "k")) is None


async def test_changes_reach_who_subscribed(client: Client, daemon: Path, unique_name: str) -> None:
    changes = client.changes()
    await client.call(requests.subscribe(C))
    async with await Client.open(daemon) as other:
        await other.call(requests.put(C, unique_name, "k", b"{}"))
    change = await asyncio.wait_for(anext(changes), 5)
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
    await asyncio.wait_for(client.closed(), 5)
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, (dict, ConnectionLostError))
    async with await Client.open() as again:
        assert again.server.pid != client.server.pid


async def test_a_daemon_that_leaves_says_why(home: Path) -> None:
    client = await Client.open()
    await client.call(requests.stop())
    await asyncio.wait_for(client.closed(), 5)
    with pytest.raises(ConnectionLostError, match=r"the daemon left: .* asked for it"):
        await client.call(requests.status())


# With a daemon that misbehaves


Script = Callable[[socket.socket, int, str, Any], None]


@contextmanager
def misbehaving(home: Path, script: Script) -> Iterator[Path]:
    """Serves one client after the other with a script that gets each request."""
    path = home / "socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                decoder = Decoder()
                while data := sock.recv(65536):
                    for body in decoder.take(data):
                        _, number, method, params, *_ = msgpack.unpackb(body)
                        try:
                            script(sock, number, method, params)
                        except OSError:
                            break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield path
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def answer(sock: socket.socket, number: int, result: Any) -> None:
    sock.sendall(frame(encode_reply(number, None, result)))


def greet(sock: socket.socket, number: int) -> None:
    answer(sock, number, {"protocol": 1, "version": "9", "pid": 1, "new": "field", "limits": {"max_in_flight": 50}})


async def test_giving_up_cancels_in_the_daemon(home: Path) -> None:
    seen: list[tuple[str, Any]] = []

    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        seen.append((method, params.get("id", number)))
        if method == "hello":
            greet(sock, number)
        elif method == "cancel":
            sock.sendall(frame(encode_reply(params["id"], {"code": "cancelled", "message": "", "retry": False})))
            answer(sock, number, True)
        elif method == "ping":
            answer(sock, number, None)

    with misbehaving(home, script) as path:
        async with await Client.open(path, spawn=False) as client:
            task = asyncio.create_task(client.call(requests.status()))
            await client.call(Request("ping", {}, lambda _: None))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await client.call(Request("ping", {}, lambda _: None))
            (asked,) = [number for method, number in seen if method == "status"]
            assert ("cancel", asked) in seen
            assert client._link._waiters == {}
            unsent = asyncio.create_task(client.call(requests.status()))
            await asyncio.sleep(0)
            unsent.cancel()
            await client.call(Request("ping", {}, lambda _: None))
            assert client._link._waiters == {}


async def test_ids_wrap_around_those_in_flight(home: Path) -> None:
    numbers: list[int] = []

    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        if method == "hello":
            greet(sock, number)
        elif method == "ping":
            numbers.append(number)
            answer(sock, number, None)

    with misbehaving(home, script) as path:
        async with await Client.open(path, spawn=False) as client:
            waiting = asyncio.create_task(client.call(requests.status()))
            await asyncio.sleep(0)
            (held,) = client._link._waiters
            client._link._last_id = MAX_ID - 1
            for _ in range(4):
                await client.call(Request("ping", {}, lambda _: None))
            assert held not in numbers
            assert numbers == [MAX_ID, 0, *[number for number in (1, 2, 3) if number != held][:2]]
            waiting.cancel()


async def test_a_daemon_of_another_version_is_named(home: Path) -> None:
    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        error = {"code": "version_mismatch", "message": "no", "retry": False, "detail": {"version": "7.1"}}
        sock.sendall(frame(encode_reply(number, error)))

    with misbehaving(home, script) as path:
        with pytest.raises(IncompatibleError, match=r"the running daemon is 7\.1.*kvd restart"):
            await Client.open(path, spawn=False)
        with pytest.raises(IncompatibleError, match=r"7\.1"):
            BlockingClient.open(path, spawn=False)
        with BlockingClient.open(path, spawn=False, greet=False) as client, pytest.raises(RequestError, match="no"):
            client.call(requests.status())


async def test_a_daemon_that_turns_away_says_why(home: Path) -> None:
    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        sock.sendall(frame(encode_reply(None, {"code": "too_many", "message": "it is full", "retry": True})))
        sock.shutdown(socket.SHUT_RDWR)

    with misbehaving(home, script) as path:
        with pytest.raises(UnreachableDaemonError, match="it is full"):
            await Client.open(path, spawn=False)
        with pytest.raises(UnreachableDaemonError, match="it is full"):
            BlockingClient.open(path, spawn=False)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        frame(b"\xc1"),
        frame(b"hello"),
        frame(msgpack.packb([1, "id", None, None])),
        frame(msgpack.packb([3, 1, True, "text"])),
        frame(msgpack.packb([3, 1, True, msgpack.packb([3, 1, True, b""])])),
        frame(msgpack.packb([[[]]])),
    ],
)
async def test_a_daemon_that_breaks_the_protocol_ends_the_connection(home: Path, garbage: bytes) -> None:
    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        if method == "hello":
            greet(sock, number)
        else:
            sock.sendall(garbage)

    with misbehaving(home, script) as path:
        async with await Client.open(path, spawn=False) as client:
            with pytest.raises(ConnectionLostError, match="broke the protocol"):
                await client.call(requests.status())
        with BlockingClient.open(path, spawn=False) as blocking, pytest.raises(ConnectionLostError, match="broke the protocol"):
            blocking.call(requests.status())


async def test_answers_to_nobody_are_let_go(home: Path) -> None:
    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        if method == "hello":
            greet(sock, number)
        else:
            answer(sock, number + 1000, "not yours")
            sock.sendall(frame(encode_event("news", {"from": "a newer daemon"})))
            answer(sock, number, {"ok": True})

    with misbehaving(home, script) as path:
        async with await Client.open(path, spawn=False) as client:
            assert await client.call(requests.status()) == {"ok": True}
            assert client._link._waiters == {}
        with BlockingClient.open(path, spawn=False) as blocking:
            assert blocking.call(requests.status()) == {"ok": True}


async def test_a_stuck_daemon_is_not_waited_for_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_HELLO_TIMEOUT", 0.2)
    monkeypatch.setattr(client_module, "_GRACE", 0.1)
    with misbehaving(home, lambda *_: None) as path, pytest.raises(UnreachableDaemonError, match="does not answer"):
        await Client.open(path, spawn=False)
    path.unlink()

    def only_greet(sock: socket.socket, number: int, method: str, params: Any) -> None:
        if method == "hello":
            greet(sock, number)

    with misbehaving(home, only_greet) as path:
        async with await Client.open(path, spawn=False) as client:
            with pytest.raises(RequestError) as caught:
                await client.call(Request("status", {}, dict, timeout=0.1))
            assert caught.value.code == Code.DEADLINE
        with BlockingClient.open(path, spawn=False) as blocking:
            blocking_request = Request("status", {}, dict, timeout=0.1)
            monkeypatch.setattr("kvd.blocking._GRACE", 0.1)
            with pytest.raises(RequestError) as caught:
                blocking.call(blocking_request)
            assert caught.value.code == Code.DEADLINE


async def test_a_reader_of_changes_that_falls_behind_is_told_to_read_again(
    daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_MAX_CHANGES", 3)
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


async def test_cancelled_while_opening_leaves_no_socket(daemon: Path) -> None:
    for _ in range(5):
        opening = asyncio.create_task(Client.open(daemon))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    with BlockingClient.open(daemon) as client:
        for _ in range(100):
            if client.call(requests.status())["clients"] == 1:
                break
            await asyncio.sleep(0.02)
        assert client.call(requests.status())["clients"] == 1


# The blocking client


def test_threads_share_a_blocking_client(daemon: Path, unique_name: str) -> None:
    with BlockingClient.open(daemon) as client:
        found: list[bytes | None] = []

        def work(number: int) -> None:
            for _ in range(20):
                client.call(requests.put(C, unique_name, f"k{number}", b'{"n": %d}' % number))
                found.append(client.call(requests.get(C, unique_name, f"k{number}")))

        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == sorted(b'{"n": %d}' % number for number in range(8) for _ in range(20))  # type: ignore[type-var] # none is missing


def test_a_blocking_client_is_not_shared_across_a_fork(daemon: Path) -> None:
    with BlockingClient.open(daemon) as client:
        child = os.fork()
        if child == 0:
            try:
                client.call(requests.status())
            except ConnectionLostError as error:
                os._exit(0 if "fork" in str(error) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.call(requests.status())["clients"] >= 1


def test_a_fork_in_the_middle_of_a_request_leaves_no_lock_behind(daemon: Path) -> None:
    with BlockingClient.open(daemon) as client:
        with client._lock:  # as another thread would while it asks
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                try:
                    client.call(requests.status())
                except ConnectionLostError as error:
                    os._exit(0 if "fork" in str(error) else 2)
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.call(requests.status())["clients"] >= 1


def test_an_interrupted_request_ends_the_blocking_client(daemon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = BlockingClient.open(daemon)

    def interrupt() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.call(requests.status())
    with pytest.raises(ConnectionLostError, match="interrupted"):
        client.call(requests.status())


def test_a_closed_blocking_client_says_so(daemon: Path) -> None:
    client = BlockingClient.open(daemon)
    client.close()
    client.close()
    with pytest.raises(ConnectionLostError, match="was closed"):
        client.call(requests.status())


def test_a_blocking_client_whose_daemon_left_says_so(home: Path) -> None:
    client = BlockingClient.open()
    client.call(requests.stop())
    assert spawn.wait_until_gone(paths.socket_path(), 5)
    with pytest.raises(ConnectionLostError):
        client.call(requests.status())
