"""What is special to MongoDBStore: documents of others, BSON's limits, indexes, batches, races, lost connections."""

import asyncio
import datetime as dt
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pymongo.errors
import pytest
from bson import json_util
from pymongo import AsyncMongoClient, monitoring

from stores import ABSENT, KEEP, MongoDBStore, MongoDBV1CollectionSanitizationStrategy, Token
from stores.backends import mongodb, mongodb_requests
from stores.backends.mongodb_documents import read_record
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    InvalidKeyError,
    KeyValueOperationError,
    SerializationError,
    StoreConnectionError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)
from tests.faults.proxy import Proxy
from tests.faults.tls import tls_in_front
from tests.servers.lease import addresses

pytestmark = pytest.mark.anyio

Database = Any  # pymongo's, whose documents are Any anyway


@pytest.fixture
def db_name(unique_name: str) -> str:
    return unique_name


@pytest.fixture
async def bare(mongodb_url: str, db_name: str) -> AsyncIterator[Database]:
    """The same database by the bare driver."""
    async with AsyncMongoClient[dict[str, Any]](mongodb_url, tz_aware=True) as client:
        yield client[db_name]
        await client.drop_database(db_name)


@pytest.fixture
async def store(mongodb_url: str, db_name: str, bare: Database) -> AsyncIterator[MongoDBStore]:
    async with MongoDBStore(url=mongodb_url, db_name=db_name) as opened:
        yield opened


def envelope(key: str, value: Any, **more: Any) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    return {"key": key, "collection": "c", "version": 1, "created_at": now, "value": {"object": value}, **more}


async def all_names(store: MongoDBStore, collection: str, limit: int = 500, match: str | None = None) -> list[Any]:
    names, cursor = [], None
    while True:
        page = await store.scan_keys(collection, cursor=cursor, limit=limit, match=match)
        names += page.items
        cursor = page.cursor
        if cursor is None:
            return names


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
    assert "value.object" in indexes["expires_at_1"]["partialFilterExpression"]


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


async def test_a_ttl_of_centuries_ends_with_the_calendar(store: MongoDBStore) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=1e12)
    record = await store.read("k", collection="c")
    assert record
    assert record.expires_at
    assert record.expires_at.year == 9999


# Deadlines


async def test_the_deadline_is_the_documents_whoever_changed_it(store: MongoDBStore, bare: Database) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=1000)
    version = await store.edit("k", {"n": 2}, collection="c", ttl=KEEP)
    await bare["c"].update_one({"key": "k"}, {"$set": {"expires_at": dt.datetime.now(dt.UTC) + dt.timedelta(seconds=50)}})
    _, left = await store.ttl("k", collection="c")
    assert left
    assert 45 < left <= 50
    with pytest.raises(ConflictError):
        await store.edit("k", {"n": 3}, collection="c", expected=version)
    await bare["c"].update_one({"key": "k"}, {"$unset": {"expires_at": ""}})
    assert await store.ttl("k", collection="c") == ({"n": 2}, None)
    await bare["c"].update_one({"key": "k"}, {"$set": {"expires_at": dt.datetime.now(dt.UTC)}})
    assert await store.get("k", collection="c") is None
    assert await store.delete("k", collection="c") is False


async def test_deleting_counts_only_what_lives(store: MongoDBStore, bare: Database) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    await bare["c"].insert_many([envelope("old", {}, expires_at=past), envelope("older", {}, expires_at=past)])
    await bare["c"].insert_one({"_id": "theirs", "expires_at": past})
    await store.put("live", {}, collection="c")
    theirs = Token(b'{"_id": "theirs"}')
    assert await store.delete_many(["old", "live", theirs], collection="c") == 2
    assert await store.delete("older", collection="c") is False
    assert await bare["c"].count_documents({"_id": "theirs"}) == 0
    assert await bare["c"].count_documents({"key": "older"}) == 0


