"""A bucket of the test's own, as the store and the bare driver see it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from stores import S3Store
from tests.awskit import bare_client


@pytest.fixture
def bucket(unique_name: str) -> str:
    return f"bucket-{unique_name}"


@pytest.fixture
async def bare(s3_url: str) -> AsyncIterator[Any]:
    async with bare_client("s3", s3_url) as client:
        yield client


async def names_in(bare: Any, bucket: str) -> list[str]:
    return [one["Key"] for one in (await bare.list_objects_v2(Bucket=bucket)).get("Contents", [])]


async def buckets(bare: Any) -> list[str]:
    return [one["Name"] for one in (await bare.list_buckets())["Buckets"]]


async def remove(bare: Any, bucket: str) -> None:
    while found := await names_in(bare, bucket):
        await bare.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in found]})
    await bare.delete_bucket(Bucket=bucket)


@pytest.fixture
async def make(s3_url: str, bucket: str, bare: Any) -> AsyncIterator[Callable[..., S3Store]]:
    yield lambda **more: S3Store(**{"bucket_name": bucket, "endpoint_url": s3_url} | more)
    if bucket in await buckets(bare):
        await remove(bare, bucket)


@pytest.fixture
async def store(make: Callable[..., S3Store]) -> AsyncIterator[S3Store]:
    async with make() as opened:
        await opened.put("ours", {"n": 1}, collection="c")
        yield opened
