"""Long work on the event loop leaves room for the loop's other work, and for other processes."""

import asyncio
import os
import time
from collections.abc import Generator

import pytest

from kvd.turns import TURN, come_again, in_turns

pytestmark = pytest.mark.anyio


@pytest.fixture
def yielded(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the CPU was left to others."""
    moments: list[float] = []
    leave = os.sched_yield

    def note() -> None:
        moments.append(time.perf_counter())
        leave()

    monkeypatch.setattr(os, "sched_yield", note)
    return moments


def steps(count: int) -> Generator[None, None, str]:
    """Steps of a turn each."""
    for _ in range(count):
        end = time.perf_counter() + TURN
        while time.perf_counter() < end:
            pass
        yield
    return "done"


async def test_between_two_turns_of_work_everybody_else_has_one(yielded: list[float]) -> None:
    turns = 0
    is_over = False

    def count() -> None:
        nonlocal turns
        turns += 1
        if not is_over:
            asyncio.get_running_loop().call_soon(count)

    count()
    assert await in_turns(steps(10), lambda: False) == "done"
    is_over = True
    assert turns >= 10
    assert len(yielded) == 10


async def test_work_that_is_given_up_ends_at_its_next_turn(yielded: list[float]) -> None:
    assert await in_turns(steps(10), lambda: len(yielded) == 3) is None
    assert len(yielded) == 3


async def test_who_comes_again_leaves_the_cpu_to_others_and_comes_once(yielded: list[float]) -> None:
    came: list[int] = []
    come_again(asyncio.get_running_loop(), lambda: came.append(len(yielded)))
    assert came == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert came == [1]
