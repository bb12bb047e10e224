"""Deadlines and versions are the document's own; how many commands work takes; writers that race."""

import asyncio
import datetime as dt
import re
from typing import Any

import pytest
from pymongo import AsyncMongoClient, monitoring
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from stores import ABSENT, KEEP, MongoDBStore, Token
from stores.backends import mongodb_requests
from stores.errors import BaseKeyValueError, ConflictError, KeyValueOperationError, StoreClosedError, StoreConnectionError
from tests.stores.conftest import all_names, race_to_increment
from tests.stores.mongodb.conftest import Database, envelope

pytestmark = pytest.mark.anyio


# Deadlines


async def test_the_deadline_is_the_documents_whoever_changed_it(store: MongoDBStore, bare: Database) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=1000)
    version = await store.edit("k", {"n": 2}, collection="c", ttl=KEEP)
    await bare["c"].update_one({"key": "k"}, {"$set": {"expires_at": dt.datetime.now(dt.UTC) + dt.timedelta(seconds=50)}})
    _, left = await store.ttl("k", collection="c")
    assert left
    assert 20 < left <= 50
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


@pytest.mark.parametrize(
    ("details", "ours", "said"),
    [
        (
            {"writeErrors": [{"index": 1, "code": 121, "errmsg": "Document failed validation"}]},
            KeyValueOperationError,
            "1 of 2 writes failed, the first of them 'b': Document failed validation",
        ),
        (
            {"writeErrors": [{"index": 0, "code": 16500, "errmsg": "Request rate is large"}]},
            StoreConnectionError,
            "1 of 2 writes failed, the first of them 'a': Request rate is large. The server could not do that now",
        ),
        (
            {"writeConcernErrors": [{"code": 64, "errmsg": "waiting for replication timed out"}]},
            StoreConnectionError,
            "not as safely as was asked for: waiting for replication timed out. The server could not",
        ),
    ],
)
async def test_what_a_batch_could_not_do_is_told_with_place_and_key(
    store: MongoDBStore,
    monkeypatch: pytest.MonkeyPatch,
    details: dict[str, Any],
    ours: type[BaseKeyValueError],
    said: str,
) -> None:
    async def bulk_write(*_: Any, **__: Any) -> None:
        raise BulkWriteError({"writeErrors": [], "writeConcernErrors": [], **details})

    await store.put("k", {}, collection="c")
    monkeypatch.setattr(AsyncCollection, "bulk_write", bulk_write)
    with pytest.raises(BaseKeyValueError, match=re.escape(f"{store.location}, collection 'c': ")) as told:
        await store.put_many(["a", "b"], [{}, {}], collection="c")
    assert type(told.value) is ours
    assert said in str(told.value)


async def test_what_many_ask_at_the_same_moment_shares_commands(mongodb_url: str, db_name: str, bare: Database) -> None:
    counting = Counting()
    async with (
        AsyncMongoClient[dict[str, Any]](mongodb_url, event_listeners=[counting]) as client,
        MongoDBStore(client=client, db_name=db_name) as store,
    ):
        await store.put("first", {}, collection="c")
        counting.take()
        await asyncio.gather(*(store.put(f"k{n % 40}", {"n": n}, collection="c", ttl=n + 9) for n in range(50)))
        assert counting.take() == ["update"]
        answers = await asyncio.gather(*(store.ttl(f"k{n}", collection="c") for n in range(50)))
        assert counting.take() == ["find"] * 2  # the first finds nobody to share with
        for number, (value, left) in enumerate(answers):
            written = number + 40 if number < 10 else number
            assert value == ({"n": written} if number < 40 else None)
            assert left is None if number >= 40 else left is not None and written + 5 < left <= written + 9
        assert not store._lanes


async def test_of_what_shares_a_command_each_fails_alone(store: MongoDBStore, bare: Database) -> None:
    await store.put("k", {"n": 0}, collection="c")
    await bare["c"].create_index("value.object.n", unique=True)
    values = {"a": 1, "b": 1, "d": 2}
    puts = [store.put(key, {"n": n}, collection="c") for key, n in values.items()]
    told = await asyncio.gather(*puts, return_exceptions=True)
    [refused] = [error for error in told if error is not None]
    assert isinstance(refused, KeyValueOperationError)
    assert ("key 'a'" in str(refused)) == (told[0] is refused)
    await bare["c"].insert_one({"key": "foreign"})
    keys = ["k", "foreign", "d"]
    found = await asyncio.gather(*(store.get(key, collection="c") for key in keys), return_exceptions=True)
    assert (found[0], found[2]) == ({"n": 0}, {"n": 2})
    assert isinstance(found[1], KeyValueOperationError)
    assert "foreign" in str(found[1])


async def test_who_leaves_a_shared_command_takes_nobody_along(store: MongoDBStore) -> None:
    await store.put("k", {"n": 0}, collection="c")
    tasks = [asyncio.create_task(store.get("k", collection="c")) for _ in range(6)]
    writes = [asyncio.create_task(store.put(f"w{n}", {"n": n}, collection="c")) for n in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    for task in (tasks[0], tasks[2], writes[1]):
        task.cancel()
    answers = await asyncio.gather(*tasks, *writes, return_exceptions=True)
    assert [type(answer) for answer in answers[:3]] == [asyncio.CancelledError, dict, asyncio.CancelledError]
    assert answers[3:6] == [{"n": 0}] * 3
    assert await store.get_many(["w0", "w2"], collection="c") == [{"n": 0}, {"n": 2}]


async def test_closing_ends_what_shares_a_command(store: MongoDBStore) -> None:
    await store.put("k", {}, collection="c")
    tasks = [asyncio.create_task(store.get("k", collection="c")) for _ in range(6)]
    tasks += [asyncio.create_task(store.put("k", {}, collection="c")) for _ in range(3)]
    await asyncio.sleep(0)
    await store.close()
    for answer in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5):
        assert answer is None or answer == {} or isinstance(answer, StoreClosedError), answer


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
        await race_to_increment(one, two)


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
