"""Many items in slices: in order, and without keeping the event loop from others."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stores import BaseStore
from stores.batches import TURN, made_in_turns, run_batched
from tests.stores.conftest import STORING, Names, by_name

pytestmark = pytest.mark.anyio


async def test_other_tasks_have_their_turn_while_much_is_made() -> None:
    turns: list[int] = []
    made: list[int] = []

    async def other() -> None:
        while len(made) < 10 * TURN:
            turns.append(len(made))
            await asyncio.sleep(0)

    def make(key: int, item: int) -> int:
        made.append(key)
        return key * item

    watching = asyncio.create_task(other())
    numbers = range(10 * TURN)
    assert await made_in_turns(make, numbers, numbers) == [number * number for number in numbers]
    await watching
    assert turns[-1] - turns[0] > 7 * TURN
    assert max(after - before for before, after in pairwise(turns)) == TURN


async def test_batches_are_done_some_at_once_and_come_back_in_order() -> None:
    under_way, most, sizes = 0, 0, []

    async def work(items: Sequence[int]) -> list[int]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        sizes.append(len(items))
        await asyncio.sleep(0.001 * (items[0] % 3))
        under_way -= 1
        return [-item for item in items]

    assert await run_batched(work, list(range(95)), size=10, limit=3) == [-number for number in range(95)]
    assert (most, sorted(sizes)) == (3, [5] + [10] * 9)
    assert await run_batched(work, [], size=10, limit=3) == []


@pytest.mark.parametrize("case", STORING, ids=by_name)
async def test_a_value_that_is_changed_while_it_is_stored_is_stored_whole(
    case: ModuleType, make: Callable[..., BaseStore], endpoint: Any, names: Names, tmp_path: Path
) -> None:
    keys = [f"k{number}" for number in range(2 * TURN)]
    values: list[dict[str, Any]] = [{"first": 0, "more": {str(n): n for n in range(5)}, "last": 0} for _ in keys]
    async with make() as store:
        storing = asyncio.create_task(store.put_many(keys, values, collection=names("c")))
        times = 0
        while not storing.done():
            times += 1
            for value in values:
                value["first"] = value["last"] = times
            await asyncio.sleep(0)
        await storing
        stored = await store.get_many(keys, collection=names("c"))
        assert all(value is not None and value["first"] == value["last"] for value in stored)
    await case.clean(endpoint, names.tag, tmp_path)
