"""What Elasticsearch is asked about many documents at once: walks, what indices hold, and deleting by query.

A walk is a search over a point in time, which the server keeps for five minutes from page to page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import elasticsearch as driver
from elasticsearch import AsyncElasticsearch

from stores.errors import CursorExpiredError

__all__ = ["delete_by_query", "delete_expired", "other_collections", "page_of_hits", "samples"]

Document = dict[str, Any]

MAX_PAGE: Final = 10_000
"""What one search returns at most."""
KEEP_ALIVE: Final = "5m"
LONG: Final = 600.0
"""Seconds that deleting by query may take."""


async def page_of_hits(
    api: AsyncElasticsearch, index: str, cursor: bytes | None, limit: int
) -> tuple[list[Document], bytes | None]:
    """Names of the next documents of an index, and the cursor of what follows. CursorExpiredError when its place is gone."""
    size = min(limit, MAX_PAGE)
    after: Document = {}
    try:
        if cursor is None:
            pit = (await api.open_point_in_time(index=index, keep_alive=KEEP_ALIVE))["id"]
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
    hits: list[Document] = answer["hits"]["hits"]
    pit = answer.get("pit_id", pit)
    if len(hits) == size:
        return hits, json.dumps([pit, hits[-1]["sort"]]).encode()
    await api.options(ignore_status=404).close_point_in_time(id=pit)
    return hits, None


async def samples(api: AsyncElasticsearch, indices: Sequence[str]) -> list[tuple[str | None, bool]]:
    """Of each index the collection that one of its entries names, and whether there is anything in it at all."""
    searches: list[Document] = []
    for index in indices:
        searches += [{"index": index}, {"size": 1, "_source": ["collection"], "query": {"exists": {"field": "collection"}}}]
        searches += [{"index": index}, {"size": 1, "_source": False}]
    answers = [answer.get("hits", {}).get("hits", []) for answer in (await api.msearch(searches=searches))["responses"]]
    names = [hits[0]["_source"]["collection"] if hits else None for hits in answers[::2]]
    return [
        (name if isinstance(name, str) else None, bool(anything)) for name, anything in zip(names, answers[1::2], strict=True)
    ]


async def other_collections(api: AsyncElasticsearch, index: str, collection: str) -> list[Document]:
    """An entry, if there is one, that names another collection than the index is taken for."""
    others = {"bool": {"filter": {"exists": {"field": "collection"}}, "must_not": {"term": {"collection": collection}}}}
    answer = await api.search(index=index, query=others, size=1, source={"includes": ["collection"]})
    return [hit["_source"] for hit in answer["hits"]["hits"]]


async def delete_by_query(api: AsyncElasticsearch, index: str, query: Document, *, refresh: bool | None) -> int:
    """How many went; what is changed meanwhile stays."""
    patient = api.options(request_timeout=LONG)
    try:
        answer = await patient.delete_by_query(index=index, query=query, conflicts="proceed", refresh=refresh)
    except driver.NotFoundError:
        return 0
    return int(answer["deleted"])


async def delete_expired(api: AsyncElasticsearch, index: str, now: datetime, *, refresh: bool | None) -> None:
    """Delete the entries whose deadline has come; other programs' documents may have a field `expires_at` too."""
    past: Document = {"range": {"expires_at": {"lt": int(now.timestamp() * 1000)}}}
    entries = [{"exists": {"field": "version"}}, {"exists": {"field": "collection"}}]
    await delete_by_query(api, index, {"bool": {"filter": [*entries, past]}}, refresh=refresh)
