"""One store on several event loops: one after the other it works, and two at a time it works or says why not."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator
from types import ModuleType
from typing import Any

import pytest

from stores import BaseStore
from stores.errors import StoreSetupError
from tests.stores.conftest import STORING, Names, by_name

# what nobody closed on a loop that is gone, its driver may complain of
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

ANY_LOOP = {"disk", "filetree", "memory"}

on_storing = pytest.mark.parametrize("case", STORING, ids=by_name)


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Complaints of this test's are not the next one's."""
    yield
    with warnings.catch_warnings(action="ignore"):
        gc.collect()


def run(work: Coroutine[Any, Any, object]) -> None:
    """In a thread of its own, as this one has the event loop of the tests; bounded, as a hang is what can happen."""
    failures: list[BaseException] = []

    def target() -> None:
        try:
            asyncio.run(asyncio.wait_for(work, 100))
        except BaseException as exc:  # noqa: BLE001 - raised below
            failures.append(exc)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


async def use(store: BaseStore, collection: str) -> None:
    """Many calls at once, so that some wait for others."""
    keys = [f"k{number}" for number in range(8)]
    assert await asyncio.gather(*(store.get(key, collection=collection) for key in keys)) == [None] * len(keys)
    await asyncio.gather(*(store.put(key, {"k": key}, collection=collection) for key in keys))
    await asyncio.gather(*(store.put_many([key, "last"], [{"k": key}] * 2, collection=collection, ttl=99) for key in keys))
    assert await store.get_many(keys, collection=collection) == [{"k": key} for key in keys]
    assert await store.delete_many([*keys, "last"], collection=collection) == len(keys) + 1


@on_storing
def test_it_goes_on_when_its_event_loop_is_gone(make: Callable[..., BaseStore], names: Names) -> None:
    store = make()
    run(use(store, names("a")))
    run(use(store, names("b")))
    run(store.close())


@on_storing
def test_it_is_entered_on_one_event_loop_after_the_other(make: Callable[..., BaseStore], names: Names) -> None:
    store = make()

    async def enter(collection: str) -> None:
        async with store:
            await use(store, collection)

    run(enter(names("a")))
    run(enter(names("b")))


@on_storing
def test_on_two_event_loops_at_a_time_it_works_or_says_why_not(
    case: ModuleType, make: Callable[..., BaseStore], names: Names
) -> None:
    store = make()

    async def first() -> None:
        async with store:
            await use(store, names("a"))
            if case.NAME in ANY_LOOP:
                await asyncio.to_thread(run, use(store, names("b")))
            else:
                for call in (store.get("k"), store.put_many(["k"], [{}]), store.close()):
                    with pytest.raises(StoreSetupError, match="another event loop"):
                        await asyncio.to_thread(run, call)
            await use(store, names("a"))

    run(first())


@pytest.mark.parametrize("case", [case for case in STORING if case.NAME in ANY_LOOP], ids=by_name)
def test_threads_that_use_it_first_at_the_same_moment_open_it_once(make: Callable[..., BaseStore], names: Names) -> None:
    before = set(threading.enumerate())
    store = make()
    together = threading.Barrier(5)
    failures: list[BaseException] = []

    async def first(number: int) -> None:
        together.wait()
        await use(store, names(f"c{number}"))

    def target(number: int) -> None:
        try:
            run(first(number))
        except BaseException as exc:  # noqa: BLE001 - as above
            failures.append(exc)

    threads = [threading.Thread(target=target, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    run(store.close())
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
    assert set(threading.enumerate()) <= before
