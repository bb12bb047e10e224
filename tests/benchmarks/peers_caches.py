"""Peers of the servers that hold text under a key: Redis, Valkey, Memcached."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks.peer import Peer, Value, dump, load


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


async def open_redis(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from redis.asyncio import Redis as Client

    client = Client.from_url(endpoint)
    stack.push_async_callback(client.aclose)
    return Redis(client)


async def open_valkey(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from glide import GlideClient, GlideClientConfiguration, NodeAddress

    client = await GlideClient.create(GlideClientConfiguration([NodeAddress(*endpoint)]))
    stack.push_async_callback(client.close)
    return Valkey(client)


async def open_memcached(endpoint: Any, _folder: Path, stack: AsyncExitStack) -> Peer:
    from aiomcache import Client

    client = Client(*endpoint, pool_size=10)
    stack.push_async_callback(client.close)
    return Memcached(client, endpoint)
