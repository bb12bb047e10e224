"""One walk over the keys of a collection, page by page, that can be paused. Knows the daemon, not the screen.

A walk with a glob is a search: the store looks at every key and sends only what matches, so that a filter finds among millions
of keys those that nobody read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

from kvd import requests
from kvd.errors import DaemonError
from kvd.model import Key, KeyRow, Page
from kvtui.messages import Place, told_by
from kvtui.session import Session

__all__ = ["Scan"]

PAGE_FIRST = 500
PAGE_MOST = 2_000
"""Keys asked for at once: the first page is small to be there soon, each next one larger."""
UNASKED = 200_000
UNASKED_PRODUCTION = 5_000
"""Keys that are read before the scan pauses by itself."""


class Scan:
    """A walk over a collection.

    Args:
        place: The collection.
        production: Whether to ask for less before the reader says that more is wanted.
        match: The glob of a search.

    Attributes:
        seen: What was found so far.
        looked_at: How many keys the store went through for it.
        complete: Whether the walk came to its end.
        settled: Whether what it did not find has been forgotten, so that what it found is not needed any more.
        problem: Why it could not, and what to do, each a line.
    """

    def __init__(self, place: Place, *, production: bool, match: str | None = None) -> None:
        self.place = place
        self.match = match
        self.looked_at = 0
        self.seen: set[Key] = set()
        self.complete = False
        self.settled = False
        self.problem: Sequence[str] | None = None
        self._cursor: bytes | None = None
        self._unasked = UNASKED_PRODUCTION if production else UNASKED
        self._go_on = asyncio.Event()
        self._go_on.set()

    @property
    def paused(self) -> bool:
        """Whether the walk waits to be told to go on."""
        return not self._go_on.is_set()

    def toggle(self) -> None:
        """Pause, or go on until twice as much is known."""
        if self._go_on.is_set():
            self._go_on.clear()
        else:
            self._unasked = 2 * len(self.seen)
            self._go_on.set()

    def take(self, page: Page[KeyRow]) -> None:
        """Count a page in."""
        by_token = self.place.by_token
        self.seen.update(row.token if by_token or not row.exact else row.key for row in page.items)
        self.looked_at += page.scanned
        self.complete = page.cursor is None
        if not self.complete and len(self.seen) >= self._unasked:
            self._go_on.clear()

    async def pages(self, session: Session) -> AsyncIterator[Page[KeyRow]]:
        """The pages, each taken before the next is asked for. A failure ends them and is kept in `problem`."""
        limit = PAGE_FIRST
        place = self.place
        try:
            while True:
                page = await session.call(
                    requests.scan_keys(place.connection, place.collection, cursor=self._cursor, limit=limit, match=self.match)
                )
                self._cursor = page.cursor
                page = replace(page, items=[row for row in page.items if row.description is not None])  # the rest has expired
                self.take(page)
                yield page
                if page.cursor is None:
                    return
                limit = min(limit * 2, PAGE_MOST)
                await self._go_on.wait()
        except DaemonError as error:
            self.problem = told_by(error)

    async def let_go(self, session: Session) -> None:
        """Free what the daemon keeps for a walk that nobody follows to its end."""
        if self._cursor is not None and self.problem is None:
            with suppress(DaemonError):
                await session.call(requests.close_cursor(self.place.connection, self._cursor))
