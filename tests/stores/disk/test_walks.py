"""Pages of keys and collections are ranges of the index that diskcache already has."""

from pathlib import Path

import pytest
from diskcache import Cache

from stores import OUTSIDE, DiskStore
from stores.errors import InvalidKeyError
from tests.stores.conftest import all_names

pytestmark = pytest.mark.anyio


async def test_pages_are_ranges_of_the_index(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        for collection in ("a", "b::"[:1], "z"):
            await store.put_many([f"user:{number:05}" for number in range(3000)], [{}] * 3000, collection=collection)
        collections = await store.scan_collections()
        assert [name.text for name in collections.items] == ["a", "b", "z"]
        assert collections.scanned < 10
        first = await store.scan_keys("b", limit=500)
        assert first.scanned == 500
        narrowed = await store.scan_keys("b", match="user:0123?")
        assert len(narrowed.items) == 10
        assert narrowed.scanned == 10
        plans: list[str] = []
        database = store._database

        def explain() -> None:
            assert database._connection is not None
            for low, high in (("?", "?"), ("+CAST(? AS TEXT)", "+CAST(? AS TEXT)")):
                query = f"SELECT key FROM Cache WHERE (key, raw) > ({low}, ?) AND key < {high} ORDER BY key, raw LIMIT 9"
                plans.extend(str(row) for row in database._connection.execute(f"EXPLAIN QUERY PLAN {query}", ("a", 1, "b")))

        await store._do(explain)
        assert len(plans) == 2
        assert all("SEARCH" in plan and "Cache_key_raw" in plan for plan in plans)


async def test_collections_between_keys_without_one(folder: Path, cache: Cache) -> None:
    for number in range(200):
        cache.set(f"plain{number:03}", "text")
        if number % 20 == 0:
            cache.set(f"plain{number:03}::k", "text")
    async with DiskStore(directory=folder) as store:
        for limit in (1, 4, 500):
            names: list[str] = []
            cursor = None
            while True:
                page = await store.scan_collections(cursor=cursor, limit=limit)
                names += [name.text for name in page.items]
                if (cursor := page.cursor) is None:
                    break
            assert names == [*(f"plain{number:03}" for number in range(0, 200, 20)), ""]
        assert len(await all_names(store, OUTSIDE)) == 200


async def test_collections_whose_names_begin_alike(folder: Path) -> None:
    wanted = ["a", "a:b", "ab", "a\U0001f389", "é", "日本", "x" * 3000]
    async with DiskStore(directory=folder) as store:
        for collection in wanted:
            await store.put_many(["k", ":k", "::k"], [{}] * 3, collection=collection)
        with pytest.raises(InvalidKeyError):
            await store.put("k", {}, collection="a:")
        names = (await store.scan_collections()).items
        assert sorted(name.text for name in names) == sorted(wanted)
        for name in names:
            assert {key.text for key in await all_names(store, name.token, limit=2)} == {"k", ":k", "::k"}
