"""Looking changes nothing: what the bare driver sees before and after a store was opened, browsed and read is the same.

The data is written by py-key-value, whose tables, indices and settings differ most from what this project would make.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError
from elasticsearch import AsyncElasticsearch
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from stores import BaseStore
from stores.errors import InvalidKeyError
from stores.names import OUTSIDE
from tests.awskit import bare_client
from tests.cases.s3 import bucket
from tests.stores.conftest import STORING, Names, by_name, traits_of

pytestmark = pytest.mark.anyio

PERSISTENT = [case for case in STORING if traits_of(case).persistent or case.NAME == "memcached"]
on_persistent = pytest.mark.parametrize("case", PERSISTENT, ids=by_name)


async def look(store: BaseStore, collection: str) -> None:
    """Everything that only looks, and deletions of what is not there."""
    for found in (collection, f"{collection}absent"):
        for key in ("here", "brief", "absent"):
            await store.get(key, collection=found)
            await store.ttl(key, collection=found)
            await store.read(key, collection=found)
            await store.snapshot(key, collection=found)
        await store.get_many(["here", "absent"], collection=found)
        await store.texts(["here", "absent"], collection=found)
        await store.describe(["here", "brief", "absent"], collection=found)
        await store.scan_keys(found)
        await store.scan_keys(found, match="h*")
        assert await store.delete("absent", collection=found) is False
        assert await store.delete_many(["absent", "either"], collection=found) == 0
        assert await store.expire("absent", 10, collection=found) is False
    with suppress(InvalidKeyError):  # not every store has a place outside collections
        await store.scan_keys(OUTSIDE)
    await store.scan_collections()
    await store.missing()


async def redis_state(client: Any, tag: str) -> Any:
    names = sorted([name async for name in client.scan_iter(match=f"*{tag}*", count=5000)])
    entries = [(name, await client.dump(name), await client.pexpiretime(name)) for name in names]
    return entries, await client.config_get("*"), await client.acl_list()


async def of_redis(endpoint: str, tag: str, folder: Path) -> Any:
    async with Redis.from_url(endpoint) as client:
        return await redis_state(client, tag)


async def of_valkey(endpoint: tuple[str, int], tag: str, folder: Path) -> Any:
    async with Redis(host=endpoint[0], port=endpoint[1]) as client:
        return await redis_state(client, tag)


async def of_memcached(endpoint: tuple[str, int], tag: str, folder: Path) -> Any:
    """Items but for the time of their last use, which reading is, and the server's settings."""
    found = []
    for command in (b"lru_crawler metadump hash\r\n", b"stats settings\r\n"):
        reader, writer = await asyncio.open_connection(*endpoint, limit=1 << 26)  # other tests may have many items there
        text = b"BUSY"
        while text.startswith(b"BUSY"):  # while another test has a dump made
            writer.write(command)
            text = await reader.readline()
        if text != b"END\r\n":
            text += await reader.readuntil(b"END\r\n")
        writer.close()
        found.append(sorted(text.decode().splitlines()))
    items = [dict(word.split("=", 1) for word in line.split()) for line in found[0] if tag in line]
    return [[item[fact] for fact in ("key", "exp", "cas", "size", "cls")] for item in items], found[1]


async def of_dynamodb(endpoint: str, tag: str, folder: Path) -> Any:
    async with bare_client("dynamodb", endpoint) as client:
        try:
            table = (await client.describe_table(TableName=tag))["Table"]
        except client.exceptions.ResourceNotFoundException:
            return None
        expiry = (await client.describe_time_to_live(TableName=tag))["TimeToLiveDescription"]
        return table, expiry, (await client.scan(TableName=tag))["Items"]


