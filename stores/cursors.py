"""Scans whose place cannot be written down are held here, behind a token, until they are walked on, closed, or forgotten."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from typing import Generic, TypeVar

from stores.errors import CursorExpiredError

__all__ = ["HeldCursors"]

T = TypeVar("T")

MAX_HELD = 128
IDLE_SECONDS = 900.0


class HeldCursors(Generic[T]):
    """A bounded table of scans in progress. What is dropped is closed, if it has a `close`."""

    def __init__(self, *, max_held: int = MAX_HELD, idle_seconds: float = IDLE_SECONDS) -> None:
        """Choose the bounds: how many scans, and how many seconds one may rest."""
        self._max_held = max_held
        self._idle_seconds = idle_seconds
        self._held: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, scan: T) -> bytes:
        """Keep a scan; its cursor works once."""
        cursor = secrets.token_bytes(12)
        now = time.monotonic()
        self._held[cursor] = (now, scan)
        while self._held:
            oldest, (rested_since, _) = next(iter(self._held.items()))
            if len(self._held) <= self._max_held and now - rested_since < self._idle_seconds:
                break
            self.drop(oldest)
        return cursor

    def take(self, cursor: bytes) -> T:
        """The scan behind a cursor, which is then no longer held. CursorExpiredError when there is none."""
        found = self._held.pop(cursor, None)
        if found is None:
            raise CursorExpiredError("This scan's place is no longer held: start the scan again.")
        return found[1]

    def drop(self, cursor: bytes) -> None:
        """Forget a scan, if it is held."""
        found = self._held.pop(cursor, None)
        close = getattr(found[1], "close", None) if found else None
        if close is not None:
            close()

    def clear(self) -> None:
        """Forget all."""
        for cursor in list(self._held):
            self.drop(cursor)
