"""What DiskStore answers without its thread: never anything but what the database holds at that moment."""

import asyncio
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import time_machine
from diskcache import Cache

from stores import DiskStore
from stores.backends.disk_places import Place
from stores.backends.disk_recent import AT_ONCE, LONGEST, ROOM, Recent
from stores.entry import utc_now

pytestmark = pytest.mark.anyio

COUNTER = """
import asyncio, sys
from stores import DiskStore

async def count():
    async with DiskStore(directory=sys.argv[1]) as store:
        for number in range(1, int(sys.argv[2]) + 1):
            await store.put("counter", {"number": number})
            print(number, flush=True)

asyncio.run(count())
"""

LOCKER = """
import fcntl, sys

with open(sys.argv[1], "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, 5, 123)  # what SQLite locks to read
    print(flush=True)
    sys.stdin.read()
"""

TEARER = """
import sys

with open(sys.argv[1], "r+b") as index:
    byte = index.read(9)[8]
    index.seek(8)
    index.write(bytes([byte ^ 1]))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def thread_stuck(store: DiskStore) -> Iterator[None]:
    """Keep the store's thread busy."""
    began, leave = threading.Event(), threading.Event()

    def stick() -> None:
        began.set()
        assert leave.wait(60)

    worker = store._worker
    assert worker is not None
    sticking = worker.do(stick)
    assert began.wait(60)
    try:
        yield
    finally:
        leave.set()
    assert not sticking.cancelled()


async def test_what_was_read_is_read_again_without_the_thread(folder: Path) -> None:
    with Cache(str(folder)) as cache:
        cache.set("c::old", '{"created_at": null, "value": {"n": 1}, "version": 1}')
    async with DiskStore(directory=folder) as store:
        assert store.text_at_hand("old", collection="c") is None
        assert await store.get("old", collection="c") == {"n": 1}
        assert await store.get("missing", collection="c") is None
        with thread_stuck(store):
            assert store.text_at_hand("old", collection="c") == b'{"n": 1}'
            assert store.texts_at_hand(["old", "old"], collection="c") == [b'{"n": 1}'] * 2
            assert store.texts_at_hand(["old", "missing"], collection="c") is None
            assert await store.get("old", collection="c") == {"n": 1}
            assert await store.ttl_many(["old", "missing"], collection="c") == [({"n": 1}, None), (None, None)]
            assert [text and text[0] for text in await store.texts(["missing", "old"], collection="c")] == [None, b'{"n": 1}']


