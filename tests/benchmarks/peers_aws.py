"""Peers of Amazon's services: items of DynamoDB, objects of S3."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks.peer import Peer, Value, dump, load


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


async def _aws(service: str, endpoint: Any, stack: AsyncExitStack) -> Any:
    from aioboto3 import Session

    return await stack.enter_async_context(Session().client(service, endpoint_url=endpoint))


async def open_dynamodb(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
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


async def open_s3(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    client = await _aws("s3", endpoint, stack)
    await client.create_bucket(Bucket="bare")
    return S3(client, "bare")
