"""A RemoteStore's way to its connection in the daemon: opens it, and opens it again after the daemon was gone.

It works on one event loop at a time. Its client ends with its loop, and on the next one it has another.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, TypeVar

from kvd import requests
from kvd.client import Client
from kvd.errors import Code, ConnectionLostError, DaemonError, RequestError
from kvd.model import ConnectionInfo
from kvd.remote_edge import from_daemon
from kvd.requests import Request
from stores.errors import BaseKeyValueError, StoreClosedError, StoreSetupError
from stores.locks import LoopLock

__all__ = ["RemoteLink"]

T = TypeVar("T")

LEAVE_TIMEOUT: Final = 60.0
"""Seconds that a daemon which leaves is waited for."""


class RemoteLink:
    """A connection of the daemon, by its name or a URL. Opened at its first use."""

    def __init__(self, asked: str, path: Path | None, *, spawn: bool, client: Client | None) -> None:
        """Take what `RemoteStore.open` takes."""
        self.connection = asked
        """Its name in the daemon."""
        self._asked = asked
        self._path = path
        self._spawn = spawn
        self._owned = client is None
        self._client = client
        self._loop: asyncio.AbstractEventLoop | None = None
        """On which the client was last used."""
        self._info: ConnectionInfo | None = None
        self._closed = False
        self._entered = 0
        """Blocks that the store is in: the last to end closes it."""
        self._opening = LoopLock()

    @property
    def info(self) -> ConnectionInfo:
        """The connection as it was when it was last opened."""
        if self._info is None:
            raise StoreClosedError("This remote store is not open.")
        return self._info

    async def opened(self) -> Client:
        """The client, connected, with the connection open in the daemon.

        Raises:
            StoreClosedError: `close` was called.
            StoreSetupError: the daemon has no such connection, or cannot open it.
            StoreConnectionError: no daemon, or no backend.
        """
        self._refuse_closed()
        if self._ready is not None:
            return self._ready
        async with self._opening:
            self._leave_loop()
            try:
                try:
                    client = await self._connected()
                except RequestError as error:
                    if self._client is None or not await self._outlives(self._client, error, was_leaving=False):
                        raise
                    client = await self._connected()
            except (DaemonError, OSError) as error:
                await self._let_go()
                raise self._translated(error) from error
            if self._closed:  # meanwhile
                await self._let_go()
                self._refuse_closed()
            return client

    async def _connected(self) -> Client:
        if self._client is None or not self._usable(self._client):
            self._info = None
            self._client = await Client.open(self._path, spawn=self._spawn)
        client = self._client
        if self._info is None:
            if ":" in self._asked:
                self.connection = (await client.call(requests.open_url(self._asked))).connection
            self._info = await client.call(requests.connect(self.connection))
        return client

    async def call(self, request: Request[T]) -> T:
        """Ask the daemon, or the one after it where it left and did not begin; its errors become those of `stores`."""
        client = self._ready or await self.opened()
        was_leaving = client.is_leaving
        try:
            return await client.call(request)
        except DaemonError as error:
            if not await self._outlives(client, error, was_leaving=was_leaving):
                raise self._translated(error) from error
        client = await self.opened()
        try:
            return await client.call(request)
        except DaemonError as error:
            raise self._translated(error) from error

    async def _outlives(self, client: Client, error: DaemonError, *, was_leaving: bool) -> bool:
        """Wait for the end of a daemon that leaves, if what it was asked can be asked of the next one: it was not begun."""
        if isinstance(error, RequestError):
            begun = error.code != Code.SHUTTING_DOWN or error.detail is not None
        else:
            begun = not (was_leaving and isinstance(error, ConnectionLostError))
        if begun or not self._owned or self._closed:
            return False
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await client.closed()
        except TimeoutError:
            return False
        return not self._closed

    def tell(self, request: Request[Any]) -> None:
        """Ask without waiting, if there is a connection: for what ends with the connection anyway."""
        if self._client is not None and self._client.is_open:
            self._client.tell(request)

    async def enter(self) -> None:
        """Let it be used, again after `close`, until as many blocks have ended as have begun."""
        self._closed = False
        await self.opened()
        self._entered += 1

    async def leave(self) -> None:
        """End a block."""
        self._entered -= 1
        if self._entered <= 0:
            await self.close()

    async def close(self) -> None:
        """End the connection to the daemon, unless it is the caller's."""
        self._leave_loop()
        self._closed = True
        self._entered = 0
        await self._let_go()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosedError("This remote store was closed. Enter it again to use it.")

    def _translated(self, error: DaemonError | OSError) -> BaseKeyValueError:
        return StoreClosedError("This remote store was closed during the call.") if self._closed else from_daemon(error)

    def _leave_loop(self) -> None:
        """Use the running event loop. StoreSetupError where another one has the client and has not ended."""
        loop = asyncio.get_running_loop()
        if self._client is not None and self._loop not in (None, loop):
            if not self._loop.is_closed() or not self._owned:
                raise StoreSetupError(
                    "This remote store is open on another event loop, and works on one at a time. Close it there."
                )
            self._client = None
        self._loop = loop

    @property
    def _ready(self) -> Client | None:
        """The client, if nothing has to be opened."""
        client = self._client
        if client is None or self._closed or self._info is None or self._loop is not asyncio.get_running_loop():
            return None
        return client if self._usable(client) else None

    def _usable(self, client: Client) -> bool:
        return client.is_open or not self._owned  # a caller's client that ended says so itself

    async def _let_go(self) -> None:
        client = self._client
        if self._owned and client is not None:
            self._client = None
            await client.aclose()
