"""What clients subscribe to: writes through the daemon, expiries of what was written through it, states of connections.

Changes of one turn of the loop that are alike travel together. Each subscriber counts its own sequence, and what it has not
read yet is bounded (`kvd.session`): a subscriber that falls behind loses events, sees the gap, and reads again what it shows.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from kvd.answers import pack_name
from kvd.errors import Code, RequestError
from kvd.protocol import MAX_SUBSCRIPTIONS
from stores.names import Collection, Key

__all__ = ["Hub", "Subscriber"]

MAX_EVENT_KEYS: Final = 1_000
"""Keys that one event names; a change of more says that anything in the collection may have changed."""
MAX_DEADLINES: Final = 20_000
"""Deadlines that are watched at the same time; further ones go without an event."""


class Subscriber(Protocol):
    """A client, as the hub sees it."""

    def sees(self, connection: str) -> bool:
        """Tell whether the client may use the connection."""
        ...

    def post(self, change: dict[str, Any]) -> None:
        """Send a change, with the sequence filled in."""
        ...


_Same = tuple[str, Collection, str, object]


class Hub:
    """Takes changes and passes them on."""

    def __init__(self, due: Callable[[str, Collection, list[Key]], None]) -> None:
        """Take the function that is told whose deadlines have come: it publishes those that are really gone."""
        self._due = due
        self._subscribers: dict[Subscriber, set[str | None]] = {}
        self._pending: dict[_Same, list[Key] | None] = {}
        self._scheduled = False
        self._deadlines: list[tuple[float, int, str, Collection, Key]] = []
        self._noted = 0
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._subscribers)

    def subscribe(self, subscriber: Subscriber, connection: str | None) -> None:
        """Send the connection's changes to the subscriber, or (None) everything that it may see.

        Raises:
            RequestError: too_many.
        """
        wanted = self._subscribers.setdefault(subscriber, set())
        if len(wanted) >= MAX_SUBSCRIPTIONS and connection not in wanted:
            raise RequestError(Code.TOO_MANY, f"a client has at most {MAX_SUBSCRIPTIONS} subscriptions")
        wanted.add(connection)

    def unsubscribe(self, subscriber: Subscriber, connection: str | None) -> None:
        """Take one subscription back."""
        wanted = self._subscribers.get(subscriber)
        if wanted is not None:
            wanted.discard(connection)
            if not wanted:
                del self._subscribers[subscriber]

    def left(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        self._subscribers.pop(subscriber, None)

    def publish(
        self, connection: str, collection: Collection, keys: Sequence[Key], operation: str, origin: object = None
    ) -> None:
        """Tell that something changed. No keys: anything in the collection; no collection and no keys: anything at all."""
        if not self._subscribers:
            return
        same = (connection, collection, operation, origin)
        if not keys:
            self._pending[same] = None
        elif (listed := self._pending.setdefault(same, [])) is not None:
            listed.extend(keys)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def expires(self, connection: str, collection: Collection, keys: Sequence[Key], ttl: float | None) -> None:
        """Watch for the end of what was just written with this TTL."""
        if ttl is None or not self._subscribers or len(self._deadlines) + len(keys) > MAX_DEADLINES:
            return
        deadline = time.monotonic() + ttl
        for key in keys:
            self._noted += 1
            heapq.heappush(self._deadlines, (deadline, self._noted, connection, collection, key))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deadlines:
            delay = max(self._deadlines[0][0] - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = time.monotonic()
        due: dict[tuple[str, Collection], list[Key]] = {}
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, connection, collection, key = heapq.heappop(self._deadlines)
            due.setdefault((connection, collection), []).append(key)
        for (connection, collection), keys in due.items():
            self._due(connection, collection, keys)
        self._arm()

    def _flush(self) -> None:
        self._scheduled = False
        pending, self._pending = self._pending, {}
        for (connection, collection, operation, origin), keys in pending.items():
            change: dict[str, Any] = {
                "connection": connection,
                "collection": pack_name(collection),
                "keys": [pack_name(key) for key in dict.fromkeys(keys)] if keys and len(keys) <= MAX_EVENT_KEYS else [],
                "operation": operation,
            }
            for subscriber, wanted in list(self._subscribers.items()):
                if (connection in wanted or None in wanted) and subscriber.sees(connection):
                    subscriber.post(change | {"own": subscriber is origin})

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
