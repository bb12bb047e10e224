"""Opening, looking and closing: an existing cache keeps its settings, and looking changes no byte."""

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from diskcache import Cache, JSONDisk

from stores import OUTSIDE, DiskStore, FileTreeStore
from stores.errors import ReadOnlyError, StoreSetupError
from tests.stores.conftest import all_names
from tests.stores.disk.conftest import database_of, execute, files_of, settings

pytestmark = pytest.mark.anyio

COUNTED = {"count", "size", "hits", "misses"}


def protect(folder: Path, mode: int) -> None:
    (folder / "cache.db").chmod(mode & 0o600)
    folder.chmod(mode)


def make_file(path: Path) -> None:
    path.write_text("a file")


def assert_missing(folder: Path) -> None:
    assert not folder.exists()


async def test_an_existing_cache_keeps_its_settings(folder: Path) -> None:
    chosen = {
        "eviction_policy": "least-frequently-used",
        "cull_limit": 3,
        "size_limit": 2**25,
        "statistics": 1,
        "tag_index": 1,
        "disk_min_file_size": 100,
        "sqlite_synchronous": 2,
        "sqlite_cache_size": 999,
    }
    with Cache(str(folder), **chosen) as cache:
        cache.set("c::k", "text", tag="t")
    before = settings(folder)
    assert {name: before[name] for name in chosen} == chosen
    async with DiskStore(directory=folder, max_size=10_000_000) as store:
        await store.put("k2", {"text": "y" * 200}, collection="c")
        assert await store.get("k2", collection="c") is not None
        await all_names(store, "c")
        await store.delete("k", collection="c")
        await store.cull()
    after = settings(folder)
    assert {name: value for name, value in after.items() if name not in COUNTED} == {
        name: value for name, value in before.items() if name not in COUNTED
    }
    assert (after["count"], after["hits"]) == (1, 1)
    assert len(files_of(folder)) == 1


async def test_deleting_what_is_not_there_changes_no_byte(folder: Path) -> None:
    with Cache(str(folder)) as cache:
        cache.set("c::k", "text")
    before = database_of(folder)
    async with DiskStore(directory=folder) as store:
        assert await store.delete("other", collection="c") is False
        assert await store.delete_many(["other", "another"], collection="c") == 0
    assert database_of(folder) == before
    async with DiskStore(directory=folder) as store:
        assert await store.delete_many(["other", "k"], collection="c") == 1


async def test_looking_changes_no_byte(folder: Path) -> None:
    with Cache(str(folder)) as cache:
        cache.set("c::k", "text")
        cache.set("c::gone", "text", expire=-1)
    before = database_of(folder)
    for read_only in (False, True):
        async with DiskStore(directory=folder, read_only=read_only) as store:
            await all_names(store, "c")
            await store.scan_collections()
            await store.describe(["k"], collection="c")
            await store.read("k", collection="c")
            assert await store.get("nothing", collection="c") is None
        assert database_of(folder) == before


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
async def test_a_directory_of_any_name(tmp_path: Path) -> None:
    for folder in (os.fsdecode(os.fsencode(tmp_path) + b"/\xff?#%41"), f"/{tmp_path}/cache"):
        for _ in range(2):  # made, and found again
            async with DiskStore(directory=folder) as store:
                await store.put("a", {"n": 1})
            async with DiskStore(directory=folder, read_only=True) as store:
                assert await store.get("a") == {"n": 1}
                assert await store.get("a") == {"n": 1}


async def test_looking_makes_no_directory(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        assert await store.get("k") is None
        assert (await store.scan_collections()).items == []
        assert await all_names(store, OUTSIDE) == []
        assert await store.delete("k") is False
        assert await store.delete_many(["k", "l"]) == 0
        assert await store.expire("k", 10) is False
        await store.cull()
        assert_missing(folder)
        await store.put("k", {"n": 1})
        assert settings(folder)["eviction_policy"] == "none"


async def test_read_only_refuses_every_write(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1})
    async with DiskStore(directory=folder, read_only=True) as store:
        for write in (
            store.put("k", {"n": 2}),
            store.put_many(["k"], [{"n": 2}]),
            store.delete("k"),
            store.delete_many(["k"]),
            store.edit("k", {"n": 2}),
            store.expire("k", 10),
            store.cull(),
        ):
            with pytest.raises(ReadOnlyError):
                await write
        assert await store.get("k") == {"n": 1}


