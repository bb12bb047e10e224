"""DynamoDBStore for the contract suite. Each test has a table of its own; credentials are the environment's."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "dynamodb"
STORE = "DynamoDBStore"
SERVER = "dynamodb_url"


def arguments(endpoint: str, tag: str, folder: Path) -> dict[str, Any]:
    return {"table_name": tag, "endpoint_url": endpoint}


@asynccontextmanager
async def reference(endpoint: str, tag: str, folder: Path) -> AsyncIterator[Any]:
    """py-key-value's store on the same data."""
    from key_value.aio.stores.dynamodb import DynamoDBStore

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with DynamoDBStore(table_name=tag, endpoint_url=endpoint) as store:
            yield store


async def clean(endpoint: str, tag: str, folder: Path) -> None:
    """Remove what the test made."""
    from botocore.exceptions import ClientError

    from tests.awskit import bare_client

    async with bare_client("dynamodb", endpoint) as client:
        try:
            await client.delete_table(TableName=tag)
        except ClientError as exc:
            if exc.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
