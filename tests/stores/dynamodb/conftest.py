"""A table of the test's own, as the store and the bare driver see it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from stores import DynamoDBStore
from tests.awskit import bare_client


@pytest.fixture
def table(unique_name: str) -> str:
    return f"table-{unique_name}"


@pytest.fixture
async def bare(dynamodb_url: str) -> AsyncIterator[Any]:
    async with bare_client("dynamodb", dynamodb_url) as client:
        yield client


@pytest.fixture
async def make(dynamodb_url: str, table: str, bare: Any) -> AsyncIterator[Callable[..., DynamoDBStore]]:
    yield lambda **more: DynamoDBStore(**{"table_name": table, "endpoint_url": dynamodb_url} | more)
    if table in (await bare.list_tables())["TableNames"]:
        await bare.delete_table(TableName=table)


@pytest.fixture
async def store(make: Callable[..., DynamoDBStore]) -> AsyncIterator[DynamoDBStore]:
    async with make() as opened:
        yield opened