async def test_the_version_of_a_write_is_the_one_that_is_read(store: MongoDBStore) -> None:
    created = await store.edit("k", {"n": 1, "f": 1.5, "big": 2**40}, collection="c", expected=ABSENT)
    record = await store.read("k", collection="c")
    assert record
    assert record.version == created
    changed = await store.edit("k", {"n": 2}, collection="c", expected=created)
    record = await store.read("k", collection="c")
    assert record
    assert record.version == changed != created


async def test_the_stamp_sees_a_change_of_one_digit(store: MongoDBStore) -> None:
    await store.put("k", {"n": 1}, collection="c")
    [before] = await store.describe(["k"], collection="c")
    await store.edit("k", {"n": 2}, collection="c")
    [after] = await store.describe(["k"], collection="c")
    assert before
    assert after
    assert before.stamp != after.stamp
    assert [after] == await store.describe(["k"], collection="c")


# Batches and walks


class Counting(monitoring.CommandListener):
    def __init__(self) -> None:
        self.commands: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def take(self) -> list[str]:
        taken, self.commands = self.commands, []
        return taken


async def test_many_keys_are_one_round_trip_and_a_given_client_stays_open(
    mongodb_url: str, db_name: str, bare: Database
) -> None:
    counting = Counting()
    async with AsyncMongoClient[dict[str, Any]](mongodb_url, event_listeners=[counting]) as client:
        async with MongoDBStore(client=client, db_name=db_name) as store:
            await store.put("first", {}, collection="c")
            keys = [f"k{n}" for n in range(250)]
            counting.take()
            await store.put_many(keys, [{"n": n} for n in range(250)], collection="c")
            assert counting.take() == ["update"]
            assert len([one for one in await store.get_many(keys, collection="c") if one]) == 250
            assert counting.take() == ["find"]
            assert all(await store.describe(keys, collection="c"))
            assert counting.take() == ["aggregate"]
            page = await store.scan_keys("c", limit=200)
            assert len(page.items) == page.scanned == 200
            assert counting.take() == ["find"]
            assert await store.delete_many(keys, collection="c") == 250
            assert counting.take() == ["delete"]
            await store.put("k", {}, collection="c")
            assert counting.take() == ["update"]
            await store.get("k", collection="c")
            assert counting.take() == ["find"]
            await store.delete("k", collection="c")
            assert counting.take() == ["findAndModify"]
        assert (await client.admin.command("ping"))["ok"] == 1


async def test_a_batch_whose_write_fails_says_so(store: MongoDBStore, bare: Database) -> None:
    await store.put("k", {}, collection="c")
    await bare["c"].create_index("value.object.n", unique=True)
    with pytest.raises(KeyValueOperationError, match="E11000"):
        await store.put_many(["a", "b"], [{"n": 1}, {"n": 1}], collection="c")


async def test_a_glob_narrows_the_walk(store: MongoDBStore) -> None:
    keys = [*(f"user:{n}" for n in range(30)), *(f"z{n}" for n in range(30)), "user;", "user[1]", "\ud7ff1"]
    await store.put_many(keys, [{}] * len(keys), collection="c")
    page = await store.scan_keys("c", match="user:1*")
    assert {name.text for name in page.items} == {"user:1", *(f"user:1{n}" for n in range(10))}
    assert page.scanned == 11
    assert [name.text for name in await all_names(store, "c", match="user\\[*")] == ["user[1]"]
    assert [name.text for name in await all_names(store, "c", match="\ud7ff*")] == ["\ud7ff1"]
    assert len(await all_names(store, "c", match="*3")) == 6


async def test_a_narrow_walk_goes_on_where_its_page_ended(store: MongoDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongodb_requests, "MATCH_PAGE", 4)
    keys = [f"user:{n:02}" for n in range(30)]
    await store.put_many([*keys, "aaa", "zzz"], [{}] * 32, collection="c")
    assert [name.text for name in await all_names(store, "c", limit=3, match="user:*")] == keys


