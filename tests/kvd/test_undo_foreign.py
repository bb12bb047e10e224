"""Undo of what is no entry of this family: it comes back as it was, or is left alone where somebody changed it."""

import pickle
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import diskcache
import pymongo
import pytest
from redis import Redis

from kvd import requests
from kvd.client import Client
from kvd.model import KeyRow, Undone
from kvd.requests import Request, journalled, new_step
from tests.daemonkit import running

pytestmark = pytest.mark.anyio


class World:
    """A store with one thing in it that another program made."""

    config: str
    put: Callable[[], Any]
    get: Callable[[], Any]
    """All of it, as its own program sees it; None when it is not there."""

    def __init__(self, close: Callable[[], Any] = lambda: None) -> None:
        self.close = close


def tree(tmp_path: Path) -> World:
    world, file = World(), tmp_path / "tree" / "c" / "notes.txt"
    file.parent.mkdir(parents=True)
    world.config = f'store = "filetree"\nargs.data_directory = "{tmp_path}/tree"'
    world.put = lambda: file.write_bytes(b"\xff not JSON")
    world.get = lambda: file.read_bytes() if file.exists() else None
    return world


def disk(tmp_path: Path) -> World:
    world = World()
    world.config = f'store = "disk"\nargs.directory = "{tmp_path}/cache"'

    def put() -> None:
        with diskcache.Cache(str(tmp_path / "cache")) as cache:
            cache.set("c::k", {"a": {1, 2}}, expire=5_000, tag="mine")

    def get() -> Any:
        with closing(sqlite3.connect(tmp_path / "cache" / "cache.db")) as database:
            row = database.execute("SELECT value, mode, round(expire_time / 100) FROM Cache WHERE key = 'c::k'").fetchone()
        return None if row is None else (pickle.loads(row[0]), *row[1:])

    world.put, world.get = put, get
    return world


def s3(s3_url: str, unique_name: str) -> World:
    client = boto3.client("s3", endpoint_url=s3_url)
    world = World(client.close)
    client.create_bucket(Bucket=unique_name)
    world.config = f'store = "s3"\nargs = {{ bucket_name = "{unique_name}", endpoint_url = "{s3_url}" }}'
    place = {"Bucket": unique_name, "Key": "c/picture"}

    def get() -> Any:
        try:
            found = client.get_object(**place)
        except client.exceptions.NoSuchKey:
            return None
        return found["Body"].read(), found["ContentType"], found["Metadata"]

    world.put = lambda: client.put_object(**place, Body=b"\x89PNG", ContentType="image/png", Metadata={"by": "somebody"})
    world.get = get
    return world


def mongodb(mongodb_url: str, unique_name: str) -> World:
    client = pymongo.MongoClient[dict[str, Any]](mongodb_url)
    world = World(client.close)
    world.config = f'store = "mongodb"\nargs = {{ url = "{mongodb_url}", db_name = "{unique_name}" }}'
    people = client[unique_name]["people"]
    world.put = lambda: people.insert_one({"_id": 7, "name": "Ada", "big": 2**40, "at": 1.5, "raw": b"\xff"})
    world.get = lambda: people.find_one({"_id": 7})
    return world


