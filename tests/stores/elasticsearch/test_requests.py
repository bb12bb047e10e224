"""How many requests work takes, what becomes of those that fail in part, and of writers that race."""

import asyncio
from typing import Any

import elastic_transport
import pytest
from elasticsearch import NotFoundError

from stores import ABSENT, ElasticsearchStore
from stores.backends import elasticsearch_requests
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    CursorExpiredError,
    KeyValueOperationError,
    ReadOnlyError,
    SerializationError,
    StoreConnectionError,
)
from tests.stores.conftest import all_names, race_to_increment
from tests.stores.elasticsearch.conftest import Counting, meta

pytestmark = pytest.mark.anyio


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
    await watched.get("_k", collection="c")
    assert bare.take() == ["k", "k", "_mget"]
    await asyncio.gather(*(watched.put(f"k{n}", {"n": n}, collection="c", ttl=n + 9) for n in range(50)))
    assert bare.take() == ["_bulk"]
    answers = await asyncio.gather(*(watched.ttl(f"k{n}", collection="c") for n in range(50)))
    assert bare.take() == ["k0", "_mget"]  # the first finds nobody to share with
    assert [value for value, _ in answers] == [{"n": n} for n in range(50)]
    assert all(left is not None and n + 5 < left <= n + 9 for n, (_, left) in enumerate(answers))
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


async def test_what_has_nothing_under_a_lone_key_is_no_error_and_a_stranger_is(
    watched: ElasticsearchStore, bare: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await watched.get("k", collection="no_index") is None
    await watched.put("first", {}, collection="c")
    assert await watched.get("k", collection="c") is None

    async def not_found(*_: Any, **__: Any) -> Any:
        raise NotFoundError("not found", meta(404), "<h1>nothing here</h1>")

    monkeypatch.setattr(bare, "perform_request", not_found)
    with pytest.raises(KeyValueOperationError, match="not found"):
        await watched.get("k", collection="c")


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
    bare.answers += [{"errors": True, "items": [rejected, rejected]}] * 10
    with pytest.raises(StoreConnectionError, match="overloaded"):
        await watched.put_many(["a", "b"], [{"n": 3}] * 2, collection="c")
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

        async def index(self, *args: Any, **more: Any) -> Any:
            asked.append(more["refresh"])
            return await super().index(*args, **more)

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
        await race_to_increment(one, two)

        async def create(store: ElasticsearchStore, n: int) -> int:
            try:
                await store.edit("new", {"n": n}, collection="c", expected=ABSENT)
            except ConflictError:
                return 0
            return 1

        assert sum(await asyncio.gather(*(create(store, n) for n in range(10) for store in (one, two)))) == 1
