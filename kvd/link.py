"""The asynchronous client's connection: it encodes, sends, and hands each answer to who waits for it.

What is asked within one turn of the loop goes out in one write, and values in one request (`kvd.merging`). What the socket, or
the daemon's limit of requests in flight, has no room for waits its turn here, in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any
from weakref import WeakSet

from kvd.errors import ConnectionLostError, ProtocolError, RequestError
from kvd.frames import Inbox
from kvd.handshake import read_change
from kvd.merging import Get, Merged, groups, is_plain
from kvd.model import Change
from kvd.protocol import MAX_ID, MAX_IN_FLIGHT, REPLY, Encoder
from kvd.requests import Request
from kvd.transport import receive_in_pieces

__all__ = ["Changes", "Link"]

_MAX_CHANGES = 10_000
"""Changes that wait for one reader; over it they become one "resync"."""
REST = 1.0
"""Seconds for which values are asked for one by one after an answer with many was large."""


class Changes(AsyncIterator[Change]):
    """What a client's subscriptions bring, from the moment this was made until the connection ends."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: deque[Change] = deque()
        self._reader: asyncio.Future[None] | None = None

    def add(self, change: Change) -> None:
        """Take a change from the connection."""
        if len(self._waiting) >= _MAX_CHANGES:
            self._waiting.clear()
            change = Change(sequence=change.sequence, connection="", collection=None, keys=[], operation="resync")
        self._waiting.append(change)
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def __anext__(self) -> Change:
        while not self._waiting:
            if self._link.lost is not None:
                raise StopAsyncIteration
            self._reader = self._link.loop.create_future()
            await self._reader
        return self._waiting.popleft()


