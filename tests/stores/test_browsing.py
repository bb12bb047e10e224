"""Browsing and editing, on every backend, driven by its traits."""

import asyncio
import inspect
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import stores
from kvd import model
from stores import (
    ABSENT,
    KEEP,
    OUTSIDE,
    AsyncCullProtocol,
    AsyncKeyValue,
    BaseCullStore,
    BaseDestroyCollectionStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
    BaseStore,
    Name,
)
from stores.errors import ConflictError, CursorExpiredError, KeyValueOperationError, UnsupportedError
from stores.names import Collection
from stores.records import Record
from tests.stores.conftest import STORING, Names, by_name, traits_of

pytestmark = pytest.mark.anyio

on_storing = pytest.mark.parametrize("case", STORING, ids=by_name)
CULLING = [case for case in STORING if issubclass(getattr(stores, case.STORE), BaseCullStore)]


async def walk(store: BaseStore, collection: Collection, *, limit: int = 40, match: str | None = None) -> list[Name]:
    found: list[Name] = []
    cursor: bytes | None = None
    while True:
        page = await store.scan_keys(collection, cursor=cursor, limit=limit, match=match)
        assert page.scanned >= len(page.items)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found


async def walk_collections(store: BaseStore) -> list[Name]:
    found: list[Name] = []
    cursor: bytes | None = None
    while True:
        page = await store.scan_collections(cursor=cursor, limit=40)
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found


@on_storing
async def test_a_walk_misses_no_key_and_shows_none_twice(store: BaseStore, names: Names) -> None:
    keys = [f"key:{number:03}" for number in range(150)]
    await store.put_many(keys, [{"n": number} for number in range(150)], collection=names("c"))
    await store.put("elsewhere", {}, collection=names("cc"))
    found = await walk(store, names("c"))
    assert len(found) == 150
    if all(name.exact for name in found):
        assert sorted(name.text for name in found) == keys
    descriptions = await store.describe([name.token for name in found], collection=names("c"))
    assert all(description is not None and description.kind == "entry" for description in descriptions)
    assert await walk(store, names("unknown")) == []


@on_storing
async def test_match_is_a_glob(store: BaseStore, names: Names) -> None:
    keys = ["user:1", "user:2", "user:10", "star*", "starry", "query?", "[x]"]
    await store.put_many(keys, [{}] * len(keys), collection=names("c"))
    found = await walk(store, names("c"))
    assert all(name.exact for name in found)
    for pattern, expected in {
        "user:*": {"user:1", "user:2", "user:10"},
        "user:?": {"user:1", "user:2"},
        "user:[12]": {"user:1", "user:2"},
        r"star\*": {"star*"},
        "*": set(keys),
        "none*": set(),
    }.items():
        assert {name.text for name in await walk(store, names("c"), match=pattern)} == expected


@on_storing
async def test_collections_are_found(case: ModuleType, store: BaseStore, names: Names) -> None:
    if not traits_of(case).browses_collections:
        with pytest.raises(UnsupportedError):
            await store.scan_collections()
        return
    wanted = {names("one"), names("two")}
    for collection in wanted:
        await store.put("k", {"n": 1}, collection=collection)
    found = {name.text: name for name in await walk_collections(store) if name.text in wanted}
    assert set(found) == wanted
    for name in found.values():
        assert [key.text for key in await walk(store, name.token)] != []
        assert len(await walk(store, name.token)) == 1


@on_storing
async def test_enumeration_by_the_protocols(store: BaseStore, names: Names) -> None:
    await store.put_many(["a", "b", "c"], [{}] * 3, collection=names("c"))
    if isinstance(store, BaseEnumerateKeysStore):
        assert sorted(await store.keys(names("c"))) == ["a", "b", "c"]
        assert len(await store.keys(names("c"), limit=2)) == 2
        assert await store.keys(names("c"), limit=0) == []
        assert await store.keys(names("unknown")) == []
    if isinstance(store, BaseEnumerateCollectionsStore):
        collections = await store.collections()
        assert names("c") in collections
        assert names("unknown") not in collections
        assert len(await store.collections(limit=1)) == 1


