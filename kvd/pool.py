"""All connections of the daemon: those of the configuration, those opened by URL, and the demos.

A name is one of three kinds. Those of the configuration everybody sees. A store that was opened by URL has its canonical URL as
its name, is shared by all clients that ask for it, and is closed when the last of them leaves. A demo belongs to one client;
one of the configuration that gets its name meanwhile is there when that client has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from kvd.connections import Connection
from kvd.errors import Code, RequestError
from kvd.threads import in_thread

if TYPE_CHECKING:
    from kvd.config import Config, ConnectionConfig

__all__ = ["Pool"]


class Pool:
    """The connections by name."""

    def __init__(
        self,
        config: Config,
        *,
        changed: Callable[[Connection], None],
        learn: Callable[[str], None],
        redact: Callable[[str], str],
        replaced: Callable[[Connection, Connection | None], None],
    ) -> None:
        """Take the configuration; nothing is opened.

        Args:
            config: what is written down.
            changed: called when a connection's state changed.
            learn: gets the secrets that are looked up.
            redact: takes them out of a text.
            replaced: called with a connection that leaves, and with the one that gets its name.
        """
        self.config = config
        self._changed = changed
        self._replaced = replaced
        self._learn = learn
        self._redact = redact
        self.connections = {name: self._make(settings) for name, settings in config.connections.items()}
        """By name, of whatever kind: `find` tells who may use one."""
        self._leaving: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self.connections.values()))

    def _make(self, settings: ConnectionConfig) -> Connection:
        return Connection(settings, changed=self._changed, learn=self._learn, redact=self._redact)

    def find(self, name: str, client: object) -> Connection:
        """Return the connection that the client means.

        Raises:
            RequestError: unknown_connection.
        """
        connection = self.connections.get(name)
        if connection is None or (connection.users and client not in connection.users):
            known = ", ".join(one.name for one in self if not one.users) or "none"
            why = "" if self.config.readable else f" ({self.config.problems[0]})"
            raise RequestError(Code.UNKNOWN_CONNECTION, f"there is no connection {name!r}; those configured are: {known}{why}")
        return connection

    def is_visible(self, name: str, client: object) -> bool:
        """Tell whether the client may know of the connection."""
        connection = self.connections.get(name)
        return connection is None or not connection.users or client in connection.users

    def visible(self, client: object) -> list[Connection]:
        """Return the connections that a client may use, in the configuration's order, then those that it opened."""
        return [connection for connection in self if not connection.users or client in connection.users]

    async def open_url(self, url: str, client: object, *, read_only: bool) -> Connection:
        """Open the store that a URL names, for this client too.

        Raises:
            RequestError: config_error, setup_failed or unreachable.
        """
        settings = await in_thread(_from_url, url, read_only)
        connection = self.connections.get(settings.name)
        if connection is None:
            connection = self.connections[settings.name] = self._make(settings)
        is_new = client not in connection.users
        connection.users.add(client)
        try:
            await connection.open(now=True)
        except BaseException:
            if is_new:
                self._leave(connection, client)
            raise
        return connection

    async def open_demo(self, client: object) -> Connection:
        """Open a store with the demo's data for this client alone."""
        settings = await in_thread(_demo_settings)
        names = chain([settings.name], (f"{settings.name}-{number}" for number in count(2)))
        name = next(name for name in names if name not in self.connections)
        connection = self.connections[name] = self._make(replace(settings, name=name))
        connection.users.add(client)
        try:
            store = await connection.open()
            from kvd.demo import fill  # noqa: PLC0415 - the data set is read only for a demo

            await fill(store)
        except BaseException:
            self._leave(connection, client)
            raise
        return connection

    def left(self, client: object) -> None:
        """Let go of what a client had opened."""
        for connection in self:
            if client in connection.users:
                self._leave(connection, client)

    def _leave(self, connection: Connection, client: object) -> None:
        connection.users.discard(client)
        if not connection.users and self.connections.get(connection.name) is connection:
            del self.connections[connection.name]
            if connection.store is not None and not connection.store.traits.persistent:
                self._replaced(connection, None)  # what is on a server may be opened again
            self._close(connection)
            if (settings := self.config.connections.get(connection.name)) is not None:
                self.connections[connection.name] = self._make(settings)

    def _close(self, connection: Connection) -> None:
        task = asyncio.get_running_loop().create_task(connection.close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def reload(self) -> list[str]:
        """Read the configuration again. Connections that did not change stay open; returns the names of those that did.

        What is in memory is not lost for it: of a file that cannot be read only the problem is noted, and a connection whose
        entries would be lost stays (`_carried_on`).
        """
        config = await in_thread(_load, self.config.path)
        if not config.readable:
            self.config = replace(self.config, problems=config.problems, readable=False)
            return []
        before = {connection.name: connection for connection in self if not connection.users}
        after: dict[str, Connection] = {}
        for name, connection in before.items():
            settings = config.connections.get(name)
            if settings == connection.config:
                after[name] = connection
                connection.stay(None)
            elif await connection.holds_entries():
                after[name] = _carried_on(connection, settings, config.path)
            else:
                self._close(connection)
        configured = {name: after.get(name) or self._make(settings) for name, settings in config.connections.items()}
        others = {connection.name: connection for connection in self if connection.users}
        self.connections = configured | after | others
        self.config = config
        for name, connection in before.items():
            self._replaced(connection, self.connections.get(name))
        named = [name for name in {**before, **configured} if name not in others]
        changed = [name for name in named if self.connections.get(name) is not before.get(name)]
        for name in changed:
            if name in configured:
                self._changed(configured[name])
        return changed

    async def holds_entries(self) -> bool:
        """Tell whether some store's entries would be lost if the daemon left."""
        for connection in self:
            if await connection.holds_entries():
                return True
        return False

    async def close(self) -> None:
        """Close all stores."""
        connections, self.connections = self.connections, {}
        await asyncio.gather(*(connection.close() for connection in connections.values()), *self._leaving)


def _carried_on(connection: Connection, settings: ConnectionConfig | None, path: Path) -> Connection:
    """The connection with its entries: under new options with the same store, and otherwise as it was, which it tells."""
    old = connection.config
    if settings is not None and not settings.problems and (settings.store, settings.args) == (old.store, old.args):
        return connection.hand_over(settings)
    said = "names it no more" if settings is None else "says something else of it"
    connection.stay(f"{path} {said}, but its entries are only in memory: it stays as it was until they or the daemon are gone")
    return connection


def _load(path: Path) -> Config:
    from kvd.config import load  # noqa: PLC0415 - so that its import, too, is off the loop

    return load(path)


def _from_url(url: str, read_only: bool) -> ConnectionConfig:
    try:
        from kvd.config import ConfigError  # noqa: PLC0415 - as above
        from kvd.opening import from_url  # noqa: PLC0415 - as above
    except (ImportError, OSError, SyntaxError) as error:
        # no descriptor is left to read it with, or it is of another version than what runs
        message = f"a part of the daemon cannot be loaded ({error}): if it was upgraded, run `kvd restart`"
        raise RequestError(Code.SETUP_FAILED, message, retry=True) from error
    try:
        return from_url(url, read_only=read_only)
    except ConfigError as error:
        raise RequestError(Code.CONFIG_ERROR, str(error)) from None


def _demo_settings() -> ConnectionConfig:
    from kvd.config import ConnectionConfig  # noqa: PLC0415 - as above

    return ConnectionConfig(name="demo", store="memory")
