"""The requests of a store: an index that is made, one document, and many in the server's batches, `_mget` and `_bulk`.

Batches answer in order, and what was refused for load is sent again.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, NotFoundError

from stores.backends.answers import StrangeAnswerError, listed, whole
from stores.backends.elasticsearch_documents import MAPPING
from stores.backends.elasticsearch_errors import BLOCKED, NO_INDEX, OVERLOADED, RETRIED, item_failure, types_of
from stores.batches import batched, run_bounded
from stores.errors import StoreSetupError

__all__ = ["BATCH", "Operation", "bulk", "check_mapping", "create_index", "mget", "operations", "put"]

BATCH: Final = 1000
BATCH_BYTES: Final = 8 * 1024 * 1024
CONCURRENT_BATCHES: Final = 4
ATTEMPTS: Final = 6
STAMP: Final = ("_seq_no", "_primary_term")
BACKOFF: Final = 0.1
"""Seconds before what was refused for load is sent again; doubled each time."""
FIT_FOR_A_PATH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
"""Ids that nobody on the way takes for a path or an endpoint, or writes in another way."""


class Operation(NamedTuple):
    """One line of a bulk request, or two."""

    action: bytes
    body: bytes | None = None


def operations(
    verb: str, index: str, ids: Sequence[str], bodies: Sequence[bytes | None] | None = None, **condition: Any
) -> list[Operation]:
    """Operations of one kind on documents of one index."""
    head, tail = (f'{{"{verb}": {json.dumps({"_index": index, **condition})[:-1]}, "_id": ', "}}")
    actions = [f"{head}{json.dumps(own_id)}{tail}".encode() for own_id in ids]
    return [Operation(action, body) for action, body in zip(actions, bodies or [None] * len(ids), strict=True)]


async def create_index(client: AsyncElasticsearch, index: str) -> None:
    """Create an index for entries, unless somebody else has just done so."""
    try:
        await client.indices.create(index=index, mappings=MAPPING)
    except BadRequestError as exc:
        if "resource_already_exists_exception" not in types_of(exc):
            raise


async def check_mapping(client: AsyncElasticsearch, index: str) -> None:
    """Refuse, by a StoreSetupError, an index whose values are not flattened: one that was made in passing."""
    told = whole((await client.indices.get_mapping(index=index)).body, index)
    mapping = whole(told[index], "mappings")["mappings"]
    value = mapping.get("properties", {}).get("value", {})
    if value.get("properties", {}).get("flattened", {}).get("type") != "flattened":
        raise StoreSetupError(
            f"Somebody deleted index {index!r}, and Elasticsearch made it anew without this store's mapping when it stored the "
            "entry. Delete the index and write again."
        )


async def mget(
    client: AsyncElasticsearch, index: str, ids: Sequence[str], fields: list[str] | None
) -> list[dict[str, Any] | None]:
    """Documents in the order asked for; None for what is not there, a missing index included."""
    if len(ids) == 1 and FIT_FOR_A_PATH.fullmatch(ids[0]):
        return [await _get(client, index, ids[0], fields)]  # costs client and server less than a batch of one

    async def fetch(batch: Sequence[str]) -> list[dict[str, Any] | None]:
        answer = await client.mget(index=index, ids=batch, source_includes=fields)
        found = [whole(document) for document in listed(answer.body, "docs", len(batch))]
        for document in found:
            if "error" in document and document["error"].get("type") != NO_INDEX:
                raise item_failure(document, "A read failed")
        return [_with_source(document) if document.get("found") else None for document in found]

    pages = await run_bounded(fetch, batched(ids, BATCH), limit=CONCURRENT_BATCHES)
    return [document for page in pages for document in page]


async def _get(client: AsyncElasticsearch, index: str, own_id: str, fields: list[str] | None) -> dict[str, Any] | None:
    try:
        document = (await client.get(index=index, id=own_id, source_includes=fields)).body
    except NotFoundError as exc:
        if NO_INDEX in types_of(exc) or (isinstance(exc.body, dict) and exc.body.get("found") is False):
            return None
        raise  # whoever answered is no Elasticsearch
    return _with_source(document)


def _with_source(document: dict[str, Any]) -> dict[str, Any]:
    """The document; other programs' indices need not keep what was stored."""
    whole(document, "_id", *STAMP).setdefault("_source", {})
    return document


