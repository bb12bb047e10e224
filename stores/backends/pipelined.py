"""Connections on which many callers' requests travel together.

What is asked in one turn of the event loop goes out in one write, and answers come back in the order of the requests. A caller
that is cancelled leaves its place in that order, so nobody ever reads another's answer. A request that was written is not
taken back and never sent twice: when the connection is lost, everybody who still waits on it is told, and the next request
connects anew. A server that owes an answer and sends nothing for `timeout` seconds counts as lost.

Small requests have a connection of their own, so that they do not wait behind a batch.

A server that is no longer the one to ask is left for the one that its address now leads to (`Link.renew`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

__all__ = ["Answered", "Answers", "Line", "Link"]

Answered = Callable[[list[Any] | Exception], None]
"""Is called with the answers to a request, or with why there are none. Must not raise."""

RECEIVE: Final = 64 << 10
"""Bytes received in one go."""


RENEWAL: Final = 1.0
"""Seconds between two connections that are opened in the place of ones that work."""


class Answers(Protocol):
    """Cuts what a server sends into answers."""

    def cut(self, data: bytes) -> Iterable[Any]:
        """Take what was received; the answers that are whole with it, to be taken to the last. Raises for nonsense."""


class Line(asyncio.BufferedProtocol):
    """One connection. `lost` makes the exception that waiting callers get, from a sentence; its cause tells what happened."""

    def __init__(self, answers: Answers, lost: Callable[[str], Exception], timeout: float) -> None:
        """Make the protocol of a connection that a loop then opens.

        Args:
            answers: a parser of its own.
            lost: makes the exception of a lost connection.
            timeout: seconds of silence while an answer is owed.
        """
        self._loop = asyncio.get_running_loop()
        self._answers = answers
        # left to itself, asyncio allocates 256 KiB for every little answer, which costs more than all the rest of it
        self._buffer = memoryview(bytearray(RECEIVE))
        self._lost = lost
        self._timeout = timeout
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Answered, int]] = deque()
        self._received: list[Any] = []
        self._outgoing: list[bytes] = []
        self._alone = True
        """Whether a request goes out at once while no other is in sight: not after several in one turn, which bring several."""
        self._watch: asyncio.TimerHandle | None = None
        self._heard = 0.0
        """When the silence began: when the server was last heard, or from when on it owes an answer."""
        self._writable: asyncio.Future[None] | None = None
        self._gone: Exception | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and self._gone is None

    def ask(self, request: bytes, count: int) -> Awaitable[list[Any]]:
        """Send a request; what is returned waits for its `count` answers."""
        if self._writable is not None:
            return self._ask_later(request, count)
        if self._gone is not None:
            raise self._loss(self._gone)
        answered: asyncio.Future[list[Any]] = self._loop.create_future()
        self.send(request, count, partial(_settle, answered))
        return answered

    def send(self, request: bytes, count: int, answered: Answered) -> bool:
        """As `ask`, and the answers come by a call; False when nothing can be sent now."""
        if self._writable is not None or self._gone is not None:
            return False
        if self._alone and not self._waiting and not self._outgoing and self._transport is not None:
            self._transport.write(request)  # nobody to share a write with
        else:
            if not self._outgoing:
                self._loop.call_soon(self._flush)
            self._outgoing.append(request)
        if not self._waiting:
            self._heard = self._loop.time()
        if self._watch is None:
            self._watch = self._loop.call_at(self._heard + self._timeout, self._check)
        self._waiting.append((answered, count))
        return True

    async def _ask_later(self, request: bytes, count: int) -> list[Any]:
        while self._writable is not None:
            await asyncio.shield(self._writable)
        return await self.ask(request, count)

    def close(self) -> None:
        """Close at once; whoever waits is told."""
        self._fail(ConnectionAbortedError("the connection was closed"))

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment] # loops give a stream protocol a Transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def pause_writing(self) -> None:
        """Let new requests wait."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let them go on."""
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the loop the buffer."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand out the answers that are whole."""
        self._heard = self._loop.time()
        received, waiting = self._received, self._waiting
        try:
            for answer in self._answers.cut(self._buffer[:nbytes].tobytes()):
                received.append(answer)
                answered, count = waiting[0]
                if len(received) == count:
                    waiting.popleft()
                    answered(received)
                    self._received = received = []
        except Exception as exc:  # noqa: BLE001 - whatever the parser says, this stream cannot be read on
            self._fail(ConnectionError(f"the server's answer cannot be used ({exc})"))

    def _flush(self) -> None:
        self._alone = len(self._outgoing) == 1
        if self._transport is not None and self._gone is None:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _check(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        due = self._heard + self._timeout
        if self._loop.time() >= due:
            self._fail(TimeoutError(f"no answer for {self._timeout:g} seconds"))
        else:
            self._watch = self._loop.call_at(due, self._check)

    def _loss(self, why: Exception) -> Exception:
        lost = self._lost(str(why))
        lost.__cause__ = why
        return lost

    def _fail(self, why: Exception) -> None:
        if self._gone is not None:
            return
        self._gone = why
        if self._watch is not None:
            self._watch.cancel()
        self.resume_writing()
        waiting, self._waiting = self._waiting, deque()
        for answered, _ in waiting:
            answered(self._loss(why))
        if self._transport is not None:
            self._transport.abort()


def _settle(answered: asyncio.Future[list[Any]], answers: list[Any] | Exception) -> None:
    if answered.done():
        return
    if isinstance(answers, Exception):
        answered.set_exception(answers)
    else:
        answered.set_result(answers)


def _left(line: Line, answers: list[Any] | Exception) -> None:
    line.close()


class Link:
    """At most two lines to one server, opened when they are needed and again when they are lost."""

    def __init__(self, connect: Callable[[], Awaitable[Line]]) -> None:
        """Remember how a line is opened: `connect` connects and logs in, or raises."""
        self._connect = connect
        self._forget()

    def _forget(self) -> None:
        self._lines: list[Line | None] = [None, None]
        self._locks = [asyncio.Lock(), asyncio.Lock()]
        self._leaving: list[Line] = []
        """Lines on which answers are still owed and nothing more is asked."""
        self._renewed = -RENEWAL

    async def open(self) -> None:
        """Connect."""
        await self._line(0)

    def ask(self, request: bytes, count: int, *, is_batch: bool) -> Awaitable[list[Any]]:
        """Send a request that `count` answers belong to; what is returned waits for them."""
        lane = int(is_batch)
        line = self._lines[lane]
        if line is None or not line.is_open:
            return self._ask_anew(lane, request, count)
        return line.ask(request, count)

    def send(self, request: bytes, count: int, answered: Answered) -> bool:
        """Send a small request whose `count` answers come by a call; False when nothing can be sent now."""
        line = self._lines[0]
        return line is not None and line.send(request, count, answered)

    async def _ask_anew(self, lane: int, request: bytes, count: int) -> list[Any]:
        line = await self._line(lane)
        return await line.ask(request, count)

    async def _line(self, lane: int) -> Line:
        lines = self._lines
        async with self._locks[lane]:
            line = lines[lane]
            if line is None or not line.is_open:
                line = lines[lane] = await self._connect()
            if lines is not self._lines:  # closed meanwhile
                line.close()
            return line

    def renew(self, request: bytes) -> None:
        """Connect anew for what is asked from now on. What was asked is answered, and last this request with one answer."""
        now = asyncio.get_running_loop().time()
        if now - self._renewed < RENEWAL:
            return
        self._renewed = now
        lines, self._lines[:] = [line for line in self._lines if line is not None], [None, None]
        self._leaving = [line for line in self._leaving if line.is_open]
        for line in lines:
            if line.send(request, 1, partial(_left, line)):
                self._leaving.append(line)
            else:
                line.close()

    def close(self) -> None:
        """Close all."""
        lines = [*self._lines, *self._leaving]
        self._forget()
        for line in lines:
            if line is not None:
                line.close()
