"""Deadlines, eviction, tags and the files of large values, beside what diskcache itself makes of them."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from diskcache import Cache

from stores import DiskStore
from tests.stores.conftest import all_names
from tests.stores.disk.conftest import LARGE, execute, files_of, settings

pytestmark = pytest.mark.anyio


async def test_diskcaches_deadline_wins_where_it_is_set(folder: Path, cache: Cache) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1}, collection="c", ttl=100)
        cache.touch("c::k", expire=5000)
        _, ttl = await store.ttl("k", collection="c")
        assert ttl is not None
        assert 4990 < ttl <= 5000
        [text] = await store.texts(["k"], collection="c")
        [described] = await store.describe(["k"], collection="c")
        record = await store.read("k", collection="c")
        assert text is not None
        assert described is not None
        assert record is not None
        assert record.entry is not None
        assert text[1] == described.expires_at == record.expires_at == record.entry.expires_at
        await store.edit("k", {"n": 2}, collection="c")
        stored, expires = cache.get("c::k", expire_time=True)
        assert datetime.fromisoformat(json.loads(stored)["expires_at"]) == datetime.fromtimestamp(expires, UTC)
        cache.touch("c::k", expire=None)
        value, ttl = await store.ttl("k", collection="c")
        assert value == {"n": 2}
        assert ttl is not None
        assert 4990 < ttl <= 5000  # the envelope's, where diskcache has none


async def test_deadlines_beyond_the_calendar(folder: Path, cache: Cache) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1}, collection="c", ttl=1e30)
        assert await store.get("k", collection="c") == {"n": 1}
        cache.set("c::far", "text", expire=float("inf"))
        cache.set("c::past", "text", expire=-1e30)
        record = await store.read("far", collection="c")
        assert record is not None
        assert record.expires_at is not None
        assert record.expires_at.year == 9999
        assert await store.read("past", collection="c") is None
        assert {name.text for name in await all_names(store, "c")} == {"k", "far"}


async def test_what_expired_is_hidden_and_culled_with_its_file(folder: Path, cache: Cache) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("kept", {"n": 1}, collection="c", ttl=500)
        for number in range(1200):
            cache.set(f"c::{number}", LARGE if number < 5 else "text", expire=-1)
            cache.set("gone::k", "text", expire=-1)
        assert [name.text for name in await all_names(store, "c")] == ["kept"]
        assert [name.text for name in (await store.scan_collections()).items] == ["c"]
        assert await store.delete("7", collection="c") is False
        await store.cull()
        assert len(cache) == 1
        assert files_of(folder) == []
    assert cache.check() == []


async def test_large_values_are_files_that_leave_with_their_rows(folder: Path, cache: Cache) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put_many(["a", "b", "c"], [{"text": LARGE}] * 3, collection="c", ttl=500)
        assert len(files_of(folder)) == 3
        assert await store.get("a", collection="c") == {"text": LARGE}
        [described] = await store.describe(["a"], collection="c")
        assert described is not None
        assert described.kind == "entry"
        assert described.expires_at is not None
        assert described.size is not None
        assert described.size > len(LARGE)
        await store.put("a", {"n": 1}, collection="c")
        assert len(files_of(folder)) == 2
        assert await store.delete_many(["b", "c"], collection="c") == 2
        assert files_of(folder) == []
    assert cache.check() == []
    assert settings(folder)["size"] == 0


async def test_a_file_that_is_gone_reads_as_missing(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"text": LARGE})
        files_of(folder)[0].unlink()
        assert await store.get_many(["k", "other"]) == [None, None]
        record = await store.read("k")
        assert record is not None
        assert record.kind == "missing file"
        await store.put("k", {"n": 1})
        assert await store.get("k") == {"n": 1}


async def test_a_full_cache_evicts_as_diskcache_does(folder: Path, tmp_path: Path) -> None:
    async with DiskStore(directory=folder, max_size=400_000) as store:
        with Cache(str(tmp_path / "bare"), size_limit=400_000) as bare:
            for number in range(37):
                await store.put(f"k{number:02}", {"text": LARGE})
                bare.set(f"k{number:02}", "x" * 40_120)
            left = [name.text for name in await all_names(store, None)]
            assert left == list(bare.iterkeys())
            assert 0 < len(left) < 15
        await store.put_many([f"m{number:02}" for number in range(37)], [{"text": LARGE}] * 37)
        assert sum(path.stat().st_size for path in files_of(folder)) < 500_000
    with Cache(str(folder)) as cache:
        assert cache.check() == []


@pytest.mark.parametrize(
    ("policy", "column"), [("least-recently-used", "access_time"), ("least-frequently-used", "access_count")]
)
async def test_a_get_is_noted_where_the_policy_goes_by_use(folder: Path, policy: str, column: str) -> None:
    with Cache(str(folder), eviction_policy=policy, statistics=1) as cache:
        connection = sqlite3.connect(folder / "cache.db")

        def noted() -> float:
            [(number,)] = connection.execute(f"SELECT {column} FROM Cache WHERE key = 'c::k'")
            return float(number)

        async with DiskStore(directory=folder) as store:
            await store.put("k", {"n": 1}, collection="c")
            before = noted()
            await store.read("k", collection="c")
            await store.describe(["k"], collection="c")
            assert noted() == before
            assert await store.get_many(["k", "missing"], collection="c") == [{"n": 1}, None]
            assert noted() > before
        connection.close()
        assert cache.stats() == (1, 1)


async def test_an_edit_keeps_the_tag_and_a_put_does_not(folder: Path, cache: Cache) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1}, collection="c")
        execute(folder, "UPDATE Cache SET tag = 'kept'")
        await store.edit("k", {"n": 2}, collection="c")
        await store.expire("k", 500, collection="c")
        assert cache.get("c::k", tag=True)[1] == "kept"
        await store.put("k", {"n": 3}, collection="c")
        assert cache.get("c::k", tag=True)[1] is None
