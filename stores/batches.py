"""Many keys in the backend's batch size, with bounded concurrency and without losing a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

__all__ = ["batched", "made_in_turns", "run_batched", "run_bounded"]

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

TURN = 250
"""Entries that are encoded before the event loop goes on: some milliseconds."""


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def made_in_turns(make: Callable[[K, T], R], keys: Sequence[K], items: Sequence[T]) -> list[R]:
    """What `make` makes of each key and item; other tasks have their turn after every `TURN`."""
    made: list[R] = []
    for start in range(0, len(keys), TURN):
        if start:
            await asyncio.sleep(0)
        made += map(make, keys[start : start + TURN], items[start : start + TURN])
    return made


async def run_bounded(work: Callable[[T], Awaitable[R]], items: Iterable[T], *, limit: int) -> list[R]:
    """Run `work` on every item, at most `limit` at once; results in the items' order.

    The first failure stops what has not started, waits for (cancels) what has, and is raised.
    """
    listed = list(items)
    if len(listed) == 1:
        return [await work(listed[0])]
    results: list[R | None] = [None] * len(listed)
    waiting = iter(enumerate(listed))

    async def worker() -> None:
        for index, item in waiting:
            results[index] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(limit, len(listed))):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return results  # type: ignore[return-value] # every index was filled: the workers ended without a failure


async def run_batched(
    work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], items: Sequence[T], *, size: int, limit: int
) -> list[R]:
    """Run `work` on slices of at most `size`, at most `limit` at once; what it made of the items, in their order.

    Failures are as in `run_bounded`.
    """
    parts = await run_bounded(work, batched(items, size), limit=limit)
    return [one for part in parts for one in part]
