"""RedisStore for the contract suite. A database has no namespaces of its own: collections carry the test's tag."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "redis"
STORE = "RedisStore"
SERVER = "redis_url"


def arguments(endpoint: str, tag: str, folder: Path) -> dict[str, Any]:
    return {"url": endpoint, "default_collection": tag}


@asynccontextmanager
async def reference(endpoint: str, tag: str, folder: Path) -> AsyncIterator[Any]:
    """py-key-value's store on the same data."""
    from key_value.aio.stores.redis import RedisStore
    from redis.asyncio import Redis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with Redis.from_url(endpoint, decode_responses=True) as client:
            yield RedisStore(client=client, default_collection=tag)


async def clean(endpoint: str, tag: str, folder: Path) -> None:
    """Remove what the test made."""
    from redis.asyncio import Redis

    async with Redis.from_url(endpoint) as client:
        async for name in client.scan_iter(match=f"*{tag}*", count=1000):
            await client.unlink(name)
