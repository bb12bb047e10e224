"""What is special to memory: entries leave by themselves, the least recently used make room, nothing ever waits."""

import asyncio
import gc
import weakref
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

import pytest
import time_machine

from stores import ABSENT, MemoryStore, NullStore
from stores.entry import utc_now
from stores.errors import StoreSetupError
from stores.lifecycle import MAX_SET_UP

pytestmark = pytest.mark.anyio

T = TypeVar("T")


def run_at_once(operation: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that must not wait."""
    try:
        operation.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waited")


async def test_expired_entries_leave_without_being_asked_for() -> None:
    async with MemoryStore() as store:
        await store.put_many(["a", "b"], [{}, {}], ttl=0.2)
        await store.put("kept", {}, ttl=300)
        cache = store._caches["default_collection"]
        assert len(cache) == 3
        await asyncio.sleep(1.4)
        assert len(cache) == 1
        assert await store.keys() == ["kept"]


async def test_a_collection_leaves_with_its_last_entry() -> None:
    async with MemoryStore() as store:
        for n in range(MAX_SET_UP + 5):
            await store.put("k", {}, collection=f"session {n}")
            assert await store.delete("k", collection=f"session {n}")
        await store.put("k", {}, collection="soon gone", ttl=0.05)
        await store.put("k", {}, collection="kept")
        await asyncio.sleep(1.2)
        assert list(store._caches) == ["kept"]
        assert len(store._set_up_collections) <= MAX_SET_UP
        assert await store.destroy_collection("kept") is True
        assert await store.destroy_collection("kept") is False


async def test_a_collection_in_which_all_has_expired_is_not_there() -> None:
    async with MemoryStore() as store:
        with time_machine.travel(utc_now(), tick=False) as clock:
            await store.put("k", {}, collection="c", ttl=1)
            await store.put("k", {}, collection="d", ttl=1)
            clock.shift(timedelta(seconds=1))
            assert await store.destroy_collection("c") is False
            assert await store.collections() == []
            assert not store._caches


async def test_deadlines_follow_the_wall_clock() -> None:
    async with MemoryStore() as store:
        with time_machine.travel(utc_now(), tick=False) as clock:
            await store.put("k", {"n": 1}, ttl=3600)
            clock.shift(timedelta(seconds=3599))
            value, ttl = await store.ttl("k")
            assert value == {"n": 1}
            assert ttl == pytest.approx(1)
            clock.shift(timedelta(seconds=1))
            assert await store.get("k") is None
            assert await store.keys() == []
            assert [name.text for name in (await store.scan_collections()).items] == []


async def test_an_overwrite_that_is_already_past_hides_the_old_value() -> None:
    async with MemoryStore() as store:
        await store.put("k", {"n": 1})
        with time_machine.travel(utc_now(), tick=False) as clock:
            await store.put("k", {"n": 2}, ttl=1e-7)
            clock.shift(timedelta(seconds=1))
            assert await store.get("k") is None


async def test_the_least_recently_used_makes_room() -> None:
    async with MemoryStore(max_entries_per_collection=2) as store:
        await store.put("a", {})
        await store.put("b", {})
        await store.get("a")
        await store.put("c", {})
        assert sorted(await store.keys()) == ["a", "c"]
        await store.put("x", {}, collection="other")
        assert sorted(await store.keys()) == ["a", "c"]


async def test_seeds() -> None:
    seed = {"users": {"ada": {"n": 1}}, "": {"k": {"n": 2}}}
    async with MemoryStore(seed=seed) as store:
        seed["users"]["ada"]["n"] = 9
        assert await store.get("ada", collection="users") == {"n": 1}
        assert await store.get("k") == {"n": 2}
        await store.destroy()
        assert await store.collections() == []
        await store.put("k", {"n": 3})
        assert await store.get("k") == {"n": 3}


@pytest.mark.parametrize("make", [MemoryStore, NullStore])
async def test_immediate_stores_never_wait(make: type[MemoryStore] | type[NullStore]) -> None:
    async def everything() -> None:
        store = make()
        assert store.traits.immediate
        await store.put("k", {"n": 1})
        await store.put_many(["a", "b"], [{}, {}])
        await store.get_many(["k", "a"])
        await store.texts(["k"])
        await store.edit("e", {}, expected=ABSENT)
        await store.expire("k", None)
        await store.describe(["k"])
        await store.read("k")
        await store.scan_keys()
        await store.scan_collections()
        await store.delete("k")
        await store.delete_many(["a"])
        await store.close()

    run_at_once(everything())


async def test_a_forgotten_store_is_freed_though_its_timer_runs() -> None:
    store = MemoryStore()
    await store.put("k", {}, ttl=3600)
    watched = weakref.ref(store)
    del store
    gc.collect()
    assert watched() is None


async def test_deadlines_noted_are_bounded_by_distinct_seconds() -> None:
    async with MemoryStore() as store:
        with time_machine.travel(utc_now(), tick=False):
            for n in range(1000):
                await store.put("k", {"n": n}, ttl=3600)
        assert len(store._due_heap) == 1


async def test_keys_deleted_during_a_walk_are_not_shown() -> None:
    async with MemoryStore() as store:
        await store.put_many([f"k{n:02}" for n in range(20)], [{}] * 20)
        page = await store.scan_keys(limit=5)
        await store.delete_many([f"k{n:02}" for n in range(5, 18)])
        await store.put("new", {})
        rest = await store.scan_keys(cursor=page.cursor, limit=50)
        assert [name.text for name in rest.items] == ["k18", "k19"]
        assert rest.cursor is None


async def test_a_version_of_an_earlier_store_is_never_that_of_a_later_one() -> None:
    versions = set()
    for _ in range(20):
        async with MemoryStore() as store:
            await store.put("k", {})
            record = await store.read("k")
            assert record is not None
            versions.add(record.version)
    assert len(versions) == 20


async def test_arguments_that_cannot_be() -> None:
    for limit in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            MemoryStore(max_entries_per_collection=limit)
    seed: Any = {"c": {5: {}}}
    with pytest.raises(StoreSetupError, match="A key is a string, not int"):
        await MemoryStore(seed=seed).get("k")
