"""Documents, ours and others', and the indices around them: form, what is left alone, limits."""

import asyncio
import datetime as dt
import json
from typing import Any

import pytest

from stores import ABSENT, ElasticsearchStore
from stores.errors import DeserializationError, SerializationError, StoreSetupError, UnsupportedError, ValueTooLargeError
from tests.stores.conftest import all_names
from tests.stores.elasticsearch.conftest import Counting

pytestmark = pytest.mark.anyio


async def state(bare: Counting, prefix: str) -> Any:
    """Indices with their mappings and documents."""
    indices = (await bare.indices.get(index=f"{prefix}-*")).body
    hits = (await bare.search(index=f"{prefix}-*", size=1000))["hits"]["hits"] if indices else []
    return {name: index["mappings"] for name, index in indices.items()}, sorted(json.dumps(hit) for hit in hits)


# Form


async def test_the_document_and_the_mapping_are_py_key_values(
    store: ElasticsearchStore, bare: Counting, unique_name: str
) -> None:
    await store.put("k", {"b": (1, 2), "a": {3: None}}, collection="Users", ttl=10)
    index = f"{unique_name}-users"
    found = (await bare.get(index=index, id="k"))["_source"]
    assert found.keys() == {"version", "key", "collection", "created_at", "expires_at", "value"}
    assert (found["version"], found["key"], found["collection"]) == (1, "k", "Users")
    assert found["value"] == {"flattened": {"a": {"3": None}, "b": [1, 2]}}
    assert dt.datetime.fromisoformat(found["expires_at"]) - dt.datetime.fromisoformat(found["created_at"]) == dt.timedelta(
        seconds=10
    )
    properties = (await bare.indices.get_mapping(index=index))[index]["mappings"]["properties"]
    assert properties["value"] == {"properties": {"flattened": {"type": "flattened"}}}
    assert {name: field.get("type") for name, field in properties.items() if name != "value"} == {
        "created_at": "date",
        "expires_at": "date",
        "collection": "keyword",
        "key": "keyword",
        "version": "integer",
    }


async def test_looking_changes_nothing(elasticsearch_url: str, unique_name: str, bare: Counting) -> None:
    await bare.index(index=f"{unique_name}-foreign", id="1", document={"n": 1}, refresh=True)
    before = await state(bare, unique_name)
    async with ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name) as store:
        assert await store.get("k", collection="c") is None
        assert await store.get_many(["k"], collection="foreign") == [None]
        assert await store.delete("k", collection="c") is False
        assert await store.delete_many(["k"], collection="foreign") == 0
        assert await store.describe(["k"], collection="c") == [None]
        assert await store.read("k", collection="c") is None
        assert (await store.scan_keys("c")).items == []
        assert len((await store.scan_keys("foreign")).items) == 1
        assert await store.collections() == ["foreign"]
        assert await store.keys("c") == []
        assert await store.destroy_collection("c") is False
        await store.cull()
    assert await state(bare, unique_name) == before


async def test_auto_create_off_refuses_a_missing_index_until_it_is_there(
    elasticsearch_url: str, unique_name: str, bare: Counting
) -> None:
    async with ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name, auto_create=False) as store:
        with pytest.raises(StoreSetupError, match="auto_create") as failed:
            await store.put("k", {}, collection="c")
        assert isinstance(failed.value.__cause__, ValueError)
        await ElasticsearchStore(elasticsearch_client=bare, index_prefix=unique_name).setup_collection(collection="c")
        await store.put("k", {"n": 1}, collection="c")
        assert await store.get("k", collection="c") == {"n": 1}


async def test_an_index_that_vanished_is_missed_aloud_and_made_again(
    store: ElasticsearchStore, bare: Counting, unique_name: str
) -> None:
    await store.put("k", {}, collection="c")
    await bare.indices.delete(index=f"{unique_name}-c")
    with pytest.raises(StoreSetupError, match="deleted index"):
        await store.put("k", {"n": 2}, collection="c")
    await bare.indices.delete(index=f"{unique_name}-c")
    await store.put("k", {"n": 3}, collection="c")
    mapping = (await bare.indices.get_mapping(index=f"{unique_name}-c"))[f"{unique_name}-c"]["mappings"]
    assert mapping["properties"]["value"] == {"properties": {"flattened": {"type": "flattened"}}}


