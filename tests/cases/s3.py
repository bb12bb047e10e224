"""S3Store for the contract suite. Each test has a bucket of its own; credentials are the environment's."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "s3"
STORE = "S3Store"
SERVER = "s3_url"


def arguments(endpoint: str, tag: str, folder: Path) -> dict[str, Any]:
    return {"bucket_name": bucket(tag), "endpoint_url": endpoint}


@asynccontextmanager
async def reference(endpoint: str, tag: str, folder: Path) -> AsyncIterator[Any]:
    """py-key-value's store on the same data."""
    from key_value.aio.stores.s3 import S3Store

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with S3Store(bucket_name=bucket(tag), endpoint_url=endpoint) as store:
            yield store


async def clean(endpoint: str, tag: str, folder: Path) -> None:
    """Remove what the test made."""
    from botocore.exceptions import ClientError

    from tests.awskit import bare_client

    async with bare_client("s3", endpoint) as client:
        try:
            while found := (await client.list_objects_v2(Bucket=bucket(tag))).get("Contents"):
                await client.delete_objects(Bucket=bucket(tag), Delete={"Objects": [{"Key": one["Key"]} for one in found]})
            await client.delete_bucket(Bucket=bucket(tag))
        except ClientError as exc:
            if exc.response["Error"]["Code"] != "NoSuchBucket":
                raise


def bucket(tag: str) -> str:
    return f"bucket-{tag}"
