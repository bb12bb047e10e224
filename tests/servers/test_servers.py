"""Each shared server answers the driver that the stores use."""

import aioboto3
import aiomcache
import pytest
import redis.asyncio
from elasticsearch import AsyncElasticsearch
from glide import GlideClient, GlideClientConfiguration, GlideClusterClient, GlideClusterClientConfiguration, NodeAddress
from pymongo import AsyncMongoClient

from tests.servers.lease import Address

pytestmark = pytest.mark.anyio


async def test_redis(redis_url: str, unique_name: str) -> None:
    async with redis.asyncio.from_url(redis_url) as client:
        await client.set(unique_name, "v", px=60_000)
        assert await client.get(unique_name) == b"v"


async def test_valkey(valkey_address: Address, worker_number: int, unique_name: str) -> None:
    client = await GlideClient.create(
        GlideClientConfiguration([NodeAddress(*valkey_address)], database_id=worker_number, request_timeout=2000)
    )
    await client.set(unique_name, "v")
    assert await client.get(unique_name) == b"v"
    await client.close()


async def test_valkey_cluster(valkey_cluster_addresses: list[Address], unique_name: str) -> None:
    nodes = [NodeAddress(*address) for address in valkey_cluster_addresses]
    client = await GlideClusterClient.create(GlideClusterClientConfiguration(nodes, request_timeout=2000))
    pairs = {f"{unique_name}{number}": str(number) for number in range(20)}
    await client.mset(pairs)
    assert await client.mget(list(pairs)) == [value.encode() for value in pairs.values()]
    await client.close()


async def test_memcached(memcached_address: Address, unique_name: str) -> None:
    client = aiomcache.Client(*memcached_address)
    await client.set(unique_name.encode(), b"v", exptime=60)
    assert await client.get(unique_name.encode()) == b"v"
    await client.close()


async def test_dynamodb(dynamodb_url: str, unique_name: str) -> None:
    async with aioboto3.Session().client("dynamodb", endpoint_url=dynamodb_url) as client:
        await client.create_table(
            TableName=unique_name,
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        await client.put_item(TableName=unique_name, Item={"k": {"S": "a"}})
        assert (await client.get_item(TableName=unique_name, Key={"k": {"S": "a"}}))["Item"] == {"k": {"S": "a"}}


async def test_s3(s3_url: str, unique_name: str) -> None:
    async with aioboto3.Session().client("s3", endpoint_url=s3_url) as client:
        await client.create_bucket(Bucket=unique_name)
        await client.put_object(Bucket=unique_name, Key="a/b", Body=b"v")
        answer = await client.get_object(Bucket=unique_name, Key="a/b")
        assert await answer["Body"].read() == b"v"


async def test_mongodb(mongodb_url: str, unique_name: str) -> None:
    async with AsyncMongoClient[dict[str, object]](mongodb_url) as client:
        collection = client[unique_name]["c"]
        await collection.insert_one({"_id": 1, "v": "v"})
        assert await collection.find_one({"_id": 1}) == {"_id": 1, "v": "v"}


async def test_elasticsearch(elasticsearch_url: str, unique_name: str) -> None:
    async with AsyncElasticsearch(elasticsearch_url) as client:
        await client.index(index=unique_name, id="1", document={"v": "v"}, refresh=True)
        assert (await client.get(index=unique_name, id="1"))["_source"] == {"v": "v"}
