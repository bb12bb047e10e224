"""What is special to ElasticsearchStore: documents of others, limits, case, batches, scans, races, lost connections."""

import asyncio
import datetime as dt
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import elastic_transport
import elasticsearch
import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import AsyncElasticsearch

from stores import (
    ABSENT,
    ElasticsearchStore,
    ElasticsearchV1CollectionSanitizationStrategy,
    ElasticsearchV1KeySanitizationStrategy,
    Token,
)
from stores.backends import elasticsearch_requests
from stores.backends.elasticsearch_requests import with_port
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    CursorExpiredError,
    DeserializationError,
    InvalidKeyError,
    KeyValueOperationError,
    ReadOnlyError,
    SerializationError,
    StoreConnectionError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)
from tests.faults.proxy import Proxy
from tests.faults.tls import tls_in_front
from tests.servers.lease import addresses

pytestmark = pytest.mark.anyio


class Counting(AsyncElasticsearch):
    """The bare driver, which notes what is sent and may be told what to answer."""

    sent: list[str]
    answers: list[dict[str, Any]]
    """Of the next bulk requests, in the place of the server's."""

    def options(self, **more: Any) -> Any:
        made: Any = super().options(**more)
        made.sent, made.answers = self.sent, self.answers
        return made

    async def perform_request(self, method: str, path: str, **more: Any) -> Any:
        self.sent.append(path.rpartition("/")[2])
        if path.endswith("_bulk") and self.answers:
            return elastic_transport.ObjectApiResponse(body=self.answers.pop(0), meta=meta(200))
        return await super().perform_request(method, path, **more)

    def take(self) -> list[str]:
        taken = list(self.sent)
        self.sent.clear()
        return taken


def meta(status: int) -> ApiResponseMeta:
    node = NodeConfig("http", "localhost", 9200)
    return ApiResponseMeta(status=status, http_version="1.1", headers=HttpHeaders(), duration=0.0, node=node)


@pytest.fixture
async def bare(elasticsearch_url: str, unique_name: str) -> AsyncIterator[Counting]:
    client = Counting(elasticsearch_url)
    client.sent, client.answers = [], []
    async with client:
        yield client
        for index in (await client.indices.get_alias(index=f"{unique_name}-*")).body:
            await client.indices.delete(index=index)


@pytest.fixture
async def store(elasticsearch_url: str, unique_name: str, bare: Counting) -> AsyncIterator[ElasticsearchStore]:
    async with ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name) as opened:
        yield opened


@pytest.fixture
async def watched(unique_name: str, bare: Counting) -> AsyncIterator[ElasticsearchStore]:
    """A store that uses the client `bare`."""
    async with ElasticsearchStore(elasticsearch_client=bare, index_prefix=unique_name) as opened:
        yield opened


async def all_names(store: ElasticsearchStore, collection: Any, limit: int = 500, match: str | None = None) -> list[Any]:
    names, cursor = [], None
    while True:
        page = await store.scan_keys(collection, cursor=cursor, limit=limit, match=match)
        names += page.items
        cursor = page.cursor
        if cursor is None:
            return names


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


# Names


async def test_collections_that_differ_only_in_case_are_kept_apart(
    store: ElasticsearchStore, elasticsearch_url: str, unique_name: str
) -> None:
    await store.put("k", {"n": 1}, collection="users")
    with pytest.raises(InvalidKeyError, match="'users', which is there already"):
        await store.put("k", {"n": 2}, collection="Users")
    with pytest.raises(InvalidKeyError):
        await store.edit("k", {"n": 2}, collection="USERS")
    for name in ("Users", "USERS"):
        assert await store.get("k", collection=name) is None
        assert await store.describe(["k"], collection=name) == [None]
        assert await store.keys(name) == []
        assert await store.delete("k", collection=name) is False
        assert await store.delete_many(["k"], collection=name) == 0
        assert await store.destroy_collection(name) is False
    assert await store.get("k", collection="users") == {"n": 1}
    strategy = ElasticsearchV1CollectionSanitizationStrategy()
    async with ElasticsearchStore(
        url=elasticsearch_url, index_prefix=f"{unique_name}-v1", collection_sanitization_strategy=strategy
    ) as apart:
        for name in ("users", "Users", "with space", "日本/…", "x" * 300):
            await apart.put("k", {"name": name}, collection=name)
        found = {name.text: name for name in (await apart.scan_collections()).items}
        assert found.keys() == {"users", "Users", "with space", "日本/…", "x" * 300}
        for text, shown in found.items():
            assert await apart.get("k", collection=shown.token) == {"name": text}
            await apart.put("l", {}, collection=shown.token)
            assert await apart.get("l", collection=text) == {}


