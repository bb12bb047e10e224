"""Peers of the servers that hold documents: MongoDB, Elasticsearch.

They keep documents in py-key-value's layout, under its indexes and mapping: what the format costs the server is no store's own.
"""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stores.backends.elasticsearch_documents import MAPPING
from tests.benchmarks.peer import Peer, Value


class MongoDB:
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

    def _document(self, key: str, value: Value) -> Value:
        made = datetime.now(UTC).isoformat()
        return {"key": key, "collection": "bare", "version": 1, "created_at": made, "value": {"flattened": value}}

    async def get(self, key: str) -> Value | None:
        found: Value = (await self.client.get(index=self.INDEX, id=key))["_source"]["value"]["flattened"]
        return found

    async def put(self, key: str, value: Value) -> None:
        await self.client.index(index=self.INDEX, id=key, document=self._document(key, value), refresh=True)

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        answer = await self.client.mget(index=self.INDEX, ids=keys)
        return [one["_source"]["value"]["flattened"] if one["found"] else None for one in answer["docs"]]

    async def _bulk(self, operations: list[Value]) -> None:
        await self.client.bulk(index=self.INDEX, operations=operations, refresh=True)

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        pairs = zip(keys, values, strict=True)
        await self._bulk([part for key, value in pairs for part in ({"index": {"_id": key}}, self._document(key, value))])

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


async def open_mongodb(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from pymongo import AsyncMongoClient

    client: Any = AsyncMongoClient(endpoint)
    stack.push_async_callback(client.close)
    await client["bare"]["bare"].create_index("key")
    await client["bare"]["bare"].create_index("expires_at", expireAfterSeconds=0)
    return MongoDB(client["bare"]["bare"])


async def open_elasticsearch(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from elasticsearch import AsyncElasticsearch

    client = AsyncElasticsearch(endpoint)
    stack.push_async_callback(client.close)
    await client.indices.create(index=Elasticsearch.INDEX, mappings=MAPPING)
    return Elasticsearch(client)
