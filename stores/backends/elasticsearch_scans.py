"""What Elasticsearch is asked about many documents at once: walks, what indices hold, and deleting by query.

A walk is a search over a point in time, which the server keeps for five minutes from page to page.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, TypeVar

import elasticsearch as driver
from elasticsearch import AsyncElasticsearch

from stores.backends.answers import listed, whole
from stores.backends.elasticsearch_errors import NO_INDEX, OVERLOADED, deletion_failure, item_failure, types_in
from stores.errors import CursorExpiredError

__all__ = ["delete_by_query", "delete_expired", "other_collections", "page_of_hits", "samples"]

Document = dict[str, Any]
T = TypeVar("T")

MAX_PAGE: Final = 10_000
"""What one search returns at most."""
KEEP_ALIVE: Final = "5m"
LONG: Final = 600.0
"""Seconds that deleting by query may take."""
QUIET: Final = 10.0
"""Seconds after which a server that is still at it is asked whether it is there."""


async def page_of_hits(
    api: AsyncElasticsearch, index: str, cursor: bytes | None, limit: int
) -> tuple[list[Document], bytes | None]:
    """Names of the next documents of an index, and the cursor of what follows. CursorExpiredError when its place is gone."""
    size = min(limit, MAX_PAGE)
    after: Document = {}
    try:
        if cursor is None:
            pit = whole((await api.open_point_in_time(index=index, keep_alive=KEEP_ALIVE)).body, "id")["id"]
        else:
            pit, after["search_after"] = json.loads(cursor)
    except driver.NotFoundError:
        return [], None
    except (TypeError, ValueError, RecursionError) as exc:
        raise CursorExpiredError("This is no cursor of an Elasticsearch store: start the scan again.") from exc
    try:
        answer = await api.search(
            pit={"id": pit, "keep_alive": KEEP_ALIVE},
            size=size,
            sort=["_shard_doc"],
            source={"includes": ["key", "collection"]},
            track_total_hits=False,
            allow_partial_search_results=False,
            **after,
        )
    except driver.NotFoundError as exc:
        raise CursorExpiredError("The server no longer keeps this scan's place: start the scan again.") from exc
    hits = [{"_source": {}, **whole(hit, "_id", "sort")} for hit in _hits(answer.body)]
    pit = answer.get("pit_id", pit)
    if len(hits) == size:
        return hits, json.dumps([pit, hits[-1]["sort"]]).encode()
    await api.options(ignore_status=404).close_point_in_time(id=pit)
    return hits, None


async def samples(api: AsyncElasticsearch, indices: Sequence[str]) -> list[tuple[str | None, bool | None]]:
    """Of each index the collection that one of its entries names, and whether there is anything in it at all.

    None for the latter where the index cannot be read now, as when a node that holds a part of it is away.
    """
    searches: list[Document] = []
    for index in indices:
        where = {"index": index, "allow_partial_search_results": False}
        searches += [where, {"size": 1, "_source": ["collection"], "query": {"exists": {"field": "collection"}}}]
        searches += [where, {"size": 1, "_source": False}]
    answers = listed((await api.msearch(searches=searches)).body, "responses", 2 * len(indices))
    for answer in answers:
        if answer.get("status") == OVERLOADED:
            raise item_failure(answer, "A search failed")
    found: list[tuple[str | None, bool | None]] = []
    for naming, any_at_all in zip(answers[::2], answers[1::2], strict=True):
        hits = naming.get("hits", {}).get("hits", [])
        name = hits[0].get("_source", {}).get("collection") if hits else None
        anything = bool(any_at_all["hits"]["hits"]) if "hits" in any_at_all else None
        if NO_INDEX in types_in(any_at_all.get("error")):  # deleted meanwhile
            anything = False
        found.append((name if isinstance(name, str) else None, anything))
    return found


async def other_collections(api: AsyncElasticsearch, index: str, collection: str) -> list[Document]:
    """An entry, if there is one, that names another collection than the index is taken for."""
    others = {"bool": {"filter": {"exists": {"field": "collection"}}, "must_not": {"term": {"collection": collection}}}}
    answer = await api.search(index=index, query=others, size=1, source={"includes": ["collection"]})
    return [whole(hit, "_source")["_source"] for hit in _hits(answer.body)]


def _hits(answer: Any) -> list[Any]:
    return listed(whole(answer, "hits")["hits"], "hits")


async def delete_by_query(api: AsyncElasticsearch, index: str, query: Document, *, refresh: bool | None) -> int:
    """How many went; what is changed meanwhile stays."""
    patient = api.options(request_timeout=LONG)
    deleting = patient.delete_by_query(index=index, query=query, conflicts="proceed", refresh=refresh)
    try:
        answer = (await _while_there(api, deleting)).body
    except driver.NotFoundError:
        return 0
    except driver.ApiError as exc:
        if not isinstance(exc.body, dict) or "failures" not in exc.body:
            raise
        answer = exc.body
    if (failure := deletion_failure(answer)) is not None:
        raise failure
    return int(whole(answer, "deleted")["deleted"])


async def _while_there(api: AsyncElasticsearch, work: Coroutine[Any, Any, T]) -> T:
    """The answer, which may take long. A server that meanwhile answers nothing at all is given up, as the driver says it."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=QUIET))[0]:
            with suppress(driver.ApiError):  # to be refused is to be answered
                await api.info()
        return task.result()
    finally:
        task.cancel()


async def delete_expired(api: AsyncElasticsearch, index: str, now: datetime, *, refresh: bool | None) -> None:
    """Delete the entries whose deadline has come; other programs' documents may have a field `expires_at` too."""
    past: Document = {"range": {"expires_at": {"lt": int(now.timestamp() * 1000)}}}
    entries = [{"exists": {"field": "version"}}, {"exists": {"field": "collection"}}]
    await delete_by_query(api, index, {"bool": {"filter": [*entries, past]}}, refresh=refresh)
