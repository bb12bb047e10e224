"""Indices of the test's own, as the store and the bare client see them; the client counts what it sends."""

from collections.abc import AsyncIterator
from typing import Any

import elastic_transport
import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import AsyncElasticsearch

from stores import ElasticsearchStore


class Counting(AsyncElasticsearch):
    """The bare driver, which notes what is sent and may be told what to answer."""

    sent: list[str]
    answers: list[dict[str, Any]]
    """Of the next bulk requests, in the place of the server's."""

    def options(self, **more: Any) -> Any:
        made: Any = super().options(**more)
        made.sent, made.answers = self.sent, self.answers
        return made

    async def perform_request(self, method: str, path: str, **more: Any) -> Any:
        self.sent.append(path.rpartition("/")[2])
        if path.endswith("_bulk") and self.answers:
            return elastic_transport.ObjectApiResponse(body=self.answers.pop(0), meta=meta(200))
        return await super().perform_request(method, path, **more)

    def take(self) -> list[str]:
        taken = list(self.sent)
        self.sent.clear()
        return taken


def meta(status: int) -> ApiResponseMeta:
    node = NodeConfig("http", "localhost", 9200)
    return ApiResponseMeta(status=status, http_version="1.1", headers=HttpHeaders(), duration=0.0, node=node)


@pytest.fixture
async def bare(elasticsearch_url: str, unique_name: str) -> AsyncIterator[Counting]:
    client = Counting(elasticsearch_url)
    client.sent, client.answers = [], []
    async with client:
        yield client
        for index in (await client.indices.get_alias(index=f"{unique_name}-*")).body:
            await client.indices.delete(index=index)


@pytest.fixture
async def store(elasticsearch_url: str, unique_name: str, bare: Counting) -> AsyncIterator[ElasticsearchStore]:
    async with ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name) as opened:
        yield opened


@pytest.fixture
async def watched(unique_name: str, bare: Counting) -> AsyncIterator[ElasticsearchStore]:
    """A store that uses the client `bare`."""
    async with ElasticsearchStore(elasticsearch_client=bare, index_prefix=unique_name) as opened:
        yield opened
