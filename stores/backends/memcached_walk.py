"""A walk through memcached's names.

The server lists its names only in one go, and must not be kept waiting: a dump is read in the background, as fast as it comes,
while pages are made of what is already there. So the first page does not wait for the last name. What is picked rests as the
bytes of the names themselves until its page is asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from stores.backends.memcached_protocol import read_dumped
from stores.joined import collection_of
from stores.names import compile_glob, decode_name

__all__ = ["Pick", "Walk", "keys_in", "one_of_each_collection"]

Pick = Callable[[Sequence[bytes]], list[bytes]]
"""Chooses from names, in the form of the dump, what a walk is about. That form has no line break."""


def keys_in(prefix: bytes | None, match: str | None) -> Pick:
    """Picks the names that begin so, or with None those that belong to no collection, and whose rest matches a glob."""
    wanted = None if match is None else compile_glob(match)

    def is_wanted(name: bytes) -> bool:
        if collection_of(name) is not None if prefix is None else not name.startswith(prefix):
            return False
        return wanted is None or wanted.match(decode_name(name[len(prefix or b"") :])) is not None

    return lambda names: [name for name in names if is_wanted(read_dumped(name))]


def one_of_each_collection() -> Pick:
    """Picks a name of each collection that it has not seen."""
    seen: set[bytes] = set()

    def pick(names: Sequence[bytes]) -> list[bytes]:
        new = {collection_of(read_dumped(name)) or b"": name for name in names}
        picked = [name for stored, name in new.items() if stored not in seen]
        seen.update(new)
        return picked

    return pick


class Walk:
    """What was picked from a dump, in pages."""

    def __init__(self, dump: AsyncIterator[Sequence[bytes]], pick: Pick) -> None:
        """Begin to read the dump."""
        self._waiting: deque[bytes] = deque()
        self._next: list[bytes] = []
        self._passed_over = 0
        self._ended = False
        self._failure: Exception | None = None
        self._news = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read(dump, pick))

    async def page(self, limit: int) -> tuple[list[bytes], int]:
        """At most `limit` that were picked, and how many names were looked at since the last page.

        Raises:
            Exception: what ended the dump, once all before it was handed out.
        """
        found: list[bytes] = []
        while len(found) < limit:
            if not self._next and self._waiting:
                self._next = self._waiting.popleft().split(b"\n")
                self._next.reverse()
            if self._next:
                found += [self._next.pop() for _ in range(min(limit - len(found), len(self._next)))]
            elif self._failure is not None:
                raise self._failure
            elif self._ended:
                break
            else:
                self._news.clear()
                await self._news.wait()
        passed_over, self._passed_over = self._passed_over, 0
        return found, passed_over + len(found)

    @property
    def is_over(self) -> bool:
        """Whether there is no further page."""
        return self._ended and self._failure is None and not self._next and not self._waiting

    def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()

    async def _read(self, dump: AsyncIterator[Sequence[bytes]], pick: Pick) -> None:
        try:
            async for names in dump:
                picked = pick(names)
                self._passed_over += len(names) - len(picked)
                if picked:
                    self._waiting.append(b"\n".join(picked))
                    self._news.set()
        except Exception as exc:  # noqa: BLE001 - it goes to whoever asks for a page
            self._failure = exc
        finally:
            self._ended = True
            self._news.set()
