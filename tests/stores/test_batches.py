"""Many items in slices: in order, and without keeping the event loop from others."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from stores.batches import TURN, made_in_turns, run_batched

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