async def test_every_document_of_a_key_goes_with_it(store: MongoDBStore, bare: Database) -> None:
    await store.put("other", {}, collection="c")
    await bare["c"].insert_many([envelope("k", {"n": number}) for number in range(2)])  # the index of neither program is unique
    await store.delete_many(["k"], collection="c")
    assert await store.get("k", collection="c") is None
    assert await store.get("other", collection="c") == {}


# Races


async def test_two_stores_lose_no_increment(mongodb_url: str, db_name: str, bare: Database) -> None:
    async with (
        MongoDBStore(url=mongodb_url, db_name=db_name) as one,
        MongoDBStore(url=mongodb_url, db_name=db_name) as two,
    ):
        await one.put("n", {"n": 0}, collection="c", ttl=1000)

        async def increment(store: MongoDBStore, times: int) -> None:
            while times:
                record = await store.read("n", collection="c")
                assert record
                assert record.entry
                try:
                    await store.edit("n", {"n": record.entry.value["n"] + 1}, collection="c", expected=record.version)
                except ConflictError:
                    continue
                times -= 1

        await asyncio.gather(increment(one, 20), increment(two, 20), increment(one, 20))
        assert await two.get("n", collection="c") == {"n": 60}


async def test_first_writes_that_race_make_one_document(mongodb_url: str, db_name: str, bare: Database) -> None:
    async with (
        MongoDBStore(url=mongodb_url, db_name=db_name) as one,
        MongoDBStore(url=mongodb_url, db_name=db_name) as two,
    ):
        await asyncio.gather(*(store.put("k", {"n": n}, collection="c") for n in range(10) for store in (one, two)))
        assert await bare["c"].count_documents({"key": "k"}) == 1

        async def create(store: MongoDBStore, n: int) -> int:
            try:
                await store.edit("new", {"n": n}, collection="c", expected=ABSENT)
            except ConflictError:
                return 0
            return 1

        assert sum(await asyncio.gather(*(create(store, n) for n in range(10) for store in (one, two)))) == 1
        assert await bare["c"].count_documents({"key": "new"}) == 1


# Life


@pytest.fixture
def leaky() -> Iterator[None]:
    """pymongo does not close a socket whose connecting is cancelled: collected here, not in a test that follows."""
    yield
    gc.collect()


ignore_leak = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


@ignore_leak
@pytest.mark.usefixtures("leaky")
async def test_a_setup_that_fails_can_be_tried_again(mongodb_url: str, db_name: str, bare: Database) -> None:
    [(host, port)] = addresses(mongodb_url)
    async with Proxy(host, port) as proxy:
        proxy.refuse()
        store = MongoDBStore(url=f"mongodb://127.0.0.1:{proxy.port}", db_name=db_name, timeout=0.3)
        with pytest.raises(StoreSetupError, match=f"127.0.0.1:{proxy.port}"):
            await store.get("k", collection="c")
        await proxy.mend()
        assert await store.get("k", collection="c") is None
        await store.close()


@pytest.mark.parametrize("fault", ["cut", "garbage", "black hole"])
async def test_a_lost_connection_is_said_and_the_next_call_works(
    mongodb_url: str, db_name: str, bare: Database, fault: str
) -> None:
    [(host, port)] = addresses(mongodb_url)
    timeout = 1.0 if fault == "black hole" else 10.0  # only a black hole is waited for
    keys = [f"k{n}" for n in range(100)]
    async with MongoDBStore(url=mongodb_url, db_name=db_name) as direct:
        await direct.put_many(keys, [{"text": "x" * 500}] * 100, collection="c")
    async with (
        Proxy(host, port) as proxy,
        MongoDBStore(
            url=f"mongodb://127.0.0.1:{proxy.port}/?retryReads=false&retryWrites=false", db_name=db_name, timeout=timeout
        ) as store,
    ):
        await store.get("k1", collection="c")
        calls: list[Callable[[], Any]] = [
            lambda: store.get("k1", collection="c"),
            lambda: store.put_many(keys, [{"n": 1}] * 100, collection="c"),
            lambda: store.scan_keys("c", limit=10),
        ]
        for call in calls[: 1 if fault == "black hole" else 3]:
            if fault == "cut":
                proxy.cut_after(10)
            elif fault == "garbage":
                proxy.garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            else:
                proxy.black_hole()
            with pytest.raises(StoreConnectionError) as lost:
                await call()
            assert isinstance(lost.value.__cause__, pymongo.errors.PyMongoError)
            await proxy.mend()
            await call()


