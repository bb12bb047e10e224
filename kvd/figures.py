"""What a connection did, in figures: operations, errors, rate, and how long they took."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

__all__ = ["TIMED", "Figures"]

_KEPT: Final = 512
"""Durations kept, from which the percentiles are taken."""
TIMED: Final = 7
"""Mask by which every eighth operation is timed, of those that take little longer than looking at the clock."""
_WINDOW: Final = 10.0
"""Seconds over which the rate is taken."""


class Figures:
    """Counts cheaply; computes when asked."""

    __slots__ = ("_durations", "_window_count", "_window_start", "_window_was", "errors", "operations")

    def __init__(self) -> None:
        self.operations = 0
        self.errors = 0
        self._durations: deque[float] = deque(maxlen=_KEPT)
        self._window_start = time.monotonic()
        self._window_count = 0
        self._window_was = 0.0

    def begin(self) -> float | None:
        """Count an operation that is over in microseconds. Of these only some are timed: None means that this one is not."""
        self.operations += 1
        return time.monotonic() if self.operations & TIMED == 1 else None

    def add(self, started: float, ended: float) -> None:
        """Note that a counted operation lasted from `started` to `ended` on the monotonic clock."""
        self._durations.append(ended - started)
        if ended - self._window_start > _WINDOW:
            self._roll(ended)

    def _roll(self, now: float) -> None:
        self._window_was = (self.operations - self._window_count) / (now - self._window_start)
        self._window_start = now
        self._window_count = self.operations

    def pack(self) -> dict[str, Any]:
        """Return the figures as a map: `rate` a second, `p50` and `p99` in seconds (nil before the first operation)."""
        now = time.monotonic()
        elapsed = now - self._window_start
        current = (self.operations - self._window_count) / max(elapsed, 1.0)
        if elapsed > 2 * _WINDOW:
            self._roll(now)
        ordered = sorted(self._durations)
        return {
            "operations": self.operations,
            "errors": self.errors,
            "rate": round(current if elapsed >= 1.0 or not self._window_was else self._window_was, 1),
            "p50": ordered[len(ordered) // 2] if ordered else None,
            "p99": ordered[len(ordered) * 99 // 100] if ordered else None,
        }
