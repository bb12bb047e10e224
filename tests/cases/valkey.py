"""ValkeyStore on one server, for the contract suite. Collections carry the test's tag."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "valkey"
STORE = "ValkeyStore"
SERVER = "valkey_address"


def arguments(endpoint: tuple[str, int], tag: str, folder: Path) -> dict[str, Any]:
    return {"host": endpoint[0], "port": endpoint[1], "default_collection": tag}


@asynccontextmanager
async def reference(endpoint: tuple[str, int], tag: str, folder: Path) -> AsyncIterator[Any]:
    """py-key-value's store on the same data."""
    from key_value.aio.stores.valkey import ValkeyStore

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with ValkeyStore(host=endpoint[0], port=endpoint[1], default_collection=tag) as store:
            yield store


async def clean(endpoint: tuple[str, int], tag: str, folder: Path) -> None:
    """Remove what the test made; redis-py speaks Valkey's protocol."""
    from redis.asyncio import Redis

    async with Redis(host=endpoint[0], port=endpoint[1]) as client:
        async for name in client.scan_iter(match=f"*{tag}*", count=1000):
            await client.unlink(name)
