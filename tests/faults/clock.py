"""The event loop's clock, hurried on: what would be waited for during seconds is given up at once.

So a store may have its usual patience wherever it must succeed, however slow the machine is, and no test waits for its end.
Only what counts by the loop's clock gives up sooner; a driver with a clock of its own takes the time that it takes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

STEP = 1.0  # seconds by which the clock is set forward
PAUSE = 0.01  # seconds between two steps: what needs no patience happens meanwhile


@asynccontextmanager
async def time_flies() -> AsyncIterator[None]:
    """Set the running loop's clock forward, again and again, while the block runs; it is never set back."""
    loop = asyncio.get_running_loop()
    clock, ahead = loop.time, 0.0

    async def hurry() -> None:
        nonlocal ahead
        last = monotonic()
        while True:
            await asyncio.sleep(PAUSE)
            if monotonic() - last >= PAUSE:  # no sleep is as long as it was meant to be, where others hurry the clock too
                ahead, last = ahead + STEP, monotonic()

    setattr(loop, "time", lambda: clock() + ahead)  # noqa: B010 - a method of an instance, which no type has
    hurrying = asyncio.create_task(hurry())
    try:
        yield
    finally:
        hurrying.cancel()
        with suppress(asyncio.CancelledError):
            await hurrying
