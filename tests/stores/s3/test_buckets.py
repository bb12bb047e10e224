"""The bucket around the objects: when it is made, how it is listed and emptied, the names in it, writers that race."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stores import S3CollectionSanitizationStrategy, S3KeySanitizationStrategy, S3Store
from stores.errors import ConflictError, InvalidKeyError
from stores.names import OUTSIDE
from stores.records import ABSENT
from tests.stores.drivers import Counted
from tests.stores.s3.conftest import buckets, names_in

pytestmark = pytest.mark.anyio


async def test_looking_makes_no_bucket(make: Callable[..., S3Store], bare: Any, bucket: str) -> None:
    async with make() as store:
        assert await store.get("k") is None
        assert await store.get_many(["a", "b"]) == [None, None]
        assert await store.delete("k") is False
        assert await store.delete_many(["a", "b"]) == 0
        assert (await store.scan_keys()).items == []
        assert (await store.scan_collections()).items == []
        assert await store.describe(["k"]) == [None]
        assert await store.read("k") is None
        assert await store.expire("k", 10) is False
        assert bucket not in await buckets(bare)
        await store.put("k", {})
        assert bucket in await buckets(bare)


async def test_a_bucket_that_vanished_is_made_again(store: S3Store, bare: Any, bucket: str) -> None:
    await store.delete("ours", collection="c")
    await bare.delete_bucket(Bucket=bucket)
    assert await store.get("ours", collection="c") is None
    await store.put("k", {"n": 2}, collection="c")
    assert await store.get("k", collection="c") == {"n": 2}


async def test_collections_are_listed_by_the_delimiter_and_pages_go_on(make: Callable[..., S3Store], bare: Any) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        await asyncio.gather(*(store.put(f"k{key}", {}, collection=f"c{n}") for n in range(7) for key in range(3)))
        counted.calls.clear()
        found: list[str] = []
        cursor: bytes | None = None
        while True:
            page = await store.scan_collections(cursor=cursor, limit=3)
            found += [name.text for name in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(found) == [f"c{n}" for n in range(7)]
        assert 3 <= len(counted.calls) <= 4
        page = await store.scan_keys("c1", match="k[01]")
        assert [name.text for name in page.items] == ["k0", "k1"]
        assert counted.calls[-1][1]["Prefix"] == "c1/k"


async def test_objects_outside_collections(store: S3Store, bare: Any, bucket: str) -> None:
    await bare.put_object(Bucket=bucket, Key="readme.txt", Body=b"hello")
    await store.put("k", {}, collection="outside")
    found = (await store.scan_collections()).items
    assert {name.text for name in found} == {"c", "outside", ""}
    assert [name for name in found if name.token == OUTSIDE] == found[-1:]
    [name] = (await store.scan_keys(OUTSIDE)).items
    assert name.text == "readme.txt"
    record = await store.read(name.token, collection=OUTSIDE)
    assert record is not None
    assert record.body == b"hello"
    assert await store.delete(name.token, collection=OUTSIDE) is True
    for collection in (await store.scan_collections()).items:
        assert collection.token != OUTSIDE
        assert len((await store.scan_keys(collection.token)).items) == 1


async def test_many_are_bounded_and_deletes_are_batches(make: Callable[..., S3Store], bare: Any, bucket: str) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        keys = [f"k{number}" for number in range(80)] + ["line\nbreak", "return\rhere", "control\x01", "<&>"]
        await store.put_many(keys, [{"n": 1}] * len(keys), collection="c")
        assert None not in await store.get_many(keys, collection="c")
        assert 8 < counted.most <= 32
        counted.calls.clear()
        assert await store.delete_many([*keys, "absent"], collection="c") == len(keys)
        assert counted.names().count("delete_objects") == 1
        assert counted.names().count("delete_object") == 1
        assert await names_in(bare, bucket) == []
    await buckets(bare)  # the caller's client stays open


async def test_strategies_shorten_long_names(make: Callable[..., S3Store], bare: Any, bucket: str) -> None:
    strategies = {
        "key_sanitization_strategy": S3KeySanitizationStrategy(max_bytes=200),
        "collection_sanitization_strategy": S3CollectionSanitizationStrategy(max_bytes=100),
    }
    async with make(**strategies) as store:
        await store.put("é" * 300, {"n": 1}, collection="c" * 300)
        await store.put("short", {"n": 2}, collection="c" * 300)
        assert await store.get("é" * 300, collection="c" * 300) == {"n": 1}
        [collection] = (await store.scan_collections()).items
        assert not collection.exact
        exact = {name.exact: name for name in (await store.scan_keys(collection.token)).items}
        assert exact[True].text == "short"
        assert await store.get(exact[False].token, collection=collection.token) == {"n": 1}


async def test_names_that_cannot_be_are_refused(make: Callable[..., S3Store], bare: Any, bucket: str) -> None:
    async with make() as store:
        for key, collection in (("", "c"), ("x" * 1023, "c"), ("\udc80", "c"), ("k", "\udc80"), ("k", "a/b")):
            with pytest.raises(InvalidKeyError):
                await store.put(key, {}, collection=collection)
        assert bucket not in await buckets(bare)
        await store.put("k", {}, collection="c")
        for key in ("a//b", "a/", "/a", ".", "a/../../d/k", "back\\slash", "x" * 600, "k" * 1022):
            with pytest.raises(InvalidKeyError):
                await store.put(key, {}, collection="c" * 10)
        assert await names_in(bare, bucket) == ["c/k"]


def test_on_amazon_every_name_is_stored_as_it_is() -> None:
    store = S3Store(bucket_name="b")
    store._bucket.is_amazon = True
    for key in ("https://a.b/c/", "a//b", "..", "back\\slash"):
        assert store._locate("c", key) == f"c/{key}"


async def test_twenty_racers_create_one(make: Callable[..., S3Store]) -> None:
    async with make() as store:

        async def create(number: int) -> bool:
            try:
                await store.edit("k", {"n": number}, collection="c", expected=ABSENT)
            except ConflictError:
                return False
            return True

        assert sum(await asyncio.gather(*(create(number) for number in range(20)))) == 1
