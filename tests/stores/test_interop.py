"""Data goes both ways between these stores and py-key-value's, on every backend that two programs can share."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stores import BaseStore
from stores.protocols import AsyncEnumerateCollectionsProtocol, AsyncEnumerateKeysProtocol
from tests.stores.conftest import REFERENCED, Names, by_name, traits_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("case", REFERENCED, ids=by_name),
    pytest.mark.parametrize("store", ["direct"], indirect=True),
]

VALUES: dict[str, dict[str, Any]] = {
    "plain": {"name": "Ada", "age": 36},
    "nested": {"list": [1, 2.5, None, True, {"deep": ["er"]}], "empty": {}, "z": 1, "a": 2},
    "unicode": {"text": "日本語 🎉 é", "ключ": "значение"},
    "empty": {},
}


@pytest.fixture
async def theirs(case: ModuleType, endpoint: Any, names: Names, tmp_path: Path) -> AsyncIterator[Any]:
    async with case.reference(endpoint, names.tag, tmp_path) as reference:
        yield reference


async def test_they_read_what_we_write(store: BaseStore, theirs: Any, names: Names) -> None:
    c = names("c")
    for key, value in VALUES.items():
        await store.put(key, value, collection=c)
    await store.put("brief", {"n": 1}, collection=c, ttl=500)
    await store.put_many(["m1", "m2"], [{"n": 1}, {"n": 2}], collection=c, ttl=300.5)
    for key, value in VALUES.items():
        assert await theirs.get(key, collection=c) == value
    value, ttl = await theirs.ttl("brief", collection=c)
    assert value == {"n": 1}
    assert ttl is not None
    assert 470 < ttl <= 501
    assert await theirs.get_many(["m2", "missing", "m1"], collection=c) == [{"n": 2}, None, {"n": 1}]
    if hasattr(theirs, "keys"):
        assert set(await theirs.keys(collection=c)) >= {"plain", "brief", "m1"} or not isinstance(
            store, AsyncEnumerateKeysProtocol
        )
    assert await theirs.delete("plain", collection=c) is True
    assert await store.get("plain", collection=c) is None


async def test_we_read_what_they_write(store: BaseStore, theirs: Any, names: Names) -> None:
    c = names("c")
    for key, value in VALUES.items():
        await theirs.put(key=key, value=value, collection=c)
    await theirs.put(key="brief", value={"n": 1}, collection=c, ttl=500)
    for key, value in VALUES.items():
        assert await store.get(key, collection=c) == value
    read, ttl = await store.ttl("brief", collection=c)
    assert read == {"n": 1}
    assert ttl is not None
    assert 470 < ttl <= 501
    found = (await store.scan_keys(c)).items
    assert len(found) == 5
    descriptions = await store.describe([name.token for name in found], collection=c)
    assert [description.kind for description in descriptions if description] == ["entry"] * 5
    if isinstance(store, AsyncEnumerateKeysProtocol):
        assert set(await store.keys(c)) == {*VALUES, "brief"}
    if isinstance(store, AsyncEnumerateCollectionsProtocol):
        assert c in await store.collections()
    assert await store.delete_many(["brief", "plain", "none"], collection=c) == 2
    assert await theirs.get("brief", collection=c) is None


async def test_overwrites_with_and_without_a_ttl(store: BaseStore, theirs: Any, names: Names) -> None:
    c = names("c")
    await theirs.put(key="k", value={"n": 1}, collection=c, ttl=500)
    await store.put("k", {"n": 2}, collection=c)
    assert await theirs.ttl("k", collection=c) == ({"n": 2}, None)
    await store.put("k", {"n": 3}, collection=c, ttl=200)
    value, ttl = await theirs.ttl("k", collection=c)
    assert value == {"n": 3}
    assert 170 < ttl <= 201
    await theirs.put(key="k", value={"n": 4}, collection=c)
    assert (await store.get("k", collection=c)) == {"n": 4}


async def test_they_see_our_expire_and_our_edit(case: ModuleType, store: BaseStore, theirs: Any, names: Names) -> None:
    c = names("c")
    await theirs.put(key="k", value={"n": 1}, collection=c, ttl=500)
    await store.edit("k", {"n": 2}, collection=c)
    value, ttl = await theirs.ttl("k", collection=c)
    assert value == {"n": 2}
    assert ttl is not None
    assert 470 < ttl <= 501
    assert await store.expire("k", 9000, collection=c) is True
    value, ttl = await theirs.ttl("k", collection=c)
    assert value == {"n": 2}
    assert ttl is not None
    assert 8970 < ttl <= 9001
    assert await store.expire("k", None, collection=c) is True
    assert await theirs.ttl("k", collection=c) == ({"n": 2}, None)
    assert await store.expire("k", 0.3, collection=c) is True
    await asyncio.sleep(0.45 + traits_of(case).ttl_granularity)  # they may know the backend's own deadline only
    assert await theirs.get("k", collection=c) is None
