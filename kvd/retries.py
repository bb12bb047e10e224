"""When a store that could not be opened, or was lost, is opened again: by itself, at ever longer intervals.

After `ATTEMPTS` of them it is opened again only for who asks something of it, and while somebody looks on.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Retries"]

ATTEMPTS: Final = 10
FIRST_PAUSE: Final = 0.5
"""Seconds before the first attempt; then twice as many, each time."""
LONGEST_PAUSE: Final = 30.0
LOCKING: Final = frozenset({"credentials", "password"})
"""What is wrong where a server may lock out who tries again and again."""


class Retries:
    """One connection's attempts to open its store again."""

    def __init__(self, attempt: Callable[[], None]) -> None:
        """Plan nothing yet; `attempt` begins to open the store."""
        self.at: float | None = None
        """When the next attempt is due, in seconds since the epoch."""
        self._attempt = attempt
        self._failures = 0
        self._failed_at = 0.0
        self._may_go_on = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    def failed(self, fault: str | None) -> None:
        """Plan the next attempt, unless there were enough; `fault` is what is wrong, one of `stores.errors.Fault`."""
        self._failures += 1
        self._failed_at = time.monotonic()
        self._may_go_on = fault not in LOCKING
        self.stop()
        if self._failures <= ATTEMPTS:
            pause = min(FIRST_PAUSE * 2 ** (self._failures - 1), LONGEST_PAUSE) * random.uniform(0.8, 1.2)
            self.at = time.time() + pause
            self._timer = asyncio.get_running_loop().call_later(pause, self._begin)

    def look(self) -> None:
        """Try again for somebody who looks on, if nothing is planned and the last attempt was long enough ago."""
        if self._failures > ATTEMPTS and self._may_go_on and time.monotonic() - self._failed_at >= LONGEST_PAUSE:
            self._attempt()

    def stop(self) -> None:
        """Plan nothing."""
        self.at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def worked(self) -> None:
        """Forget what failed: the store is open."""
        self.stop()
        self._failures = 0

    def _begin(self) -> None:
        self._timer = None
        self._attempt()
