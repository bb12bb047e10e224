"""Bare drivers doing the same work as a store: JSON text under a key, read back and parsed. What a program without us would do.

Each peer gives `get put get_many put_many delete_many keys`; keys belong to one prefix of the peer's own.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

Value = dict[str, Any]


class Peer(Protocol):
    async def get(self, key: str) -> Value | None: ...
    async def put(self, key: str, value: Value) -> None: ...
    async def get_many(self, keys: list[str]) -> list[Value | None]: ...
    async def put_many(self, keys: list[str], values: list[Value]) -> None: ...
    async def delete_many(self, keys: list[str]) -> None: ...
    async def keys(self) -> int: ...


def dump(value: Value) -> str:
    return json.dumps(value, sort_keys=True)


def load(text: str | bytes | None) -> Value | None:
    return None if text is None else json.loads(text)


class Cachetools:
    def __init__(self) -> None:
        from cachetools import TLRUCache

        self.cache: Any = TLRUCache(10**9, ttu=lambda _key, held, _now: held[1], timer=time.time)

    async def get(self, key: str) -> Value | None:
        held = self.cache.get(key)
        return load(held[0]) if held else None

    async def put(self, key: str, value: Value) -> None:
        self.cache[key] = (dump(value), float("inf"))

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return [await self.get(key) for key in keys]

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        for key, value in zip(keys, values, strict=True):
            await self.put(key, value)

    async def delete_many(self, keys: list[str]) -> None:
        for key in keys:
            self.cache.pop(key, None)

    async def keys(self) -> int:
        return len(list(self.cache))


class Diskcache:
    """On the event loop's thread, as programs that use diskcache in coroutines do."""

    def __init__(self, folder: Path) -> None:
        from diskcache import Cache

        self.cache: Any = Cache(str(folder), eviction_policy="none")

    async def get(self, key: str) -> Value | None:
        return load(self.cache.get(key))

    async def put(self, key: str, value: Value) -> None:
        self.cache.set(key, dump(value))

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return [load(self.cache.get(key)) for key in keys]

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        with self.cache.transact():
            for key, value in zip(keys, values, strict=True):
                self.cache.set(key, dump(value))

    async def delete_many(self, keys: list[str]) -> None:
        with self.cache.transact():
            for key in keys:
                self.cache.delete(key)

    async def keys(self) -> int:
        return sum(1 for _ in self.cache.iterkeys())


