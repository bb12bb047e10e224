"""How many requests work takes, what is asked for again, and what is refused before anything is sent."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stores import DynamoDBStore
from stores.backends import aws, dynamodb_table
from stores.errors import InvalidKeyError, StoreConnectionError, ValueTooLargeError
from stores.names import OUTSIDE
from tests.stores.drivers import Counted

pytestmark = pytest.mark.anyio


async def test_many_go_in_the_services_batches(make: Callable[..., DynamoDBStore], bare: Any) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        keys = [f"k{number:03}" for number in range(230)]
        await store.put_many(keys, [{"n": 1}] * 230)
        assert counted.names().count("batch_write_item") == 10
        counted.calls.clear()
        assert None not in await store.get_many(keys)
        assert counted.names() == ["batch_get_item"] * 3
        counted.calls.clear()
        await store.describe(keys)
        assert counted.names() == ["batch_get_item"] * 3
        counted.calls.clear()
        assert await store.delete_many(keys[:100]) == 100
        assert sorted(counted.names()) == ["batch_get_item"] + ["batch_write_item"] * 4
        token = (await store.scan_keys()).items[0].token
        assert await store.get_many([token.value.decode(), token]) == [{"n": 1}, {"n": 1}]
    assert (await bare.list_tables())["TableNames"]  # the caller's client stays open


async def test_what_is_left_unprocessed_is_asked_for_again(make: Callable[..., DynamoDBStore], bare: Any, table: str) -> None:
    async def some(operation: Any, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - the driver's name
        [(name, asked)] = RequestItems.items()
        if isinstance(asked, list):
            reply = await operation(RequestItems={name: asked[:7]})
            return reply | {"UnprocessedItems": {name: asked[7:]} if asked[7:] else {}}
        keys = asked["Keys"]
        reply = await operation(RequestItems={name: asked | {"Keys": keys[:40]}})
        return reply | {"UnprocessedKeys": {name: asked | {"Keys": keys[40:]}} if keys[40:] else {}}

    counted = Counted(bare, batch_write_item=some, batch_get_item=some)
    async with make(client=counted, endpoint_url=None) as store:
        keys = [f"k{number}" for number in range(120)]
        await store.put_many(keys, [{"n": number} for number in range(120)])
        assert await store.get_many(keys) == [{"n": number} for number in range(120)]
        assert await store.delete_many(keys) == 120
    assert counted.names().count("batch_write_item") == 2 * (4 * 4 + 3)


async def test_what_is_never_processed_is_an_error(
    make: Callable[..., DynamoDBStore], bare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: Any, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - the driver's name
        return {"Responses": {}, "UnprocessedItems": RequestItems, "UnprocessedKeys": RequestItems}

    monkeypatch.setattr(dynamodb_table, "Backoff", lambda: aws.Backoff(first=0.001, attempts=3))
    counted = Counted(bare, batch_write_item=nothing, batch_get_item=nothing)
    async with make(client=counted, endpoint_url=None) as store:
        with pytest.raises(StoreConnectionError, match="2 items were not written"):
            await store.put_many(["a", "b"], [{}, {}])
        with pytest.raises(StoreConnectionError, match="2 keys were not read"):
            await store.get_many(["a", "b"])


THROTTLED = ClientError({"Error": {"Code": "ProvisionedThroughputExceededException", "Message": "too much"}}, "Batch")


async def test_batches_that_are_throttled_are_asked_for_again(
    make: Callable[..., DynamoDBStore], bare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()

    def at_times(name: str) -> Callable[..., Any]:
        async def answer(operation: Any, **parameters: Any) -> Any:
            asked[name] += 1
            if asked[name] % 3:
                raise THROTTLED
            return await operation(**parameters)

        return answer

    async def never(_: Any, **parameters: Any) -> Any:
        raise THROTTLED

    monkeypatch.setattr(dynamodb_table, "Backoff", lambda: aws.Backoff(first=0.001, attempts=50))
    counted = Counted(bare, batch_write_item=at_times("write"), batch_get_item=at_times("read"))
    keys = [f"k{number}" for number in range(120)]
    async with make(client=counted, endpoint_url=None) as store:
        await store.put_many(keys, [{"n": number} for number in range(120)])
        assert await store.get_many(keys) == [{"n": number} for number in range(120)]
        assert await store.delete_many(keys) == 120
        assert asked["write"] > 20
        monkeypatch.setattr(dynamodb_table, "Backoff", lambda: aws.Backoff(first=0.001, attempts=5))
        counted.answers = dict.fromkeys(("batch_write_item", "batch_get_item"), never)
        for call in (lambda: store.put_many(keys, [{}] * 120), lambda: store.get_many(keys)):
            with pytest.raises(StoreConnectionError, match=r"collection 'default_collection'.*too much\. The service is busy"):
                await call()


async def test_collections_are_found_without_reading_their_items(make: Callable[..., DynamoDBStore], bare: Any) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        names = [f"c{number}" for number in range(60)]
        await asyncio.gather(*(store.put_many(["a", "\U0010ffff" * 255], [{}, {}], collection=name) for name in names))
        counted.calls.clear()
        first = await store.scan_collections(limit=500)
        assert len(first.items) == 50
        rest = await store.scan_collections(cursor=first.cursor, limit=500)
        assert rest.cursor is None
        assert sorted(name.text for name in first.items + rest.items) == sorted(names)
        assert counted.names() == ["scan"] * 61


async def test_nothing_is_outside_collections(store: DynamoDBStore) -> None:
    await store.put("k", {"n": 1}, collection="outside")
    await store.put("k", {"n": 2}, collection="slash/")
    for name in (await store.scan_collections()).items:
        assert name.token != OUTSIDE
        assert [key.text for key in (await store.scan_keys(name.token)).items] == ["k"]
        assert await store.get("k", collection=name.token) == await store.get("k", collection=name.text) is not None
    assert (await store.scan_keys(OUTSIDE)).items == []
    with pytest.raises(InvalidKeyError, match="outside"):
        await store.put("k", {}, collection=OUTSIDE)


async def test_a_match_reads_only_what_can_match(store: DynamoDBStore) -> None:
    keys = [f"{kind}:{number:02}" for kind in ("a", "b*", "c") for number in range(30)]
    await store.put_many(keys, [{}] * 90, collection="c")
    page = await store.scan_keys("c", match=r"b\**5")
    assert [name.text for name in page.items] == ["b*:05", "b*:15", "b*:25"]
    assert page.scanned == 30
    page = await store.scan_keys("c", limit=20, match="?:0[12]")
    assert [name.text for name in page.items] == ["a:01", "a:02"]
    assert (page.scanned, page.cursor) == (20, b"a:19")


async def test_the_limit_of_an_item_is_checked_before_it_is_sent(make: Callable[..., DynamoDBStore], bare: Any) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        await store.put("k", {"v": ""}, collection="c", ttl=1000)
        [described] = await store.describe(["k"], collection="c")
        assert described is not None
        assert described.size is not None
        room = 400 * 1024 - described.size - 10  # the envelope's times may lack a fraction
        await store.put("k", {"v": "x" * room}, collection="c", ttl=1000)
        record = await store.read("k", collection="c")
        assert record is not None
        await store.edit("k", {"v": "y" * room}, collection="c", expected=record.version)
        counted.calls.clear()
        with pytest.raises(ValueTooLargeError, match=r"409,600 \(400 KB\)"):
            await store.put("k", {"v": "x" * (room + 100)}, collection="c")
        with pytest.raises(ValueTooLargeError, match="'j'"):
            await store.put_many(["i", "j"], [{}, {"v": "x" * 410_000}], collection="c")
        assert counted.calls == []
        assert await store.get("i", collection="c") is None


async def test_names_that_cannot_be_are_refused_before_anything_is_sent(
    make: Callable[..., DynamoDBStore], bare: Any, table: str
) -> None:
    async with make() as store:
        for key, collection in (("", "c"), ("é" * 513, "c"), ("k", "é" * 1025), ("\udc80", "c"), ("k", "\udc80")):
            with pytest.raises(InvalidKeyError):
                await store.put(key, {}, collection=collection)
            with pytest.raises(InvalidKeyError):
                await store.get(key, collection=collection)
        assert table not in (await bare.list_tables())["TableNames"]
        await store.put("é" * 512, {"n": 1}, collection="é" * 1024)
        assert await store.get("é" * 512, collection="é" * 1024) == {"n": 1}
