"""What does not fit: a server that is full, or a value over the limit. The error names the limit, and what was there stays."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stores
from stores import BaseStore
from stores.errors import KeyValueStoreError, StoreConnectionError, ValueTooLargeError
from tests.conftest import KIND_OF_FIXTURE, endpoint as endpoint_of
from tests.servers.lease import private_server
from tests.stores.conftest import CASES, Names, by_name

pytestmark = pytest.mark.anyio

BY_NAME = {case.NAME: case for case in CASES}
LIMITS = {
    "memcached": (1024 * 1024, r"1,?048,?576"),
    "dynamodb": (400 * 1024, r"409,?600|400 KB"),
    "mongodb": (16 * 1024 * 1024, r"16,?777,?216|16 MB"),
    "elasticsearch": (32_767, r"32,?766"),
}
"""Characters in one text that are too many, and how the error says so."""


@pytest.mark.parametrize("name", LIMITS)
async def test_a_value_over_the_limit(name: str, request: pytest.FixtureRequest, unique_name: str, tmp_path: Path) -> None:
    case = BY_NAME[name]
    endpoint, tag = request.getfixturevalue(case.SERVER), Names(unique_name).tag
    size, said = LIMITS[name]
    large = {"text": "x" * size}
    store: BaseStore = getattr(stores, case.STORE)(**case.arguments(endpoint, tag, tmp_path))
    async with store:
        await store.put("k", {"n": 1}, collection=tag)
        writes: list[Callable[[], Any]] = [
            lambda: store.put("k", large, collection=tag),
            lambda: store.put_many(["k", "l"], [large, large], collection=tag),
            lambda: store.edit("k", large, collection=tag),
        ]
        for write in writes:
            with pytest.raises(ValueTooLargeError, match=said):
                await write()
            assert await store.get("k", collection=tag) == {"n": 1}
        assert await store.get("l", collection=tag) is None
        await store.put("k", {"n": 2}, collection=tag)
        assert await store.get("k", collection=tag) == {"n": 2}
    await case.clean(endpoint, tag, tmp_path)


@pytest.mark.parametrize("case", [BY_NAME["redis"], BY_NAME["valkey"]], ids=by_name)
async def test_a_full_server(case: ModuleType, unique_name: str, tmp_path: Path) -> None:
    kind = KIND_OF_FIXTURE[case.SERVER]
    endpoint_of(kind)  # skips, or fails, where there is none
    tag = Names(unique_name).tag
    with private_server(kind, ["--maxmemory", "3mb"]) as server:
        endpoint = server.address if case.SERVER.endswith("_address") else server.url
        store: BaseStore = getattr(stores, case.STORE)(**case.arguments(endpoint, tag, tmp_path))
        async with store:
            await store.put("k", {"n": 1}, collection=tag)
            keys = [f"k{number}" for number in range(5000)]
            with pytest.raises(KeyValueStoreError, match="maxmemory") as full:
                await store.put_many(keys, [{"text": "x" * 1000}] * 5000, collection=tag)
            assert not isinstance(full.value, StoreConnectionError)
            assert await store.get("k", collection=tag) == {"n": 1}
            assert await store.delete_many(keys, collection=tag) > 0
            async with asyncio.timeout(60):
                while True:
                    try:
                        await store.put("k", {"n": 2}, collection=tag)
                        break
                    except KeyValueStoreError as still:
                        assert "maxmemory" in str(still)  # noqa: PT017 - it is given back in a thread of the server's
                        await asyncio.sleep(0.05)
            assert await store.get("k", collection=tag) == {"n": 2}
