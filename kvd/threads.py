"""Work that may block for long, on a thread that does not hold up the daemon's end.

Unlike an executor's, these threads are not waited for when the interpreter leaves: a secret's command that hangs, or a driver
that is being imported, cannot keep the daemon alive.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[..., T], *args: Any) -> T:
    """Run `work(*args)` on a thread of its own. When the caller is cancelled, its result is dropped."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        try:
            result, error = work(*args), None
        except BaseException as caught:  # noqa: BLE001 - it is raised where the result is awaited
            result, error = None, caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=getattr(work, "__name__", "work"), daemon=True).start()
    return await future