@on_storing
async def test_destroying(store: BaseStore, names: Names) -> None:
    await store.put("k", {"n": 1}, collection=names("a"))
    await store.put("k", {"n": 2}, collection=names("b"))
    if isinstance(store, BaseDestroyCollectionStore):
        assert await store.destroy_collection(names("a")) is True
        assert await store.get("k", collection=names("a")) is None
        assert await store.get("k", collection=names("b")) == {"n": 2}
        assert await store.destroy_collection(names("a")) is False
        await store.put("k", {"n": 3}, collection=names("a"))
        assert await store.get("k", collection=names("a")) == {"n": 3}


@pytest.mark.parametrize("case", CULLING, ids=by_name)
async def test_culling_removes_only_what_expired(store: BaseStore, names: Names) -> None:
    assert isinstance(store, AsyncKeyValue)
    assert isinstance(store, AsyncCullProtocol)
    await store.put("brief", {"n": 1}, collection=names("c"), ttl=0.2)
    await store.put("kept", {"n": 2}, collection=names("c"), ttl=300)
    await asyncio.sleep(0.3)
    await store.cull()
    assert [name.text for name in await walk(store, names("c")) if name.exact] in (["kept"], [])
    assert len(await walk(store, names("c"))) == 1


@on_storing
async def test_description_and_record(store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put("k", {"b": 1, "a": [1, 2]}, collection=c, ttl=500)
    await store.put("lasting", {}, collection=c)
    described, lasting, missing = await store.describe(["k", "lasting", "missing"], collection=c)
    assert missing is None
    assert described is not None
    assert lasting is not None
    assert lasting.expires_at is None
    assert described.expires_at is not None
    assert described.size is None or described.size > 10
    record = await store.read("k", collection=c)
    assert record is not None
    assert record.kind == "entry"
    assert json.loads(record.body) == {"a": [1, 2], "b": 1}
    assert record.length == len(record.body)
    assert record.entry is not None
    assert record.created_at is not None
    assert record.expires_at is not None
    assert abs((record.expires_at - described.expires_at).total_seconds()) < 1.1
    assert abs((record.expires_at - record.created_at).total_seconds() - 500) < 1.1
    assert await store.read("missing", collection=c) is None
    [name] = [name for name in await walk(store, c) if (await store.read(name.token, collection=c)) == record]
    assert await store.delete(name.token, collection=c) is True
    assert await store.get("k", collection=c) is None
    assert await store.describe([], collection=c) == []


@on_storing
async def test_a_stamp_changes_with_the_entry(store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c, ttl=500)

    async def stamp() -> bytes:
        [described] = await store.describe(["k"], collection=c)
        assert described is not None
        stamped: bytes = described.stamp
        return stamped

    first = await stamp()
    assert await stamp() == first
    await store.put("k", {"n": 2222}, collection=c, ttl=500)
    second = await stamp()
    assert second != first
    await store.expire("k", 9000, collection=c)
    assert await stamp() != second


@on_storing
async def test_an_edit_keeps_the_deadline_and_the_creation_time(store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c, ttl=500)
    before = await store.read("k", collection=c)
    assert before is not None
    version = await store.edit("k", {"n": 2}, collection=c, expected=before.version)
    after = await store.read("k", collection=c)
    assert after is not None
    assert after.version == version != before.version
    assert after.expires_at == before.expires_at
    assert after.created_at == before.created_at
    assert await store.get("k", collection=c) == {"n": 2}
    await store.edit("k", {"n": 3}, collection=c, ttl=None)
    assert await store.ttl("k", collection=c) == ({"n": 3}, None)
    await store.edit("k", {"n": 4}, collection=c, ttl=50)
    value, ttl = await store.ttl("k", collection=c)
    assert value == {"n": 4}
    assert ttl is not None
    assert 20 < ttl <= 51


@on_storing
async def test_a_lost_race_is_a_conflict_that_shows_what_is_there(store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c)
    seen = await store.read("k", collection=c)
    assert seen is not None
    await store.put("k", {"n": 2}, collection=c)
    with pytest.raises(ConflictError) as lost:
        await store.edit("k", {"n": 3}, collection=c, expected=seen.version)
    assert lost.value.current is not None
    assert json.loads(lost.value.current.body) == {"n": 2}
    with pytest.raises(ConflictError):
        await store.delete("k", collection=c, expected=seen.version)
    with pytest.raises(ConflictError):
        await store.expire("k", 10, collection=c, expected=seen.version)
    assert await store.ttl("k", collection=c) == ({"n": 2}, None)
    now = await store.read("k", collection=c)
    assert now is not None
    assert await store.delete("k", collection=c, expected=now.version) is True
    with pytest.raises(ConflictError) as gone:
        await store.edit("k", {"n": 3}, collection=c, expected=now.version)
    assert gone.value.current is None


@on_storing
async def test_a_change_of_the_ttl_alone_is_another_version(store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c, ttl=100)
    seen = await store.read("k", collection=c)
    assert seen is not None
    assert await store.expire("k", 5000, collection=c) is True
    with pytest.raises(ConflictError):
        await store.edit("k", {"n": 2}, collection=c, expected=seen.version)


@on_storing
async def test_absent_creates_only(store: BaseStore, names: Names) -> None:
    c = names("c")
    version = await store.edit("k", {"n": 1}, collection=c, expected=ABSENT, ttl=KEEP)
    assert version != ABSENT
    with pytest.raises(ConflictError):
        await store.edit("k", {"n": 2}, collection=c, expected=ABSENT)
    assert await store.ttl("k", collection=c) == ({"n": 1}, None)
    await store.put("brief", {"n": 1}, collection=c, ttl=0.2)
    await asyncio.sleep(0.3)
    await store.edit("brief", {"n": 2}, collection=c, expected=ABSENT)
    assert await store.ttl("brief", collection=c) == ({"n": 2}, None)


@on_storing
async def test_expire_changes_the_deadline_and_nothing_else(store: BaseStore, names: Names) -> None:
    c = names("c")
    assert await store.expire("k", 10, collection=c) is False
    await store.put("k", {"n": 1}, collection=c)
    before = await store.read("k", collection=c)
    assert before is not None
    assert await store.expire("k", 1000, collection=c) is True
    value, ttl = await store.ttl("k", collection=c)
    assert value == {"n": 1}
    assert ttl is not None
    assert 970 < ttl <= 1001
    after = await store.read("k", collection=c)
    assert after is not None
    assert after.created_at == before.created_at
    assert after.body == before.body
    assert await store.expire("k", None, collection=c) is True
    assert await store.ttl("k", collection=c) == ({"n": 1}, None)
    assert await store.expire("k", 0.2, collection=c) is True
    await asyncio.sleep(0.3)
    assert await store.get("k", collection=c) is None
    assert await store.expire("k", 10, collection=c) is False


@on_storing
async def test_a_snapshot_is_put_back_as_it_was(store: BaseStore, names: Names) -> None:
    c = names("c")
    assert await store.snapshot("k", collection=c) is None
    await store.put("k", {"n": 1}, collection=c, ttl=500)
    record = await store.snapshot("k", collection=c)
    assert record is not None
    await store.delete("k", collection=c)
    version = await store.restore("k", record, collection=c, expected=ABSENT)
    restored = await store.read("k", collection=c)
    assert restored is not None
    assert restored.version == version
    assert restored.body == record.body
    assert restored.created_at == record.created_at
    assert restored.expires_at == record.expires_at
    with pytest.raises(ConflictError):
        await store.restore("k", record, collection=c, expected=ABSENT)
    await store.restore("other", record, collection=c)
    assert await store.get("other", collection=c) == {"n": 1}
    await store.delete_many(["k", "other"], collection=c)


@on_storing
async def test_what_is_no_whole_snapshot_of_this_kind_of_store_is_refused(store: BaseStore, names: Names) -> None:
    c = names("c")
    kinds = {"document", "file", "item", "item, flags 7", "object", "string", "text", "of another kind"}
    cut = [Record(kind=kind, body=b'{"a', length=7, size=7, version=ABSENT) for kind in kinds]
    strange = Record(kind="of another kind", body=b'{"a":', length=5, size=5, version=ABSENT)
    for record in (*cut, strange):
        with pytest.raises(KeyValueOperationError):
            await store.restore("k", record, collection=c)
    assert await store.read("k", collection=c) is None


@on_storing
async def test_two_racing_writers_lose_no_write(
    case: ModuleType, make: Callable[..., BaseStore], names: Names, store: BaseStore
) -> None:
    shared = traits_of(case).compare_and_set == "among clients" or not traits_of(case).persistent
    other = store if shared or not isinstance(store, BaseStore) else make()
    c = names("c")
    await store.put("counter", {"n": 0}, collection=c)

    async def increment(writer: BaseStore, times: int) -> None:
        for _ in range(times):
            while True:
                record = await writer.read("counter", collection=c)
                assert record is not None
                assert record.entry is not None
                try:
                    await writer.edit("counter", {"n": record.entry.value["n"] + 1}, collection=c, expected=record.version)
                except ConflictError:
                    continue
                break

    async with asyncio.TaskGroup() as group:
        for writer in (store, other):
            for _ in range(2):
                group.create_task(increment(writer, 5))
    assert await store.get("counter", collection=c) == {"n": 20}
    if other is not store:
        await other.close()


@on_storing
async def test_cursors_are_resumable_or_say_that_they_are_not(case: ModuleType, store: BaseStore, names: Names) -> None:
    await store.put_many([f"k{n}" for n in range(200)], [{}] * 200, collection=names("c"))
    page = await store.scan_keys(names("c"), limit=10)
    if page.cursor is None:
        return
    again: list[Any] = [await store.scan_keys(names("c"), cursor=page.cursor, limit=10)]
    if traits_of(case).resumable_cursors:
        again.append(await store.scan_keys(names("c"), cursor=page.cursor, limit=10))
        assert [name.text for name in again[0].items] == [name.text for name in again[1].items]
    else:
        with pytest.raises(CursorExpiredError):
            await store.scan_keys(names("c"), cursor=page.cursor, limit=10)
        other = await store.scan_keys(names("c"), limit=10)  # one page later the walk may be at its end
        assert other.cursor is not None
        closing: Any = store.close_cursor(other.cursor)  # type: ignore[func-returns-value] # remote: a request
        if inspect.isawaitable(closing):
            await closing
        with pytest.raises(CursorExpiredError):
            await store.scan_keys(names("c"), cursor=other.cursor, limit=10)


@on_storing
async def test_looking_creates_no_collection(case: ModuleType, store: BaseStore, names: Names) -> None:
    c = names("looked")
    await store.get("k", collection=c)
    await store.describe(["k"], collection=c)
    await store.read("k", collection=c)
    await store.delete("k", collection=c)
    await store.expire("k", 10, collection=c)
    await walk(store, c)
    if traits_of(case).browses_collections:
        assert c not in {name.text for name in await walk_collections(store)}


@pytest.mark.parametrize("case", [case for case in STORING if case.NAME in {"disk", "filetree", "s3"}], ids=by_name)
async def test_a_collection_named_outside_is_not_what_lies_outside(make: Callable[..., BaseStore], names: Names) -> None:
    async with make() as store:
        await store.put("k", {"n": 1}, collection=names("outside"))
        before = [name for name in await walk_collections(store) if name.token == OUTSIDE]
        assert before == []
        assert {name.text for name in await walk(store, names("outside"))} == {"k"}
        await store.delete("k", collection=names("outside"))


def test_the_token_of_what_lies_outside_is_the_same_on_the_wire() -> None:
    assert OUTSIDE.value == model.OUTSIDE.value
