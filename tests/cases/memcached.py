"""MemcachedStore for the contract suite. A server has no namespaces: collections carry the test's tag."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "memcached"
STORE = "MemcachedStore"
SERVER = "memcached_address"


def arguments(endpoint: tuple[str, int], tag: str, folder: Path) -> dict[str, Any]:
    return {"host": endpoint[0], "port": endpoint[1], "default_collection": tag}


@asynccontextmanager
async def reference(endpoint: tuple[str, int], tag: str, folder: Path) -> AsyncIterator[Any]:
    """py-key-value's store on the same data."""
    from key_value.aio.stores.memcached import MemcachedStore

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with MemcachedStore(host=endpoint[0], port=endpoint[1], default_collection=tag) as store:
            yield store


async def clean(endpoint: tuple[str, int], tag: str, folder: Path) -> None:
    """A cache drops what is old by itself, and the tags keep tests apart."""
