"""Documents, ours and others', and the collections around them: form, indexes, what is left alone, BSON's limits."""

import datetime as dt
import time
from typing import Any

import bson
import pytest
from bson import json_util

from stores import ABSENT, MongoDBStore, MongoDBV1CollectionSanitizationStrategy, Token, lifecycle
from stores.backends import mongodb
from stores.backends.mongodb_documents import read_record
from stores.errors import (
    ConflictError,
    DeserializationError,
    InvalidKeyError,
    KeyValueOperationError,
    SerializationError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)
from tests.stores.conftest import all_names
from tests.stores.mongodb.conftest import Database, envelope

pytestmark = pytest.mark.anyio


# Form


async def test_the_document_is_as_py_key_value_writes_it_and_has_its_key_as_id(store: MongoDBStore, bare: Database) -> None:
    await store.put("k", {"b": (1, 2), "a": {3: None}}, collection="c", ttl=10)
    [document] = await bare["c"].find().to_list()
    assert document.keys() == {"_id", "key", "collection", "version", "created_at", "expires_at", "value"}
    assert (document["_id"], document["key"], document["collection"], document["version"]) == ("k", "k", "c", 1)
    assert document["value"] == {"object": {"a": {"3": None}, "b": [1, 2]}}
    assert document["expires_at"] - document["created_at"] <= dt.timedelta(seconds=10.001)
    assert document["expires_at"] - document["created_at"] >= dt.timedelta(seconds=10)


async def test_the_first_write_makes_indexes_that_spare_other_programs_documents(store: MongoDBStore, bare: Database) -> None:
    await bare["c"].insert_one({"expires_at": dt.datetime(2000, 1, 1, tzinfo=dt.UTC)})
    await store.put("k", {}, collection="c")
    indexes = await bare["c"].index_information()
    assert indexes["key_1"]["key"] == [("key", 1)]
    assert indexes["expires_at_1"]["expireAfterSeconds"] == 0
    assert indexes["expires_at_1"]["partialFilterExpression"].keys() == {"expires_at", "version", "key", "value.object"}


async def test_indexes_of_py_key_value_are_left_as_they_are(store: MongoDBStore, bare: Database) -> None:
    await bare["c"].create_index("key")
    await bare["c"].create_index("expires_at", expireAfterSeconds=0)
    before = await bare["c"].index_information()
    await store.put("k", {}, collection="c", ttl=5)
    assert await bare["c"].index_information() == before


async def test_looking_changes_nothing(mongodb_url: str, db_name: str, bare: Database) -> None:
    await bare["foreign"].insert_one({"n": 1})
    before = await bare["foreign"].index_information()
    async with MongoDBStore(url=mongodb_url, db_name=db_name) as store:
        assert await store.get("k", collection="c") is None
        assert await store.get_many(["k"], collection="foreign") == [None]
        assert await store.delete("k", collection="c") is False
        assert await store.describe(["k"], collection="c") == [None]
        assert await store.read("k", collection="foreign") is None
        assert (await store.scan_keys("c")).items == []
        assert len((await store.scan_keys("foreign")).items) == 1
        assert [name.text for name in (await store.scan_collections()).items] == ["foreign"]
    assert await bare.list_collection_names() == ["foreign"]
    assert await bare["foreign"].index_information() == before


async def test_auto_create_off_refuses_a_missing_collection_until_it_is_there(
    mongodb_url: str, db_name: str, bare: Database
) -> None:
    async with MongoDBStore(url=mongodb_url, db_name=db_name, auto_create=False) as store:
        with pytest.raises(StoreSetupError, match="auto_create") as failed:
            await store.put("k", {}, collection="c")
        assert isinstance(failed.value.__cause__, ValueError)
        await bare.create_collection("c")
        await store.put("k", {"n": 1}, collection="c")
        assert await store.get("k", collection="c") == {"n": 1}


