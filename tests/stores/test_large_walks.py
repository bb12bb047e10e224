"""Many keys: the first page costs about a page, a walk's memory stays flat and shows every key once, batches are whole.

Memcached gives its names only all together, so its first page costs them all, and its walk keeps them.
"""

import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stores
from stores import BaseStore
from tests.faults.proxy import Proxy, Way
from tests.faults.test_store_faults import CONNECTIONS, place, through
from tests.stores.conftest import STORING, Names, by_name

pytestmark = pytest.mark.anyio

COUNTS = {"memory": 20_000, "disk": 20_000, "redis": 20_000, "valkey": 20_000, "memcached": 20_000, "s3": 600, "mongodb": 1000}
FEW = 1200  # where a server, or a file that is synced, takes a millisecond for each
PAGES = 15  # or so, in a walk
MEGABYTE = 2**20


@pytest.fixture
async def proxy(case: ModuleType, endpoint: Any) -> AsyncIterator[Proxy | None]:
    if endpoint is None:
        yield None
        return
    async with Proxy(*place(endpoint)) as running:
        yield running


@pytest.mark.parametrize("case", STORING, ids=by_name)
async def test_batches_and_walks_of_many_keys(
    case: ModuleType, endpoint: Any, proxy: Proxy | None, names: Names, tmp_path: Path
) -> None:
    count = COUNTS.get(case.NAME, FEW)
    limit = count // (2 * PAGES)
    keys = [f"key:{number:06}" for number in range(count)]
    collection = names("many")
    reached = through(endpoint, proxy.port) if proxy else None
    store: BaseStore = getattr(stores, case.STORE)(**case.arguments(reached, names.tag, tmp_path))
    async with store:
        await store.put_many(keys, [{"n": number, "text": "x" * 50} for number in range(count)], collection=collection)
        before = proxy.passed[Way.ANSWERS] if proxy else 0
        tracemalloc.start()
        try:
            page = await store.scan_keys(collection, limit=limit)
            first = proxy.passed[Way.ANSWERS] - before if proxy else 0
            found = dict.fromkeys(name.text for name in page.items)
            shown, pages = len(page.items), 1
            tracemalloc.reset_peak()
            held, _ = tracemalloc.get_traced_memory()
            while page.cursor is not None:
                page = await store.scan_keys(collection, cursor=page.cursor, limit=limit)
                found |= dict.fromkeys(name.text for name in page.items)
                shown, pages = shown + len(page.items), pages + 1
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        walked = proxy.passed[Way.ANSWERS] - before if proxy else 0
        assert sorted(found) == keys
        assert shown == count
        assert pages >= PAGES // 3  # a page may be one of the backend's batches over its limit
        if case.NAME != "memcached":
            assert first <= walked / PAGES * 3
            assert most - held < count * 200 + MEGABYTE  # what `found` keeps, and a page
        assert await store.get_many(keys[::7], collection=collection) == [
            {"n": number, "text": "x" * 50} for number in range(0, count, 7)
        ]
        assert await store.delete_many(keys, collection=collection) == count
        assert proxy is None or proxy.most_open <= CONNECTIONS
    await case.clean(endpoint, names.tag, tmp_path)
