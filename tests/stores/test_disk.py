"""What is DiskStore's own: diskcache directories of other programs, settings, files, transactions, the thread."""

import asyncio
import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from diskcache import Cache, JSONDisk, Timeout

from stores import ABSENT, OUTSIDE, DiskStore, Name, Token
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    InvalidKeyError,
    KeyValueStoreError,
    ReadOnlyError,
    StoreConnectionError,
    StoreSetupError,
)

pytestmark = pytest.mark.anyio

COUNTED = {"count", "size", "hits", "misses"}
LARGE = "x" * 40_000


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(self.path), "w")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> Iterator[Cache]:
    with Cache(str(folder)) as opened:
        yield opened


def settings(folder: Path) -> dict[str, Any]:
    with sqlite3.connect(folder / "cache.db") as connection:
        rows = dict(connection.execute("SELECT key, value FROM Settings"))
    connection.close()
    return rows


def execute(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def database_of(folder: Path) -> bytes:
    return (folder / "cache.db").read_bytes()


def protect(folder: Path, mode: int) -> None:
    (folder / "cache.db").chmod(mode & 0o600)
    folder.chmod(mode)


def assert_missing(folder: Path) -> None:
    assert not folder.exists()


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.val"))


async def all_names(store: DiskStore, collection: Any, limit: int = 7, match: str | None = None) -> list[Name]:
    names: list[Name] = []
    cursor = None
    while True:
        page = await store.scan_keys(collection, cursor=cursor, limit=limit, match=match)
        names += page.items
        if (cursor := page.cursor) is None:
            return names


# Other programs' data


@pytest.fixture
def foreign(cache: Cache, tmp_path: Path) -> dict[str, str]:
    """Values of every kind under keys of collection c, and the kinds that they must be shown as."""
    values: dict[str, tuple[Any, str]] = {
        "pickle": (Trap(tmp_path / "sprung"), "pickle"),
        "pickle-file": ([Trap(tmp_path / "sprung"), LARGE], "pickle"),
        "bytes": (b"\x00\xff", "bytes"),
        "bytes-file": (b"\xfe" * 50_000, "bytes"),
        "integer": (2**62, "integer"),
        "float": (0.1 + 0.2, "float"),
        "text": ("plain", "text"),
        "json": ('{"not": "an entry"}', "text"),
        "text-file": (LARGE, "text"),
        "json-list": ("[1, 2]", "text"),
    }
    for key, (value, _) in values.items():
        cache.set(f"c::{key}", value, expire=None if key == "text" else 500, tag="t")
    return {key: kind for key, (_, kind) in values.items()}


async def test_foreign_values_are_shown_and_never_unpickled(folder: Path, foreign: dict[str, str], tmp_path: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("entry", {"n": 1}, collection="c")
        names = await all_names(store, "c")
        assert {name.text for name in names} == {*foreign, "entry"}
        described = await store.describe([name.token for name in names], collection="c")
        kinds = {name.text: one.kind for name, one in zip(names, described, strict=True) if one is not None}
        assert kinds.pop("entry") == "entry"
        assert kinds.pop("text-file") == "unknown"  # telling would cost a read
        assert kinds == {key: kind for key, kind in foreign.items() if key != "text-file"}
        for key, kind in foreign.items():
            record = await store.read(key, collection="c", limit=10)
            assert record is not None
            assert (record.kind, record.entry) == (kind, None)
            assert len(record.body) <= 10 <= max(record.length, 10)
            with pytest.raises(DeserializationError, match=f"'{key}' in collection 'c'"):
                await store.get(key, collection="c")
            with pytest.raises(DeserializationError):
                await store.texts(["entry", key], collection="c")
        assert await store.get("entry", collection="c") == {"n": 1}
    assert not (tmp_path / "sprung").exists()


async def test_foreign_values_can_be_put_back(folder: Path, cache: Cache, foreign: dict[str, str], tmp_path: Path) -> None:
    plain = {key: cache.get(f"c::{key}") for key in foreign if not key.startswith("pickle")}
    async with DiskStore(directory=folder) as store:
        for key in foreign:
            record = await store.snapshot(key, collection="c")
            assert record is not None
            assert await store.delete(key, collection="c", expected=record.version)
            version = await store.restore(key, record, collection="c", expected=ABSENT)
            again = await store.read(key, collection="c")
            assert again is not None
            assert (again.kind, again.body, again.expires_at, again.version) == (
                record.kind,
                record.body,
                record.expires_at,
                version,
            )
    assert {key: cache.get(f"c::{key}") for key in plain} == plain
    assert not (tmp_path / "sprung").exists()
    cache.get("c::pickle").close()
    assert (tmp_path / "sprung").exists()
    assert cache.check() == []


async def test_foreign_deadlines_can_be_changed(folder: Path, cache: Cache, foreign: dict[str, str]) -> None:
    async with DiskStore(directory=folder) as store:
        for key in foreign:
            assert await store.expire(key, 1000, collection="c")
            assert await store.expire(key, None, collection="c")
        record = await store.read("bytes", collection="c")
        assert record is not None
        cache.set("c::bytes", b"other")
        with pytest.raises(ConflictError):
            await store.expire("bytes", 10, collection="c", expected=record.version)
    assert cache.get("c::integer", expire_time=True, tag=True) == (2**62, None, "t")


async def test_odd_keys_are_outside_collections(folder: Path, cache: Cache) -> None:
    for key in [5, -1, 2.5, b"bytes\xff", ("tu", "ple"), "plain", "::empty collection", "zzz", "\U0001f389"]:
        cache.set(key, f"at {key!r}")
    cache.set("a::1", "in a")
    cache.set("m::1", "in m")
    execute(folder, "INSERT INTO Cache (key, raw, store_time, mode, value) VALUES (CAST(x'6fff' AS TEXT), 1, 1.0, 1, 'odd')")
    async with DiskStore(directory=folder) as store:
        for limit in (1, 3, 100):
            names = await all_names(store, OUTSIDE, limit=limit)
            assert [name.text for name in names if name.exact] == [
                "::empty collection",
                "o\udcff",
                "plain",
                "zzz",
                "\U0001f389",
            ]
            assert {name.text for name in names if not name.exact} == {
                "5",
                "-1",
                "2.5",
                "bytes\udcff",
                f"pickle {pickle.dumps(('tu', 'ple'), protocol=pickle.HIGHEST_PROTOCOL).hex()}",
            } or len(names) == 10
        records = [await store.read(name.token, collection=OUTSIDE) for name in names]
        assert {record.body for record in records if record} == {
            *(
                f"at {key!r}".encode()
                for key in [5, -1, 2.5, b"bytes\xff", ("tu", "ple"), "plain", "::empty collection", "zzz"]
            ),
            "at '\U0001f389'".encode(),
            b"odd",
        }
        assert [name.text for name in (await store.scan_collections()).items] == ["a", "m", ""]
        assert [name.text for name in await all_names(store, OUTSIDE, match="p*n")] == ["plain"]
        assert await store.delete_many([name.token for name in names], collection=OUTSIDE) == 10
        assert await all_names(store, OUTSIDE) == []
        await store.put("mine", {"n": 1}, collection=OUTSIDE)
        assert await store.get("mine", collection=OUTSIDE) == {"n": 1}
        with pytest.raises(InvalidKeyError):
            await store.put("a::2", {"n": 1}, collection=OUTSIDE)
    assert json.loads(cache["mine"])["key"] == "mine"
    assert list(cache.iterkeys()) == ["a::1", "m::1", "mine"]


@pytest.mark.parametrize("token", [b"", b"t", b"x1:k", b"tx:k", b"i1:k", b"outside", b"f1:"])
async def test_a_forged_token_is_refused(folder: Path, token: bytes) -> None:
    async with DiskStore(directory=folder) as store:
        with pytest.raises(InvalidKeyError):
            await store.read(Token(token))
        with pytest.raises(InvalidKeyError):
            await store.scan_keys("c", cursor=token)


@pytest.mark.parametrize("filename", ["../secret", "/absolute", "a/../../secret"])
async def test_a_file_name_that_leads_out_is_neither_read_nor_removed(folder: Path, cache: Cache, filename: str) -> None:
    secret = folder.parent / "secret"
    secret.write_text("secret")
    told = str(secret) if filename == "/absolute" else filename
    cache.set("c::k", LARGE)
    execute(folder, f"UPDATE Cache SET filename = '{told}'")
    async with DiskStore(directory=folder) as store:
        record = await store.read("k", collection="c")
        assert record is not None
        assert (record.kind, record.body) == ("missing file", b"")
        [described] = await store.describe(["k"], collection="c")
        assert described is not None
        assert described.kind == "missing file"
        assert await store.get("k", collection="c") is None
        await store.put("k", {"n": 1}, collection="c")
        execute(folder, f"UPDATE Cache SET filename = '{told}', mode = 3")
        assert await store.delete("k", collection="c")
    assert secret.read_text() == "secret"


# Settings, opening and closing


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
    with pytest.raises(ValueError, match="either"):
        arguments()
    with pytest.raises(ValueError, match="either"):
        arguments(disk_cache=cache, directory=folder)
    with pytest.raises(ValueError, match="does not exist"):
        DiskStore(directory=folder / "missing", auto_create=False)
    DiskStore(directory=folder, auto_create=False)


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


# Deadlines, eviction, tags, files


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


# Transactions and the thread

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
            release.wait(5)

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


# Browsing is cheap


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
