"""Each shared server answers the driver that the stores use."""

import aiomcache
import pytest
import redis.asyncio
from glide import GlideClient, GlideClientConfiguration, GlideClusterClient, GlideClusterClientConfiguration, NodeAddress

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
