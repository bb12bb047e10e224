"""The asynchronous client: any number of requests in flight on one connection, each cancellable.

    async with await Client.open() as client:
        await client.call(requests.put("scratch", None, "greeting", b'{"hello": "world"}', ttl=90))

- `open` starts the daemon where none runs. A connection that ended stays ended: who needs another opens one, because only the
  caller knows what to read again.
- What is asked within one turn of the loop goes out in one write. What the socket, or the daemon's limit of requests in
  flight, has no room for waits its turn here, in order.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

from kvd import paths, spawn
from kvd.errors import ConnectionLostError, ProtocolError, RequestError, UnreachableDaemonError
from kvd.frames import Inbox
from kvd.handshake import ATTEMPTS, GRACE, HELLO_TIMEOUT, PAUSE, Server, hello, read_change, refused, unanswered, ungreeted
from kvd.model import Change
from kvd.protocol import MAX_ID, MAX_IN_FLIGHT, REPLY, Encoder
from kvd.requests import Request
from kvd.transport import receive_in_pieces

__all__ = ["Changes", "Client"]

T = TypeVar("T")

_MAX_CHANGES = 10_000
"""Changes that wait for one reader; over it they become one "resync"."""


class Changes(AsyncIterator[Change]):
    """What a client's subscriptions bring, from the moment this was made until the connection ends."""

    def __init__(self, link: _Link) -> None:
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


class _Link(asyncio.Protocol):
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
        self._waiters: dict[int, asyncio.Future[Any] | None] = {}
        """Of what is unsent or in flight, by id; None for who has given up, whose answer is still to come."""
        self._unsent: dict[int, bytes] = {}
        self._last_id = 0
        self._flushing = False
        self._paused = False
        self._direct = True
        """Whether a lone request goes out at once: not while paused, nor after several answers, which may bring several."""
        self._reason: str | None = None
        self.leaving = False

    # towards the daemon

    def send(self, request: Request[Any]) -> tuple[int, asyncio.Future[Any]]:
        if self.lost is not None:
            raise ConnectionLostError(str(self.lost))
        waiters = self._waiters
        number = self._last_id + 1
        if number > MAX_ID or number in waiters:
            number = self._free_id()
        frame = self._encode(number, request.method, request.params, request.timeout, request.journal)
        self._last_id = number
        waiter: asyncio.Future[Any] = self.loop.create_future()
        if self._direct and not waiters:
            self.transport.write(frame)  # nobody to share a write with
        else:
            self._unsent[number] = frame
            if not self._flushing:
                self._flushing = True
                self.loop.call_soon(self._flush)
        waiters[number] = waiter
        return number, waiter

    def tell(self, request: Request[Any]) -> None:
        number, _ = self.send(request)
        self._waiters[number] = None

    def give_up(self, number: int) -> None:
        """Nobody waits for this answer any more: unsend the request, or cancel it."""
        if self.lost is not None or number not in self._waiters:
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

    def _flush(self) -> None:
        self._flushing = False
        unsent = self._unsent
        if not unsent or self._paused or self.lost is not None:
            return
        room = self.limit - (len(self._waiters) - len(unsent))
        if len(unsent) <= room:
            frames = list(unsent.values())
            unsent.clear()
        else:
            frames = [unsent.pop(number) for number in list(islice(unsent, max(room, 0)))]
        if frames:
            self.transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def pause_writing(self) -> None:
        self._paused = True
        self._direct = False

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    # from the daemon

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = receive_in_pieces(transport)

    def data_received(self, data: bytes) -> None:
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
        reason = self._reason or (f"the connection to the daemon broke: {exc}" if exc else "the daemon closed the connection")
        self.lost = ConnectionLostError(reason)
        waiters, self._waiters = self._waiters, {}
        self._unsent.clear()
        for waiter in waiters.values():
            if waiter is not None and not waiter.done():
                waiter.set_exception(ConnectionLostError(reason))
        for reader in self.readers:
            reader.wake()
        self.gone.set_result(None)


