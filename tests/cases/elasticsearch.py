"""ElasticsearchStore for the contract suite. Each test has an index prefix of its own."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "elasticsearch"
STORE = "ElasticsearchStore"
SERVER = "elasticsearch_url"


def arguments(endpoint: str, tag: str, folder: Path) -> dict[str, Any]:
    return {"url": endpoint, "index_prefix": tag}


@asynccontextmanager
async def reference(endpoint: str, tag: str, folder: Path) -> AsyncIterator[Any]:
    """py-key-value's store on the same data."""
    from elasticsearch import AsyncElasticsearch
    from key_value.aio.stores.elasticsearch import ElasticsearchStore

    class Client(AsyncElasticsearch):
        """Asks for fields in the usual form: the stand-in does not know the one that py-key-value uses."""

        async def search(self, *args: Any, fields: Any = None, **more: Any) -> Any:
            return await super().search(*args, fields=fields and ["key"], **more)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        async with Client(endpoint) as client, ElasticsearchStore(elasticsearch_client=client, index_prefix=tag) as store:
            yield store


async def clean(endpoint: str, tag: str, folder: Path) -> None:
    """Remove what the test made."""
    from elasticsearch import AsyncElasticsearch

    async with AsyncElasticsearch(endpoint) as client:
        for index in (await client.indices.get_alias(index=f"{tag}-*")).body:
            await client.indices.delete(index=index)
