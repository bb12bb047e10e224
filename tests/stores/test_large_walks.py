"""Many keys: every page costs one page's bytes and memory, the first one too; a walk shows each key once; batches are whole.

Rules: what is compared is counted, never timed: bytes of the server's answers, SQLite's steps, commands that a server has
done, bytes that Python holds. Memcached gives its names only all together: its first page costs them all, and its walk keeps
them.
"""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from redis.asyncio import Redis

import stores
from stores import BaseStore, DiskStore
from tests.faults.proxy import Proxy, Way, place, through
from tests.faults.test_store_faults import CONNECTIONS
from tests.servers.lease import private_server
from tests.stores.conftest import STORING, Names, by_name

pytestmark = pytest.mark.anyio

COUNTS = {"memory": 20_000, "disk": 20_000, "redis": 20_000, "valkey": 20_000, "memcached": 20_000, "s3": 600, "mongodb": 1000}
FEW = 1200  # where a server, or a file that is synced, takes a millisecond for each
PAGES = 40  # in a walk
OVER = 1.1  # how much more than asked a page may have: SCAN gives the rest of a bucket
STEPS = 100  # of SQLite between two calls of the meter
KIBIBYTE = 2**10


@pytest.fixture
async def proxy(case: ModuleType, endpoint: Any) -> AsyncIterator[Proxy | None]:
    if endpoint is None:
        yield None
        return
    async with Proxy(*place(endpoint)) as running:
        yield running


async def meter(store: BaseStore, proxy: Proxy | None) -> Callable[[], int]:
    """What reading has cost so far: bytes that the server answered, or a database's steps; 0 where nothing counts it."""
    if proxy is not None:
        return lambda: proxy.passed[Way.ANSWERS]
    calls = 0
    if isinstance(store, DiskStore):

        def count() -> None:
            nonlocal calls
            calls += 1

        connection = store._database._connection
        assert connection is not None
        await store._do(lambda: connection.set_progress_handler(count, STEPS))
    return lambda: calls


@pytest.mark.parametrize("case", STORING, ids=by_name)
async def test_batches_and_walks_of_many_keys(
    case: ModuleType, endpoint: Any, proxy: Proxy | None, names: Names, tmp_path: Path
) -> None:
    count = COUNTS.get(case.NAME, FEW)
    limit = count // PAGES
    keys = [f"key:{number:06}" for number in range(count)]
    collection = names("many")
    reached = through(endpoint, proxy.port) if proxy else None
    store: BaseStore = getattr(stores, case.STORE)(**case.arguments(reached, names.tag, tmp_path))
    async with store:
        await store.put_many(keys, [{"n": number, "text": "x" * 50} for number in range(count)], collection=collection)
        cost = await meter(store, proxy)
        shown = bytearray(count)  # how often each key was: a walk that is watched by what does not grow
        costs, sizes, peaks, longest = [], [], [], 0
        cursor: bytes | None = None
        gc.collect()
        tracemalloc.start()
        try:
            begin, _ = tracemalloc.get_traced_memory()
            while True:
                before = cost()
                tracemalloc.reset_peak()
                held, _ = tracemalloc.get_traced_memory()
                page = await store.scan_keys(collection, cursor=cursor, limit=limit)
                peaks.append(tracemalloc.get_traced_memory()[1] - held)
                costs.append(cost() - before)
                sizes.append(max(len(page.items), page.scanned))
                for name in page.items:
                    shown[int(name.text.removeprefix("key:"))] += 1
                if (cursor := page.cursor) is None:
                    break
                longest = max(longest, len(cursor))
            del page
            gc.collect()
            end, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert set(shown) == {1}
        assert len(sizes) >= PAGES / OVER
        if case.NAME != "memcached":
            assert max(sizes) <= limit * OVER
            assert max(costs) <= 1.2 * sum(costs) / len(costs) + KIBIBYTE
            assert max(peaks) < (400 if proxy else 64) * KIBIBYTE + limit * KIBIBYTE // 2  # buffers of sockets, and a page
        assert end - begin < (768 if proxy else 128) * KIBIBYTE  # of which a driver keeps 500 for itself
        assert longest < KIBIBYTE
        assert await store.get_many(keys[::7], collection=collection) == [
            {"n": number, "text": "x" * 50} for number in range(0, count, 7)
        ]
        assert await store.delete_many(keys, collection=collection) == count
        assert proxy is None or proxy.most_open <= CONNECTIONS
    await case.clean(endpoint, names.tag, tmp_path)


@pytest.mark.parametrize("kind", ["redis", "valkey"])
async def test_the_first_page_of_100_000_keys_is_one_command(kind: str) -> None:
    count, limit = 100_000, 500
    with private_server(kind) as server:
        host, port = server.address
        store: BaseStore = getattr(stores, f"{kind.title()}Store")(host=host, port=port)
        async with Redis(host=host, port=port) as client, store:

            async def done() -> dict[str, int]:
                stats: dict[str, Any] = await client.info("commandstats")
                return {name.removeprefix("cmdstat_"): said["calls"] for name, said in stats.items()}

            for first in range(0, count, 10_000):
                await client.mset({f"c::{number}": b"{}" for number in range(first, first + 10_000)})
            await store.setup()
            before = await done()
            page = await store.scan_keys("c", limit=limit)
            after = await done()
            assert {name: calls - before.get(name, 0) for name, calls in after.items() if calls != before.get(name)} == {
                "scan": 1,
                "info": 1,
            }
            assert limit / OVER <= len(page.items) <= limit * OVER
            keys = [name.text for name in page.items]
            while page.cursor is not None:
                page = await store.scan_keys("c", cursor=page.cursor, limit=limit)
                keys += [name.text for name in page.items]
            walked = await done()
            assert len(keys) == len(set(keys)) == count
            assert walked["scan"] <= count / limit * OVER