class Client:
    """A connection to the daemon. Made by `open`; used on the loop on which it was opened."""

    server: Server
    """What the daemon said of itself."""

    def __init__(self, link: _Link, server: Server) -> None:
        self._link = link
        self.server = server

    @classmethod
    async def open(cls, path: Path | None = None, *, spawn: bool = True) -> Self:
        """Connect to the daemon.

        Args:
            path: its socket; the user's own daemon unless given.
            spawn: start the daemon when none runs.

        Raises:
            UnreachableDaemonError: there is none, it does not start, or it does not answer. The message says what to do.
            IncompatibleError: it speaks another version of the protocol.
            UnsafePathError: the folder of its socket cannot be trusted.
        """
        socket_path = path or paths.socket_path()
        for attempt in range(ATTEMPTS):
            link = await _connect(socket_path, start=spawn)
            try:
                server = await _greet(link)
            except ConnectionLostError as error:
                # a daemon that is killed, or leaves, resets who came last
                if attempt == ATTEMPTS - 1:
                    raise UnreachableDaemonError(str(error)) from None
                await asyncio.sleep(PAUSE)
            except BaseException:
                await _close(link)
                raise
            else:
                break
        link.limit = max(1, server.max_in_flight)
        return cls(link, server)

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands, as far as is known."""
        return self._link.lost is None

    @property
    def is_leaving(self) -> bool:
        """Whether the daemon said that it leaves: what is asked from then on it does not begin."""
        return self._link.leaving

    async def call(self, request: Request[T]) -> T:
        """Ask, and wait for the answer. Cancelling the task that waits cancels the request.

        Raises:
            RequestError: the daemon refused or failed; `code` says why.
            ConnectionLostError: the daemon went before it answered, or long ago.
        """
        timeout = request.timeout
        number, waiter = self._link.send(request)
        try:
            if timeout is None:
                return request.decode(await waiter)
            async with asyncio.timeout(timeout + GRACE):
                return request.decode(await waiter)
        except asyncio.CancelledError:
            self._link.give_up(number)
            raise
        except TimeoutError:
            self._link.give_up(number)
            raise unanswered() from None

    def tell(self, request: Request[Any]) -> None:
        """Ask in turn with the calls, and wait for nothing: whether it succeeds is not learned.

        Raises:
            ConnectionLostError: the connection is gone.
        """
        self._link.tell(request)

    def changes(self) -> Changes:
        """The changes of what was subscribed to, from now on, for `async for`. Ends when the connection ends."""
        reader = Changes(self._link)
        self._link.readers.add(reader)
        return reader

    async def closed(self) -> None:
        """Wait until the connection is gone, whoever ended it."""
        await asyncio.shield(self._link.gone)

    async def aclose(self) -> None:
        """End the connection. What is still in flight fails with ConnectionLostError, and the daemon cancels it."""
        await _close(self._link)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def _connect(path: Path, *, start: bool) -> _Link:
    loop = asyncio.get_running_loop()
    link = _Link(loop)
    sock = await _find(loop, path, start=start)
    try:
        await loop.create_unix_connection(lambda: link, sock=sock)
    except BaseException:
        sock.close()
        raise
    return link


async def _find(loop: asyncio.AbstractEventLoop, path: Path, *, start: bool) -> socket.socket:
    finding = loop.run_in_executor(None, spawn.find_or_start if start else spawn.find, path)
    try:
        return await asyncio.shield(finding)
    except asyncio.CancelledError:
        finding.add_done_callback(_close_unwanted)
        raise


def _close_unwanted(finding: asyncio.Future[socket.socket]) -> None:
    if not finding.cancelled() and finding.exception() is None:
        finding.result().close()


async def _greet(link: _Link) -> Server:
    request = hello()
    try:
        async with asyncio.timeout(HELLO_TIMEOUT):
            return request.decode(await link.send(request)[1])
    except TimeoutError:
        raise ungreeted() from None
    except RequestError as error:
        raise refused(error) from None


async def _close(link: _Link) -> None:
    if link.lost is None:
        link.transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await asyncio.shield(link.gone)
    if link.lost is None:
        link.transport.abort()  # the daemon does not read what was written
        await asyncio.shield(link.gone)
