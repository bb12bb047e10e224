"""What servers answer when they are full, overloaded, blocked or not yet ready, by a real driver from a scripted server."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from stores import ElasticsearchStore, Name, Token
from stores.backends import elasticsearch_requests, elasticsearch_scans
from stores.errors import BaseKeyValueError, DeserializationError, KeyValueOperationError, ReadOnlyError, StoreConnectionError

pytestmark = pytest.mark.anyio

Answer = tuple[int, dict[str, Any]]
Call = Callable[[ElasticsearchStore], Awaitable[Any]]

FOUND: dict[str, Any] = {"found": True, "_index": "p-c", "_id": "k", "_seq_no": 1, "_primary_term": 1, "_source": {}}
ALIASES: dict[str, Any] = {"p-a": {"aliases": {}}, "p-b": {"aliases": {}}}
HIT = {"hits": {"hits": [{"_id": "x", "_source": {"collection": "a"}}]}, "status": 200}


class Scripted:
    """A server that answers a request as the first of its rules says that is found in the request's line."""

    def __init__(self) -> None:
        self.rules: list[tuple[str, Answer]] = []
        self.asked: list[str] = []
        self.takes = 0.0
        """Seconds until it has deleted by query."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                line = head.partition(b"\r\n")[0].decode()
                self.asked.append(line)
                if "_delete_by_query" in line:
                    await asyncio.sleep(self.takes)
                status, answer = next((answer for rule, answer in self.rules if rule in line), (200, {"version": {}}))
                body = b"" if line.startswith("HEAD") else json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 %d Told\r\nContent-Type: application/json\r\n" % status)
                writer.write(b"X-Elastic-Product: Elasticsearch\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()


@pytest.fixture
def server() -> Scripted:
    return Scripted()


@pytest.fixture
async def store(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ElasticsearchStore]:
    monkeypatch.setattr(elasticsearch_requests, "BACKOFF", 0.001)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with ElasticsearchStore(url=url, index_prefix="p") as opened:
            yield opened


def error(kind: str, reason: str = "the reason") -> dict[str, Any]:
    return {"type": kind, "reason": reason, "root_cause": [{"type": kind, "reason": reason}]}


def whole(status: int, kind: str) -> Answer:
    return status, {"error": error(kind), "status": status}


def items(verb: str, status: int, kind: str, keys: str = "kl") -> Answer:
    refused = [{verb: {"_index": "p-c", "_id": key, "status": status, "error": error(kind)}} for key in keys]
    return 200, {"errors": True, "items": refused}


def documents(kind: str) -> Answer:
    return 200, {"docs": [{"_index": "p-c", "_id": key, "error": error(kind)} for key in "kl"]}


def deleted(status: int, **more: Any) -> Answer:
    return status, {"total": 3, "deleted": 1, "version_conflicts": 0, "failures": [], "timed_out": False, **more}


def get(store: ElasticsearchStore) -> Awaitable[Any]:
    return store.get("k", collection="c")


def get_many(store: ElasticsearchStore) -> Awaitable[Any]:
    return store.get_many(["k", "l"], collection="c")


def put(store: ElasticsearchStore) -> Awaitable[Any]:
    return store.put("k", {}, collection="c")


def put_many(store: ElasticsearchStore) -> Awaitable[Any]:
    return store.put_many(["k", "l"], [{}, {}], collection="c")


def delete(store: ElasticsearchStore) -> Awaitable[Any]:
    return store.delete("k", collection="c")


def destroy(store: ElasticsearchStore) -> Awaitable[Any]:
    return store.destroy_collection("c")


BLOCKED = "cluster_block_exception"
BUSY = "es_rejected_execution_exception"
BY_A_DISK = deleted(403, failures=[{"index": "p-c", "id": "1", "status": 403, "cause": error(BLOCKED)}])
CASES: dict[str, tuple[Call, list[tuple[str, Answer]], type[BaseKeyValueError], str]] = {
    "a shard is away": (
        get_many,
        [("_mget", documents("no_shard_available_action_exception"))],
        StoreConnectionError,
        "the reason.*not ready",
    ),
    "the index is closed": (get, [("_doc", whole(400, "index_closed_exception"))], KeyValueOperationError, "Open the index"),
    "it starts": (get, [("_doc", whole(503, BLOCKED))], StoreConnectionError, "not ready"),
    "its memory is full": (get, [("_doc", whole(429, "circuit_breaking_exception"))], StoreConnectionError, "overloaded"),
    "its disk is full": (put, [("_doc", whole(429, BLOCKED))], ReadOnlyError, "'k'.*the reason.*full disk"),
    "its disk is full for many": (
        put_many,
        [("_bulk", items("index", 429, BLOCKED))],
        ReadOnlyError,
        "2 of 2.*'k'.*the reason.*full disk",
    ),
    "it is busy": (put, [("_doc", whole(429, BUSY))], StoreConnectionError, "overloaded"),
    "it is busy for many": (put_many, [("_bulk", whole(429, BUSY))], StoreConnectionError, "overloaded"),
    "a primary is away": (
        delete,
        [("_doc", (200, FOUND)), ("_bulk", items("delete", 503, "unavailable_shards_exception", "k"))],
        StoreConnectionError,
        "1 of 1 writes failed.*'k'.*not ready",
    ),
    "deleting is refused": (destroy, [("_delete_by_query", BY_A_DISK)], ReadOnlyError, "1 of 3 documents.*full disk"),
    "deleting takes too long": (
        destroy,
        [("_delete_by_query", deleted(200, timed_out=True))],
        StoreConnectionError,
        "1 of 3 documents.*too long",
    ),
}


@pytest.mark.parametrize(("call", "rules", "ours", "said"), CASES.values(), ids=CASES)
async def test_a_refusal_says_where_what_and_what_to_do(  # noqa: PLR0917 - fixtures are injected by name
    store: ElasticsearchStore,
    server: Scripted,
    call: Call,
    rules: list[tuple[str, Answer]],
    ours: type[BaseKeyValueError],
    said: str,
) -> None:
    server.rules = [*rules, ("_search", (200, {"hits": {"hits": []}}))]
    with pytest.raises(BaseKeyValueError, match=said) as told:
        await call(store)
    assert type(told.value) is ours
    assert f"{store.location}, collection 'c'" in str(told.value)


WRITTEN = {"status": 200, "result": "updated", "_seq_no": 5, "_primary_term": 1}


@pytest.mark.parametrize(
    ("call", "path", "done", "blocked"),
    [
        (put, "_doc", (200, WRITTEN), whole(429, BLOCKED)),
        (put_many, "_bulk", (200, {"errors": False, "items": [{"index": WRITTEN}] * 2}), items("index", 429, BLOCKED)),
    ],
    ids=["one", "many"],
)
async def test_what_only_stands_in_the_way_for_a_while_is_tried_again(  # noqa: PLR0917 - fixtures are injected by name
    store: ElasticsearchStore, server: Scripted, call: Call, path: str, done: Answer, blocked: Answer
) -> None:
    server.rules = [("_search", (200, {"hits": {"hits": []}})), (path, whole(429, BUSY))]

    def asked() -> int:
        return sum(path in line for line in server.asked)

    async def pass_over() -> None:
        while asked() < 6:  # noqa: ASYNC110 - more often than the driver itself tries
            await asyncio.sleep(0.001)
        server.rules[1] = (path, done)

    async with asyncio.TaskGroup() as group:
        group.create_task(pass_over())
        await call(store)
    server.rules[1] = (path, blocked)
    server.asked.clear()
    with pytest.raises(ReadOnlyError):
        await call(store)
    assert asked() <= 4, "a full disk stays full: the driver tries a whole request four times, and nobody more"


async def test_a_document_whose_source_is_not_stored_is_foreign_data(store: ElasticsearchStore, server: Scripted) -> None:
    sourceless = {name: value for name, value in FOUND.items() if name != "_source"}
    server.rules = [
        ("_doc", (200, sourceless)),
        ("_mget", (200, {"docs": [sourceless, {**sourceless, "_id": "l"}]})),
        ("_pit", (200, {"id": "place"})),
        ("_search", (200, {"hits": {"hits": [{"_id": "k", "sort": [1]}]}})),
    ]
    with pytest.raises(DeserializationError, match="another program's document"):
        await get(store)
    with pytest.raises(DeserializationError, match="another program's document"):
        await get_many(store)
    assert [name.text for name in (await store.scan_keys("c")).items] == ["k"]


async def test_a_collection_that_cannot_be_read_now_is_not_hidden(store: ElasticsearchStore, server: Scripted) -> None:
    away = {"error": error("no_shard_available_action_exception"), "status": 503}
    server.rules = [("_alias", (200, ALIASES)), ("_msearch", (200, {"responses": [HIT, HIT, away, away]}))]
    page = await store.scan_collections()
    assert page.items == [Name("a", Token(b"p-a")), Name("b", Token(b"p-b"), exact=False)]
    gone = {"error": error("index_not_found_exception"), "status": 404}
    server.rules[1] = ("_msearch", (200, {"responses": [HIT, HIT, gone, gone]}))
    assert await store.collections() == ["a"]
    busy = {"error": error("es_rejected_execution_exception"), "status": 429}
    server.rules[1] = ("_msearch", (200, {"responses": [HIT, HIT, busy, busy]}))
    with pytest.raises(StoreConnectionError, match=f"{re.escape(store.location)}.*overloaded"):
        await store.collections()


async def test_deleting_by_query_may_take_long_while_the_server_is_there(
    store: ElasticsearchStore, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elasticsearch_scans, "QUIET", 0.05)
    server.takes = 0.3
    server.rules = [("_delete_by_query", deleted(200)), ("GET / ", (403, {"error": error("security_exception")}))]
    assert await destroy(store)
    assert server.asked.count("GET / HTTP/1.1") > 2
