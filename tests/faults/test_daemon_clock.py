"""The clock of the machine is set forward and back while the daemon serves. Its server runs here, under a moved clock."""

import datetime as dt
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import time_machine

from kvd import requests
from kvd.client import Client
from kvd.config import load
from kvd.errors import RequestError
from kvd.server import Server

pytestmark = pytest.mark.anyio
NOW = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
CONFIG = """
[connections.scratch]
store = "memory"

[connections.nowhere]
store = "redis"
[connections.nowhere.args]
url = "redis://127.0.0.1:1/0"
"""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    config = tmp_path / "connections.toml"
    config.write_text(CONFIG)
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = Server(load(config), logging.getLogger("clock"))
        server.listen(listener)
        async with await Client.open(path, spawn=False) as client:
            yield client
        await server.drain(1.0)


async def test_forward_ends_what_has_a_ttl_and_nothing_else(client: Client) -> None:
    with time_machine.travel(NOW, tick=True) as clock:
        await client.call(requests.put("scratch", None, "short", b"{}", ttl=3600))
        await client.call(requests.put("scratch", None, "long", b"{}", ttl=3 * 86400))
        await client.call(requests.put("scratch", None, "always", b"{}"))
        clock.shift(86400)
        found = await client.call(requests.get_many("scratch", None, ["short", "long", "always"]))
        assert found == [None, b"{}", b"{}"]
        status = await client.call(requests.status())
        assert 0 <= status["uptime"] < 60


async def test_back_keeps_everything_and_ttls_are_those_of_the_deadline(client: Client) -> None:
    with time_machine.travel(NOW, tick=True) as clock:
        await client.call(requests.put("scratch", None, "k", b"{}", ttl=3600))
        clock.shift(-86400)
        ((_, seconds),) = [one for one in await client.call(requests.ttl_many("scratch", None, ["k"])) if one]
        assert seconds == pytest.approx(86400 + 3600, abs=60)
        await client.call(requests.put("scratch", None, "new", b"{}", ttl=60))
        assert await client.call(requests.get("scratch", None, "new")) == b"{}"
        clock.shift(61)
        assert await client.call(requests.get("scratch", None, "new")) is None
        status = await client.call(requests.status())
        assert 0 <= status["uptime"] < 60
        assert all(one["figures"]["rate"] >= 0 for one in status["connections"])


async def test_a_deadline_is_not_moved(client: Client) -> None:
    with time_machine.travel(NOW, tick=True) as clock, anyio.fail_after(60):
        for seconds in (86400, -2 * 86400):
            clock.shift(seconds)
            with pytest.raises(RequestError):
                await client.call(requests.connect("nowhere"))


async def test_a_connection_that_is_down_is_tried_again_though_the_clock_was_set_back(client: Client) -> None:
    with time_machine.travel(NOW, tick=True) as clock:
        with pytest.raises(RequestError):
            await client.call(requests.get("nowhere", None, "k"))
        before = await retry_at(client)
        assert before is not None
        clock.shift(-86400)
        with anyio.fail_after(60):
            while (at := await retry_at(client)) is None or at > before - 80000:  # noqa: ASYNC110 - it is only to be had by asking
                await anyio.sleep(0.05)


async def retry_at(client: Client) -> float | None:
    at: float | None = next(
        one["retry_at"] for one in (await client.call(requests.status()))["connections"] if one["name"] == "nowhere"
    )
    return at