def exceptions(module: Any) -> Iterator[type[Exception]]:
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if issubclass(cls, Exception) and cls.__module__ == module.__name__ and not issubclass(cls, Warning):
            yield cls


async def test_every_exception_of_the_driver_becomes_ours(store: MongoDBStore) -> None:
    classes = [*exceptions(pymongo.errors), *exceptions(bson.errors)]
    assert len(classes) > 25
    for cls in classes:
        exc = cls.__new__(cls)
        Exception.__init__(exc, "told")
        for name, attribute in (("_OperationFailure__code", None), ("_OperationFailure__details", {}), ("_message", "told")):
            setattr(exc, name, attribute)
        with pytest.raises(BaseKeyValueError, match="collection 'c', key 'k'"), store._edge("c", "k"):
            raise exc


@pytest.mark.parametrize(
    ("code", "ours", "said"),
    [
        (13, KeyValueOperationError, "readWrite"),
        (18, StoreSetupError, "password"),
        (8000, StoreSetupError, "password"),
        (10334, ValueTooLargeError, "16,777,216"),
        (15, SerializationError, "nesting"),
        (None, KeyValueOperationError, "told"),
    ],
)
async def test_a_servers_code_comes_with_advice(
    store: MongoDBStore, code: int | None, ours: type[BaseKeyValueError], said: str
) -> None:
    with pytest.raises(ours, match=said), store._edge("c", "k"):
        raise pymongo.errors.OperationFailure("told", code)


# Connection strings


def test_a_client_and_a_url_exclude_each_other(mongodb_url: str) -> None:
    with pytest.raises(ValueError, match="not both"):
        MongoDBStore(client=AsyncMongoClient(mongodb_url, connect=False), url=mongodb_url)  # type: ignore[call-overload] # the point


def test_the_location_shows_no_secret() -> None:
    store = MongoDBStore(url="mongodb+srv://user:s3cret@cluster.example/?authSource=x&appName=s3cret", db_name="d")
    assert store.location == "mongodb+srv://cluster.example/d"


def test_options_in_the_url_go_before_defaults() -> None:
    store = MongoDBStore(url="mongodb://h/?maxpoolsize=7&socketTimeoutMS=5", timeout=3, username="u", password="p")
    assert store._options == {
        "serverSelectionTimeoutMS": 3000,
        "connectTimeoutMS": 3000,
        "username": "u",
        "password": "p",
    }


@ignore_leak
@pytest.mark.usefixtures("leaky")
async def test_srv_and_user_and_tls_reach_the_driver() -> None:
    store = MongoDBStore(url="mongodb+srv://nowhere.invalid/", username="u", password="p", timeout=0.5)
    with pytest.raises(StoreSetupError, match="nowhere"):
        await store.setup()
    missing = MongoDBStore(url="mongodb://h", tls=True, tls_ca_file="/nonexistent/ca.pem")
    with pytest.raises(StoreSetupError, match="No such file"):
        await missing.setup()


@ignore_leak
@pytest.mark.usefixtures("leaky")
async def test_tls_with_ones_own_authority(mongodb_url: str, db_name: str, bare: Database, tmp_path: Path) -> None:
    async with tls_in_front(*addresses(mongodb_url)[0], tmp_path) as port:
        url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        async with MongoDBStore(url=url, db_name=db_name, tls_ca_file=str(tmp_path / "cert.pem"), tls=True) as store:
            await store.put("k", {"n": 1}, collection="c")
            assert await store.get("k", collection="c") == {"n": 1}
        stranger = MongoDBStore(url=url, db_name=db_name, tls=True, timeout=0.5)
        with pytest.raises(StoreSetupError, match=r"(?i)certificate"):
            await stranger.setup()
