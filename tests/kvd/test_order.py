"""Requests on one key take effect in the order sent, whatever is cancelled on the way."""

import asyncio

from hypothesis import given, settings, strategies as st

from kvd.order import Order

KEYS = ["a", "b", None]
Step = tuple[str | None, bool, bool]
"""Key (None: all), whether it writes, whether it is cancelled before its turn came."""


async def run(steps: list[Step]) -> list[tuple[int, str | None, bool]]:
    """Let each step note when it begins and, a few turns of the loop later, ends."""
    order = Order()
    running: dict[int, tuple[str | None, bool]] = {}
    begun: list[tuple[int, str | None, bool]] = []

    async def work(number: int, key: str | None, *, writes: bool) -> None:
        turn = order.enter(key, writes=writes)
        try:
            await turn.wait()
            for other_key, other_writes in running.values():
                shared = key is None or other_key is None or key == other_key
                assert not (shared and (writes or other_writes)), "two that exclude each other run together"
            running[number] = (key, writes)
            begun.append((number, key, writes))
            for _ in range(number % 3):
                await asyncio.sleep(0)
        finally:
            running.pop(number, None)
            order.leave(turn)

    tasks = []
    for number, (key, writes, _) in enumerate(steps):
        tasks.append(asyncio.create_task(work(number, key, writes=writes)))
        await asyncio.sleep(0)
    for task, (_, _, cancelled) in zip(tasks, steps, strict=True):
        if cancelled and not task.done():
            task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
    for _ in range(3 * len(steps)):
        await asyncio.sleep(0)
    assert not order, "everybody has left"
    return begun


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.booleans(), st.sampled_from([False, False, True])), max_size=25))
def test_what_excludes_each_other_runs_in_the_order_sent(steps: list[Step]) -> None:
    begun = asyncio.run(run(steps))
    for place, (number, key, writes) in enumerate(begun):
        for later, later_key, later_writes in begun[place + 1 :]:
            shared = key is None or later_key is None or key == later_key
            if shared and (writes or later_writes):
                assert number < later


def test_reads_and_other_keys_run_together() -> None:
    order = Order()
    first, second = order.enter("a", writes=False), order.enter("a", writes=False)
    other = order.enter("b", writes=True)
    assert (first.before, second.before, other.before) == ([], [], [])
    assert len(order.enter("a", writes=True).before) == 2
    assert len(order.enter(None, writes=False).before) == 2