class Link(asyncio.Protocol):
    """The connection: encodes, sends, and hands each answer to who waits for it."""

    transport: asyncio.Transport
    """There once it is connected, before which nothing is sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.lost: Exception | None = None
        self.gone: asyncio.Future[None] = loop.create_future()
        self.limit = MAX_IN_FLIGHT
        self.readers: WeakSet[Changes] = WeakSet()
        self._encode = Encoder().request
        self._inbox = Inbox()
        self._waiters: dict[int, asyncio.Future[Any] | Merged | None] = {}
        """Of what is unsent or in flight, by id; None for who has given up, whose answer is still to come."""
        self._merged: dict[int, Merged] = {}
        """Of those that are in flight with others, by their ids, the first of which is the request's."""
        self._alone_until = 0.0
        """When values may go out together again."""
        self._unsent: dict[int, bytes | Request[Any]] = {}
        """Frames, and gets that may go out together."""
        self._last_id = 0
        self._flushing = False
        self._paused = False
        self._direct = True
        """Whether a lone request goes out at once: not while paused, nor after several answers, which may bring several."""
        self._reason: str | None = None
        self.leaving = False

    # towards the daemon

    def send(self, request: Request[Any]) -> tuple[int, asyncio.Future[Any]]:
        """Send a request, at once or with others of this moment.

        Returns:
            its id, and what becomes the answer, not decoded, or the RequestError or ConnectionLostError that came of it.

        Raises:
            ConnectionLostError: the connection is gone.
        """
        if self.lost is not None:
            raise ConnectionLostError(str(self.lost))
        waiters = self._waiters
        number = self._last_id + 1
        if number > MAX_ID or number in waiters:
            number = self._free_id()
        is_direct = self._direct and not waiters  # nobody to share a write with
        frame = None if not is_direct and is_plain(request) else self._frame(number, request)
        self._last_id = number
        waiter: asyncio.Future[Any] = self.loop.create_future()
        if frame is not None and is_direct:
            self.transport.write(frame)
        else:
            self._unsent[number] = frame or request
            self._flush_soon()
        waiters[number] = waiter
        return number, waiter

    def _frame(self, number: int, request: Request[Any]) -> bytes:
        return self._encode(number, request.method, request.params, request.timeout, request.journal)

    def tell(self, request: Request[Any]) -> None:
        """Send a request for whose answer nobody waits."""
        self.send(request)[1].cancel()

    def give_up(self, number: int) -> None:
        """Nobody waits for this answer any more: unsend the request, or cancel it."""
        merged = self._merged.pop(number, None)
        if merged is not None:
            if not merged.done():
                return
            number = merged.gets[0][0]
        if self.lost is not None or self._waiters.get(number) is None:
            return
        if self._unsent.pop(number, None) is not None:
            del self._waiters[number]
            return
        self._waiters[number] = None
        cancel = self._last_id = self._free_id()
        self._waiters[cancel] = None
        self.transport.write(self._encode(cancel, "cancel", {"id": number}))

    def _free_id(self) -> int:
        number = self._last_id
        while True:
            number = number + 1 if number < MAX_ID else 0
            if number not in self._waiters:
                return number

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        unsent = self._unsent
        if not unsent or self._paused or self.lost is not None:
            return
        room = self.limit - (len(self._waiters) - len(unsent))
        frames: list[bytes] = []
        gets: list[Get] = []
        for number in list(islice(unsent, max(room, 0))):
            one = unsent.pop(number)
            if isinstance(one, bytes):
                frames += self._merge(gets)
                gets.clear()
                frames.append(one)
            else:
                gets.append((number, one))
        frames += self._merge(gets)
        if frames:
            self.transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def _merge(self, gets: list[Get]) -> list[bytes]:
        if len(gets) < 2 or self.loop.time() < self._alone_until:  # noqa: PLR2004 - there is nobody to share a request with
            return [self._frame(*get) for get in gets]
        frames = []
        for together in groups(gets):
            number = together[0][0]
            if len(together) == 1:
                frames.append(self._frame(*together[0]))
                continue
            waiters: list[Any] = [self._waiters.pop(one) for one, _ in together]
            merged = Merged(together, waiters, again=self._send_again, large=self._rest)
            self._waiters[number] = merged
            self._merged |= dict.fromkeys((one for one, _ in together), merged)
            frames.append(self._encode(number, *merged.request))
        return frames

    def _send_again(self, gets: list[tuple[Get, asyncio.Future[Any]]]) -> None:
        for (number, request), waiter in gets:
            self._waiters[number] = waiter
            self._unsent[number] = self._frame(number, request)
        self._flush_soon()

    def _rest(self) -> None:
        self._alone_until = self.loop.time() + REST

    def pause_writing(self) -> None:
        """Keep what is sent from now on: the socket is full."""
        self._paused = True
        self._direct = False

    def resume_writing(self) -> None:
        """Send what was kept."""
        self._paused = False
        self._flush()

    # from the daemon

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = receive_in_pieces(transport)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to who waits for it."""
        try:
            messages = self._inbox.messages(data)
        except ProtocolError as error:
            self._reason = f"the daemon broke the protocol: {error.message}"
            self.transport.abort()
            return
        self._direct = len(messages) == 1 and not self._paused
        waiters = self._waiters
        for message in messages:
            waiter = waiters.pop(message[1], None)  # an event has its name there
            if type(waiter) is Merged:
                for number, _ in waiter.gets:
                    self._merged.pop(number, None)
            if waiter is None:
                self._other(message)
            elif waiter.done():
                pass
            elif message[2] is None:
                waiter.set_result(message[3])
            else:
                waiter.set_exception(RequestError.unpack(message[2]))
        if self._unsent:
            self._flush()

    def _other(self, message: list[Any]) -> None:
        """Take an event, or an answer for which nobody waits."""
        kind, name, params, *_ = message
        if kind == REPLY:
            if name is None:
                self._reason = RequestError.unpack(params).message
        elif name == "closing":
            self.leaving = True
            self._reason = f"the daemon left: {params.get('reason', 'it was told to')}"
        elif name == "change" and self.readers:
            change = read_change(params)
            for reader in self.readers:
                reader.add(change)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits, and why."""
        reason = self._reason or (f"the connection to the daemon broke: {exc}" if exc else "the daemon closed the connection")
        self.lost = ConnectionLostError(reason)
        waiters, self._waiters = self._waiters, {}
        self._unsent.clear()
        self._merged.clear()
        for waiter in waiters.values():
            if waiter is not None and not waiter.done():
                waiter.set_exception(ConnectionLostError(reason))
        for reader in self.readers:
            reader.wake()
        self.gone.set_result(None)
