"""A table of the test's own, as the store and the bare driver see it; the driver counts what it sends."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiobotocore.session import get_session

from stores import DynamoDBStore

session = get_session()  # reads botocore's models once


@pytest.fixture
def table(unique_name: str) -> str:
    return f"table-{unique_name}"


@pytest.fixture
async def bare(dynamodb_url: str) -> AsyncIterator[Any]:
    async with session.create_client("dynamodb", endpoint_url=dynamodb_url) as client:
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


class Counted:
    """A client that counts its operations and answers some of them itself."""

    def __init__(self, client: Any, **answers: Callable[..., Any]) -> None:
        self.client = client
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.client, name)
        if name == "meta":
            return operation

        async def counted(**parameters: Any) -> Any:
            self.calls.append((name, parameters))
            answer = self.answers.get(name)
            return await operation(**parameters) if answer is None else await answer(operation, **parameters)

        return counted

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]
