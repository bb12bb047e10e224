"""Long work on the event loop: in short steps, with everything else between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from typing import Final, TypeVar

__all__ = ["in_turns"]

T = TypeVar("T")

TURN: Final = 0.0001
"""Seconds after which work stops at its next step, until the loop comes round again."""


async def in_turns(work: Generator[None, None, T], given_up: Callable[[], bool]) -> T | None:
    """Do the work, a few of its steps in each turn of the loop; None when it was given up.

    A thread would not be better: it would hold the interpreter, for longer than such a turn.
    """
    while not given_up():
        end = time.perf_counter() + TURN
        try:
            while time.perf_counter() < end:
                next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)
    return None
