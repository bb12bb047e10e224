"""A backend that failed and works again is found out by the daemon, though nobody asks that backend for anything."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvd import health, retries, server as kvd_server
from kvd.config import load
from kvd.errors import RequestError
from stores import RedisStore
from tests.daemonkit import PATIENCE, RawClient, eventually, running
from tests.faults.proxy import Proxy
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


def test_who_asks_for_states_is_soon_told_of_a_server_that_died_unused(redis: Server) -> None:
    with running(CONFIG.format(url=redis.url)) as daemon, daemon.client() as client:
        assert client.reply(client.ask("connect", {"connection": "remote"}, timeout=60))[0] is None
        redis.kill()
        assert state(client) == ("ready", None)  # nobody has asked it for anything
        (told,) = client.call("status")["connections"]
        assert (told["state"], told["looking"]) == ("ready", True)
        eventually(lambda: state(client)[0] != "ready")
        assert "Connection refused" in state(client)[1]
        assert "looks" not in state(client)[1]
        redis.start()
        eventually(lambda: state(client) == ("ready", None))
        assert "Traceback" not in daemon.said()


class Watcher:
    """Who is told of states."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    def sees(self, connection: str) -> bool:
        return True

    def post(self, change: dict[str, Any]) -> None:
        assert change["connection"] == "remote"
        self.told.set()


@pytest.mark.anyio
async def test_while_somebody_watches_unused_servers_are_looked_at(
    redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvd.server.LOOKS_APART", 0.0)
    path = tmp_path / "connections.toml"
    path.write_text(CONFIG.format(url=redis.url) + f'[connections.asleep]\nstore = "redis"\nargs.url = "{redis.url}"\n')
    server, watcher = kvd_server.Server(load(path), logging.getLogger("kvd.test")), Watcher()
    used, asleep = server.pool
    try:
        await used.open()
        await asyncio.to_thread(redis.kill)
        server.look_at_idle()
        unasked = used.health.looking
        server.hub.subscribe(watcher, None)
        server.look_at_idle()
        assert (unasked, used.health.looking) == (False, True)
        async with asyncio.timeout(PATIENCE):
            await watcher.told.wait()
        assert used.state != "ready"
        assert asleep.state == "idle"
    finally:
        await server.pool.close()


@pytest.mark.anyio
async def test_while_somebody_watches_a_server_that_is_away_is_tried_for_ever(
    redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "ATTEMPTS", 0)
    monkeypatch.setattr(retries, "LONGEST_PAUSE", 0.0)
    path = tmp_path / "connections.toml"
    path.write_text(CONFIG.format(url=redis.url))
    server, watcher = kvd_server.Server(load(path), logging.getLogger("kvd.test")), Watcher()
    (remote,) = server.pool
    await asyncio.to_thread(redis.kill)
    try:
        with pytest.raises(RequestError) as refused:
            await remote.open()
        assert refused.value.detail == {"retry_at": None, "fault": "refused"}
        server.look_at_idle()
        await asyncio.sleep(0.05)
        assert remote.state == "down"
        server.hub.subscribe(watcher, None)
        for state in ("connecting", "down", "connecting", "ready"):
            if state == "connecting":
                server.look_at_idle()
            async with asyncio.timeout(PATIENCE):
                await watcher.told.wait()
            watcher.told.clear()
            assert remote.state == state
            if state == "down":
                await asyncio.to_thread(redis.start)
    finally:
        await server.pool.close()


@pytest.mark.anyio
@pytest.mark.parametrize(("fault", "again"), [(None, True), ("silent", True), ("password", False), ("credentials", False)])
async def test_who_may_be_locked_out_is_not_tried_for_ever(
    fault: str | None, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "LONGEST_PAUSE", 0.0)
    tried: list[float | None] = []
    attempts = retries.Retries(lambda: tried.append(attempts.at))
    for _ in range(retries.ATTEMPTS):
        attempts.failed(fault)
        assert attempts.at is not None
        attempts.look()
    assert tried == []
    attempts.failed(fault)
    assert attempts.at is None
    attempts.look()
    assert bool(tried) is again


@pytest.mark.anyio
async def test_a_backend_that_is_slow_is_not_taken_for_dead(redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK", "FIRST_PAUSE"):
        monkeypatch.setattr(health, name, 0.4)
    told: list[str] = []
    known = asyncio.Event()

    def become(state: str, _trouble: health.Trouble | None) -> None:
        told.append(state)
        if state != "degraded":
            known.set()

    async with Proxy(*redis.address) as proxy, RedisStore(host="127.0.0.1", port=proxy.port) as store:
        await store.get("k")
        proxy.delay(0.3)  # each way: longer than a look may take, and shorter than until the next
        looked = health.Health("remote", become)
        looked.trouble(store, health.Trouble("it was late"))
        async with asyncio.timeout(PATIENCE):
            await known.wait()
        looked.end()
    assert told == ["degraded", "degraded", "ready"]
