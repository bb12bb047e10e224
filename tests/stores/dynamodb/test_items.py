"""Items, ours and others', as they lie in the table, and their deadlines."""

import asyncio
import base64
import json
import math
from typing import Any

import pytest

from stores import DynamoDBStore
from stores.entry import utc_now
from stores.errors import ConflictError, DeserializationError, UnsupportedError
from stores.records import ABSENT, Record

pytestmark = pytest.mark.anyio


async def plant(bare: Any, table: str, key: str, **attributes: dict[str, Any]) -> None:
    await bare.put_item(TableName=table, Item={"collection": {"S": "c"}, "key": {"S": key}, **attributes})


async def stored(bare: Any, table: str, key: str) -> dict[str, Any]:
    reply = await bare.get_item(TableName=table, Key={"collection": {"S": "c"}, "key": {"S": key}}, ConsistentRead=True)
    item: dict[str, Any] = reply.get("Item", {})
    return item


FOREIGN: dict[str, dict[str, Any]] = {
    "text": {"S": "é"},
    "number": {"N": "12345678901234567890"},
    "binary": {"B": b"\x00\xff"},
    "set": {"BS": [b"a", b"\xfe"]},
    "deep": {"M": {"list": {"L": [{"BOOL": True}, {"NULL": True}, {"B": b"\xfd"}, {"M": {}}]}}},
}


async def test_foreign_items_are_shown_as_what_they_are(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("ours", {"n": 1}, collection="c")
    await plant(bare, table, "other", **FOREIGN)
    await plant(bare, table, "bytes", value={"B": b"{}"})
    await plant(bare, table, "words", value={"S": "no JSON"})
    await plant(bare, table, "bare")
    found = [name.text for name in (await store.scan_keys("c")).items]
    assert found == ["bare", "bytes", "other", "ours", "words"]
    kinds = [one.kind for one in await store.describe(found, collection="c") if one]
    assert kinds == ["item", "item", "item", "entry", "item"]
    record = await store.read("other", collection="c")
    assert record is not None
    assert json.loads(record.body)["number"] == FOREIGN["number"]
    assert json.loads(record.body)["binary"] == {"B": base64.b64encode(b"\x00\xff").decode()}
    assert "é" in record.body.decode()
    beginning = await store.read("other", collection="c", limit=10)
    assert beginning is not None
    assert (beginning.body, beginning.length) == (record.body[:10], record.length)
    for key in ("other", "bytes", "words", "bare"):
        with pytest.raises(DeserializationError, match=f"'{key}' in collection 'c'"):
            await store.get(key, collection="c")
        with pytest.raises(DeserializationError, match=key):
            await store.get_many(["ours", key], collection="c")
        with pytest.raises(DeserializationError):
            await store.edit(key, {}, collection="c")


async def test_a_foreign_item_is_put_back_whole(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("ours", {"n": 1}, collection="c")
    await plant(bare, table, "other", **FOREIGN, ttl={"N": "4000000000"})
    before = await stored(bare, table, "other")
    record = await store.snapshot("other", collection="c")
    assert record is not None
    assert record.expires_at is not None
    assert await store.delete("other", collection="c", expected=record.version) is True
    await store.restore("other", record, collection="c", expected=ABSENT)
    assert await stored(bare, table, "other") == before
    cut = await store.read("other", collection="c", limit=5)
    assert cut is not None
    with pytest.raises(UnsupportedError, match="whole"):
        await store.restore("copy", cut, collection="c")
    alien = Record(kind="hash", body=b"{}", length=2, size=2, version=record.version)
    with pytest.raises(UnsupportedError, match="hash"):
        await store.restore("copy", alien, collection="c")


async def test_foreign_items_have_a_deadline_too(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("ours", {"n": 1}, collection="c")
    await plant(bare, table, "other", **FOREIGN)
    assert await store.expire("other", 1000, collection="c") is True
    item = await stored(bare, table, "other")
    assert -30 < int(item["ttl"]["N"]) - utc_now().timestamp() - 1000 < 2
    assert {name: item[name] for name in FOREIGN} == FOREIGN
    assert await store.expire("other", None, collection="c") is True
    assert "ttl" not in await stored(bare, table, "other")
    seen = await store.read("other", collection="c")
    assert seen is not None
    await plant(bare, table, "other", text={"S": "changed"})
    with pytest.raises(ConflictError):
        await store.expire("other", 10, collection="c", expected=seen.version)
    with pytest.raises(ConflictError):
        await store._expire_foreign(collection="c", key="other", record=seen, expires_at=None)


async def test_an_edit_keeps_attributes_that_it_does_not_know(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=100)
    entry = await stored(bare, table, "k")
    await bare.put_item(TableName=table, Item={**entry, "owner": {"S": "billing"}})
    assert await store.get("k", collection="c") == {"n": 1}
    await store.edit("k", {"n": 2}, collection="c", ttl=None)
    item = await stored(bare, table, "k")
    assert item["owner"] == {"S": "billing"}
    assert "ttl" not in item


async def test_the_tables_deadline_wins_where_it_says_something_else(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=100.25)
    item = await stored(bare, table, "k")
    envelope = json.loads(item["value"]["S"])["expires_at"]
    record = await store.read("k", collection="c")
    assert record is not None
    assert record.expires_at is not None
    assert record.expires_at.isoformat() == envelope
    assert int(item["ttl"]["N"]) == math.ceil(record.expires_at.timestamp())
    for native, at_most in (("4000000000", 4e9), ("1e30", math.inf), ("3.5e9", 3.5e9)):
        await bare.put_item(TableName=table, Item={**item, "ttl": {"N": native}})
        _, ttl = await store.ttl("k", collection="c")
        assert ttl is not None
        assert 3e9 - utc_now().timestamp() < ttl < at_most
    for past in ("1", "0", "-1e30"):
        await bare.put_item(TableName=table, Item={**item, "ttl": {"N": past}})
        assert await store.get("k", collection="c") is None
        assert (await store.scan_keys("c")).items == []
        assert await store.delete_many(["k"], collection="c") == 0
    await bare.put_item(TableName=table, Item={**item, "ttl": {"S": "soon"}})  # which DynamoDB does not heed
    assert await store.get("k", collection="c") == {"n": 1}
    assert len((await store.scan_keys("c")).items) == 1
    del item["ttl"]
    await bare.put_item(TableName=table, Item=item)
    _, ttl = await store.ttl("k", collection="c")
    assert ttl is not None
    assert ttl <= 100.25


async def test_deadlines_at_the_calendars_end(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=1e300)
    assert (await stored(bare, table, "k"))["ttl"] == {"N": "253402300799"}
    assert await store.get("k", collection="c") == {"n": 1}


async def test_what_has_expired_was_not_there(store: DynamoDBStore) -> None:
    await store.put_many(["a", "b"], [{}, {}], collection="c", ttl=0.2)
    await asyncio.sleep(0.3)
    assert await store.delete("a", collection="c") is False
    assert await store.describe(["a", "b"], collection="c") == [None, None]
