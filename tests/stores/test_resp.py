"""What Redis and Valkey share, beside the contract: foreign types, the TTL in two places, names, batches."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from redis.asyncio import Redis

from stores import ABSENT, OUTSIDE, BaseStore, Name
from stores.errors import ConflictError, DeserializationError, ValueTooLargeError
from stores.records import ENTRY
from tests.stores.conftest import CASES, Names, by_name

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("case", [case for case in CASES if case.NAME in ("redis", "valkey")], ids=by_name),
    pytest.mark.parametrize("store", ["direct"], indirect=True),
]


@pytest.fixture
async def bare(endpoint: Any) -> AsyncIterator[Any]:
    """redis-py on the same database; Valkey speaks its protocol."""
    url = endpoint if isinstance(endpoint, str) else f"redis://{endpoint[0]}:{endpoint[1]}"
    async with Redis.from_url(url, protocol=2) as client:
        yield client


async def plant(bare: Any, c: str) -> dict[str, Any]:
    """One name of each type, and how each is shown."""
    await bare.set(f"{c}::string", b"plain \xff bytes")
    await bare.set(f"{c}::json", b'{"not": "an entry"}')
    await bare.hset(f"{c}::hash", mapping={"field": "value", b"\xff": "odd"})
    await bare.rpush(f"{c}::list", "b", "a", "b")
    await bare.sadd(f"{c}::set", "z", "a")
    await bare.zadd(f"{c}::zset", {"low": 1.5, "high": 2})
    await bare.xadd(f"{c}::stream", {"temperature": "21"}, id="5-1")
    return {
        "hash": {"field": "value", "\udcff": "odd"},
        "list": ["b", "a", "b"],
        "set": ["a", "z"],
        "zset": [["low", 1.5], ["high", 2.0]],
        "stream": [["5-1", {"temperature": "21"}]],
    }


async def all_names(walk: Callable[[bytes | None], Any]) -> list[Name]:
    found: list[Name] = []
    cursor = None
    while True:
        page = await walk(cursor)
        found.extend(page.items)
        cursor = page.cursor
        if cursor is None:
            return found


async def test_every_foreign_type_is_shown_as_what_it_is(store: BaseStore, bare: Any, names: Names) -> None:
    c = names("c")
    shown = await plant(bare, c)
    await store.put("entry", {"n": 1}, collection=c)
    found = await all_names(lambda cursor: store.scan_keys(c, cursor=cursor))
    assert {name.text for name in found} == {"entry", "string", "json", *shown}
    described = await store.describe([name.token for name in found], collection=c)
    for name, one in zip(found, described, strict=True):
        assert one is not None
        assert one.kind == {"entry": ENTRY, "json": "string"}.get(name.text, name.text)
        assert one.size
    for key, content in shown.items():
        for limit in (None, 0, 100_000):
            record = await store.read(key, collection=c, limit=limit)
            assert record is not None
            assert (record.kind, record.entry) == (key, None)
            assert record.body == b"" if limit == 0 else json.loads(record.body) == content
            assert record.length > 0
    string = await store.read("string", collection=c)
    assert string is not None
    assert (string.kind, string.body, string.length) == ("string", b"plain \xff bytes", 13)


async def test_get_of_foreign_data_names_the_key(store: BaseStore, bare: Any, names: Names) -> None:
    c = names("c")
    for key in ["string", "json", *await plant(bare, c)]:
        for asked in (store.get(key, collection=c), store.get_many(["absent", key], collection=c)):
            with pytest.raises(DeserializationError, match=f"'{key}' in collection '{c}'"):
                await asked
    assert await store.get_many(["absent", "absent too"], collection=c) == [None, None]


async def test_foreign_data_is_deleted_expired_and_restored(store: BaseStore, bare: Any, names: Names) -> None:
    c = names("c")
    for key in ["string", *await plant(bare, c)]:
        snapshot = await store.snapshot(key, collection=c)
        assert snapshot is not None
        read = await store.read(key, collection=c, limit=0)
        assert read is not None
        assert snapshot.version == read.version
        assert await store.expire(key, 100, collection=c)
        assert 70_000 < await bare.pttl(f"{c}::{key}") <= 100_000
        assert await store.delete(key, collection=c, expected=read.version)
        assert not await bare.exists(f"{c}::{key}")
        await store.restore(key, snapshot, collection=c, expected=ABSENT)
        assert await bare.type(f"{c}::{key}") == key.encode()
        assert await bare.pttl(f"{c}::{key}") == -1
        again = await store.read(key, collection=c)
        assert again is not None
        assert again.kind == read.kind
        assert key == "set" or again.version == read.version  # members of a set have no order that RESTORE would keep
        assert await store.expire(key, 100, collection=c)
        assert await store.expire(key, None, collection=c)
        assert await bare.pttl(f"{c}::{key}") == -1


async def test_foreign_data_that_changed_is_not_touched(store: BaseStore, bare: Any, names: Names) -> None:
    c = names("c")
    await bare.rpush(f"{c}::list", "a")
    record = await store.read("list", collection=c)
    assert record is not None
    await bare.rpush(f"{c}::list", "b")
    with pytest.raises(ConflictError):
        await store.delete("list", collection=c, expected=record.version)
    with pytest.raises(ConflictError):
        await store.expire("list", 10, collection=c, expected=record.version)
    assert await bare.lrange(f"{c}::list", 0, -1) == [b"a", b"b"]


async def test_a_bare_expire_shortens_and_persist_leaves_the_envelope(store: BaseStore, bare: Any, names: Names) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c, ttl=100)
    assert 70_000 < await bare.pttl(f"{c}::k") <= 100_001
    await bare.expire(f"{c}::k", 50)
    for left in ((await store.ttl("k", collection=c))[1], (await store.ttl_many(["k"], collection=c))[0][1]):
        assert left is not None
        assert 20 < left <= 50.1
    [described] = await store.describe(["k"], collection=c)
    record = await store.read("k", collection=c)
    [text] = await store.texts(["k"], collection=c)
    assert described is not None
    assert record is not None
    assert text is not None
    for deadline in (described.expires_at, record.expires_at, text[1]):
        assert deadline is not None
        assert deadline < datetime.now(UTC) + timedelta(seconds=51)
    await bare.persist(f"{c}::k")
    _, left = await store.ttl("k", collection=c)
    assert left is not None
    assert 60 < left <= 100


async def test_edits_write_both_deadlines(store: BaseStore, bare: Any, names: Names) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c, ttl=100)
    await bare.expire(f"{c}::k", 50)
    await store.edit("k", {"n": 2}, collection=c)
    assert 20_000 < await bare.pttl(f"{c}::k") <= 50_100
    envelope = json.loads(await bare.get(f"{c}::k"))
    assert datetime.fromisoformat(envelope["expires_at"]) < datetime.now(UTC) + timedelta(seconds=51)
    await store.expire("k", None, collection=c)
    assert await bare.pttl(f"{c}::k") == -1
    assert "expires_at" not in json.loads(await bare.get(f"{c}::k"))


async def test_an_entry_that_expired_only_in_its_envelope_is_gone_and_can_be_made_anew(
    store: BaseStore, bare: Any, names: Names
) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c, ttl=0.05)
    await bare.persist(f"{c}::k")
    await asyncio.sleep(0.1)
    assert await store.get("k", collection=c) is None
    assert await store.describe(["k"], collection=c) == [None]
    await store.edit("k", {"n": 2}, collection=c, expected=ABSENT)
    assert await store.ttl("k", collection=c) == ({"n": 2}, None)


async def test_the_stamp_stays_until_something_changes(store: BaseStore, bare: Any, names: Names) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c, ttl=100)
    await bare.sadd(f"{c}::set", "a")

    async def stamps() -> list[bytes]:
        return [one.stamp for one in await store.describe(["k", "set"], collection=c) if one is not None]

    first = await stamps()
    await asyncio.sleep(0.02)
    assert await stamps() == first
    await store.expire("k", 200, collection=c)
    await bare.sadd(f"{c}::set", *(f"member {n}" for n in range(100)))
    assert not set(await stamps()) & set(first)


async def test_names_outside_collections(store: BaseStore, bare: Any, names: Names) -> None:
    lone = names("lone")
    odd = f"::{names('leading')}"
    await bare.set(lone, "plain")
    await bare.set(odd, "plain")
    collections = await all_names(lambda cursor: store.scan_collections(cursor=cursor))
    assert [name.token for name in collections].count(OUTSIDE) == 1
    found = await all_names(lambda cursor: store.scan_keys(OUTSIDE, cursor=cursor))
    assert {lone, odd} <= {name.text for name in found}
    assert all("::" not in name.text.lstrip(":") for name in found)
    [token] = [name.token for name in found if name.text == lone]
    record = await store.read(token, collection=OUTSIDE)
    assert record is not None
    assert record.body == b"plain"
    await store.put(token, {"n": 1}, collection=OUTSIDE)
    assert json.loads(await bare.get(lone)).keys() == {"created_at", "value", "version"}
    assert await store.get(lone, collection=OUTSIDE) == {"n": 1}
    assert await store.delete(lone, collection=OUTSIDE)
    await bare.delete(odd)


async def test_glob_characters_in_names_are_literal(store: BaseStore, names: Names) -> None:
    c = names("a[b]*?\\c")
    await store.put_many(["x1", "x2", "y?", "é1", "日本"], [{}] * 5, collection=c)
    await store.put("x1", {}, collection=names("aXbYZc"))

    async def matching(glob: str | None) -> set[str]:
        return {name.text for name in await all_names(lambda cursor: store.scan_keys(c, cursor=cursor, match=glob))}

    assert await matching(None) == {"x1", "x2", "y?", "é1", "日本"}
    assert await matching("x*") == {"x1", "x2"}
    assert await matching("?1") == {"x1", "é1"}
    assert await matching("??") == {"x1", "x2", "y?", "é1", "日本"}
    assert await matching("[é日]*") == {"é1", "日本"}
    assert await matching("y\\?") == {"y?"}
    assert await matching("*1") == {"x1", "é1"}


async def test_a_walk_pages_through_everything_once(store: BaseStore, names: Names) -> None:
    c = names("c")
    keys = [f"k{n}" for n in range(5000)]
    await store.put_many(keys, [{}] * 5000, collection=c)
    first = await store.scan_keys(c, limit=100)
    assert 100 <= len(first.items) < 2500
    found = await all_names(lambda cursor: store.scan_keys(c, cursor=cursor, limit=100))
    assert sorted(name.text for name in found) == sorted(keys)
    assert await store.delete_many(keys, collection=c) == 5000


async def test_large_values_are_read_by_their_beginning(store: BaseStore, bare: Any, names: Names) -> None:
    c = names("c")
    await bare.set(f"{c}::big", b"x" * 200_000)
    part = await store.read("big", collection=c, limit=100)
    whole = await store.read("big", collection=c)
    assert part is not None
    assert whole is not None
    assert (part.body, part.length, part.size) == (b"x" * 100, 200_000, 200_000)
    assert (len(whole.body), whole.version) == (200_000, part.version)
    await bare.sadd(f"{c}::many", *(f"member {n:05}" for n in range(5000)))
    few = await store.read("many", collection=c, limit=200)
    assert few is not None
    assert len(few.body) == 200
    assert few.length > 40_000
    await store.put("entry", {"text": "y" * 200_000}, collection=c)
    entry = await store.read("entry", collection=c, limit=0)
    assert entry is not None
    assert entry.kind == ENTRY


async def test_a_description_reads_no_large_value_and_every_way_of_writing_an_entry(
    store: BaseStore, bare: Any, names: Names
) -> None:
    c = names("c")
    made = "2024-01-02T03:04:05+00:00"
    ways = {
        "unsorted": {"version": 1, "value": {"n": 1}, "created_at": made},
        "text": {"created_at": made, "value": '{"n": 1}', "version": 1},
        "null": {"collection": c, "created_at": None, "expires_at": None, "key": "null", "value": {"n": 1}, "version": 1},
        "more": {"collection": c, "created_at": made, "key": "k", "value": {"n": 1}, "vendor": {}, "version": 1},
        "naive": {"collection": c, "created_at": made[:-6], "key": "naive", "value": {"n": 1}, "version": 1},
    }
    for key, envelope in ways.items():
        await bare.set(f"{c}::{key}", json.dumps(envelope))
    for key, one in zip(ways, await store.describe(list(ways), collection=c), strict=True):
        assert one is not None
        assert one.kind == ENTRY
        assert one.created_at == (None if key == "null" else datetime.fromisoformat(made))
    assert [json.loads(text[0]) for text in await store.texts(list(ways), collection=c) if text] == [{"n": 1}] * len(ways)
    await bare.set(f"{c}::brace", b"{" + b"x" * 100_000)
    [brace] = await store.describe(["brace"], collection=c)
    assert brace is not None
    assert (brace.kind, brace.size) == ("unknown", 100_001)


async def test_two_stores_count_together(
    case: ModuleType, store: BaseStore, make: Callable[..., BaseStore], names: Names
) -> None:
    c = names("c")

    async def increment(writer: BaseStore, times: int) -> None:
        while times:
            record = await writer.read("n", collection=c)
            try:
                count = 0 if record is None or record.entry is None else record.entry.value["n"]
                version = ABSENT if record is None else record.version
                await writer.edit("n", {"n": count + 1}, collection=c, expected=version)
            except ConflictError:
                continue
            times -= 1

    async with make() as other:
        await asyncio.gather(*(increment(writer, 20) for writer in (store, other, store, other)))
    assert await store.get("n", collection=c) == {"n": 80}


async def test_a_value_over_the_servers_limit_is_refused_here(
    store: BaseStore, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.backends.resp_records.MAX_VALUE_BYTES", 1000)
    with pytest.raises(ValueTooLargeError, match="takes 1000"):
        await store.put("k", {"text": "x" * 1000}, collection=names("c"))
