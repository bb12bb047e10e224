"""Both clients with a daemon that misbehaves: silent, of another version, full, or out of the protocol."""

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from kvd import client as client_module, requests
from kvd.blocking import BlockingClient
from kvd.client import Client
from kvd.errors import Code, ConnectionLostError, IncompatibleError, RequestError, UnreachableDaemonError
from kvd.frames import frame
from kvd.protocol import MAX_ID, encode_event, encode_reply
from kvd.requests import Request
from tests.kvd.scripted import answer, greet, scripted

pytestmark = pytest.mark.anyio


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

    with scripted(home, script) as path:
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
            with pytest.raises(asyncio.CancelledError):
                await unsent
            await client.call(Request("ping", {}, lambda _: None))
            assert client._link._waiters == {}


async def test_a_client_ends_though_the_daemon_reads_nothing_any_more(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "GRACE", 0.2)
    read_on = threading.Event()

    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        if method == "hello":
            greet(sock, number)
        else:
            read_on.wait(60)

    with scripted(home, script) as path:
        client = await Client.open(path, spawn=False)
        try:
            client.tell(requests.status())
            large = asyncio.create_task(client.call(requests.put("scratch", None, "k", b" " * (8 << 20))))
            await asyncio.sleep(0.01)
            async with asyncio.timeout(30):
                await client.aclose()
            with pytest.raises(ConnectionLostError):
                await large
        finally:
            read_on.set()


async def test_ids_wrap_around_those_in_flight(home: Path) -> None:
    numbers: list[int] = []

    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        if method == "hello":
            greet(sock, number)
        elif method == "ping":
            numbers.append(number)
            answer(sock, number, None)

    with scripted(home, script) as path:
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

    with scripted(home, script) as path:
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

    with scripted(home, script) as path:
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

    with scripted(home, script) as path:
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

    with scripted(home, script) as path:
        async with await Client.open(path, spawn=False) as client:
            assert await client.call(requests.status()) == {"ok": True}
            assert client._link._waiters == {}
        with BlockingClient.open(path, spawn=False) as blocking:
            assert blocking.call(requests.status()) == {"ok": True}


async def test_a_stuck_daemon_is_not_waited_for_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, scripted(home, lambda *_: None) as path:
        patch.setattr(client_module, "HELLO_TIMEOUT", 0.2)
        with pytest.raises(UnreachableDaemonError, match="does not answer"):
            await Client.open(path, spawn=False)
    path.unlink()
    monkeypatch.setattr(client_module, "GRACE", 0.1)

    def only_greet(sock: socket.socket, number: int, method: str, params: Any) -> None:
        if method == "hello":
            greet(sock, number)

    with scripted(home, only_greet) as path:
        async with await Client.open(path, spawn=False) as client:
            with pytest.raises(RequestError) as caught:
                await client.call(Request("status", {}, dict, timeout=0.1))
            assert caught.value.code == Code.DEADLINE
        with BlockingClient.open(path, spawn=False) as blocking:
            blocking_request = Request("status", {}, dict, timeout=0.1)
            monkeypatch.setattr("kvd.blocking.GRACE", 0.1)
            with pytest.raises(RequestError) as caught:
                blocking.call(blocking_request)
            assert caught.value.code == Code.DEADLINE