async def test_hashed_keys_are_shown_as_they_are(elasticsearch_url: str, unique_name: str, bare: Counting) -> None:
    strategy = ElasticsearchV1KeySanitizationStrategy()
    async with ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name, key_sanitization_strategy=strategy) as store:
        keys = ["a", "../b", "x" * 2000, "日本"]
        await store.put_many(keys, [{}] * 4, collection="c")
        names = await all_names(store, "c")
        assert {name.text for name in names} == set(keys)
        assert all(name.exact and len(name.token.value) == 64 for name in names)
        await store.put_many([name.token for name in names], [{"n": 1}] * 4, collection="c")
        await store.edit(names[0].token, {"n": 2}, collection="c")
        assert set(await store.keys("c")) == set(keys)
        await bare.index(index=f"{unique_name}-c", id="plain", document={"key": "a"}, refresh=True)
        [plain] = [name for name in await all_names(store, "c") if not name.exact]
        assert plain.text == "plain"
        with pytest.raises(InvalidKeyError, match="32,766"):
            await store.put("x" * 32_767, {}, collection="c")


@pytest.mark.parametrize("name", ["a b", "a/b", "a*", "a,b", "a#", "a:b", 'a"', "a\nb", "x" * 250, "é" * 125])
async def test_an_impossible_collection_is_refused(
    store: ElasticsearchStore, bare: Counting, unique_name: str, name: str
) -> None:
    with pytest.raises(InvalidKeyError):
        await store.put("k", {}, collection=name)
    assert (await bare.indices.get_alias(index=f"{unique_name}-*")).body == {}


@pytest.mark.parametrize("prefix", ["", "-a", "_a", "+a", "a b", "a*", "a,b"])
def test_an_impossible_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="index_prefix"):
        ElasticsearchStore(url="http://localhost:9200", index_prefix=prefix)


async def test_a_token_of_another_store_is_refused(store: ElasticsearchStore) -> None:
    with pytest.raises(InvalidKeyError, match="not an index of this store"):
        await store.get("k", collection=Token(b"secrets"))


async def test_keys_that_would_be_paths_are_keys(store: ElasticsearchStore) -> None:
    for key in ("..", ".", "a/b", "_search", "%2e", "a?b#c", "x" * 512):
        await store.put(key, {"key": key}, collection="c")
        assert await store.get(key, collection="c") == {"key": key}
        assert await store.delete(key, collection="c") is True
    with pytest.raises(InvalidKeyError, match="512"):
        await store.get("x" * 513, collection="c")


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


# Batches and scans


async def test_many_keys_are_one_round_trip_and_a_given_client_stays_open(watched: ElasticsearchStore, bare: Counting) -> None:
    await watched.put("first", {}, collection="c")
    keys = [f"k{n}" for n in range(1000)]
    bare.take()
    await watched.put_many(keys, [{"n": n} for n in range(1000)], collection="c")
    assert bare.take() == ["_bulk"]
    assert len([one for one in await watched.get_many(keys, collection="c") if one]) == 1000
    assert bare.take() == ["_mget"]
    assert all(await watched.describe(keys, collection="c"))
    assert bare.take() == ["_mget"]
    assert len((await watched.scan_keys("c", limit=500)).items) == 500
    assert bare.take() == ["_pit", "_search"]
    assert await watched.delete_many(["absent", *keys[1:]], collection="c") == 999
    assert bare.take() == ["_mget", "_bulk"]
    await watched.put("k", {}, collection="c")
    await watched.get("k", collection="c")
    assert bare.take() == ["_bulk", "_mget"]
    await watched.close()
    assert (await bare.info())["version"]


