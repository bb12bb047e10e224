"""One client's requests on one key take effect in the order in which they were sent.

Requests on different keys overtake each other freely, and so do reads. A request on many keys, or on none in particular (a
scan, a destroy), counts as one on all keys of its connection. A key by name and the same key by token are two keys here: a
client that mixes both in flight waits for its answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable

__all__ = ["Order", "Turn"]


class Turn:
    """A request's place: wait until it comes, work, and leave it through `Order.leave`."""

    __slots__ = ("_ended", "_over", "before", "key", "writes")

    def __init__(self, key: Hashable, before: list[Turn], *, writes: bool) -> None:
        self.key = key
        self.writes = writes
        self.before = before
        self._ended = False
        self._over: asyncio.Event | None = None
        """For those who wait; nearly always there is nobody."""

    async def wait(self) -> None:
        """Wait until all that must come before is over."""
        while self.before:
            await self.before[-1].over()
            self.before.pop()

    async def over(self) -> None:
        """Wait until this turn is over."""
        if self._ended:
            return
        if self._over is None:
            self._over = asyncio.Event()
        await self._over.wait()

    def end(self) -> None:
        """Let those go on who wait for this turn."""
        self._ended = True
        if self._over is not None:
            self._over.set()


class _Line:
    """The turns on one key: the last write, and the reads since."""

    __slots__ = ("reads", "write")

    def __init__(self) -> None:
        self.write: Turn | None = None
        self.reads: set[Turn] = set()

    def before(self, *, writes: bool) -> Iterable[Turn]:
        if writes and self.reads:
            return self.reads  # each of them waits for the write itself
        return () if self.write is None else (self.write,)

    def add(self, turn: Turn) -> None:
        if turn.writes:
            self.write = turn
            self.reads = set()
        else:
            self.reads.add(turn)

    def remove(self, turn: Turn) -> bool:
        """Whether nobody is left."""
        self.reads.discard(turn)
        if self.write is turn:
            self.write = None
        return self.write is None and not self.reads


class Order:
    """The requests in flight of one client on one connection. The key None stands for all keys."""

    __slots__ = ("_early", "_lines", "_turns", "writes")

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._turns = 0
        self.writes = 0
        """How many of them write. Others may only look: while there is none, no read waits."""
        self._early: set[asyncio.Task[None]] = set()

    def __bool__(self) -> bool:
        return self._turns > 0

    def enter(self, key: Hashable, *, writes: bool) -> Turn:
        """Take the next place."""
        lines = self._lines
        line = lines.get(key)
        before: list[Turn] = []
        if writes or self.writes:
            if key is None:
                for one in lines.values():
                    before += one.before(writes=writes)
            else:
                if line is not None:
                    before += line.before(writes=writes)
                if (everywhere := lines.get(None)) is not None:
                    before += everywhere.before(writes=writes)
        turn = Turn(key, before, writes=writes)
        self.writes += writes
        if line is None:
            line = lines[key] = _Line()
        line.add(turn)
        self._turns += 1
        return turn

    def leave(self, turn: Turn) -> None:
        """Give the place up. Who leaves before the turn came still stands between those before and those behind."""
        if turn.before:
            task = asyncio.get_running_loop().create_task(self._leave_in_turn(turn))
            self._early.add(task)
            task.add_done_callback(self._early.discard)
            return
        self._turns -= 1
        self.writes -= turn.writes
        line = self._lines.get(turn.key)
        if line is not None and line.remove(turn):
            del self._lines[turn.key]
        turn.end()

    async def _leave_in_turn(self, turn: Turn) -> None:
        await turn.wait()
        self.leave(turn)
