"""Opening, closing, failing and trying again, on a store made for it."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from stores import BaseStore, ManagedEntry, MemoryStore, Traits
from stores.batches import batched, run_bounded
from stores.errors import (
    BaseKeyValueError,
    InvalidKeyError,
    StoreClosedError,
    StoreConnectionError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)
from stores.joined import compound, split_compound
from stores.lifecycle import Scope
from stores.names import Key

pytestmark = pytest.mark.anyio


class DriverError(Exception):
    """A driver's root."""


class DriverTimeoutError(DriverError):
    """A driver's leaf."""


class FragileStore(BaseStore):
    """Only the three hooks that every backend has, and failures on demand."""

    traits: ClassVar[Traits] = Traits(
        name="fragile", max_key_bytes=10, max_collection_bytes=18, binary_keys=False, empty_key=False
    )
    _errors: ClassVar[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
        DriverError: ValueTooLargeError,
        DriverTimeoutError: StoreConnectionError,
    }
    _joins_names: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[BaseException] = []
        self.log: list[str] = []
        self.entries: dict[tuple[Scope, Key], ManagedEntry] = {}
        self.closing: asyncio.Event | None = None

    async def _step(self, what: str) -> None:
        await asyncio.sleep(0)
        self.log.append(what)
        if self.failures:
            raise self.failures.pop()

    async def _setup(self) -> None:
        await self._step("setup")

    async def _setup_collection(self, *, collection: str) -> None:
        await self._step(f"setup {collection}")

    async def _close(self) -> None:
        self.log.append("close")
        if self.closing is not None:
            await self.closing.wait()
            self.log.append("closed")

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        await self._step("get")
        return self.entries.get((collection, key))

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        await self._step("put")
        self.entries[collection, key] = managed_entry

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        await self._step("delete")
        return self.entries.pop((collection, key), None) is not None


async def test_the_first_use_opens_once_and_reading_sets_up_no_collection() -> None:
    store = FragileStore()
    await asyncio.gather(*(store.get("k", collection="c") for _ in range(5)))
    assert store.log.count("setup") == 1
    assert "setup c" not in store.log
    await asyncio.gather(*(store.put(f"k{n}", {}, collection="c") for n in range(5)))
    assert store.log.count("setup c") == 1
    await store.close()
    await store.close()
    assert store.log.count("close") == 1
    with pytest.raises(StoreClosedError):
        await store.put("k", {})


async def test_a_failed_setup_names_the_cause_cleans_up_and_may_be_tried_again() -> None:
    store = FragileStore()
    cause = DriverTimeoutError("no answer")
    store.failures = [cause]
    with pytest.raises(StoreSetupError, match="no answer") as failed:
        await store.get("k")
    assert failed.value.__cause__ is cause
    assert store.log == ["setup", "close"]
    assert await store.get("k") is None
    store.failures = [RuntimeError("odd")]
    with pytest.raises(StoreSetupError, match="odd"):
        await store.put("k", {})
    await store.put("k", {"n": 1})
    assert await store.get("k") == {"n": 1}


async def test_a_failed_setup_says_once_where_and_on_one_line() -> None:
    store = FragileStore()
    store.failures = [StoreConnectionError("fragile at fragile: late\n")]
    with pytest.raises(StoreSetupError) as failed:
        await store.setup()
    assert str(failed.value) == "The fragile store at fragile could not be opened: late"


async def cancel_a_get(store: FragileStore) -> None:
    task = asyncio.create_task(store.get("k"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_setup_can_be_tried_again() -> None:
    store = FragileStore()
    await cancel_a_get(store)
    assert await store.get("k") is None


async def test_closing_while_it_opens_leaves_nothing_open() -> None:
    store = FragileStore()
    opening = asyncio.create_task(store.get("k"))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreClosedError):
        await opening
    assert store.log == ["setup", "close"]
    with pytest.raises(StoreClosedError):
        await store.get("k")
    async with store:
        assert await store.get("k") is None


async def test_entering_again_waits_until_it_is_closed() -> None:
    store = FragileStore()
    await store.setup()
    store.closing = asyncio.Event()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    entering = asyncio.create_task(store.__aenter__())
    await asyncio.sleep(0.01)
    assert store.log == ["setup", "close"]
    store.closing.set()
    await asyncio.gather(closing, entering)
    assert store.log == ["setup", "close", "closed", "setup"]
    assert await store.get("k") is None


async def test_a_cancelled_close_is_completed_and_waited_for() -> None:
    store = FragileStore()
    await store.setup()
    store.closing = asyncio.Event()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.close(), 0.01)
    entering = asyncio.create_task(store.__aenter__())
    await asyncio.sleep(0.01)
    assert store.log == ["setup", "close"]
    store.closing.set()
    await entering
    assert store.log == ["setup", "close", "closed", "setup"]