READS_ONLY = """
import asyncio, sys
from stores import DiskStore
from stores.errors import ReadOnlyError, StoreConnectionError, StoreSetupError

async def main():
    async with DiskStore(directory=sys.argv[1]) as store:
        assert await store.get("k") == {"n": 1}
        try:
            await store.put("k", {"n": 2})
        except (ReadOnlyError, StoreConnectionError, StoreSetupError):
            print("refused")
        assert await store.get("k") == {"n": 1}

asyncio.run(main())
"""


async def test_a_directory_that_cannot_be_written_can_be_read(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1})
    command = [sys.executable, "-c", READS_ONLY, str(folder)]
    if os.getuid() == 0:  # who may write everything, unless that capability is gone
        command = ["setpriv", "--bounding-set=-dac_override", *command]
    protect(folder, 0o500)
    try:
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    finally:
        protect(folder, 0o700)
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_arguments_that_cannot_be(folder: Path, cache: Cache) -> None:
    arguments: Any = DiskStore
    for size in (-1, 2**63):
        with pytest.raises(ValueError, match="max_size"):
            DiskStore(directory=folder, max_size=size)
    for directory in (b"/folder", 5):
        with pytest.raises(TypeError):
            arguments(directory=directory)
    with pytest.raises(ValueError, match="either"):
        arguments()
    with pytest.raises(ValueError, match="either"):
        arguments(disk_cache=cache, directory=folder)
    with pytest.raises(ValueError, match="does not exist"):
        DiskStore(directory=folder / "missing", auto_create=False)
    DiskStore(directory=folder, auto_create=False)


async def test_a_file_is_no_directory(folder: Path) -> None:
    make_file(folder)
    with pytest.raises(StoreSetupError, match="Not a directory"):
        await DiskStore(directory=folder).get("k")


async def test_the_home_of_nobody_is_a_name_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with DiskStore(directory="~no-such-user/cache") as store:
        await store.put("k", {"n": 1})
    async with FileTreeStore(data_directory="~no-such-user/tree") as tree:
        await tree.put("k", {"n": 1})
    with Cache("~no-such-user/cache") as diskcaches:
        assert list(diskcaches) == ["default_collection::k"]
    assert (tmp_path / "~no-such-user" / "tree" / "default_collection" / "k.json").is_file()


async def test_a_cache_that_was_passed_in_stays_open(cache: Cache) -> None:
    async with DiskStore(disk_cache=cache, default_collection="c") as store:
        await store.put("k", {"n": 1})
        assert "c::k" in cache
    cache.set("c::foreign", "text")
    async with store:
        assert await store.get("k") == {"n": 1}
        assert len(await all_names(store, None)) == 2


async def test_it_is_not_diskcaches_or_not_ours_to_read(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "cache.db").write_text("not a database, but long enough to be looked at " * 50)
    (tmp_path / "other").mkdir()
    execute(tmp_path / "other", "CREATE TABLE Letters (letter)")
    for folder in ("text", "other"):
        store = DiskStore(directory=tmp_path / folder)
        with pytest.raises(StoreSetupError):
            await store.setup()
        (tmp_path / folder / "cache.db").unlink()
        await store.put("k", {"n": 1})
        assert await store.get("k") == {"n": 1}
        await store.close()
    with Cache(str(tmp_path / "json"), disk=JSONDisk, disk_compress_level=6) as cache:
        cache["k"] = {"n": 1}
        async with DiskStore(directory=tmp_path / "json") as store:
            assert len(await all_names(store, OUTSIDE)) == 1
            with pytest.raises(StoreSetupError, match="Disk class"):
                await store.put("k", {"n": 1})
            assert len(await all_names(store, OUTSIDE)) == 1
        with pytest.raises(StoreSetupError, match="Disk class"):
            await DiskStore(disk_cache=cache).setup()
        assert cache["k"] == {"n": 1}


async def test_a_store_that_nobody_closed_and_nobody_has_lets_go_of_its_thread_and_database(folder: Path) -> None:
    before = set(threading.enumerate())

    async def use() -> threading.Thread:
        store = DiskStore(directory=folder)
        await store.put("k", {"n": 1})
        [thread] = [thread for thread in set(threading.enumerate()) - before if thread.name == "kv-disk"]
        return thread

    thread = await use()
    gc.collect()
    await asyncio.to_thread(thread.join, 60)
    assert not thread.is_alive()
    assert not (folder / "cache.db-wal").exists(), "the last connection that is closed removes it"


async def test_a_directory_that_is_removed_while_it_is_open(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1})
        shutil.rmtree(folder)
        assert await store.get("k") is None
        assert (await store.scan_collections()).items == []
        await store.put("k", {"n": 2})
        assert await store.get("k") == {"n": 2}
    async with DiskStore(directory=folder) as store:
        assert await store.get("k") == {"n": 2}
