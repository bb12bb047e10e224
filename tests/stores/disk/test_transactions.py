"""Writes happen whole or not at all, whatever fails: transactions, the thread, errors, crashes."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from diskcache import Timeout

from stores import ABSENT, DiskStore
from stores.errors import BaseKeyValueError, ConflictError, KeyValueStoreError, StoreConnectionError
from tests.stores.conftest import all_names
from tests.stores.disk.conftest import LARGE, database_of, execute, files_of

pytestmark = pytest.mark.anyio

REFUSING = "CREATE TRIGGER refuse BEFORE INSERT ON Cache WHEN NEW.key = 'c::bad' BEGIN SELECT RAISE(ABORT, 'refused'); END"


async def test_put_many_happens_whole_or_not_at_all(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 0}, collection="c")
        execute(folder, REFUSING)
        with pytest.raises(KeyValueStoreError, match="refused"):
            await store.put_many(["a", "b", "bad", "d"], [{"text": LARGE}] * 4, collection="c")
        assert [name.text for name in await all_names(store, "c")] == ["a"]
        assert await store.get("a", collection="c") == {"n": 0}
        assert files_of(folder) == []


async def test_a_failure_reaches_only_its_owner(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 0}, collection="c")
        execute(folder, REFUSING)
        results = await asyncio.gather(
            *(store.put(key, {"text": LARGE}, collection="c") for key in ("a", "b", "bad", "d")),
            store.get("e", collection="c"),
            store.edit("a", {"n": 1}, collection="c", expected=ABSENT),
            return_exceptions=True,
        )
        assert isinstance(results[2], KeyValueStoreError)
        assert isinstance(results[5], ConflictError)
        assert [result for number, result in enumerate(results) if number not in (2, 5)] == [None] * 4
        assert [name.text for name in await all_names(store, "c")] == ["a", "b", "d"]
        assert len(files_of(folder)) == 3


async def test_what_is_asked_for_together_goes_over_together(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("warm", {})
        commits: list[str] = []
        database = store._database
        await store._do(lambda: database._connection.set_trace_callback(commits.append))  # type: ignore[union-attr] # it is open
        await asyncio.gather(*(store.put(f"k{number}", {"n": number}) for number in range(50)))
        assert sum(statement == "COMMIT" for statement in commits) <= 10
        commits.clear()
        assert len(await store.get_many([f"k{number}" for number in range(50)])) == 50
        assert sum(statement == "COMMIT" for statement in commits) == 1
        await store._do(lambda: database._connection.set_trace_callback(None))  # type: ignore[union-attr] # as above


async def test_what_is_cancelled_before_its_turn_is_not_done(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1})
        held = asyncio.Event()
        loop = asyncio.get_running_loop()
        release = threading.Event()

        def hold() -> None:
            loop.call_soon_threadsafe(held.set)
            release.wait(60)

        holding = asyncio.create_task(store._do(hold))
        await held.wait()
        late = asyncio.create_task(store.put("k", {"n": 2}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        late.cancel()
        release.set()
        await holding
        with pytest.raises(asyncio.CancelledError):
            await late
        assert await store.get("k") == {"n": 1}


async def test_a_writer_elsewhere_is_waited_for_and_then_told(folder: Path) -> None:
    async with DiskStore(directory=folder, timeout=0.2) as store:
        await store.put("k", {"n": 1})
        other = sqlite3.connect(folder / "cache.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert await store.get("k") == {"n": 1}
        for write in (store.put("k", {"n": 2}), store.delete("k"), store.edit("k", {"n": 2}), store.cull()):
            with pytest.raises(StoreConnectionError, match="locked"):
                await write
        other.execute("COMMIT")
        other.close()
        await store.put("k", {"n": 3})
        assert await store.get("k") == {"n": 3}


async def test_who_is_cancelled_does_not_wait_for_a_writer_elsewhere(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1})
    other = sqlite3.connect(folder / "cache.db", isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    for call in (store.__aenter__(), store.get("k"), store.put("k", {"n": 2})):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.1)
    assert time.monotonic() - started < 30
    other.close()
    assert await store.get("k") == {"n": 1}
    await store.close()


async def test_a_full_disk_is_told_and_loses_nothing(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("k", {"n": 1})
        database = store._database

        def allow(pages: int) -> None:
            assert database._connection is not None
            database._connection.execute(f"PRAGMA max_page_count = {pages}")

        await store._do(partial(allow, 1))  # no more than there are
        with pytest.raises(KeyValueStoreError, match="no room"):
            await store.put_many([f"k{number}" for number in range(50)], [{"text": "x" * 30_000}] * 50)
        assert await store.get("k") == {"n": 1}
        assert len(await all_names(store, None)) == 1
        await store._do(partial(allow, 2**30))
        await store.put("k2", {"text": "x" * 30_000})
        assert len(await all_names(store, None)) == 2


async def test_a_damaged_database_is_an_error_of_ours(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put_many([f"k{number}" for number in range(500)], [{"text": "x" * 500}] * 500)
    content = bytearray(database_of(folder))
    content[8192:] = os.urandom(len(content) - 8192)
    (folder / "cache.db").write_bytes(bytes(content))
    store = DiskStore(directory=folder)
    with pytest.raises(BaseKeyValueError):
        await store.get("k1")
    with pytest.raises(BaseKeyValueError):
        await all_names(store, None)
    await store.close()


def test_every_exception_of_the_drivers_is_translated(folder: Path) -> None:
    store = DiskStore(directory=folder)
    for name in dir(sqlite3):
        kind = getattr(sqlite3, name)
        if isinstance(kind, type) and issubclass(kind, sqlite3.Error):
            assert isinstance(store._translate(kind("told"), "c", "k"), BaseKeyValueError)
    assert issubclass(Timeout, Exception)  # diskcache's only one comes from its own transactions, which are not used
    assert isinstance(store._translate(PermissionError("told"), None, None), KeyValueStoreError)


# Crashes


WRITER = """
import asyncio, sys
from stores import DiskStore

async def main():
    async with DiskStore(directory=sys.argv[1]) as store:
        for number in range(10**9):
            await store.put_many(
                [f"{number}-{part}" for part in range(3)],
                [{"number": number, "text": "x" * 20_000 * part} for part in range(3)],
            )
            print(number, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(folder: Path) -> None:
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(folder), stdout=subprocess.PIPE)
    assert writer.stdout is not None
    acknowledged = [int(await writer.stdout.readline()) for _ in range(40)]
    writer.kill()
    acknowledged += [int(line) for line in (await writer.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")]
    await writer.wait()
    async with DiskStore(directory=folder) as store:
        for number in acknowledged:
            values = await store.get_many([f"{number}-{part}" for part in range(3)])
            assert [None if value is None else value["number"] for value in values] == [number] * 3
        begun = {name.text.partition("-")[0] for name in await all_names(store, None, limit=500)}
        for batch in begun:  # batches are whole, the one that was cut off included
            assert None not in await store.get_many([f"{batch}-{part}" for part in range(3)])