async def of_s3(endpoint: str, tag: str, folder: Path) -> Any:
    async with bare_client("s3", endpoint) as client:
        try:
            found = (await client.list_objects_v2(Bucket=bucket(tag))).get("Contents", [])
        except ClientError as exc:
            return exc.response["Error"]["Code"]
        heads = [await client.head_object(Bucket=bucket(tag), Key=one["Key"]) for one in found]
        return [(one["Key"], one["LastModified"], one["ETag"]) for one in found], [head["Metadata"] for head in heads]


async def of_mongodb(endpoint: str, tag: str, folder: Path) -> Any:
    async with AsyncMongoClient[dict[str, Any]](endpoint) as client:
        if tag not in await client.list_database_names():
            return None
        found = {}
        for name in await client[tag].list_collection_names():
            collection = client[tag][name]
            options = await collection.options()
            found[name] = (options, await collection.index_information(), await collection.find().to_list())
        return found


async def of_elasticsearch(endpoint: str, tag: str, folder: Path) -> Any:
    async with AsyncElasticsearch(endpoint) as client:
        indices = (await client.indices.get(index=f"{tag}*")).body
        found = (await client.search(index=f"{tag}*", seq_no_primary_term=True, version=True)).body if indices else {}
        return indices, found.get("hits")


def disk_state(tag: str, folder: Path) -> Any:
    """Rows of both tables, and the files (which SQLite itself adds to while it is open)."""
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix not in (".db-wal", ".db-shm"))
    place = folder / tag / "cache.db"
    if not place.exists():
        return files
    database = sqlite3.connect(f"file:{place}?mode=ro", uri=True)
    try:
        return files, *(database.execute(f"select * from {table} order by key").fetchall() for table in ("Settings", "Cache"))
    finally:
        database.close()


async def of_disk(endpoint: None, tag: str, folder: Path) -> Any:
    return await asyncio.to_thread(disk_state, tag, folder)


def filetree_state(folder: Path) -> Any:
    facts = [(path, path.stat()) for path in sorted(folder.rglob("*"))]
    return [(str(path), stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns) for path, stat in facts]


async def of_filetree(endpoint: None, tag: str, folder: Path) -> Any:
    return await asyncio.to_thread(filetree_state, folder)


STATES: dict[str, Callable[..., Any]] = {
    "redis": of_redis,
    "valkey": of_valkey,
    "memcached": of_memcached,
    "dynamodb": of_dynamodb,
    "s3": of_s3,
    "mongodb": of_mongodb,
    "elasticsearch": of_elasticsearch,
    "disk": of_disk,
    "filetree": of_filetree,
}


@asynccontextmanager
async def unchanged(case: ModuleType, endpoint: Any, tag: str, folder: Path) -> AsyncIterator[Any]:
    async def state() -> Any:
        return await STATES[case.NAME](endpoint, tag, folder)

    before = await state()
    yield before
    assert await state() == before


@on_persistent
async def test_where_nothing_is(
    case: ModuleType, make: Callable[..., BaseStore], endpoint: Any, names: Names, tmp_path: Path
) -> None:
    async with unchanged(case, endpoint, names.tag, tmp_path), make() as store:
        await look(store, names("c"))


@on_persistent
async def test_where_another_program_wrote(
    case: ModuleType, make: Callable[..., BaseStore], endpoint: Any, names: Names, tmp_path: Path
) -> None:
    collection = names("c")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(case.clean, endpoint, names.tag, tmp_path)
        async with case.reference(endpoint, names.tag, tmp_path) as theirs:
            await theirs.put("here", {"n": 1}, collection=collection)
            await theirs.put("lasting", {"n": 2}, collection=collection, ttl=3600)
            # on a server that expires by itself, it must not be due between the two snapshots
            await theirs.put("brief", {"n": 3}, collection=collection, ttl=1 if traits_of(case).expiry == "on read" else 60)
        if traits_of(case).expiry == "on read":
            await asyncio.sleep(1.05)
        async with unchanged(case, endpoint, names.tag, tmp_path) as before:
            assert before
            async with make() as store:
                assert await store.get("here", collection=collection) == {"n": 1}
                await look(store, collection)