async def test_who_is_cancelled_while_it_opens_does_not_wait_for_what_hangs() -> None:
    class HungStore(FragileStore):
        hangs = True

        async def _setup(self) -> None:
            await super()._setup()
            if self.hangs:
                await asyncio.Event().wait()

        async def _close(self) -> None:
            self.closing = asyncio.Event()
            await super()._close()

    store = HungStore()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.get("k"), 0.01)
    store.hangs = False
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.get("k"), 0.01)
    assert store.log == ["setup", "close"]
    assert store.closing is not None
    store.closing.set()
    assert await store.get("k") is None
    assert store.log == ["setup", "close", "closed", "setup", "get"]


async def test_the_last_block_to_end_closes_it() -> None:
    store = FragileStore()
    async with store:
        async with store:
            await store.put("k", {"n": 1})
        assert await store.get("k") == {"n": 1}
    assert store.log.count("close") == 1
    with pytest.raises(StoreClosedError):
        await store.get("k")
    async with store:
        await store.close()
        async with store:
            pass
        with pytest.raises(StoreClosedError):
            await store.get("k")


async def test_what_fails_because_it_was_closed_says_so() -> None:
    store = FragileStore()
    for method in (store.get, store.delete):
        async with store:
            asked = asyncio.create_task(method("k"))
            await asyncio.sleep(0)
            store.failures = [DriverTimeoutError("the connection was closed")]
            await store.close()
            with pytest.raises(StoreClosedError, match="during the call") as failed:
                await asked
            assert isinstance(failed.value.__cause__, DriverTimeoutError)


async def test_what_the_driver_cancels_fails_and_who_is_cancelled_is() -> None:
    store = FragileStore()
    await store.setup()
    store.failures = [asyncio.CancelledError()]
    with pytest.raises(StoreConnectionError, match="the client was closed during the call"):
        await store.get("k")
    await cancel_a_get(store)
    assert await store.get("k") is None


async def test_seeds_are_sown_once() -> None:
    store = MemoryStore(seed={"c": {"kept": {"n": 1}, "deleted": {"n": 1}}})
    async with store:
        await store.put("kept", {"n": 2}, collection="c")
        await store.delete("deleted", collection="c")
    async with store:
        assert await store.get_many(["kept", "deleted"], collection="c") == [{"n": 2}, None]


async def test_driver_exceptions_become_ours_with_the_most_derived_class_winning() -> None:
    store = FragileStore()
    await store.setup()
    store.failures = [DriverTimeoutError("late")]
    with pytest.raises(StoreConnectionError, match=r"fragile at fragile, collection 'c', key 'k': late") as late:
        await store.get("k", collection="c")
    assert isinstance(late.value.__cause__, DriverTimeoutError)
    store.failures = [DriverError()]
    with pytest.raises(ValueTooLargeError, match="DriverError"):
        await store.get("k")
    store.failures = [KeyError("a bug stays a bug")]
    with pytest.raises(KeyError):
        await store.get("k")


async def test_names_are_checked_before_anything_is_sent() -> None:
    store = FragileStore()
    for key in ("", "x" * 11, "é" * 6, "\udcff"):
        with pytest.raises(InvalidKeyError):
            await store.put(key, {})
        with pytest.raises(InvalidKeyError):
            await store.get_many(["fine", key])
    for collection in ("c" * 19, "\udcff"):
        with pytest.raises(InvalidKeyError):
            await store.get("k", collection=collection)
    with pytest.raises(InvalidKeyError, match="::"):
        await store.put("k", {}, collection="a::b")
    assert store.log == []


async def test_what_a_backend_does_not_offer_is_said() -> None:
    store = FragileStore()
    for operation in (store.scan_keys, store.scan_collections):
        with pytest.raises(UnsupportedError, match="fragile cannot"):
            await operation()
    with pytest.raises(UnsupportedError):
        await store.edit("k", {})
    with pytest.raises(UnsupportedError):
        await store.describe(["k"])


def test_compound_names() -> None:
    assert split_compound(compound("c", "k::x")) == ("c", "k::x")
    assert split_compound("plain") is None
    assert split_compound("::k") is None


def test_errors_show_their_facts() -> None:
    assert str(BaseKeyValueError("What happened.", {"key": "k", "limit": 5})) == "What happened. (key: k, limit: 5)"
    assert str(BaseKeyValueError()) == ""


async def test_bounded_concurrency_keeps_order_and_raises_the_first_failure() -> None:
    running = most = 0

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if number == 13:
            raise DriverError(str(number))
        return number * 2

    assert await run_bounded(work, range(10), limit=3) == [number * 2 for number in range(10)]
    assert most == 3
    with pytest.raises(DriverError, match="13"):
        await run_bounded(work, range(20), limit=4)
    assert await run_bounded(work, [], limit=4) == []
    assert [list(part) for part in batched([1, 2, 3], 2)] == [[1, 2], [3]]


async def test_values_of_any_mapping_type_are_stored() -> None:
    class Settings(dict[str, Any]):
        pass

    store = FragileStore()
    await store.put("k", Settings(a=1))
    assert await store.get("k") == {"a": 1}