async def test_big_documents_go_in_more_batches(
    watched: ElasticsearchStore, bare: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watched.put("first", {}, collection="c")
    monkeypatch.setattr(elasticsearch_requests, "BATCH_BYTES", 10_000)
    bare.take()
    await watched.put_many([f"k{n}" for n in range(7)], [{"text": "x" * 4000}] * 7, collection="c")
    assert bare.take() == ["_bulk"] * 4
    assert len(await all_names(watched, "c")) == 8


def item(status: int, kind: str | None = None) -> dict[str, Any]:
    done = {"_seq_no": 7, "_primary_term": 1, "result": "updated"} if kind is None else {"error": {"type": kind, "reason": "r"}}
    return {"index": {"status": status, **done}}


async def test_what_is_refused_for_load_is_sent_again(
    watched: ElasticsearchStore, bare: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elasticsearch_requests, "BACKOFF", 0.001)
    await watched.put_many(["a", "b"], [{"n": 1}, {"n": 1}], collection="c")
    rejected = item(429, "es_rejected_execution_exception")
    bare.take()
    bare.answers += [{"errors": True, "items": [item(200), rejected]}, {"errors": True, "items": [rejected]}]
    await watched.put_many(["a", "b"], [{"n": 2}, {"n": 2}], collection="c")
    assert bare.take() == ["_bulk"] * 3
    assert await watched.get_many(["a", "b"], collection="c") == [{"n": 1}, {"n": 2}]  # the pretended answer stored nothing
    bare.answers += [{"errors": True, "items": [rejected]}] * 10
    with pytest.raises(StoreConnectionError, match="overloaded"):
        await watched.put("a", {"n": 3}, collection="c")
    bare.answers.clear()
    bare.answers.append({"errors": True, "items": [rejected]})
    with pytest.raises(StoreConnectionError, match="overloaded"):
        await watched.edit("a", {"n": 3}, collection="c")  # a condition is sent once


@pytest.mark.parametrize(
    ("kind", "status", "ours"),
    [
        ("document_parsing_exception", 400, SerializationError),
        ("cluster_block_exception", 403, ReadOnlyError),
        ("security_exception", 403, KeyValueOperationError),
        ("something_new", 500, KeyValueOperationError),
    ],
)
async def test_an_error_inside_a_bulk_answer_is_an_error(
    watched: ElasticsearchStore, bare: Counting, kind: str, status: int, ours: type[BaseKeyValueError]
) -> None:
    await watched.put("a", {}, collection="c")
    bare.answers.append({"errors": True, "items": [item(200), item(status, kind)]})
    with pytest.raises(ours, match=f"1 of 2 writes.*{kind}"):
        await watched.put_many(["a", "b"], [{}, {}], collection="c")


async def test_a_scan_is_a_snapshot_whose_cursor_works_twice_and_expires(
    elasticsearch_url: str, unique_name: str, watched: ElasticsearchStore, bare: Counting
) -> None:
    await watched.put_many([f"k{n}" for n in range(25)], [{}] * 25, collection="c")
    first = await watched.scan_keys("c", limit=10)
    await watched.put("new", {}, collection="c")
    await watched.delete("k24", collection="c")
    second = await watched.scan_keys("c", cursor=first.cursor, limit=10)
    async with ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name) as other:
        assert await other.scan_keys("c", cursor=first.cursor, limit=10) == second
    third = await watched.scan_keys("c", cursor=second.cursor, limit=10)
    names = {name.text for page in (first, second, third) for name in page.items}
    assert names == {f"k{n}" for n in range(25)}
    assert third.cursor is None
    with pytest.raises(CursorExpiredError, match="again"):
        await watched.scan_keys("c", cursor=first.cursor, limit=10)
    with pytest.raises(CursorExpiredError, match="again"):
        await watched.scan_keys("c", cursor=b"nonsense", limit=10)
    assert {name.text for name in await all_names(watched, "c", match="k1*")} == {"k1", *(f"k1{n}" for n in range(10))}


async def test_a_serverless_project_is_not_asked_to_refresh(
    elasticsearch_url: str, unique_name: str, monkeypatch: pytest.MonkeyPatch, bare: Counting
) -> None:
    asked: list[Any] = []

    class Serverless(Counting):
        async def info(self, **_: Any) -> Any:
            body = {"version": {"build_flavor": "serverless"}}
            return elastic_transport.ObjectApiResponse(body=body, meta=meta(200))

        async def bulk(self, *args: Any, **more: Any) -> Any:
            asked.append(more["refresh"])
            return await super().bulk(*args, **more)

    client = Serverless(elasticsearch_url)
    client.sent, client.answers = [], []
    async with client, ElasticsearchStore(elasticsearch_client=client, index_prefix=unique_name) as store:
        await store.put("k", {"n": 1}, collection="c")
        assert await store.get("k", collection="c") == {"n": 1}
        await store.delete("k", collection="c")
        await store.cull()
    assert asked == [None, None]