async def put(
    client: AsyncElasticsearch, index: str, ids: Sequence[str], bodies: Sequence[bytes], *, refresh: bool | None
) -> list[dict[str, Any]]:
    """Write documents of one index, whatever was there. Results as those of `bulk`."""
    if len(ids) == 1 and FIT_FOR_A_PATH.fullmatch(ids[0]):
        return [await _index(client, index, ids[0], bodies[0], refresh=refresh)]  # costs both less than a batch of one
    return await bulk(client, operations("index", index, ids, bodies), refresh=refresh, once=False)


async def _index(client: AsyncElasticsearch, index: str, own_id: str, body: bytes, *, refresh: bool | None) -> dict[str, Any]:
    for attempt in range(ATTEMPTS):
        try:
            # the client hands a text on as it is
            answer = await client.index(index=index, id=own_id, document=cast("Any", body), refresh=refresh)
        except ApiError as exc:
            if attempt == ATTEMPTS - 1 or exc.status_code != OVERLOADED or BLOCKED in types_of(exc):
                raise
        else:
            return whole(answer.body, "result", *STAMP)
        await _back_off(attempt)
    raise AssertionError  # the last attempt returns or raises


async def bulk(
    client: AsyncElasticsearch, operations: Sequence[Operation], *, refresh: bool | None, once: bool
) -> list[dict[str, Any]]:
    """Results in the order of the operations, failures among them. With `once` nothing is ever sent a second time.

    A refresh makes searches see what was written before it too, so only the last batch, which waits for the others, has one.
    """
    client = client.options(max_retries=0) if once else client

    async def send(batch: Sequence[Operation], *, refresh: bool | None = None) -> list[dict[str, Any]]:
        results: dict[int, dict[str, Any]] = {}
        left = list(range(len(batch)))
        for attempt in range(ATTEMPTS):
            lines: list[Any] = [line for number in left for line in batch[number] if line is not None]
            last = once or attempt == ATTEMPTS - 1
            try:
                answer = await client.bulk(operations=lines, refresh=refresh)
            except ApiError as exc:
                if last or exc.status_code != OVERLOADED:
                    raise
            else:
                for number, item in zip(left, listed(answer.body, "items", len(left)), strict=True):
                    results[number] = _result(item)
                left = [number for number in left if _is_passing(results[number])]
            if not left or last:
                break
            await _back_off(attempt)
        return [results[number] for number in range(len(batch))]

    *batches, last = _chunks(operations)
    pages = await run_bounded(send, batches, limit=CONCURRENT_BATCHES)
    pages.append(await send(last, refresh=refresh))
    return [result for page in pages for result in page]


def _result(item: Any) -> dict[str, Any]:
    """What became of one operation, which stands under its verb."""
    told = [*whole(item).values()]
    if len(told) != 1:
        raise StrangeAnswerError("has an item with no verb", item)
    result = whole(told[0], "status")
    return result if "error" in result else whole(result, "result", *STAMP)


async def _back_off(attempt: int) -> None:
    await asyncio.sleep(BACKOFF * 2**attempt * random.uniform(0.5, 1))


def _is_passing(item: dict[str, Any]) -> bool:
    """Whether an operation was refused for a reason that passes; a disk that is full is answered 429, too."""
    return item["status"] in RETRIED and item["error"].get("type") != BLOCKED


def _chunks(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    """Batches by number, all alike, so that the last one's refresh reaches every shard, and by bytes."""
    longest = math.ceil(len(operations) / math.ceil(len(operations) / BATCH))
    start = size = 0
    for number, operation in enumerate(operations):
        more = len(operation.action) + len(operation.body or b"")
        if number > start and (number - start == longest or size + more > BATCH_BYTES):
            yield operations[start:number]
            start, size = number, 0
        size += more
    if start < len(operations):
        yield operations[start:]
