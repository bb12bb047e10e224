"""The asynchronous client: any number of requests in flight on one connection, each cancellable.

    async with await Client.open() as client:
        await client.call(requests.put("scratch", None, "greeting", b'{"hello": "world"}', ttl=90))

`open` starts the daemon where none runs. A connection that ended stays ended: who needs another opens one, because only the
caller knows what to read again. How requests share what goes out is `kvd.link`'s.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from kvd import paths, spawn
from kvd.errors import ConnectionLostError, RequestError, UnreachableDaemonError
from kvd.handshake import ATTEMPTS, GRACE, HELLO_TIMEOUT, PAUSE, Server, hello, refused, unanswered, ungreeted
from kvd.link import Changes, Link
from kvd.requests import Request

__all__ = ["Changes", "Client"]

T = TypeVar("T")


class Client:
    """A connection to the daemon. Made by `open`; used on the loop on which it was opened."""

    server: Server
    """What the daemon said of itself."""

    def __init__(self, link: Link, server: Server) -> None:
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


async def _connect(path: Path, *, start: bool) -> Link:
    loop = asyncio.get_running_loop()
    link = Link(loop)
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


async def _greet(link: Link) -> Server:
    request = hello()
    try:
        async with asyncio.timeout(HELLO_TIMEOUT):
            return request.decode(await link.send(request)[1])
    except TimeoutError:
        raise ungreeted() from None
    except RequestError as error:
        raise refused(error) from None


async def _close(link: Link) -> None:
    if link.lost is None:
        link.transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await asyncio.shield(link.gone)
    if link.lost is None:
        link.transport.abort()  # the daemon does not read what was written
        await asyncio.shield(link.gone)