async def test_cull_removes_what_expired_and_nothing_else(store: ElasticsearchStore, bare: Counting, unique_name: str) -> None:
    await store.put("brief", {}, collection="c", ttl=0.05)
    await store.put("long", {}, collection="c", ttl=100)
    await store.put("ever", {}, collection="c")
    theirs = {"expires_at": "2000-01-01T00:00:00Z", "mine": True}
    await bare.index(index=f"{unique_name}-c", id="theirs", document=theirs, refresh=True)
    await asyncio.sleep(0.1)
    assert await store.delete("brief", collection="c") is False
    await store.put("brief", {}, collection="c", ttl=0.05)
    await asyncio.sleep(0.1)
    await store.cull()
    left = (await bare.search(index=f"{unique_name}-c"))["hits"]["hits"]
    assert {hit["_id"] for hit in left} == {"long", "ever", "theirs"}


# Documents of others


ODD_DOCUMENTS: dict[str, dict[str, Any]] = {
    "other fields": {"title": "x", "n": [1, 2], "o": {"deep": True}},
    "flat value": {"version": 2, "value": {"n": 1}},
    "no object": {"value": {"flattened": None}},
    "a date that is none": {"created_at": None, "value": {"flattened": {}}, "expires_at": 5},
}


@pytest.mark.parametrize("document", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS)
async def test_a_document_that_is_no_entry_hides_nothing(
    store: ElasticsearchStore, bare: Counting, unique_name: str, document: dict[str, Any]
) -> None:
    await store.put("other", {}, collection="c")
    await bare.index(index=f"{unique_name}-c", id="odd", document=document, refresh=True)
    names = await all_names(store, "c", 1)
    assert {name.text for name in names} == {"odd", "other"}
    described = await store.describe(["odd", "other"], collection="c")
    assert [one and one.kind for one in described] == ["document", "entry"]
    with pytest.raises(DeserializationError, match="'odd' in collection 'c'"):
        await store.get("odd", collection="c")
    with pytest.raises(DeserializationError, match="'odd' in collection 'c'"):
        await store.get_many(["other", "odd"], collection="c")
    with pytest.raises(UnsupportedError):
        await store.expire("odd", 10, collection="c")
    record = await store.read("odd", collection="c", limit=5)
    assert record
    assert (record.kind, len(record.body)) == ("document", 5)
    assert record.length > 5
    snapshot = await store.snapshot("odd", collection="c")
    assert snapshot
    assert json.loads(snapshot.body) == document
    assert await store.delete("odd", collection="c", expected=record.version) is True
    await store.restore("odd", snapshot, collection="c", expected=ABSENT)
    assert (await bare.get(index=f"{unique_name}-c", id="odd"))["_source"] == document
    await store.put("odd", {"now": "an entry"}, collection="c")
    assert await store.get("odd", collection="c") == {"now": "an entry"}


async def test_a_foreign_index_is_a_collection(store: ElasticsearchStore, bare: Counting, unique_name: str) -> None:
    await bare.index(index=f"{unique_name}-logs", id="1", document={"message": "hello"}, refresh=True)
    [collection] = (await store.scan_collections()).items
    assert (collection.text, collection.exact) == ("logs", True)
    [name] = (await store.scan_keys(collection.token)).items
    record = await store.read(name.token, collection=collection.token)
    assert record
    assert json.loads(record.body) == {"message": "hello"}
    assert await store.destroy_collection(collection.token) is True  # type: ignore[arg-type] # tokens work too
    assert await store.collections() == []


# Limits


async def test_what_elasticsearch_would_refuse_is_refused_before_anything_is_sent(
    watched: ElasticsearchStore, bare: Counting
) -> None:
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"d": deep}
    await watched.put("k", deep["d"], collection="c")
    await watched.put("k", {"a": {"b": ["x" * (32_766 - 4)]}}, collection="c")
    bare.take()
    for value, error, said in (
        ({"a": {"b": ["x" * (32_766 - 3)]}}, ValueTooLargeError, "32,766"),
        ({"é": "é" * 16_382}, ValueTooLargeError, "32,766"),
        (deep, SerializationError, "20 levels"),
        ({"nul\0": 1}, SerializationError, "NUL"),
        ({"lone": "\ud800"}, SerializationError, "UTF-8"),
        ({"lone\ud800": 1}, SerializationError, "UTF-8"),
        ({"n": float("nan")}, SerializationError, "nan"),
        ({"n": [{"m": float("-inf")}]}, SerializationError, "-inf"),
    ):
        with pytest.raises(error, match=said):
            await watched.put("k", value, collection="c")
        with pytest.raises(error, match=said):
            await watched.put_many(["j", "k"], [{}, value], collection="c")
    assert bare.take() == []
