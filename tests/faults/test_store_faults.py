"""Every store that has a server, over a network that cuts, stalls and crawls, and over a server that ends and starts again.

Rules: the call that is hit raises StoreConnectionError naming the place within a bounded time, or, where the driver sends it
once more, gives the right answer; the next call works once the way is free; a closed store leaves no connection behind.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stores
from stores import BaseStore
from stores.backends import aws
from stores.errors import KeyValueStoreError, StoreConnectionError
from tests.conftest import KIND_OF_FIXTURE, endpoint as endpoint_of
from tests.faults.clock import time_flies
from tests.faults.proxy import Proxy, Way, place, through
from tests.servers.lease import private_server
from tests.stores.conftest import STORING, Names

pytestmark = pytest.mark.anyio

SERVED = [case for case in STORING if case.SERVER is not None]
IGNORE_LEAK = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
on_every_server = pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.NAME, marks=IGNORE_LEAK if case.NAME == "mongodb" else ()) for case in SERVED],
)

REAL = {"mongodb", "valkey"}  # whose drivers have clocks of their own
SILENCE = 2.5  # seconds after which these give a server up; the others have their usual patience, and time flies
BOUND = 60.0  # seconds in which a call must have ended: retries and their pauses, on a machine that has other things to do
FLOWN = 3600.0  # the same where time flies
RECOVERY = 120.0  # seconds that a server may take after its start until it writes: its own time, and the machine's
CONNECTIONS = 32 + 2  # the most that any pool holds, and a driver's monitors
COUNT = 60
KEYS = [f"k{number:02}" for number in range(COUNT)]
VALUES = [{"n": number, "text": "x" * 400} for number in range(COUNT)]


@pytest.fixture(autouse=True)
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "TOTAL_ATTEMPTS", 2)  # each waits for up to seconds before the next one


@pytest.fixture(autouse=True)
def leaky(case: ModuleType) -> Iterator[None]:
    """pymongo does not close a socket whose connecting is cancelled: collected here, not in a test that follows."""
    yield
    if case.NAME == "mongodb":
        gc.collect()


@pytest.fixture
def endpoint(case: ModuleType, request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(case.SERVER)


def patience(case: ModuleType) -> dict[str, float]:
    return {"timeout": SILENCE} if case.NAME in REAL else {}


@pytest.fixture
async def proxy(endpoint: Any) -> AsyncIterator[Proxy]:
    async with Proxy(*place(endpoint)) as running:
        yield running


@pytest.fixture
async def store(case: ModuleType, endpoint: Any, proxy: Proxy, unique_name: str, tmp_path: Path) -> AsyncIterator[BaseStore]:
    """A store behind the proxy that holds KEYS in the collection that `collection_of` names."""
    tag = Names(unique_name).tag
    made = getattr(stores, case.STORE)(**case.arguments(through(endpoint, proxy.port), tag, tmp_path) | patience(case))
    async with made as opened:
        await opened.put_many(KEYS, VALUES, collection=tag)
        yield opened
        await proxy.mend()
    await case.clean(endpoint, tag, tmp_path)


@pytest.fixture
def tag(unique_name: str) -> str:
    return Names(unique_name).tag


def calls(store: BaseStore, collection: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """What is hit in its middle, by name; each can be called again and then gives the same."""

    async def walk() -> set[str]:
        found: set[str] = set()
        cursor: bytes | None = None
        while True:
            page = await store.scan_keys(collection, cursor=cursor, limit=25)
            found |= {name.text for name in page.items}
            if (cursor := page.cursor) is None:
                return found

    return {
        "get": lambda: store.get(KEYS[7], collection=collection),
        "put_many": lambda: store.put_many(KEYS, VALUES, collection=collection),
        "scan": walk,
    }


RIGHT = {"get": VALUES[7], "put_many": None, "scan": set(KEYS)}


async def fails(store: BaseStore, collection: str, call: Callable[[], Awaitable[Any]]) -> None:
    """The call raises, in time, an error that says where and keeps its cause."""
    async with asyncio.timeout(FLOWN):
        with pytest.raises(StoreConnectionError) as failed:
            async with time_flies():
                await call()
    assert store.location in str(failed.value)
    assert collection in str(failed.value)
    assert failed.value.__cause__ is not None


@on_every_server
async def test_cut_in_the_middle_while_the_server_is_away(store: BaseStore, proxy: Proxy, tag: str) -> None:
    for name, call in calls(store, tag).items():
        proxy.refuse()
        proxy.cut_after(3)
        await fails(store, tag, call)
        await proxy.mend()
        async with asyncio.timeout(BOUND):
            assert await call() == RIGHT[name]


@on_every_server
async def test_cut_once_in_the_middle_is_told_or_made_good(store: BaseStore, proxy: Proxy, tag: str) -> None:
    for name, call in calls(store, tag).items():
        proxy.cut_after(30, Way.REQUESTS)
        async with asyncio.timeout(BOUND):
            try:
                assert await call() == RIGHT[name]
            except StoreConnectionError as told:
                assert store.location in str(told)  # noqa: PT017 - either outcome is right
        await proxy.mend()
        async with asyncio.timeout(BOUND):
            assert await call() == RIGHT[name]


@on_every_server
async def test_silence_is_given_up_and_a_slow_way_only_takes_longer(store: BaseStore, proxy: Proxy, tag: str) -> None:
    hit = calls(store, tag)
    proxy.black_hole()
    await fails(store, tag, hit["put_many"])
    await asyncio.gather(*(fails(store, tag, hit[name]) for name in ("get", "scan")))
    await proxy.mend()
    proxy.delay(0.02)
    for name, call in calls(store, tag).items():
        async with asyncio.timeout(BOUND):
            assert await call() == RIGHT[name]


@on_every_server
async def test_connections_are_bounded_and_none_outlives_the_store(store: BaseStore, proxy: Proxy, tag: str) -> None:
    proxy.delay(0.01)  # a pool without a bound would open one for each of those who wait
    found = await asyncio.gather(*(store.get(KEYS[number % COUNT], collection=tag) for number in range(200)))
    assert found == [VALUES[number % COUNT] for number in range(200)]
    assert proxy.most_open <= CONNECTIONS
    await proxy.mend()
    proxy.black_hole()
    waiting = [asyncio.create_task(store.get(key, collection=tag)) for key in KEYS[:50]]
    await asyncio.sleep(0.1)
    await store.close()
    for ended in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(ended, KeyValueStoreError)
    await proxy.mend()
    async with asyncio.timeout(BOUND):
        while proxy.open:  # noqa: ASYNC110 - the other end closes when it likes
            await asyncio.sleep(0.02)


async def written(store: BaseStore, tag: str) -> None:
    """Write until it succeeds: some drivers pause between their attempts, and a server may find its own parts again last."""
    while True:
        try:
            await store.put("k", {"n": 3}, collection=tag)
        except StoreConnectionError:
            await asyncio.sleep(0.05)
        else:
            return


@on_every_server
async def test_a_server_that_is_started_again(case: ModuleType, tag: str, tmp_path: Path) -> None:
    kind = KIND_OF_FIXTURE[case.SERVER]
    endpoint_of(kind)  # skips, or fails, where there is none
    with private_server(kind) as server:
        endpoint = server.address if case.SERVER.endswith("_address") else server.url
        async with getattr(stores, case.STORE)(**case.arguments(endpoint, tag, tmp_path) | patience(case)) as store:
            await store.put("k", {"n": 1}, collection=tag)
            await asyncio.to_thread(server.stop)
            await fails(store, tag, lambda: store.get("k", collection=tag))
            await fails(store, tag, lambda: store.put("k", {"n": 2}, collection=tag))
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(RECOVERY):
                await written(store, tag)
            async with asyncio.timeout(BOUND):
                assert await store.get("k", collection=tag) == {"n": 3}