def dynamodb(dynamodb_url: str, unique_name: str) -> World:
    client = boto3.client("dynamodb", endpoint_url=dynamodb_url)
    world = World(client.close)
    client.create_table(
        TableName=unique_name,
        KeySchema=[{"AttributeName": "collection", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("collection", "key")],
        BillingMode="PAY_PER_REQUEST",
    )
    world.config = f'store = "dynamodb"\nargs = {{ table_name = "{unique_name}", endpoint_url = "{dynamodb_url}" }}'
    place = {"collection": {"S": "c"}, "key": {"S": "k"}}
    world.put = lambda: client.put_item(TableName=unique_name, Item=place | {"n": {"N": "7"}, "raw": {"B": b"\xff"}})
    world.get = lambda: client.get_item(TableName=unique_name, Key=place).get("Item")
    return world


def redis_hash(redis_url: str, unique_name: str) -> World:
    bare, name = Redis.from_url(redis_url), f"{unique_name}::h"

    def close() -> None:
        bare.delete(name)
        bare.close()

    world = World(close)
    world.config = f'store = "redis"\nargs.url = "{redis_url}"'

    def put() -> None:
        bare.hset(name, mapping={"a": "1", "b": b"\xff\0"})
        bare.expire(name, 5_000)

    world.put = put
    world.get = lambda: (bare.hgetall(name), round(bare.ttl(name), -2)) if bare.exists(name) else None
    return world


WORLDS: dict[str, tuple[Callable[..., World], tuple[str, ...]]] = {
    "filetree": (tree, ("tmp_path",)),
    "disk": (disk, ("tmp_path",)),
    "s3": (s3, ("s3_url", "unique_name")),
    "mongodb": (mongodb, ("mongodb_url", "unique_name")),
    "dynamodb": (dynamodb, ("dynamodb_url", "unique_name")),
    "redis": (redis_hash, ("redis_url", "unique_name")),
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    make, fixtures = WORLDS[request.param]
    made = make(*(request.getfixturevalue(name) for name in fixtures))
    made.put()
    yield made
    made.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    with running(f"[connections.x]\n{world.config}\n") as daemon:
        async with await Client.open(daemon.socket, spawn=False) as opened:
            yield opened
        assert "Traceback" not in daemon.said()


async def only_key(client: Client) -> tuple[Any, KeyRow]:
    """The collection and key of the one thing that there is, beside entries."""
    for collection in (await client.call(requests.scan_collections("x"))).items:
        for row in (await client.call(requests.scan_keys("x", collection.token))).items:
            assert row.description
            if row.description.kind != "entry":
                return collection.token, row
    raise AssertionError("it is not there")


async def do(client: Client, *writes: Request[Any]) -> str:
    step = new_step()
    for write in writes:
        await client.call(journalled(write, step))
    return step


async def undone(client: Client, step: str) -> Undone:
    done = await client.call(requests.undo(step))
    assert done is not None
    return done


async def test_what_was_deleted_comes_back_as_it_was(world: World, client: Client) -> None:
    collection, row = await only_key(client)
    before = world.get()
    assert before is not None
    for delete in (requests.delete("x", collection, row.token), requests.delete_many("x", collection, [row.token])):
        step = await do(client, delete)
        assert world.get() is None
        done = await undone(client, step)
        assert (done.changed, done.problems) == (1, [])
        assert world.get() == before
    await client.call(requests.redo(step))
    assert world.get() is None
    world.put()
    done = await undone(client, step)
    assert [problem.reason for problem in done.problems] == ["conflict"]
    assert world.get() == before


@pytest.mark.parametrize("world", ["disk", "dynamodb", "redis"], indirect=True)
async def test_its_deadline_comes_back(world: World, client: Client) -> None:
    collection, row = await only_key(client)
    before = world.get()
    step = await do(client, requests.expire("x", collection, row.token, 900.0))
    assert world.get() != before
    [told] = await client.call(requests.steps(step=step))
    assert told.why is None
    done = await undone(client, step)
    assert (done.changed, done.problems) == (1, [])
    assert world.get() == before


@pytest.fixture
def redis(redis_url: str, unique_name: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as bare:
        yield bare
        for key in bare.scan_iter(f"{unique_name}::*"):
            bare.delete(key)


async def test_the_deadline_of_a_redis_value_is_somebody_s_write_too(redis_url: str, redis: Redis, unique_name: str) -> None:
    config = f'[connections.r]\nstore = "redis"\nargs.url = "{redis_url}"\n'
    hash_, text = f"{unique_name}::h", f"{unique_name}::t"
    redis.hset(hash_, mapping={"a": "1", "b": b"\xff\0"})
    redis.expire(hash_, 500)
    redis.set(text, b"\xff plain", ex=600)
    with running(config) as daemon:
        async with await Client.open(daemon.socket, spawn=False) as client:
            deleted = await do(client, requests.delete_many("r", unique_name, ["h", "t"]))
            assert not redis.exists(hash_, text)
            assert (await undone(client, deleted)).changed == 2
            assert redis.hgetall(hash_) == {b"a": b"1", b"b": b"\xff\0"}
            assert redis.get(text) == b"\xff plain"
            assert (round(redis.ttl(hash_), -1), round(redis.ttl(text), -1)) == (500, 600)
            dated = await do(client, requests.expire("r", unique_name, "h", 50), requests.expire("r", unique_name, "t", None))
            assert (redis.ttl(hash_), redis.ttl(text)) == (50, -1)
            assert (await undone(client, dated)).changed == 2
            assert (round(redis.ttl(hash_), -1), round(redis.ttl(text), -1)) == (500, 600)
            replaced = await do(client, requests.put("r", unique_name, "h", b'{"n": 1}'))
            assert (await undone(client, replaced)).changed == 1
            assert redis.hlen(hash_) == 2
            dated = await do(client, requests.expire("r", unique_name, "h", 50))
            redis.expire(hash_, 5_000)  # only the deadline, and somebody else's
            assert [problem.reason for problem in (await undone(client, dated)).problems] == ["conflict"]
            assert redis.ttl(hash_) > 4_000
            deleted = await do(client, requests.delete("r", unique_name, "h"))
            redis.rpush(hash_, "another")
            assert [problem.reason for problem in (await undone(client, deleted)).problems] == ["conflict"]
            assert redis.lrange(hash_, 0, -1) == [b"another"]
