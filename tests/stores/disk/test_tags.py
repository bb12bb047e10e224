"""diskcache's tags: a row that is put back gets its own again."""

from pathlib import Path
from typing import Any

import pytest
from diskcache import Cache

from stores import ABSENT, DiskStore
from stores.backends.disk_rows import DIGEST, tag_of
from stores.records import Version

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("tag", [None, "", "t", "é\U0001f389 [1]", 7, 2.5, b"", b"\x00\xff"], ids=repr)
async def test_what_is_deleted_and_put_back_has_its_tag(tmp_path: Path, tag: Any) -> None:
    with Cache(str(tmp_path)) as cache:
        cache.set("c::k", b"foreign", tag=tag)
        async with DiskStore(directory=tmp_path) as store:
            record = await store.snapshot("k", collection="c")
            assert record is not None
            assert await store.delete("k", collection="c", expected=record.version)
            version = await store.restore("k", record, collection="c", expected=ABSENT)
            assert cache.get("c::k", tag=True) == (b"foreign", tag)
            again = await store.snapshot("k", collection="c")
            assert again is not None
            assert again.version == version
            cache.set("c::k", b"foreign", tag="another")
            await store.restore("k", again, collection="c")
            assert cache.get("c::k", tag=True) == (b"foreign", tag)


@pytest.mark.parametrize(
    "told", [b"", b"short", b"{", b'{"a": 1}', b"[]", b"[1]", b'["xyz"]', b"true", b"\xff", b"[" * 100_000]
)
def test_a_version_of_another_store_tells_no_tag(told: bytes) -> None:
    assert tag_of(Version(b"x" * DIGEST + told)) is None
    assert tag_of(Version(told[:DIGEST])) is None
