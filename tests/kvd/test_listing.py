"""The collections of a flat keyspace: one walk for all clients, kept for a while, and never wrong about what the daemon did."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from kvd import requests
from kvd.client import Client
from kvd.errors import RequestError
from kvd.listing import Listing
from stores.errors import CursorExpiredError
from tests.daemonkit import Daemon, running
from tests.faults.proxy import Proxy
from tests.servers.lease import Server, private_server

COLLECTIONS = 200
NAMES = 60_000
FILL = "for n = 1, ARGV[1] do redis.call('SET', 'collection-' .. n % ARGV[2] .. '::' .. n, '{}') end"
CONFIG = """
[connections.redis]
store = "redis"
args = {{ url = "unix://{socket}" }}
allow_destroy = true
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with private_server("redis") as server:
        yield server


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    """A Redis with many names; the test's own, because its commands are counted."""
    with Redis(unix_socket_path=str(server.folder / "server.sock")) as redis:
        redis.flushall()
        redis.eval(FILL, 0, NAMES, COLLECTIONS)
        redis.config_resetstat()
        yield redis


@pytest.fixture
def daemon(server: Server) -> Iterator[Daemon]:
    with running(CONFIG.format(socket=server.folder / "server.sock")) as daemon:
        yield daemon


def scans(redis: Redis) -> int:
    """SCANs that the server has done."""
    stats: dict[str, Any] = redis.info("commandstats")
    return int(stats.get("cmdstat_scan", {"calls": 0})["calls"])


async def listed(client: Client, **options: Any) -> tuple[set[str], int, float]:
    """All collections, how many names were looked at, and the listing's age."""
    found: set[str] = set()
    scanned = 0
    page = await client.call(requests.scan_collections("redis", **options))
    while True:
        found.update(row.name for row in page.items)
        scanned += page.scanned
        if page.cursor is None:
            assert page.age is not None
            return found, scanned, page.age
        page = await client.call(requests.scan_collections("redis", cursor=page.cursor))


WALK = NAMES // 1000 + 5
"""SCANs that one walk takes at most."""
ALL = {f"collection-{number}" for number in range(COLLECTIONS)}


async def test_clients_who_list_at_once_share_one_walk(redis: Redis, daemon: Daemon) -> None:
    async with await Client.open(daemon.socket) as one, await Client.open(daemon.socket) as two:
        begun = time.monotonic()
        found = await asyncio.gather(listed(one), listed(two), listed(two, limit=7))
        took = time.monotonic() - begun
        for names, scanned, age in found:
            assert names == ALL
            assert scanned >= NAMES
            assert 0 < age <= took
        once = scans(redis)
        assert once <= WALK
        assert took >= 0.9 * NAMES / 100_000, "a server is never loaded with it"
        # and who comes soon after is told how old it is
        await asyncio.sleep(0.2)
        names, scanned, age = await listed(one)
        assert names == ALL
        assert scanned >= NAMES
        assert age >= 0.2
        assert scans(redis) == once
        # unless that is too old
        redis.set("elsewhere::k", b"{}")
        assert "elsewhere" not in (await listed(one, max_age=60))[0]
        names, _, age = await listed(two, max_age=0)
        assert "elsewhere" in names
        assert scans(redis) > once
        assert "elsewhere" in (await listed(one))[0]


async def test_what_goes_through_the_daemon_is_listed_at_once(redis: Redis, daemon: Daemon) -> None:
    async with await Client.open(daemon.socket) as one, await Client.open(daemon.socket) as two:
        assert (await listed(one))[0] == ALL
        once = scans(redis)
        await one.call(requests.put("redis", "new", "k", b"{}"))
        await one.call(requests.edit("redis", None, "k", b"{}"))
        await one.call(requests.put_many("redis", "new too", ["k"], [b"{}"]))
        names, _, _ = await listed(two)
        assert names == ALL | {"new", "default_collection", "new too"}
        assert scans(redis) == once
        await two.call(requests.destroy("redis"))
        assert (await listed(one))[0] == set()


async def test_who_leaves_does_not_take_the_walk_along(redis: Redis, daemon: Daemon) -> None:
    first = await Client.open(daemon.socket)
    async with await Client.open(daemon.socket) as second:
        leaving = asyncio.create_task(listed(first))
        await asyncio.sleep(0.15)
        following = asyncio.create_task(listed(second))
        await asyncio.sleep(0.05)
        leaving.cancel()
        await first.aclose()
        assert (await following)[0] == ALL
        assert scans(redis) <= WALK


async def test_a_walk_that_fails_says_so_to_all_and_the_next_one_starts_anew(redis: Redis, server: Server) -> None:
    async with Proxy(*server.address) as proxy:
        behind = CONFIG.format(socket="").replace("unix://", f"redis://127.0.0.1:{proxy.port}")
        with running(behind) as daemon:
            async with await Client.open(daemon.socket) as one, await Client.open(daemon.socket) as two:
                proxy.cut_after(10 * NAMES)  # bytes, of which each name has more than twice as many
                walking = [asyncio.create_task(listed(one)), asyncio.create_task(listed(two))]
                assert {type(error) for error in await asyncio.gather(*walking, return_exceptions=True)} == {RequestError}
                await one.call(requests.connect("redis"))
                assert (await listed(one))[0] == ALL


async def test_a_cursor_of_another_search_is_refused(redis: Redis, daemon: Daemon) -> None:
    async with await Client.open(daemon.socket) as client:
        for cursor in (b"", b"x.1.1", b"1", b"00000000.x.y", b"\xff.1.1"):
            with pytest.raises(RequestError) as caught:
                await client.call(requests.scan_collections("redis", cursor=cursor))
            assert caught.value.code == "cursor_expired"
        for age in (-1, float("nan"), "1"):
            with pytest.raises(RequestError, match="max_age must be"):
                await client.call(requests.scan_collections("redis", max_age=age))  # type: ignore[arg-type]  # as a stranger might


async def test_walks_are_few_and_forgotten(redis: Redis, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from stores import RedisStore

    async def guard(work: Callable[[], Any]) -> Any:
        return await work()

    async with RedisStore(url=f"unix://{server.folder / 'server.sock'}") as store:
        listing = Listing(store, guard)
        cursors = [(await listing.page(None, 1, 0)).cursor for _ in range(12)]
        assert None not in cursors
        assert len(listing._walks) == 8
        assert len(store._walks) == 8, "the store holds no place of a walk that is forgotten"
        with pytest.raises(CursorExpiredError):
            await listing.page(cursors[0], 1, None)
        assert (await listing.page(cursors[-1], 1, None)).items
        monkeypatch.setattr("kvd.listing.REST", 0.0)
        await asyncio.sleep(0.01)
        await listing.page(None, 1, 0)
        assert len(listing._walks) == 1
        listing.close()
        assert len(store._walks) == 0


def test_the_command_tells_the_age_of_an_old_listing(redis: Redis, daemon: Daemon) -> None:
    def ls() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kvd", "ls", "redis"]
        return subprocess.run(command, env=daemon.environment, capture_output=True, text=True, check=True, timeout=60)

    first = ls()
    assert set(first.stdout.split()) == ALL
    assert first.stderr == ""
    time.sleep(2)
    second = ls()
    assert second.stdout == first.stdout
    assert re.fullmatch(r"kvd: as of \d+ s ago: .*\n", second.stderr)
