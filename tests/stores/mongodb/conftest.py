"""A database of the test's own, as the store and the bare driver see it."""

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from stores import MongoDBStore

Database = Any  # pymongo's, whose documents are Any anyway


@pytest.fixture
def db_name(unique_name: str) -> str:
    return unique_name


@pytest.fixture
async def bare(mongodb_url: str, db_name: str) -> AsyncIterator[Database]:
    """The same database by the bare driver."""
    async with AsyncMongoClient[dict[str, Any]](mongodb_url, tz_aware=True) as client:
        yield client[db_name]
        await client.drop_database(db_name)


@pytest.fixture
async def store(mongodb_url: str, db_name: str, bare: Database) -> AsyncIterator[MongoDBStore]:
    async with MongoDBStore(url=mongodb_url, db_name=db_name) as opened:
        yield opened


def envelope(key: str, value: Any, **more: Any) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    return {"key": key, "collection": "c", "version": 1, "created_at": now, "value": {"object": value}, **more}
