"""Backends that reset, answer garbage, answer nothing, or cannot even be imported: clear errors, and nobody else waits."""

import errno
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from tests.daemonkit import ROOT, Daemon, RawClient, eventually, running
from tests.faults.proxy import Proxy, proxied
from tests.servers.lease import Server

CONFIG = """
[connections.scratch]
store = "memory"

[connections.remote]
store = "redis"
timeout = 1
[connections.remote.args]
url = "redis://127.0.0.1:{port}/0"
"""
GARBAGE = [
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    b"$-17\r\n",
    b"$99999999999999999999\r\n",
    b"*100000\r\n",
    b"*1\r\n" * 3000,
    b":not a number\r\n",
    bytes(range(256)),
    b"$5\r\n[1,2]\r\n" * 20,
]


@pytest.fixture
def proxy(redis: Server, portal: BlockingPortal) -> Iterator[Proxy]:
    with proxied(portal, *redis.address) as proxy:
        yield proxy


@pytest.fixture
def daemon(proxy: Proxy) -> Iterator[Daemon]:
    with running(CONFIG.format(port=proxy.port)) as daemon:
        yield daemon
        assert "Traceback" not in daemon.said()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[RawClient]:
    """A client of a daemon that has imported its driver and connected, and holds an entry to read."""

    def is_written() -> bool:
        error, _ = opened.reply(opened.ask("put", {"connection": "remote", "key": "k", "value": b'{"n": 1}'}))
        return error is None

    with daemon.client() as opened:
        eventually(is_written)
        yield opened


def works_again(client: RawClient, **options: float) -> bool:
    return client.reply(client.ask("get", {"connection": "remote", "key": "k"}, **options)) == (None, b'{"n": 1}')


def waits(client: RawClient, seconds: float) -> list[float]:
    """How long answers from the memory store took, in seconds, the longest last."""
    until, took = time.monotonic() + seconds, [0.0] * 10
    while time.monotonic() < until:
        began = time.perf_counter()
        client.call("get", connection="scratch", key="k")
        took.append(time.perf_counter() - began)
    return sorted(took)


@pytest.mark.parametrize("answer", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_an_error_and_the_next_answers_are_right(
    answer: bytes, client: RawClient, proxy: Proxy, portal: BlockingPortal
) -> None:
    portal.call(proxy.garbage, answer)
    for number in [client.ask("get", {"connection": "remote", "key": f"k{n}"}) for n in range(30)]:
        error, result = client.reply(number)
        assert result is None
        if error is not None:
            assert error["code"] in {"unreachable", "deadline", "setup_failed", "foreign", "store_error"}, error
            assert error["message"]
    client.call("put", connection="scratch", key="k", value=b"{}")
    portal.call(proxy.mend)
    eventually(lambda: works_again(client))
    for _ in range(20):
        assert works_again(client, timeout=60)


def test_a_connection_that_is_reset_in_a_reply_fails_its_calls_and_serves_the_next(
    client: RawClient, proxy: Proxy, portal: BlockingPortal
) -> None:
    for count in (0, 1, 7, 150):
        portal.call(proxy.cut_after, count)
        asked = [client.ask("get", {"connection": "remote", "key": "k"}) for _ in range(50)]
        for number in asked:
            error, result = client.reply(number)
            assert (error is None and result == b'{"n": 1}') or error["code"] == "unreachable", (error, result)
        eventually(lambda: works_again(client))


def test_a_network_that_swallows_everything_holds_nobody_up(
    client: RawClient, daemon: Daemon, proxy: Proxy, portal: BlockingPortal
) -> None:
    portal.call(proxy.black_hole)
    with daemon.client() as stuck:
        for number in range(200):
            stuck.ask("put", {"connection": "remote", "key": f"k{number}", "value": b"{}"}, timeout=60)
        asked = [stuck.ask("put", {"connection": "remote", "key": f"k{n}", "value": b"{}"}) for n in range(200, 300)]
        took = waits(client, 0.7)
        assert took[-1] < 30  # half of what most of the others wait, and more than any machine stands still
        assert took[len(took) * 9 // 10] < 0.25
        for number in asked:
            error, _ = stuck.reply(number)
            assert error["code"] in {"deadline", "unreachable"}
    portal.call(proxy.mend)
    eventually(lambda: works_again(client))


def test_a_driver_that_cannot_be_imported_costs_only_its_connection() -> None:
    with running(CONFIG.format(port=1)) as daemon:
        daemon.stop()
        broken = daemon.home / "broken" / "redis"
        broken.mkdir(parents=True)
        (broken / "__init__.py").write_text("raise ImportError('half of an upgrade')\n")
        daemon.environment["PYTHONPATH"] = f"{broken.parent}:{ROOT}"
        daemon.start()
        with daemon.client() as client:
            for _ in range(3):
                error = client.refused("connect", connection="remote")
                assert error["code"] in {"setup_failed", "config_error"}
                assert "half of an upgrade" in error["message"]
            client.call("put", connection="scratch", key="k", value=b"{}")
        assert "Traceback" not in daemon.said()


def bind_to_some_address(server: socket.socket, port: int) -> str:
    """Bind to the port, which cannot be chosen, of an address of this machine that nobody uses."""
    while True:
        address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        try:
            server.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return address


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give the daemon a name server of its own")
def test_names_that_resolve_slowly_hold_up_only_their_own_connections(redis: Server, tmp_path: Path) -> None:
    """Eight connections wait for a name server that never answers; others are found and opened meanwhile."""
    servers = tmp_path / "resolv.conf"
    wrapper = ["unshare", "--mount", "sh", "-c", f'mount --bind {servers} /etc/resolv.conf && exec "$@"', "sh"]
    slow = "".join(
        f'[connections.slow{n}]\nstore = "redis"\nconnect_timeout = 1\n[connections.slow{n}.args]\nurl = "redis://{n}.slow.test/0"\n'
        for n in range(8)
    )
    port = redis.address[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.settimeout(60)
        address = bind_to_some_address(deaf, 53)
        servers.write_text(f"nameserver {address}\noptions timeout:30 attempts:2\n")
        try:
            subprocess.run([*wrapper, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"the daemon cannot have a name server of its own here: {error}")
        config = CONFIG.format(port=port).replace("127.0.0.1", "localhost") + slow
        with running(config, wrapper=wrapper) as daemon, daemon.client() as client:
            client.call("put", connection="scratch", key="k", value=b"{}")
            waiting = [client.ask("connect", {"connection": f"slow{n}"}) for n in range(8)]
            took = waits(client, 0.3)
            assert took[-1] < 15  # half of what a name server is waited for
            assert took[len(took) * 9 // 10] < 0.25
            assert client.reply(client.ask("connect", {"connection": "remote"}, timeout=50))[0] is None
            assert deaf.recv(512), "the name server was not even asked"
            for number in waiting:
                refused, _ = client.reply(number)
                assert refused["code"] == "unreachable"
            daemon.signal(signal.SIGTERM)
            assert daemon.wait(30) == 0  # who still waits for a name is not waited for
