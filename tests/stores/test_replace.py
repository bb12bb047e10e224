"""`replace`: one commit over what was read a moment ago, and over nothing else."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from stores import BaseStore
from stores.errors import ConflictError, UnsupportedError
from stores.records import Record, Version
from tests.stores.conftest import STORING, Names, by_name

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("case", STORING, ids=by_name)]


async def test_it_writes_over_what_was_read_and_over_nothing_else(
    make: Callable[..., BaseStore], case: ModuleType, endpoint: Any, names: Names, tmp_path: Any
) -> None:
    async with make() as store:
        c = names("c")
        await store.put("a", {"n": 1}, collection=c, ttl=1_000)
        await store.put("b", {"n": 2}, collection=c)
        seen, new = await store.read("a", collection=c), await store.read("b", collection=c)
        assert seen
        assert new
        version = await store.replace("a", seen, new, collection=c)
        there = await store.read("a", collection=c)
        assert there
        assert (there.version, there.body, there.created_at, there.expires_at) == (version, new.body, new.created_at, None)
        for wrong, successor in ((seen, new), (seen, None), (None, new)):
            with pytest.raises(ConflictError):
                await store.replace("a", wrong, successor, collection=c)
        assert await store.replace("a", there, None, collection=c) == b""
        assert await store.read("a", collection=c) is None
        with pytest.raises(ConflictError):
            await store.replace("a", there, new, collection=c)
        assert await store.replace("a", None, seen, collection=c) != b""
        value, ttl = await store.ttl("a", collection=c)
        assert value == {"n": 1}
        assert ttl is not None
        assert 900 < ttl <= 1_001
        part = Record(kind="string", body=b"", length=1, size=1, version=Version(b"1"))
        with pytest.raises(UnsupportedError):
            await store.replace("b", new, part, collection=c)
    await case.clean(endpoint, names.tag, tmp_path)
