"""What is written is whole, whoever writes beside it and whenever it is killed; what writers left is culled."""

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stores import FileTreeStore
from stores.errors import ConflictError
from tests.stores.conftest import all_names
from tests.stores.filetree.conftest import plant, tree

pytestmark = pytest.mark.anyio


async def test_culling_removes_what_expired_and_what_writers_left(store: FileTreeStore, data: Path) -> None:
    await store.put_many(["a", "b"], [{"text": "x" * 5000}, {}], collection="c", ttl=0.05)
    await store.put("kept", {}, collection="c", ttl=500)
    plant(data / "c" / "notes.txt", '{"expires_at": "2001-01-01T00:00:00+00:00"}')
    plant(data / "c" / ".kv-0123.tmp", "half")
    plant(data / "c" / ".kv-4567.tmp", "half")
    os.utime(data / "c" / ".kv-0123.tmp", (1, 1))
    assert {name.text for name in await all_names(store, "c")} == {"a", "b", "kept", "notes.txt"}
    await asyncio.sleep(0.06)
    assert await store.delete("a", collection="c") is False
    await store.cull()
    assert tree(data) == ["c", "c-info.json", "c/.kv-4567.tmp", "c/kept.json", "c/notes.txt"]


async def test_a_write_is_synced_before_and_after_it_takes_its_place(
    store: FileTreeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("warm", {}, collection="c")
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def noting_replace(*args: Any, **options: Any) -> None:
        replace(*args, **options)
        done.append("rename")

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    await store.put("k", {}, collection="c")
    assert done == ["file", "rename", "directory"]
    done.clear()
    await store.edit("k", {"n": 1}, collection="c")
    assert done == ["file", "rename", "directory"]
    done.clear()
    await store.put_many([f"k{number}" for number in range(60)], [{}] * 60, collection="c")
    assert done == ["file"] * 60 + ["rename"] * 60 + ["directory"]
    done.clear()
    await store.delete_many([f"k{number}" for number in range(60)], collection="c")
    assert done == ["directory"]


async def test_puts_and_commits_of_one_key_do_not_lose_each_other(store: FileTreeStore) -> None:
    """An unconditional put between a commit's look and its rename would be lost."""
    await store.put("k", {"n": 0}, collection="c")
    seen: list[int] = []

    async def increment() -> None:
        for _ in range(20):
            with suppress(ConflictError):
                record = await store.read("k", collection="c")
                assert record is not None
                assert record.entry is not None
                await store.edit("k", {"n": record.entry.value["n"] + 1}, collection="c", expected=record.version)

    async def add() -> None:
        for base in range(1000, 10_000, 1000):
            await store.put("k", {"n": base}, collection="c")
            value = await store.get("k", collection="c")
            assert value is not None
            seen.append(value["n"] - base)
            await asyncio.sleep(0)

    await asyncio.gather(increment(), increment(), add())
    assert all(0 <= difference <= 40 for difference in seen)


# Crashes


WRITER = """
import asyncio, sys
from stores import FileTreeStore

async def main():
    async with FileTreeStore(data_directory=sys.argv[1]) as store:
        for number in range(10**9):
            await asyncio.gather(
                store.put("same", {"number": number, "text": "x" * (number % 7) * 9_000}),
                store.put_many([f"{number}-{part}" for part in range(3)], [{"number": number}] * 3),
            )
            print(number, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(data: Path) -> None:
    acknowledged: list[int] = []
    for _ in range(2):
        shutil.rmtree(data, ignore_errors=True)
        writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(data), stdout=subprocess.PIPE)
        assert writer.stdout is not None
        acknowledged = [int(await writer.stdout.readline()) for _ in range(30)]
        writer.kill()
        acknowledged += [int(line) for line in (await writer.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")]
        await writer.wait()
        async with FileTreeStore(data_directory=data) as store:
            for number in acknowledged:
                assert await store.get_many([f"{number}-{part}" for part in range(3)]) == [{"number": number}] * 3
            same = await store.get("same")
            assert same is not None
            assert same["number"] >= acknowledged[-1]
            names = await all_names(store, None, limit=500)
            described = await store.describe([name.token for name in names])
            assert all(one is not None and one.kind == "entry" for one in described)  # none is torn, no temporary is shown
