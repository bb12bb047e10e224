"""A RemoteStore's way to its connection in the daemon: opens it, and opens it again after the daemon was gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, TypeVar

from kvd import requests
from kvd.client import Client
from kvd.errors import DaemonError
from kvd.model import ConnectionInfo
from kvd.remote_edge import from_daemon
from kvd.requests import Request
from stores.errors import StoreClosedError

__all__ = ["RemoteLink"]

T = TypeVar("T")


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
        self._info: ConnectionInfo | None = None
        self._closed = False
        self._opening = asyncio.Lock()

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
        if self._closed:
            raise StoreClosedError("This remote store was closed. Enter it again to use it.")
        if self._ready is not None:
            return self._ready
        async with self._opening:
            try:
                if self._client is None or not self._usable(self._client):
                    self._info = None
                    self._client = await Client.open(self._path, spawn=self._spawn)
                if self._info is None:
                    if ":" in self._asked:
                        self.connection = (await self._client.call(requests.open_url(self._asked))).connection
                    self._info = await self._client.call(requests.connect(self.connection))
            except DaemonError as error:
                await self._let_go()
                raise from_daemon(error) from error
            return self._client

    async def call(self, request: Request[T]) -> T:
        """Ask the daemon; its errors become those of `stores`."""
        client = self._ready or await self.opened()
        try:
            return await client.call(request)
        except DaemonError as error:
            raise from_daemon(error) from error

    def tell(self, request: Request[Any]) -> None:
        """Ask without waiting, if there is a connection: for what ends with the connection anyway."""
        if self._client is not None and self._client.is_open:
            self._client.tell(request)

    def reopen(self) -> None:
        """Let it be used again after `close`."""
        self._closed = False

    async def close(self) -> None:
        """End the connection to the daemon, unless it is the caller's."""
        self._closed = True
        await self._let_go()

    @property
    def _ready(self) -> Client | None:
        """The client, if nothing has to be opened."""
        client = self._client
        return None if self._closed or client is None or self._info is None or not self._usable(client) else client

    def _usable(self, client: Client) -> bool:
        return client.is_open or not self._owned  # a caller's client that ended says so itself

    async def _let_go(self) -> None:
        client = self._client
        if self._owned and client is not None:
            self._client = None
            await client.aclose()
