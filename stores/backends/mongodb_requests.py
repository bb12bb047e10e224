"""The commands that one MongoDB collection gets, in batches, and who wins when two write at once.

A new document gets its key as `_id`, so that of two first writes one inserts and the other one finds a document to write over.
Where another program has taken that `_id`, the document gets one of the server's kind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne, errors as driver
from pymongo.asynchronous.collection import AsyncCollection

from stores.backends import mongodb_documents as documents
from stores.backends.mongodb_errors import DUPLICATE_KEY, bulk_failure
from stores.batches import batched, run_bounded
from stores.entry import utc_now
from stores.errors import ConflictError
from stores.names import Key, Name, Page, Token, compile_glob, shown
from stores.records import ABSENT, ANY, Description, Expected, Version

__all__ = [
    "BATCH",
    "CONCURRENT_BATCHES",
    "Native",
    "commit",
    "delete_live",
    "describe",
    "find",
    "insert",
    "scan",
    "stored",
    "upsert",
    "upsert_all",
]

Native = AsyncCollection[dict[str, Any]]

BATCH: Final = 250
"""Keys in one command. A longer `$in` costs some servers more for each key."""
CONCURRENT_BATCHES: Final = 4
MATCH_PAGE: Final = 2000
"""Keys that are looked at for one page when most of them will not match."""
RACES: Final = 16


# Read


async def find(native: Native, keys: Sequence[Key]) -> dict[Key, documents.Document]:
    """The documents that are there, by the names under which they were asked for."""
    by_token = any(isinstance(key, Token) for key in keys)
    wanted = set(keys)
    found: dict[Key, documents.Document] = {}

    async def fetch(batch: Sequence[Key]) -> None:
        async for document in native.find(documents.addresses(batch), batch_size=len(batch) + 1):
            for name in documents.names_of(document, by_token=by_token):
                if name in wanted:
                    found.setdefault(name, document)

    await run_bounded(fetch, batched(keys, BATCH), limit=CONCURRENT_BATCHES)
    return found


async def stored(native: Native, key: Key) -> bytes | None:
    """The whole document, as the server keeps it."""
    document = await native.with_options(codec_options=documents.RAW).find_one(documents.address(key))
    return None if document is None else bytes(document.raw)


async def describe(native: Native, keys: Sequence[Key]) -> dict[Key, Description]:
    """As `find`, descriptions."""
    raw = native.with_options(codec_options=documents.RAW)
    by_token = any(isinstance(key, Token) for key in keys)
    found: dict[Key, Description] = {}

    async def fetch(batch: Sequence[Key]) -> None:
        stages: list[Mapping[str, Any]] = [{"$match": documents.addresses(batch)}, documents.SUMMARY]
        async for summary in await raw.aggregate(stages, batchSize=len(batch) + 1):
            head, description = documents.read_summary(bytes(summary.raw))
            for name in documents.names_of(head, by_token=by_token):
                found.setdefault(name, description)

    await run_bounded(fetch, batched(keys, BATCH), limit=CONCURRENT_BATCHES)
    return found


async def scan(native: Native, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
    """A page: entries in the order of their keys, then documents without a key in the order of their `_id`."""
    limit = limit if match is None else max(limit, MATCH_PAGE)
    field, last = ("key", documents.START) if cursor is None else documents.read_token(cursor)
    names: list[Name] = []
    after: Token | None = None
    scanned = 0
    if field == "key":
        keys = await _keys(native, documents.keys_after(last, match), limit)
        scanned = len(keys)
        names = [Name(key, documents.token_of("key", key)) for key in dict.fromkeys(keys) if key != last]
        if scanned == limit:
            after = documents.token_of("key", keys[-1])
        else:
            field, last = "_id", documents.START
    if field == "_id":
        room = limit - scanned
        where = documents.without_key_after(last)
        found = await native.find(where, {"_id": 1}, sort=[("_id", 1)], limit=room, batch_size=room + 1).to_list()
        scanned += len(found)
        own = [Name(documents.id_text(one["_id"]), documents.token_of("_id", one["_id"]), exact=False) for one in found]
        names += own
        after = own[-1].token if len(own) == room else None
    glob = None if match is None else compile_glob(match)
    items = [name for name in names if glob is None or glob.match(name.text)]
    return Page(items, None if after is None else after.value, scanned)


async def _keys(native: Native, where: documents.Filter, limit: int) -> list[str]:
    """Keys from the index alone; a list with strings in it, which the index holds under each of them, is no key."""
    ask = partial(native.find, projection={"_id": 0, "key": 1}, sort=[("key", 1)], limit=limit, batch_size=limit + 1)
    keys = [document["key"] for document in await ask(where).to_list()]
    if not all(isinstance(key, str) for key in keys):
        strings = {"$and": [where, {"key": {"$not": {"$type": "array"}}}]}
        keys = [document["key"] for document in await ask(strings).to_list()]
    return keys


# Write


async def upsert(native: Native, key: Key, update: documents.Document) -> None:
    """Write over the document, or make one. Who loses the race of two first writes finds a document to write over."""
    where = documents.address(key)
    for _ in range(RACES):
        try:
            await native.update_one(where, update, upsert=True)
        except driver.DuplicateKeyError as exc:
            if _is_refused_for_good(exc):
                raise
            if await _is_taken(native, documents.key_text(key), documents.key_text(key)):
                with_any_id = {operator: fields for operator, fields in update.items() if operator != "$setOnInsert"}
                await native.update_one(where, with_any_id, upsert=True)
                return
        else:
            return
    raise ConflictError(f"Key {shown(key)} in {native.name!r} is written and deleted again and again by others.")


async def upsert_all(native: Native, writes: Sequence[tuple[Key, documents.Document]]) -> None:
    """As `upsert`, different keys."""

    async def send(batch: Sequence[tuple[Key, documents.Document]]) -> None:
        try:
            updates = [UpdateOne(documents.address(key), update, upsert=True) for key, update in batch]
            await native.bulk_write(updates, ordered=False)
        except driver.BulkWriteError as exc:
            failed = exc.details["writeErrors"]
            if exc.details["writeConcernErrors"] or any(one["code"] != DUPLICATE_KEY for one in failed):
                raise bulk_failure(exc, [key for key, _ in batch]) from exc
            for one in failed:
                await upsert(native, *batch[one["index"]])

    await run_bounded(send, batched(writes, BATCH), limit=CONCURRENT_BATCHES)


async def commit(
    native: Native,
    key: Key,
    expected: Expected,
    successor: Callable[[bytes | None], Awaitable[RawBSONDocument | None]],
) -> Version:
    """Compare and set: put what `successor` makes of the stored document in its place; None deletes it.

    Raises:
        ConflictError: another version than the expected one is there; or others won every time.
    """
    for _ in range(RACES):
        found = await stored(native, key)
        if expected is not ANY and expected != (ABSENT if found is None else documents.version_of(found)):
            raise ConflictError
        document = await successor(found)
        if document is None:
            if found is None or (await native.delete_one(documents.unchanged(found))).deleted_count:
                return ABSENT
        else:
            if found is None:
                done = await insert(native, key, document)
            else:
                done = bool((await native.replace_one(documents.unchanged(found), document)).matched_count)
            if done:
                return documents.version_of(bytes(document.raw))
        if expected is not ANY:
            break
    raise ConflictError


async def insert(native: Native, key: Key, document: RawBSONDocument) -> bool:
    """Put if absent: False when somebody else was first. Where only its `_id` is taken, a key's document gets another one."""
    try:
        await native.insert_one(document)
    except driver.DuplicateKeyError as exc:
        if _is_refused_for_good(exc):
            raise
        name = documents.address(key).get("key")
        if name is None or not await _is_taken(native, document["_id"], name):
            return False
        await native.insert_one(documents.encode({**bson.decode(document.raw, documents.CODEC), "_id": bson.ObjectId()}))
    return True


async def delete_live(native: Native, keys: Sequence[Key]) -> int:
    """Delete what lives and tell how many, in one command a batch; what has expired is left to the server."""
    now = utc_now()

    async def remove(batch: Sequence[Key]) -> int:
        return (await native.delete_many(documents.addresses(batch, alive_at=now))).deleted_count

    return sum(await run_bounded(remove, batched(keys, BATCH), limit=CONCURRENT_BATCHES))


def _is_refused_for_good(exc: driver.DuplicateKeyError) -> bool:
    """Whether it is another unique index than ours that refuses the value, so that trying again would not help."""
    return not (exc.details or {}).get("keyPattern", {"_id": 1}).keys() <= {"_id", "key"}


async def _is_taken(native: Native, own_id: Any, key: str) -> bool:
    """Whether a document with another key or none, which another program wrote, has this `_id`."""
    return await native.find_one({"_id": own_id, "key": {"$ne": key}}, {"_id": 1}) is not None