async def test_a_dropped_collection_gets_its_indexes_again(
    store: MongoDBStore, bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("k", {}, collection="c")
    await bare.drop_collection("c")
    monkeypatch.setattr(mongodb, "RECHECK", -1.0)  # as if a minute had passed
    await store.put("k", {"n": 2}, collection="c")
    assert {"key_1", "expires_at_1"} <= (await bare["c"].index_information()).keys()


async def test_collections_that_are_remembered_are_bounded(
    store: MongoDBStore, bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((mongodb, "MAX_KNOWN"), (mongodb, "MAX_NATIVES"), (lifecycle, "MAX_SET_UP")):
        monkeypatch.setattr(module, name, 3)
    for number in range(10):
        await store.put("k", {"n": number}, collection=f"c{number}")
        assert len(store._checked) <= 4
        assert len(store._natives) <= 3
        assert len(store._set_up_collections) <= 3
    assert [await store.get("k", collection=f"c{number}") for number in range(10)] == [{"n": number} for number in range(10)]


async def test_destroying_a_collection_says_whether_it_was_there(store: MongoDBStore, bare: Database) -> None:
    await store.put("k", {}, collection="c")
    assert await store.destroy_collection("c") is True
    assert await store.destroy_collection("c") is False
    await store.put("k", {}, collection="c")
    assert "expires_at_1" in await bare["c"].index_information()


# Documents of others


OWN_IDS: list[Any] = [1, 2.5, "text", bson.ObjectId(), {"a": 1}, b"bytes", True, None, dt.datetime(2020, 1, 1, tzinfo=dt.UTC)]


async def test_documents_without_a_key_are_shown_read_snapshotted_restored_and_deleted(
    store: MongoDBStore, bare: Database
) -> None:
    await store.put_many([f"k{n}" for n in range(5)], [{}] * 5, collection="c")
    await bare["c"].insert_many([{"_id": own, "n": bson.Int64(7), "at": dt.datetime(2020, 1, 1)} for own in OWN_IDS])  # noqa: DTZ001 - as drivers write it
    for limit in (1, 3, 100):
        names = await all_names(store, "c", limit)
        assert len(names) == len({name.token for name in names}) == 5 + len(OWN_IDS)
        assert [name.text for name in names[:5]] == [f"k{n}" for n in range(5)]
        assert [name.exact for name in names] == [True] * 5 + [False] * len(OWN_IDS)
    tokens = [name.token for name in names[5:]]
    described = await store.describe([*tokens, "k1"], collection="c")
    assert [one and one.kind for one in described] == ["document"] * len(OWN_IDS) + ["entry"]
    raw = bare["c"].with_options(codec_options=bson.CodecOptions(document_class=bson.raw_bson.RawBSONDocument))
    before = {bytes(one.raw) for one in await raw.find().to_list()}
    for token, description in zip(tokens, described, strict=False):
        record = await store.read(token, collection="c", limit=10)
        assert record
        assert (record.kind, len(record.body), record.entry) == ("document", 10, None)
        assert description
        assert record.size == description.size
        snapshot = await store.snapshot(token, collection="c")
        assert snapshot
        assert snapshot.length == len(snapshot.body)
        with pytest.raises(DeserializationError, match="another program's document"):
            await store.get(token, collection="c")
        with pytest.raises(UnsupportedError):
            await store.expire(token, 10, collection="c")
        assert await store.delete(token, collection="c", expected=record.version) is True
        assert await store.read(token, collection="c") is None
        await store.restore(token, snapshot, collection="c", expected=ABSENT)
    assert {bytes(one.raw) for one in await raw.find().to_list()} == before
    assert await store.delete_many(tokens, collection="c") == len(OWN_IDS)


ODD_DOCUMENTS: dict[str, dict[str, Any]] = {
    "no value": {"key": "k", "n": 1},
    "flat value": {"key": "k", "version": 1, "value": {"n": 1}},
    "list": envelope("k", [1]),
    "an ObjectId inside": envelope("k", {"id": bson.ObjectId()}),
    "a number as deadline": envelope("k", {}, expires_at=5),
}


@pytest.mark.parametrize("document", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS)
async def test_a_document_with_a_key_but_no_entry_hides_nothing(
    store: MongoDBStore, bare: Database, document: dict[str, Any]
) -> None:
    await bare["c"].insert_one(dict(document))
    await store.put("other", {}, collection="c")
    names = await all_names(store, "c")
    assert [name.text for name in names] == ["k", "other"]
    described = await store.describe(["k", "other", names[0].token], collection="c")
    assert [one and one.kind for one in described] == ["document", "entry", "document"]
    with pytest.raises(DeserializationError, match="'k' in collection 'c'"):
        await store.get("k", collection="c")
    with pytest.raises(DeserializationError, match="'k' in collection 'c'"):
        await store.get_many(["other", "k"], collection="c")
    with pytest.raises(DeserializationError):
        await store.edit("k", {}, collection="c")
    record = await store.read("k", collection="c")
    assert record
    assert json_util.loads(record.body)["key"] == "k"
    await store.put("k", {"now": "an entry"}, collection="c")
    assert await store.get("k", collection="c") == {"now": "an entry"}


def test_a_date_beyond_pythons_years_is_foreign_data() -> None:
    raw = bson.encode({"_id": 1, "key": "k", "at": bson.datetime_ms.DatetimeMS(2**60), "text": "é"})
    record = read_record(raw.replace("é".encode(), b"\xff\xfe"), None, json_util.RELAXED_JSON_OPTIONS)
    assert record.kind == "document"
    assert str(2**60).encode() in record.body


async def test_an_id_that_is_taken_by_another_program_does_not_block_a_key(store: MongoDBStore, bare: Database) -> None:
    await bare["c"].insert_many([{"_id": "a", "n": 1}, {"_id": "b", "n": 1}, {"_id": "c", "n": 1}])
    await store.put("a", {"n": 2}, collection="c")
    await store.put_many(["b", "x"], [{"n": 2}, {"n": 3}], collection="c")
    await store.edit("c", {"n": 2}, collection="c", expected=ABSENT)
    assert await store.get_many(["a", "b", "c", "x"], collection="c") == [{"n": 2}] * 3 + [{"n": 3}]
    assert await bare["c"].count_documents({"n": 1}) == 3


async def test_a_foreign_document_is_put_back_under_the_key_that_is_asked_for(store: MongoDBStore, bare: Database) -> None:
    theirs = {"_id": "theirs", "n": 1}
    keyed = {"_id": bson.ObjectId(), "key": "keyed", "n": 2}
    await bare["c"].insert_many([theirs, keyed])
    [token] = [name.token for name in await all_names(store, "c") if name.text == "theirs"]
    for name, document in ((token, theirs), ("keyed", keyed)):
        snapshot = await store.snapshot(name, collection="c")
        assert snapshot
        begun = time.monotonic()
        await store.restore("copy", snapshot, collection="c", expected=ABSENT)
        assert time.monotonic() - begun < 2
        record = await store.read("copy", collection="c")
        assert record
        assert json_util.loads(record.body) == {**document, "key": "copy", "_id": json_util.loads(record.body)["_id"]}
        assert await store.delete("copy", collection="c")
    assert await bare["c"].find().to_list() == [theirs, keyed]
    assert await store.delete("keyed", collection="c")
    await bare["c"].insert_one({**keyed, "key": "of somebody else"})
    assert snapshot
    await store.restore("keyed", snapshot, collection="c", expected=ABSENT)
    assert await bare["c"].count_documents({"key": "keyed", "n": 2}) == 1


async def test_a_restored_document_that_another_index_refuses_is_refused_at_once(store: MongoDBStore, bare: Database) -> None:
    await bare["c"].create_index("n", unique=True)
    await bare["c"].insert_one({"_id": 1, "n": 7})
    [name] = await all_names(store, "c")
    snapshot = await store.snapshot(name.token, collection="c")
    assert snapshot
    with pytest.raises(KeyValueOperationError, match="'copy'") as refused:
        await store.restore("copy", snapshot, collection="c")
    assert not isinstance(refused.value, ConflictError)


async def test_a_big_document_is_described_without_its_value(store: MongoDBStore) -> None:
    await store.put("big", {"text": "x" * 5000}, collection="c", ttl=100)
    [one] = await store.describe(["big"], collection="c")
    assert one
    assert one.kind == "entry"
    assert one.size
    assert one.size > 5000
    assert one.expires_at


async def test_a_lists_strings_are_not_keys(store: MongoDBStore, bare: Database) -> None:
    await bare["c"].insert_one({"_id": 1, "key": ["a", "z"]})
    await store.put("m", {}, collection="c")
    for limit in (1, 2, 10):
        assert [name.text for name in await all_names(store, "c", limit)] == ["m", "1"]


async def test_collections_are_shown_by_their_callers_names(mongodb_url: str, db_name: str, bare: Database) -> None:
    strategy = MongoDBV1CollectionSanitizationStrategy()
    async with MongoDBStore(url=mongodb_url, db_name=db_name, collection_sanitization_strategy=strategy) as store:
        for name in ("plain", "with space", "日本", "x" * 300):
            await store.put("k", {"name": name}, collection=name)
        await bare["S_not_ours-12345678"].insert_one({"n": 1})
        found = {}
        cursor = None
        while True:
            page = await store.scan_collections(cursor=cursor, limit=2)
            found.update({name.text: name for name in page.items})
            cursor = page.cursor
            if cursor is None:
                break
        assert found.keys() == {"plain", "with space", "日本", "x" * 300, "S_not_ours-12345678"}
        assert not found["S_not_ours-12345678"].exact
        token = found["with space"].token
        assert await store.get("k", collection=token) == {"name": "with space"}
        await store.put("l", {}, collection=token)
        document = await bare[token.value.decode()].find_one({"key": "l"})
        assert document["collection"] == "with space"


# Limits


async def test_what_bson_cannot_carry_is_refused_before_anything_is_sent(store: MongoDBStore, bare: Database) -> None:
    for value, said in (
        ({"n": 2**63}, "64 bits"),
        ({"n": [{"m": -(2**63) - 1}]}, "64 bits"),
        ({"lone": "\ud800"}, "carry"),
        ({"nul\x00": 1}, "carry"),
    ):
        for write in (
            store.put("k", value, collection="c"),
            store.put_many(["j", "k"], [{}, value], collection="c"),
            store.edit("k", value, collection="c"),
        ):
            with pytest.raises(SerializationError, match=said):
                await write
    with pytest.raises(ValueTooLargeError, match="16,777,216"):
        await store.put("k", {"text": "x" * 2**24}, collection="c")
    assert await bare["c"].count_documents({}) == 0
    await store.put("k", {"n": [2**63 - 1, -(2**63)]}, collection="c")
    assert await store.get("k", collection="c") == {"n": [2**63 - 1, -(2**63)]}


@pytest.mark.parametrize("name", ["a$b", ".a", "a.", "a..b", "nul\x00", "system.users", "x" * 300, "é" * 200])
async def test_an_impossible_collection_is_refused(store: MongoDBStore, bare: Database, name: str) -> None:
    with pytest.raises(InvalidKeyError):
        await store.put("k", {}, collection=name)
    assert await bare.list_collection_names() == []


async def test_a_token_of_another_store_is_refused(store: MongoDBStore) -> None:
    for token in (b"k", b"[1]", b'{"$where": "x"}', b'{"key": "a", "_id": 1}', b"\xff"):
        with pytest.raises(InvalidKeyError, match="token"):
            await store.get(Token(token), collection="c")
    with pytest.raises(InvalidKeyError, match="cannot be a collection"):
        await store.get("k", collection=Token(b"\xff"))


async def test_a_ttl_of_centuries_ends_with_the_calendar(store: MongoDBStore) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=1e12)
    record = await store.read("k", collection="c")
    assert record
    assert record.expires_at
    assert record.expires_at.year == 9999