# Races


async def test_two_stores_lose_no_increment(elasticsearch_url: str, unique_name: str, bare: Counting) -> None:
    async with (
        ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name) as one,
        ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name) as two,
    ):
        await one.put("n", {"n": 0}, collection="c", ttl=1000)

        async def increment(store: ElasticsearchStore, times: int) -> None:
            while times:
                record = await store.read("n", collection="c")
                assert record
                assert record.entry
                try:
                    await store.edit("n", {"n": record.entry.value["n"] + 1}, collection="c", expected=record.version)
                except ConflictError:
                    continue
                times -= 1

        await asyncio.gather(increment(one, 20), increment(two, 20), increment(one, 20))
        assert await two.get("n", collection="c") == {"n": 60}

        async def create(store: ElasticsearchStore, n: int) -> int:
            try:
                await store.edit("new", {"n": n}, collection="c", expected=ABSENT)
            except ConflictError:
                return 0
            return 1

        assert sum(await asyncio.gather(*(create(store, n) for n in range(10) for store in (one, two)))) == 1


# Life


async def test_a_setup_that_fails_can_be_tried_again(elasticsearch_url: str, unique_name: str) -> None:
    async with Proxy(*addresses(elasticsearch_url)[0]) as proxy:
        proxy.refuse()
        store = ElasticsearchStore(url=f"http://127.0.0.1:{proxy.port}", index_prefix=unique_name, timeout=1)
        with pytest.raises(StoreSetupError, match=f"127.0.0.1:{proxy.port}"):
            await store.get("k", collection="c")
        await proxy.mend()
        assert await store.get("k", collection="c") is None
        await store.close()


@pytest.mark.parametrize("fault", ["refuse", "garbage", "black hole"])
async def test_a_lost_connection_is_said_and_the_next_call_works(
    elasticsearch_url: str, unique_name: str, bare: Counting, fault: str
) -> None:
    async with (
        Proxy(*addresses(elasticsearch_url)[0]) as proxy,
        ElasticsearchStore(url=f"http://127.0.0.1:{proxy.port}", index_prefix=unique_name, timeout=0.3) as store,
    ):
        keys = [f"k{n}" for n in range(100)]
        await store.put_many(keys, [{"n": 0}] * 100, collection="c")
        calls: list[Callable[[], Any]] = [
            lambda: store.get("k1", collection="c"),
            lambda: store.put_many(keys, [{"n": 1}] * 100, collection="c"),
            lambda: store.scan_keys("c", limit=10),
            lambda: store.edit("k1", {"n": 2}, collection="c"),
        ]
        for call in calls:
            if fault == "refuse":
                proxy.refuse()
                proxy.cut()
            elif fault == "garbage":
                proxy.garbage(b"garbage\r\n\r\n")
            else:
                proxy.black_hole()
            with pytest.raises(StoreConnectionError) as lost:
                await call()
            assert isinstance(lost.value.__cause__, elastic_transport.TransportError)
            await proxy.mend()
            await call()


async def test_a_connection_that_is_cut_once_is_not_even_noticed(
    elasticsearch_url: str, unique_name: str, bare: Counting
) -> None:
    async with (
        Proxy(*addresses(elasticsearch_url)[0]) as proxy,
        ElasticsearchStore(url=f"http://127.0.0.1:{proxy.port}", index_prefix=unique_name) as store,
    ):
        await store.put("k", {"n": 1}, collection="c")
        proxy.cut_after(10)
        assert await store.get("k", collection="c") == {"n": 1}
        opened = proxy.accepted
        await asyncio.gather(*(store.get("k", collection="c") for _ in range(200)))
        assert proxy.accepted - opened <= 10


def exceptions(module: Any) -> Iterator[type[Exception]]:
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if issubclass(cls, Exception) and not issubclass(cls, Warning):
            yield cls


