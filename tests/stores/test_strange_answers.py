"""Servers, or what stands in front of them, that answer "done" without what was asked for, or send their callers away."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import stores
from stores.base import BaseStore
from stores.errors import Fault, StoreConnectionError, StoreSetupError
from stores.records import ANY

pytestmark = pytest.mark.anyio

KEY_SCHEMA = [{"AttributeName": "collection", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}]
TABLE = {"Table": {"TableStatus": "ACTIVE", "KeySchema": KEY_SCHEMA}}
DONE = "200 OK\r\nX-Elastic-Product: Elasticsearch\r\nContent-Type: application/json"
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "get": lambda store: store.get("k", collection="c"),
    "get_many": lambda store: store.get_many(["k", "l"], collection="c"),
    "put": lambda store: store.put("k", {"n": 1}, collection="c"),
    "put_many": lambda store: store.put_many(["k", "l"], [{"n": 1}, {"n": 2}], collection="c"),
    "delete": lambda store: store.delete("k", collection="c"),
    "delete_many": lambda store: store.delete_many(["k", "l"], collection="c"),
    "scan_keys": lambda store: store.scan_keys("c", limit=5),
    "scan_collections": lambda store: store.scan_collections(limit=5),
    "describe": lambda store: store.describe(["k"], collection="c"),
    "read": lambda store: store.read("k", collection="c"),
    "edit": lambda store: store.edit("k", {"n": 1}, expected=ANY, collection="c"),
    "cull": lambda store: store.cull(),
    "destroy_collection": lambda store: store.destroy_collection("c"),
}


class Answers:
    """What an HTTP server answers, whatever it is asked."""

    def __init__(self, body: bytes, head: str = DONE) -> None:
        self.head = head
        self.body = body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(asked.partition(b"content-length: ")[2].partition(b"\r")[0] or 0))
                body = b"" if asked.startswith(b"head") else self.body
                writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: {len(self.body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def giving(answers: Answers) -> AsyncIterator[str]:
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def elasticsearch(url: str) -> BaseStore:
    return stores.ElasticsearchStore(url=url, index_prefix="p")


def s3(url: str) -> BaseStore:
    return stores.S3Store(bucket_name="b", endpoint_url=url, region_name="us-east-1")


def dynamodb(url: str) -> BaseStore:
    return stores.DynamoDBStore(table_name="t", endpoint_url=url, region_name="us-east-1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.backends.aws.TOTAL_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")


@pytest.mark.parametrize(
    ("make", "good", "bad", "operations"),
    [
        (elasticsearch, b'{"version": {}}', b"{}", OPERATIONS.keys() - {"scan_collections", "put", "put_many"}),
        (elasticsearch, b'{"version": {}}', b"[]", ["scan_collections", "get", "read", "scan_keys"]),
        (
            elasticsearch,
            b'{"version": {}}',
            b'{"docs": [], "items": [{}], "responses": [], "hits": {}, "id": "x", "p-c": {}}',
            ["get_many", "put", "put_many", "delete_many", "scan_keys", "scan_collections"],
        ),
        (s3, b"<ListBucketResult/>", b"", ["get", "get_many", "put", "put_many", "delete", "describe", "read", "edit"]),
        (
            s3,
            b"<ListBucketResult/>",
            b"<ListBucketResult><Contents/><CommonPrefixes/></ListBucketResult>",
            ["scan_keys", "scan_collections"],
        ),
        (dynamodb, json.dumps(TABLE).encode(), b"{}", ["get_many", "scan_keys", "scan_collections"]),
    ],
)
async def test_an_answer_without_what_was_asked_for(
    make: Callable[[str], BaseStore], good: bytes, bad: bytes, operations: list[str]
) -> None:
    answers = Answers(good)
    async with giving(answers) as url, make(url) as store:
        answers.body = bad
        for name in sorted(operations):
            with pytest.raises(StoreConnectionError, match=r"the answer (has|is) ") as told:
                await OPERATIONS[name](store)
            assert told.value.fault is Fault.STRANGER, name


@pytest.mark.parametrize("make", [elasticsearch, dynamodb])
async def test_a_server_of_another_kind_is_not_opened(make: Callable[[str], BaseStore]) -> None:
    async with giving(Answers(b'{"hello": "world"}')) as url:
        with pytest.raises(StoreSetupError, match="the answer has no ") as told:
            await make(url).setup()
    assert told.value.fault is Fault.STRANGER


@pytest.mark.parametrize("make", [elasticsearch, s3, dynamodb])
async def test_a_server_that_sends_everybody_away(make: Callable[[str], BaseStore]) -> None:
    answers = Answers(b"", "301 Moved Permanently")
    async with giving(answers) as url:
        answers.head += f"\r\nLocation: {url}/elsewhere"
        with pytest.raises(StoreSetupError, match="sends its callers") as told:
            await make(url).setup()
    assert told.value.fault is Fault.STRANGER


async def test_a_server_of_aws_that_sends_everybody_nowhere() -> None:
    async with giving(Answers(b"", "301 Moved Permanently")) as url:
        for make in (s3, dynamodb):
            with pytest.raises(StoreSetupError, match="sends its callers to 'another place'"):
                await make(url).setup()
