"""The bare driver's peer of every backend, opened on the backend's own server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.peer import Peer
from tests.benchmarks.peers_aws import open_dynamodb, open_s3
from tests.benchmarks.peers_caches import open_memcached, open_redis, open_valkey
from tests.benchmarks.peers_documents import open_elasticsearch, open_mongodb
from tests.benchmarks.peers_local import open_disk, open_filetree, open_memory


@asynccontextmanager
async def bare(name: str, endpoint: Any, folder: Path) -> AsyncIterator[Peer | None]:
    """The bare driver's peer for a backend, on the backend's own server."""
    async with AsyncExitStack() as stack:
        yield await OPENERS[name](endpoint, folder, stack)


OPENERS: dict[str, Callable[[Any, Path, AsyncExitStack], Any]] = {
    "disk": open_disk,
    "dynamodb": open_dynamodb,
    "elasticsearch": open_elasticsearch,
    "filetree": open_filetree,
    "memcached": open_memcached,
    "memory": open_memory,
    "mongodb": open_mongodb,
    "redis": open_redis,
    "s3": open_s3,
    "valkey": open_valkey,
}