async def test_every_exception_of_the_driver_becomes_ours(store: ElasticsearchStore) -> None:
    classes = {*exceptions(elasticsearch), *exceptions(elastic_transport)}
    assert len(classes) > 12
    for cls in classes:
        exc = cls("told", meta(400), {}) if issubclass(cls, elastic_transport.ApiError) else cls("told")
        with pytest.raises(BaseKeyValueError, match="collection 'c', key 'k'"), store._edge("c", "k"):
            raise exc


@pytest.mark.parametrize(
    ("status", "kind", "ours", "said"),
    [
        (401, "security_exception", StoreSetupError, "API key"),
        (403, "security_exception", KeyValueOperationError, "right"),
        (413, "", ValueTooLargeError, "max_content_length"),
        (429, "circuit_breaking_exception", StoreConnectionError, "overloaded"),
        (503, "no_shard_available_action_exception", StoreConnectionError, "overloaded"),
        (400, "invalid_index_name_exception", InvalidKeyError, "strategy"),
        (404, "search_context_missing_exception", CursorExpiredError, "again"),
        (500, "something_new", KeyValueOperationError, "told"),
    ],
)
async def test_a_servers_answer_comes_with_advice(
    store: ElasticsearchStore, status: int, kind: str, ours: type[BaseKeyValueError], said: str
) -> None:
    body = {"error": {"type": kind, "root_cause": [{"type": kind}]}, "status": status}
    with pytest.raises(ours, match=said), store._edge("c", "k"):
        raise elasticsearch.ApiError("told", meta(status), body)


# Addresses


def test_a_client_or_a_url_is_needed() -> None:
    with pytest.raises(ValueError, match="url"):
        ElasticsearchStore(index_prefix="p")  # type: ignore[call-overload] # the point


def test_the_location_shows_no_secret() -> None:
    store = ElasticsearchStore(url="https://user:s3cret@cluster.example:9243", index_prefix="P", api_key="s3cret")
    assert store.location == "https://cluster.example:9243/p-*"


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("https://h", "https://h:443"),
        ("http://u:p@h/path", "http://u:p@h:9200/path"),
        ("https://h:9243/", "https://h:9243/"),
        ("http://[::1]", "http://[::1]:9200"),
    ],
)
def test_a_url_may_leave_its_port_out(url: str, full: str) -> None:
    assert with_port(url) == full


async def test_credentials_reach_the_server() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"error": {"type": "security_exception", "reason": "unable to authenticate"}, "status": 401}'
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nX-Elastic-Product: Elasticsearch\r\n")
        writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        cases: list[tuple[dict[str, Any], bytes]] = [
            ({"url": f"http://{host}", "api_key": "a2V5"}, b"ApiKey a2V5"),
            ({"url": f"http://{host}", "username": "u", "password": "p"}, b"Basic dTpw"),
            ({"url": f"http://u:p@{host}"}, b"Basic dTpw"),
        ]
        for arguments, header in cases:
            store = ElasticsearchStore(**arguments, index_prefix="p")
            with pytest.raises(StoreSetupError, match="401"):
                await store.setup()
            assert header in seen.pop()


async def test_a_missing_authority_file_is_said(unique_name: str) -> None:
    store = ElasticsearchStore(url="https://127.0.0.1:1", index_prefix=unique_name, ca_certs="/nonexistent/ca.pem")
    with pytest.raises(StoreSetupError, match=r"ca_certs|No such file"):
        await store.setup()


async def test_tls_with_ones_own_authority(elasticsearch_url: str, unique_name: str, bare: Counting, tmp_path: Path) -> None:
    async with tls_in_front(*addresses(elasticsearch_url)[0], tmp_path) as port:
        url = f"https://127.0.0.1:{port}"
        ca = str(tmp_path / "cert.pem")
        async with ElasticsearchStore(url=url, index_prefix=unique_name, ca_certs=ca) as store:
            await store.put("k", {"n": 1}, collection="c")
            assert await store.get("k", collection="c") == {"n": 1}
        stranger = ElasticsearchStore(url=url, index_prefix=unique_name, timeout=2)
        with pytest.raises(StoreSetupError, match=r"(?i)certificate"):
            await stranger.setup()
        async with ElasticsearchStore(url=url, index_prefix=unique_name, verify_certs=False) as careless:
            assert await careless.get("k", collection="c") == {"n": 1}
