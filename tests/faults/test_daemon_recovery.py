"""A backend that failed and works again is found out by the daemon, though nobody asks that backend for anything."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemonkit import RawClient, eventually, running
from tests.servers.lease import Server, private_server

CONFIG = """
[connections.remote]
store = "redis"
timeout = 0.5
[connections.remote.args]
url = "{url}"
timeout = 60.0
"""


@pytest.fixture
def redis() -> Iterator[Server]:
    with private_server("redis") as server:
        yield server


def state(client: RawClient) -> tuple[str, Any]:
    (found,) = client.call("connections")
    return found["state"], found["reason"]


def test_a_degraded_connection_recovers_without_a_request(redis: Server) -> None:
    with running(CONFIG.format(url=redis.url)) as daemon, daemon.client() as client:
        assert client.reply(client.ask("connect", {"connection": "remote"}, timeout=60))[0] is None
        client.call("subscribe", connection="remote")
        redis.pause()
        try:
            assert client.refused("get", connection="remote", key="k")["code"] == "deadline"
            assert state(client)[0] == "degraded"
        finally:
            redis.resume()
        eventually(lambda: state(client) == ("ready", None))
        assert "Traceback" not in daemon.said()


def test_a_daemon_that_looks_after_a_store_leaves_when_it_is_told_to(redis: Server) -> None:
    with running(CONFIG.format(url=redis.url)) as daemon, daemon.client() as client:
        assert client.reply(client.ask("connect", {"connection": "remote"}, timeout=60))[0] is None
        redis.pause()
        try:
            assert client.refused("get", connection="remote", key="k")["code"] == "deadline"
            assert daemon.stop() == 0
        finally:
            redis.resume()
        assert "Task was destroyed" not in daemon.said()
        assert "Traceback" not in daemon.said()


def test_a_backend_that_is_silent_is_waited_for_once(redis: Server) -> None:
    with running(CONFIG.format(url=redis.url)) as daemon, daemon.client() as client:
        assert client.reply(client.ask("connect", {"connection": "remote"}, timeout=60))[0] is None
        redis.pause()
        try:
            assert client.refused("get", connection="remote", key="k")["code"] == "deadline"
            second, _ = client.reply(client.ask("get", {"connection": "remote", "key": "k"}, timeout=60))
            assert (second["code"], second["retry"]) == ("unreachable", True)
            assert second["message"] == "remote does not answer: it gave no answer within 0.5 seconds"
            for method, more in (("get", {}), ("read", {}), ("put", {"value": b"{}"})):
                error = client.refused(method, connection="remote", key="k", **more)  # a wait would end in its deadline
                assert error["code"] == "unreachable"
            eventually(lambda: state(client)[0] == "down")
        finally:
            redis.resume()
        eventually(lambda: state(client) == ("ready", None))
        assert client.call("get", connection="remote", key="k") is None
        assert "Traceback" not in daemon.said()


def test_nobody_waits_for_another_attempt_to_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = f"[connections.remote]\nstore = 'redis'\nconnect_timeout = 2\nargs.url = 'redis://127.0.0.1:{mute.getsockname()[1]}'"
        with running(config) as daemon, daemon.client() as client:
            assert "did not open within 2 seconds" in client.refused("get", connection="remote", key="k")["message"]
            eventually(lambda: state(client)[0] == "connecting")
            assert client.refused("get", connection="remote", key="k")["message"].startswith("remote is down: ")
            assert state(client)[0] == "connecting"
