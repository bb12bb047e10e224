"""Many callers, few round trips, and each caller's own answer."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from kvd.coalesce import Coalescer
from stores import MemoryStore
from stores.coalescing import MAX_BATCH
from stores.errors import InvalidKeyError
from stores.names import Collection, Key


class Slow(MemoryStore):
    """A store that waits, and counts its round trips."""

    def __init__(self) -> None:
        super().__init__()
        self.trips: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def _waits(self, count: int) -> None:
        self.trips.append(count)
        await asyncio.sleep(0)
        await self.gate.wait()

    async def texts(self, keys: Any, *, collection: Collection = None) -> list[tuple[bytes, datetime | None] | None]:
        await self._waits(len(keys))
        if "bad" in keys:
            raise InvalidKeyError("bad")
        return await super().texts(keys, collection=collection)

    async def put(self, key: Key, value: Any, *, collection: Collection = None, ttl: Any = None) -> None:
        await self._waits(1)
        await super().put(key, value, collection=collection, ttl=ttl)

    async def put_many(self, keys: Any, values: Any, *, collection: Collection = None, ttl: Any = None) -> None:
        await self._waits(len(keys))
        await super().put_many(keys, values, collection=collection, ttl=ttl)


async def turns() -> None:
    """Let everything happen that waits for nothing."""
    for _ in range(50):
        await asyncio.sleep(0)


async def plainly(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


@pytest.mark.anyio
async def test_a_turn_s_reads_and_writes_go_out_together() -> None:
    store = Slow()
    coalescer = Coalescer(store, plainly)
    begun: list[int] = []
    await asyncio.gather(
        *(coalescer.put(f"k{n}", {"n": n}, collection=None, ttl=None, begun=lambda: begun.append(1)) for n in range(50))
    )
    assert (store.trips, len(begun)) == ([50], 50)
    store.trips.clear()
    answers = await asyncio.gather(*(coalescer.texts([f"k{n}", "none"], collection=None) for n in range(50)))
    assert store.trips == [2, 98]  # who finds nobody waiting goes at once
    assert answers == [[(b'{"n": %d}' % n, None), None] for n in range(50)]


@pytest.mark.anyio
async def test_different_ttls_and_collections_do_not_mix() -> None:
    store = Slow()
    coalescer = Coalescer(store, plainly)
    await asyncio.gather(
        *(
            coalescer.put("k", {"c": collection}, collection=collection, ttl=ttl, begun=lambda: None)
            for collection, ttl in (("a", None), ("b", None), ("c", 5.0))
        )
    )
    assert sorted(store.trips) == [1, 1, 1]
    assert await store.get("k", collection="b") == {"c": "b"}
    assert (await store.ttl("k", collection="c"))[1] is not None


@pytest.mark.anyio
async def test_one_that_is_refused_fails_alone() -> None:
    store = Slow()
    coalescer = Coalescer(store, plainly)
    keys = ["a", "bad", "c"]
    answers = await asyncio.gather(*(coalescer.texts([key], collection=None) for key in keys), return_exceptions=True)
    assert answers[0] == answers[2] == [None]
    assert isinstance(answers[1], InvalidKeyError)
    assert store.trips[:2] == [1, 2]


@pytest.mark.anyio
async def test_a_batch_that_nobody_waits_for_is_cancelled_and_the_rest_goes_on() -> None:
    before = asyncio.all_tasks()
    store = Slow()
    coalescer = Coalescer(store, plainly)
    store.gate.clear()
    readers = [asyncio.create_task(coalescer.texts([key], collection=None)) for key in ("a", "b")]
    await turns()
    readers[0].cancel()
    await turns()
    store.gate.set()
    assert await readers[1] == [None]
    store.gate.clear()
    lonely = asyncio.create_task(coalescer.texts(["c"], collection=None))
    await turns()
    lonely.cancel()
    await asyncio.wait([lonely])
    await turns()
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_a_write_that_went_out_is_completed_though_its_caller_left() -> None:
    store = Slow()
    coalescer = Coalescer(store, plainly)
    store.gate.clear()
    begun = asyncio.Event()
    writer = asyncio.create_task(coalescer.put("k", {"v": 1}, collection=None, ttl=None, begun=begun.set))
    await begun.wait()
    writer.cancel()
    await asyncio.wait([writer])
    store.gate.set()
    await turns()
    assert await store.get("k") == {"v": 1}


@pytest.mark.anyio
async def test_a_write_whose_caller_left_before_it_went_out_is_not_done() -> None:
    store = Slow()
    coalescer = Coalescer(store, plainly)
    begun = asyncio.Event()
    writer = asyncio.create_task(coalescer.put("k", {"v": 1}, collection=None, ttl=None, begun=begun.set))
    await asyncio.sleep(0)  # now it waits for the end of this turn of the loop
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    await asyncio.sleep(0)
    assert not begun.is_set()
    assert store.trips == []
    assert await store.get("k") is None
    assert not coalescer._lanes


@pytest.mark.anyio
async def test_batches_are_bounded() -> None:
    store = Slow()
    coalescer = Coalescer(store, plainly)
    await asyncio.gather(*(coalescer.texts([f"{n}" for n in range(100)], collection=None) for _ in range(20)))
    assert max(store.trips) <= MAX_BATCH
    assert sum(store.trips) == 2000
    await turns()
    assert not coalescer._lanes