async def test_who_reads_much_lets_others_have_their_turn(folder: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    keys = [f"k{number}" for number in range(100)]
    async with DiskStore(directory=folder) as store:
        await store.put_many(keys, [{"n": 1}] * 100)
        assert await store.get_many(keys) == [{"n": 1}] * 100
        counting = asyncio.ensure_future(count())
        with thread_stuck(store):
            for key in keys:
                await store.get(key)
            assert turns >= 3
            turns = 0
            assert await store.get_many(keys) == [{"n": 1}] * 100
            assert turns >= 3
        counting.cancel()


async def test_what_it_writes_itself_is_known_and_the_rest_stays_known(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put_many(["a", "b", "c"], [{"n": 1}, {"n": 2}, {"n": 3}])
        assert await store.get_many(["a", "b", "c", "d"]) == [{"n": 1}, {"n": 2}, {"n": 3}, None]
        await store.put("b", {"n": 22})
        await store.put("d", {"n": 4}, ttl=60)
        with thread_stuck(store):
            assert await store.get_many(["a", "b", "c", "d"]) == [{"n": 1}, {"n": 22}, {"n": 3}, {"n": 4}]
        assert await store.delete("a")
        assert await store.expire("c", 300)
        assert store.text_at_hand("a") is None
        with thread_stuck(store):
            assert await store.get("b") == {"n": 22}
        assert await store.get("a") is None
        value, seconds = await store.ttl("c")
        assert value == {"n": 3}
        assert seconds is not None
        assert 270 < seconds <= 300


async def test_what_another_program_writes_meanwhile_is_seen_at_once(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("counter", {"number": 0})
        assert await store.get("counter") == {"number": 0}
        command = [sys.executable, "-c", COUNTER, str(folder), "300"]
        writer = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        async for line in writer.stdout:  # a number is printed once it is stored
            for _ in range(3):
                await store.put("mine", {"seen": int(line)})
                found = await store.get("counter")
                assert found is not None
                assert found["number"] >= int(line)
        assert await writer.wait() == 0
        assert await store.get("counter") == {"number": 300}


@pytest.mark.parametrize("seed", range(6))
async def test_two_stores_on_one_directory_agree_at_every_step(folder: Path, seed: int) -> None:
    """Each sees what the other did, whichever of them knew what."""
    chance = random.Random(seed)
    keys = ["a", "b", "c", "é"]
    async with DiskStore(directory=folder) as one, DiskStore(directory=folder) as two:
        model: dict[str, Any] = {}
        for step in range(400):
            store, key = chance.choice((one, one, two)), chance.choice(keys)
            match chance.randrange(8):
                case 0 | 1:
                    model[key] = {"step": step, "padding": "x" * chance.choice((0, 10, LONGEST, 40_000))}
                    await store.put(key, model[key], ttl=chance.choice((None, 1000)))
                case 2:
                    assert await store.delete(key) is (model.pop(key, None) is not None)
                case 3:
                    assert await store.expire(key, chance.choice((None, 500))) is (key in model)
                case 4:
                    model |= {key: {"step": step} for key in keys[:2]}
                    await store.put_many(keys[:2], [model[key] for key in keys[:2]])
                case 5:
                    assert await store.get_many(keys) == [model.get(key) for key in keys]
                case _:
                    assert await store.get(key) == model.get(key)
            text = store.text_at_hand(key)
            assert text is None or json.loads(text) == model[key]


async def test_what_expired_is_not_at_hand(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 1}, ttl=100)
        assert await store.get("a") == {"n": 1}
        assert store.text_at_hand("a") is not None
        with time_machine.travel(utc_now() + timedelta(seconds=101), tick=True):
            assert store.text_at_hand("a") is None
            assert store.texts_at_hand(["a"]) is None
            assert await store.get("a") is None


async def test_a_directory_that_was_replaced_or_removed(folder: Path, tmp_path: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 1})
        assert await store.get("a") == {"n": 1}
        async with DiskStore(directory=tmp_path / "other") as other:
            await other.put("a", {"n": 2})
        shutil.move(folder, tmp_path / "away")
        shutil.move(tmp_path / "other", folder)
        assert store.text_at_hand("a") is None
        for _ in range(2):
            assert await store.get("a") == {"n": 2}
        assert store.text_at_hand("a") == b'{"n": 2}'
        shutil.rmtree(folder)
        assert store.text_at_hand("a") is None
        assert await store.get("a") is None


@pytest.mark.parametrize(
    "settings",
    [
        {"eviction_policy": "least-recently-used"},
        {"eviction_policy": "least-frequently-used"},
        {"statistics": True},
        {"sqlite_journal_mode": "delete"},
    ],
    ids=str,
)
async def test_what_must_be_read_is_read(folder: Path, settings: dict[str, Any]) -> None:
    """Where each read is to be noted, and where SQLite cannot cheaply tell of a change."""
    with Cache(str(folder), **settings) as cache:
        cache.set("c::a", '{"created_at": null, "value": {"n": 1}, "version": 1}')
    async with DiskStore(directory=folder) as store:
        for _ in range(3):
            assert await store.get("a", collection="c") == {"n": 1}
        assert store.text_at_hand("a", collection="c") is None


async def test_reads_are_noted_from_when_another_program_wants_it(folder: Path) -> None:
    with Cache(str(folder)) as cache:
        cache.set("c::a", '{"created_at": null, "value": {"n": 1}, "version": 1}')
    async with DiskStore(directory=folder) as store:
        assert await store.get("a", collection="c") == {"n": 1}
        with Cache(str(folder)) as cache:
            cache.reset("eviction_policy", "least-frequently-used")
        await store.put("b", {"n": 2})  # diskcache is opened, and tells
        assert await store.get("missing", collection="c") is None  # notes nothing, so that all is still known
        await store.put("a", {"n": 3}, collection="c")
        assert store.text_at_hand("a", collection="c") is None
        for _ in range(3):
            assert await store.get("a", collection="c") == {"n": 3}
    with sqlite3.connect(folder / "cache.db") as connection:
        assert connection.execute("SELECT access_count FROM Cache WHERE key = 'c::a'").fetchone() == (3,)
    connection.close()


async def test_what_is_not_committed_yet_is_not_at_hand(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 1})
        assert await store.get_many(["a", "missing"]) == [{"n": 1}, None]
        worker = store._worker
        assert worker is not None
        with thread_stuck(store):  # what is asked for now goes over together, in one transaction
            writing = asyncio.gather(store.put("new", {"n": 2}), store.delete("a"))
            await asyncio.sleep(0)
            reading = asyncio.ensure_future(store.get_many(["new", "other"]))
            await asyncio.sleep(0)
            read, go_on = threading.Event(), threading.Event()
            reached, waiting = worker.do(read.set), worker.do(partial(go_on.wait, 60))
        assert await asyncio.to_thread(read.wait, 60)
        assert store.text_at_hand("new") is None
        assert store.text_at_hand("a") == b'{"n": 1}'
        go_on.set()
        await reached
        assert await waiting
        assert (await writing)[1] is True
        assert await reading == [{"n": 2}, None]
        assert store.text_at_hand("new") == b'{"n": 2}'
        assert store.text_at_hand("a") is None


