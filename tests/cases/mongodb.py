"""MongoDBStore for the contract suite. Each test has a database of its own."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "mongodb"
STORE = "MongoDBStore"
SERVER = "mongodb_url"


def arguments(endpoint: str, tag: str, folder: Path) -> dict[str, Any]:
    return {"url": endpoint, "db_name": tag}


@asynccontextmanager
async def reference(endpoint: str, tag: str, folder: Path) -> AsyncIterator[Any]:
    """py-key-value's store on the same data."""
    from key_value.aio.stores.mongodb import MongoDBStore

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with MongoDBStore(url=endpoint, db_name=tag) as store:
            yield store


async def clean(endpoint: str, tag: str, folder: Path) -> None:
    """Remove what the test made."""
    from pymongo import AsyncMongoClient

    async with AsyncMongoClient[dict[str, Any]](endpoint) as client:
        await client.drop_database(tag)
