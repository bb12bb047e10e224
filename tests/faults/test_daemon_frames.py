"""What clients can do to the daemon's wire: none of it hurts the daemon or the other clients."""

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.daemonkit import Daemon, RawClient, eventually, running


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running() as daemon:
        yield daemon
        assert "Traceback" not in daemon.said()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[RawClient]:
    with daemon.client() as client:
        yield client


def prefixed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (struct.pack(">I", 0), "bad_request"),
        (struct.pack(">I", 2**32 - 1), "too_large"),
        (struct.pack(">I", (16 << 20) + 1), "too_large"),
        (prefixed(b"\xc1"), "bad_request"),
        (prefixed(b"\x91" * 5000 + b"\xc0"), "too_deep"),
        (prefixed(msgpack.packb({"a": 1})), "bad_request"),
        (prefixed(msgpack.packb([0, "x", "ping", {}])), "bad_request"),
        (prefixed(b"\xdd" + struct.pack(">I", 1 << 20) + b"\x90" * (1 << 20)), "too_many"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "too_large"),
    ],
)
def test_what_is_no_request_is_told_so_and_the_connection_ends(
    daemon: Daemon, client: RawClient, data: bytes, code: str
) -> None:
    with daemon.client() as bad:
        bad.socket.sendall(data)
        error, _ = bad.reply(None)
        assert error["code"] == code
        assert bad.read() is None
    client.call("ping")


def test_an_id_in_flight_cannot_be_used_again(daemon: Daemon) -> None:
    with daemon.client() as client:
        twice = client.frame([0, 5, "demo", {}])
        client.socket.sendall(twice + twice)
        assert client.reply(None)[0]["code"] == "bad_request"
        assert client.read() is None


def test_an_answered_id_can_and_ids_wrap(client: RawClient) -> None:
    for number in (2**32 - 1, 0, 0):
        client.send([0, number, "ping", {}])
        assert client.reply(number) == (None, None)
    client.send([0, 1, "ping", {}, {"timeout": -1}])
    client.send([0, 2, "get", {"connection": "scratch", "key": "k"}, {"timeout": 5, "later": "version"}])
    assert client.reply(2) == (None, None)


def test_one_byte_at_a_time(client: RawClient) -> None:
    for byte in client.frame([0, 900, "put", {"connection": "scratch", "key": "slow", "value": b"{}"}]):
        client.socket.sendall(bytes([byte]))
    assert client.reply(900) == (None, None)


def test_half_a_frame_and_silence_disturbs_nobody(daemon: Daemon, client: RawClient) -> None:
    with daemon.client() as half, daemon.client() as body:
        half.socket.sendall(b"\0\0")
        body.socket.sendall(struct.pack(">I", 16 << 20) + b"x" * 1000)
        for _ in range(100):
            client.call("ping")
        half.socket.sendall(half.frame([0, 1, "ping", {}])[2:])
        assert half.reply(1) == (None, None)


def test_a_request_at_the_limit_passes_and_one_byte_over_does_not(daemon: Daemon, client: RawClient) -> None:
    def request(size: int) -> bytes:
        empty = len(
            client.frame([0, 1, "put", {"connection": "scratch", "key": "max", "value": b'{"v":"' + b"x" * (1 << 20) + b'"}'}])
        )
        value = b'{"v":"' + b"x" * (size - empty + 4 + (1 << 20)) + b'"}'
        return client.frame([0, 1, "put", {"connection": "scratch", "key": "max", "value": value}])

    assert len(request(16 << 20)) == (16 << 20) + 4
    client.socket.sendall(request(16 << 20))
    assert client.reply(1) == (None, None)
    assert len(client.call("get", connection="scratch", key="max")) > 15 << 20
    with daemon.client() as over:
        try:
            over.socket.sendall(request((16 << 20) + 1))
        except (BrokenPipeError, ConnectionResetError):
            return  # it was refused while it was still being sent
        assert over.read() is None or over.replies == {}