async def test_it_leaves_the_directory_as_diskcache_does(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 1})
        assert await store.get("a") == {"n": 1}
        assert store.text_at_hand("a") is not None
    assert names(folder) == ["cache.db"]
    with sqlite3.connect(folder / "cache.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_what_is_kept_is_bounded(folder: Path) -> None:
    size = LONGEST - 200
    keys = [f"key-{number}" for number in range(ROOM // size)]
    async with DiskStore(directory=folder) as store:
        await store.put_many(keys, [{"text": "x" * size}] * len(keys))
        for key in keys:
            assert await store.get(key) == {"text": "x" * size}
        known = [key for key in keys if store.text_at_hand(key) is not None]
        assert known == keys[-len(known) :]
        assert len(keys) // 4 < len(known) <= len(keys) // 2  # the text as it came, and what was made of it
        await store.put("large", {"text": "x" * LONGEST})
        assert await store.get("large") == {"text": "x" * LONGEST}
        assert store.text_at_hand("large") is None
        many = keys[-AT_ONCE - 1 :]
        assert store.texts_at_hand(many[1:]) is not None
        assert store.texts_at_hand(many) is None
        assert len(await store.get_many(many)) == AT_ONCE + 1


async def test_long_keys_count(folder: Path) -> None:
    places = [Place(f"c::{number:05}".ljust(LONGEST, "x"), 1) for number in range(ROOM // LONGEST + 10)]
    too_long = Place("c::".ljust(LONGEST + 1, "x"), 1)
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 1})
        for place in [*places, too_long]:
            assert await store.get(str(place.key)[3:], collection="c") is None
        recent = store._database.recent
        known = [place for place in places if recent.find([place])[1] == [None]]
        assert known == places[-len(known) :]
        assert ROOM // LONGEST * 3 // 4 < len(known) < ROOM // LONGEST
        assert recent.find([too_long])[1] is None


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_commit_of_another_program_right_behind_its_own(folder: Path, *, interrupted: bool) -> None:
    absent = Place("c::absent", 1)
    with Cache(str(folder)) as theirs:
        status = (folder / "cache.db").stat()
        recent = Recent(folder / "cache.db")
        writer = sqlite3.connect(folder / "cache.db", isolation_level=None)
        recent.watch(writer, (status.st_dev, status.st_ino))
        state, found = recent.find([absent])
        assert found is None
        recent.keep(state, [absent], [None])
        assert recent.find([absent]) == (state, [None])
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE Settings SET value = value WHERE key = 'hits'")
        begun = recent.begin(writer)
        assert begun is not None
        writer.execute("COMMIT")
        if interrupted:
            theirs.set("c::absent", 1)
        recent.go_on(begun, writer, {})
        assert recent.find([absent])[1] == (None if interrupted else [None])
        recent.stop()
        writer.close()


def test_a_connection_that_fails_tells_nothing(folder: Path) -> None:
    absent = Place("c::absent", 1)
    with Cache(str(folder)):
        writer = sqlite3.connect(folder / "cache.db", isolation_level=None)
        status = (folder / "cache.db").stat()
        recent = Recent(folder / "cache.db")
        recent.watch(writer, (status.st_dev, status.st_ino))
        recent.keep(recent.find([absent])[0], [absent], [None])
        begun = recent.begin(writer)
        assert begun is not None
        writer.close()
        assert recent.begin(writer) is None
        recent.go_on(begun, writer, {absent: None})
        assert recent.find([absent])[1] == [None]
        recent.watch(writer, (status.st_dev, status.st_ino))
        assert recent.find([absent]) == (None, None)


async def test_it_waits_for_no_lock(folder: Path) -> None:
    """SQLite waits ten seconds where another process is stopped while it has these for an instant."""
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 1})
        assert await store.get("a") == {"n": 1}
        command = [sys.executable, "-c", LOCKER, str(folder / "cache.db-shm")]
        locker = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert locker.stdout is not None
        assert await locker.stdout.readline()
        assert store.text_at_hand("a") == b'{"n": 1}'
        await locker.communicate(b"")
        assert locker.returncode == 0


async def test_another_process_was_killed_while_it_told_of_its_commit(folder: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("a", {"n": 1})
        assert await store.get("a") == {"n": 1}
        tearer = await asyncio.create_subprocess_exec(sys.executable, "-c", TEARER, str(folder / "cache.db-shm"))
        assert await tearer.wait() == 0
        assert store.text_at_hand("a") is None
        assert await store.get("a") == {"n": 1}  # SQLite repairs the index
        assert await store.get("a") == {"n": 1}
        assert store.text_at_hand("a") == b'{"n": 1}'