class Files:
    """Plain files, synced before they take their names, and the directory after: what survives a power cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _get(self, key: str) -> Value | None:
        return load((self.folder / key).read_text())

    def _write(self, key: str, value: Value) -> None:
        temporary = self.folder / f"{key}.tmp"
        with temporary.open("w") as file:
            file.write(dump(value))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.folder / key)

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def _put(self, key: str, value: Value) -> None:
        self._write(key, value)
        self._sync()

    async def get(self, key: str) -> Value | None:
        return await asyncio.to_thread(self._get, key)

    async def put(self, key: str, value: Value) -> None:
        await asyncio.to_thread(self._put, key, value)

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return await asyncio.to_thread(lambda: [self._get(key) for key in keys])

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        def put_all() -> None:
            for key, value in zip(keys, values, strict=True):
                self._write(key, value)
            self._sync()

        await asyncio.to_thread(put_all)

    async def delete_many(self, keys: list[str]) -> None:
        def delete_all() -> None:
            for key in keys:
                (self.folder / key).unlink(missing_ok=True)
            self._sync()

        await asyncio.to_thread(delete_all)

    async def keys(self) -> int:
        return await asyncio.to_thread(lambda: sum(1 for _ in self.folder.iterdir()))


class Redis:
    def __init__(self, client: Any) -> None:
        self.client = client

    async def get(self, key: str) -> Value | None:
        return load(await self.client.get(f"bare::{key}"))

    async def put(self, key: str, value: Value) -> None:
        await self.client.set(f"bare::{key}", dump(value))

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return [load(text) for text in await self.client.mget([f"bare::{key}" for key in keys])]

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        await self.client.mset({f"bare::{key}": dump(value) for key, value in zip(keys, values, strict=True)})

    async def delete_many(self, keys: list[str]) -> None:
        await self.client.delete(*[f"bare::{key}" for key in keys])

    async def keys(self) -> int:
        return len([key async for key in self.client.scan_iter(match="bare::*", count=1000)])


class Valkey(Redis):
    async def delete_many(self, keys: list[str]) -> None:
        await self.client.delete([f"bare::{key}" for key in keys])

    async def keys(self) -> int:
        found, cursor = 0, b"0"
        while True:
            cursor, batch = await self.client.scan(cursor, match="bare::*", count=1000)
            found += len(batch)
            if cursor == b"0":
                return found


class Memcached:
    """Its client has no listing and no multi-set; many single sets in flight are what programs do, and a dump by hand."""

    def __init__(self, client: Any, address: tuple[str, int]) -> None:
        self.client = client
        self.address = address

    async def get(self, key: str) -> Value | None:
        return load(await self.client.get(f"bare::{key}".encode()))

    async def put(self, key: str, value: Value) -> None:
        await self.client.set(f"bare::{key}".encode(), dump(value).encode())

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return [load(text) for text in await self.client.multi_get(*[f"bare::{key}".encode() for key in keys])]

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        await asyncio.gather(*(self.put(key, value) for key, value in zip(keys, values, strict=True)))

    async def delete_many(self, keys: list[str]) -> None:
        await asyncio.gather(*(self.client.delete(f"bare::{key}".encode()) for key in keys))

    async def keys(self) -> int:
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(b"lru_crawler metadump hash\r\n")
        found = 0
        while (line := await reader.readline()) != b"END\r\n":
            found += line.startswith(b"key=bare%3A%3A")
        writer.close()
        return found


class DynamoDB:
    def __init__(self, client: Any, table: str) -> None:
        self.client = client
        self.table = table

    def _key(self, key: str) -> Value:
        return {"collection": {"S": "bare"}, "key": {"S": key}}

    async def get(self, key: str) -> Value | None:
        item = (await self.client.get_item(TableName=self.table, Key=self._key(key))).get("Item")
        return load(item["value"]["S"]) if item else None

    async def put(self, key: str, value: Value) -> None:
        await self.client.put_item(TableName=self.table, Item=self._key(key) | {"value": {"S": dump(value)}})

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        places = [self._key(key) for key in keys]
        wanted = [{self.table: {"Keys": places[start : start + 100]}} for start in range(0, len(keys), 100)]
        answers = await asyncio.gather(*(self.client.batch_get_item(RequestItems=part) for part in wanted))
        found = [item for answer in answers for item in answer["Responses"][self.table]]
        by_key = {item["key"]["S"]: item["value"]["S"] for item in found}
        return [load(by_key.get(key)) for key in keys]

    async def _write(self, requests: list[Value]) -> None:
        parts = [requests[start : start + 25] for start in range(0, len(requests), 25)]
        await asyncio.gather(*(self.client.batch_write_item(RequestItems={self.table: part}) for part in parts))

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        items = [self._key(key) | {"value": {"S": dump(value)}} for key, value in zip(keys, values, strict=True)]
        await self._write([{"PutRequest": {"Item": item}} for item in items])

    async def delete_many(self, keys: list[str]) -> None:
        await self._write([{"DeleteRequest": {"Key": self._key(key)}} for key in keys])

    async def keys(self) -> int:
        found = 0
        async for page in self.client.get_paginator("query").paginate(
            TableName=self.table,
            KeyConditionExpression="#c = :c",
            ExpressionAttributeNames={"#c": "collection", "#k": "key"},
            ExpressionAttributeValues={":c": {"S": "bare"}},
            ProjectionExpression="#k",
        ):
            found += len(page["Items"])
        return found


class S3:
    def __init__(self, client: Any, bucket: str) -> None:
        self.client = client
        self.bucket = bucket

    async def get(self, key: str) -> Value | None:
        answer = await self.client.get_object(Bucket=self.bucket, Key=f"bare/{key}")
        return load(await answer["Body"].read())

    async def put(self, key: str, value: Value) -> None:
        body = dump(value).encode()
        await self.client.put_object(Bucket=self.bucket, Key=f"bare/{key}", Body=body, ContentType="application/json")

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return await asyncio.gather(*(self.get(key) for key in keys))

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        await asyncio.gather(*(self.put(key, value) for key, value in zip(keys, values, strict=True)))

    async def delete_many(self, keys: list[str]) -> None:
        for start in range(0, len(keys), 1000):
            objects = [{"Key": f"bare/{key}"} for key in keys[start : start + 1000]]
            await self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})

    async def keys(self) -> int:
        found = 0
        async for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="bare/"):
            found += len(page.get("Contents", []))
        return found


class MongoDB:
    """Documents in py-key-value's layout, found by their indexed field `key`: its price is no store's own."""

    def __init__(self, collection: Any) -> None:
        self.collection = collection

    def _document(self, key: str, value: Value) -> Value:
        made = datetime.now(UTC)
        return {"key": key, "collection": "bare", "version": 1, "created_at": made, "value": {"object": value}}

    async def get(self, key: str) -> Value | None:
        found = await self.collection.find_one({"key": key})
        return found["value"]["object"] if found else None

    async def put(self, key: str, value: Value) -> None:
        await self.collection.update_one({"key": key}, {"$set": self._document(key, value)}, upsert=True)

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        found = {one["key"]: one["value"]["object"] async for one in self.collection.find({"key": {"$in": keys}})}
        return [found.get(key) for key in keys]

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        from pymongo import UpdateOne

        pairs = zip(keys, values, strict=True)
        writes = [UpdateOne({"key": key}, {"$set": self._document(key, value)}, upsert=True) for key, value in pairs]
        await self.collection.bulk_write(writes, ordered=False)

    async def delete_many(self, keys: list[str]) -> None:
        await self.collection.delete_many({"key": {"$in": keys}})

    async def keys(self) -> int:
        return len([one async for one in self.collection.find({}, {"_id": 0, "key": 1})])


class Elasticsearch:
    INDEX = "bare"

    def __init__(self, client: Any) -> None:
        self.client = client

    async def get(self, key: str) -> Value | None:
        found: Value = (await self.client.get(index=self.INDEX, id=key))["_source"]
        return found

    async def put(self, key: str, value: Value) -> None:
        await self.client.index(index=self.INDEX, id=key, document=value, refresh=True)

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        answer = await self.client.mget(index=self.INDEX, ids=keys)
        return [one.get("_source") for one in answer["docs"]]

    async def _bulk(self, operations: list[Value]) -> None:
        await self.client.bulk(index=self.INDEX, operations=operations, refresh=True)

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        await self._bulk([part for key, value in zip(keys, values, strict=True) for part in ({"index": {"_id": key}}, value)])

    async def delete_many(self, keys: list[str]) -> None:
        await self._bulk([{"delete": {"_id": key}} for key in keys])

    async def keys(self) -> int:
        found = 0
        extra: dict[str, Any] = {}
        while True:
            answer = await self.client.search(index=self.INDEX, size=1000, sort=[{"_doc": "asc"}], source=False, **extra)
            hits = answer["hits"]["hits"]
            found += len(hits)
            if len(hits) < 1000:
                return found
            extra = {"search_after": hits[-1]["sort"]}


@asynccontextmanager
async def bare(name: str, endpoint: Any, folder: Path) -> AsyncIterator[Peer | None]:
    """The bare driver's peer for a backend, on the backend's own server."""
    async with AsyncExitStack() as stack:
        yield await OPENERS[name](endpoint, folder, stack)


async def _redis(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from redis.asyncio import Redis as Client

    client = Client.from_url(endpoint)
    stack.push_async_callback(client.aclose)
    return Redis(client)


async def _valkey(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from glide import GlideClient, GlideClientConfiguration, NodeAddress

    client = await GlideClient.create(GlideClientConfiguration([NodeAddress(*endpoint)]))
    stack.push_async_callback(client.close)
    return Valkey(client)


async def _memcached(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from aiomcache import Client

    client = Client(*endpoint, pool_size=10)
    stack.push_async_callback(client.close)
    return Memcached(client, endpoint)


async def _aws(service: str, endpoint: Any, stack: AsyncExitStack) -> Any:
    from aioboto3 import Session

    return await stack.enter_async_context(Session().client(service, endpoint_url=endpoint))


async def _dynamodb(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    client = await _aws("dynamodb", endpoint, stack)
    await client.create_table(
        TableName="bare",
        KeySchema=[{"AttributeName": "collection", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "collection", "AttributeType": "S"},
            {"AttributeName": "key", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return DynamoDB(client, "bare")


async def _s3(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    client = await _aws("s3", endpoint, stack)
    await client.create_bucket(Bucket="bare")
    return S3(client, "bare")


async def _mongodb(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from pymongo import AsyncMongoClient

    client: Any = AsyncMongoClient(endpoint)
    stack.push_async_callback(client.close)
    await client["bare"]["bare"].create_index("key")
    return MongoDB(client["bare"]["bare"])


async def _elasticsearch(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from elasticsearch import AsyncElasticsearch

    client = AsyncElasticsearch(endpoint)
    stack.push_async_callback(client.close)
    await client.indices.create(index=Elasticsearch.INDEX, mappings={"dynamic": False})
    return Elasticsearch(client)


async def _memory(_endpoint: Any, _folder: Path, _stack: AsyncExitStack) -> Peer:
    return Cachetools()


async def _disk(_endpoint: Any, folder: Path, stack: AsyncExitStack) -> Peer:
    peer = Diskcache(folder / "bare")
    stack.callback(peer.cache.close)
    return peer


async def _filetree(_endpoint: Any, folder: Path, _stack: AsyncExitStack) -> Peer:
    (folder / "bare").mkdir()
    return Files(folder / "bare")


OPENERS: dict[str, Callable[[Any, Path, AsyncExitStack], Any]] = {
    "disk": _disk,
    "dynamodb": _dynamodb,
    "elasticsearch": _elasticsearch,
    "filetree": _filetree,
    "memcached": _memcached,
    "memory": _memory,
    "mongodb": _mongodb,
    "redis": _redis,
    "s3": _s3,
    "valkey": _valkey,
}