def test_a_reply_over_the_limit_is_refused_in_its_place(client: RawClient) -> None:
    for number in range(5):
        client.call("put", connection="scratch", collection="big", key=f"{number}", value=b'{"v":"' + b"x" * (14 << 20) + b'"}')
    keys = [f"{number}" for number in range(5)]
    assert client.refused("get_many", connection="scratch", collection="big", keys=keys)["code"] == "too_large"
    assert len(client.call("get_many", connection="scratch", collection="big", keys=keys[:4])) == 4
    client.call("destroy_collection", connection="scratch", collection="big")


def test_hostile_bodies_are_refused_before_they_cost_memory(daemon: Daemon, client: RawClient) -> None:
    client.call("ping")
    before = daemon.memory()
    for filling in (b"\x90", b"\x80", b"\xc0", b"\xa1x"):
        body = b"\x94\x00\x01\xa1m\x81\xa1a"
        count = ((16 << 20) - 200_000) // len(filling)
        rows = count // 9_000
        body += b"\xdc" + struct.pack(">H", rows) + (b"\xdc" + struct.pack(">H", 9_000) + filling * 9_000) * rows
        with daemon.client() as bad:
            bad.socket.sendall(prefixed(body))
            assert bad.reply(1)[0]["code"] == "too_many"
            bad.call("ping")
    assert daemon.memory() - before < 80 << 20


def test_a_client_that_never_reads_costs_a_bounded_memory(daemon: Daemon, client: RawClient) -> None:
    client.call("put", connection="scratch", key="mb", value=b'{"v":"' + b"x" * (1 << 20) + b'"}')
    before = daemon.memory()
    with daemon.client() as deaf:
        deaf.socket.setblocking(False)
        request = deaf.frame([0, 7, "get", {"connection": "scratch", "key": "mb"}])
        sent = 0
        deadline = time.monotonic() + 3.0
        while sent < 2_000 and time.monotonic() < deadline:
            try:
                deaf.socket.send(request)
                sent += 1
            except BlockingIOError:
                break
        for _ in range(50):
            client.call("ping")
        assert daemon.memory() - before < 64 << 20


def test_a_subscriber_that_does_not_read_is_told_to_read_again(daemon: Daemon, client: RawClient) -> None:
    with daemon.client() as deaf:
        deaf.call("subscribe", connection="scratch")
        for number in range(6000):
            key = f"{number:06}" + "x" * 200
            client.call("put", connection="scratch", collection="flood", key=key, value=b"{}")
        changes: list[dict[str, Any]] = []
        while not changes or changes[-1]["keys"][:1] != ["last"]:
            changes.append(deaf.event()[1])
            if changes[-1]["operation"] == "resync":
                client.call("put", connection="scratch", collection="flood", key="last", value=b"{}")
        assert "resync" in [change["operation"] for change in changes]
        sequences = [change["sequence"] for change in changes]
        assert sequences == sorted(sequences)
        assert sequences[-1] > len(sequences)


def test_thousands_of_waiting_requests_and_a_disconnect() -> None:
    """The opening of a store that hangs keeps all of them waiting."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f'url = "redis://127.0.0.1:{silent.getsockname()[1]}/0"\ntimeout = 600.0\n'
        config = f'[connections.silent]\nstore = "redis"\nconnect_timeout = 600\n[connections.silent.args]\n{url}'
        with running(config) as daemon, daemon.client() as client:
            with daemon.client() as crowd:
                for _ in range(5001):
                    crowd.ask("connect", {"connection": "silent"}, timeout=600)
                refused = 0
                while crowd.replies or refused < 900:
                    message = crowd.read()
                    if message[0] == 1:
                        assert message[2]["code"] == "too_many"
                        refused += 1
                for _ in range(20):
                    client.call("ping")
            eventually(lambda: client.call("status")["clients"] == 1)
            assert "Traceback" not in daemon.said()


def test_a_stopped_client_holds_nobody_up(daemon: Daemon, client: RawClient) -> None:
    asked, tell = os.pipe()
    child = os.fork()
    if not child:
        with daemon.client() as stopped:
            stopped.socket.sendall(stopped.frame([0, 50, "get", {"connection": "scratch", "key": "mb"}]) * 1)
            os.write(tell, b"!")
            signal.pause()
    try:
        os.read(asked, 1)
        os.kill(child, signal.SIGSTOP)
        for _ in range(200):
            client.call("ping")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(asked)
        os.close(tell)
