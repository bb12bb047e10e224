"""RedisStore: entries as strings `collection::key`.

A store that is given an address speaks to the server over pipelined connections of its own (`pipelined`): at most two,
however many callers there are. A client that was passed in is used through its own pool, a few connections at a time, and
raw: what it decodes, or which protocol it speaks, makes no difference.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Protocol, Unpack, overload

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError as RedisReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from stores.arguments import Secret
from stores.backends.certificates import check_files
from stores.backends.envelope import open_text
from stores.backends.pipelined import Line, Link
from stores.backends.resp import BATCH, MAX_VALUE_BYTES, Command, RespStore, Strategies
from stores.backends.resp_answers import BoundedReader
from stores.base import BaseContextManagerStore, BaseDestroyStore, BaseEnumerateKeysStore, BaseStore
from stores.entry import utc_now
from stores.errors import Fault, KeyValueOperationError, KeyValueStoreError, ReadOnlyError, StoreConnectionError
from stores.names import Collection, Key
from stores.records import ASK, Ask
from stores.sanitization import SanitizationStrategy
from stores.traits import Traits

__all__ = ["RedisStore"]

LARGE = 64
"""Commands, or words of one, from which on a request is a batch."""

POOLED_CONNECTIONS = 8
"""Connections that are taken at once from the pool of a client that was passed in."""


class _More(Strategies, total=False):
    password: str | None
    username: str | None
    ssl: bool
    ssl_ca_certs: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_check_hostname: bool
    ssl_cert_reqs: Literal["required", "optional", "none"]
    timeout: float


class _Sender(Protocol):
    """A way to the server."""

    @property
    def link(self) -> Link | None:
        """The store's own connections, if that is what it uses."""

    async def open(self) -> None: ...

    def send(self, commands: Sequence[Command]) -> Awaitable[list[Any]]: ...

    def close(self) -> None: ...


class RedisStore(RespStore, BaseDestroyStore, BaseEnumerateKeysStore, BaseContextManagerStore, BaseStore):
    """A key-value store in a Redis server."""

    traits: ClassVar[Traits] = Traits(
        name="redis",
        pings=True,
        flat=True,
        ttl_granularity=0.001,
        foreign_ttl=True,
        max_value_bytes=MAX_VALUE_BYTES,
        batch_size=BATCH,
        notes="Foreign strings, hashes, lists, sets, sorted sets and streams are shown, expired and restored too.",
    )

    _errors: ClassVar = {
        RedisError: KeyValueOperationError,
        RedisConnectionError: StoreConnectionError,
        RedisTimeoutError: StoreConnectionError,
        AuthenticationError: StoreConnectionError,
        BusyLoadingError: StoreConnectionError,
        OutOfMemoryError: KeyValueStoreError,
        NoPermissionError: KeyValueOperationError,
        RedisReadOnlyError: ReadOnlyError,
        OSError: StoreConnectionError,
    }
    _faults: ClassVar = {AuthenticationError: Fault.PASSWORD, NoPermissionError: Fault.RIGHT, RedisTimeoutError: Fault.SILENT}

    @overload
    def __init__(self, *, client: Redis, default_collection: str | None = None, **more: Unpack[Strategies]) -> None: ...

    @overload
    def __init__(self, *, url: str, default_collection: str | None = None, **more: Unpack[_More]) -> None: ...

    @overload
    def __init__(
        self,
        *,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        default_collection: str | None = None,
        **more: Unpack[_More],
    ) -> None: ...

    def __init__(
        self,
        *,
        client: Redis | None = None,
        default_collection: str | None = None,
        url: Annotated[str | None, Secret] = None,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        password: Annotated[str | None, Secret] = None,
        username: str | None = None,
        ssl: bool = False,
        ssl_ca_certs: str | None = None,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
        ssl_check_hostname: bool = True,
        ssl_cert_reqs: Literal["required", "optional", "none"] = "required",
        timeout: float = 10.0,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
    ) -> None:
        """Name the server. Nothing is sent before the first use.

        Args:
            client: a redis-py client to use; it stays the caller's, who closes it.
            default_collection: used where no collection is given; "default_collection" when None.
            url: redis://user:password@host:port/db, rediss://… (TLS) or unix:///path?db=0; goes before host, port and db.
            host: the server's name or address.
            port: its TCP port.
            db: the number of the database.
            password: of the user; one in the URL goes before it.
            username: an ACL user; None is the server's "default" user.
            ssl: speak TLS (a rediss:// URL does so by itself).
            ssl_ca_certs: file with the certificates (PEM) to trust; the system's when None.
            ssl_certfile: file with the client's own certificate (PEM).
            ssl_keyfile: file with the key of that certificate (PEM).
            ssl_check_hostname: whether the certificate must be for this host.
            ssl_cert_reqs: whether the server's certificate is checked: "required", "optional" or "none".
            timeout: seconds to connect, and of silence while an answer is owed, after which the connection counts as lost.
            key_sanitization_strategy: how keys are made to fit; as they are when None.
            collection_sanitization_strategy: how collections are made to fit; as they are when None.

        Raises:
            ValueError: the URL is none of Redis.
        """
        super().__init__(
            default_collection=default_collection,
            client_provided_by_user=client is not None,
            key_sanitization_strategy=key_sanitization_strategy,
            collection_sanitization_strategy=collection_sanitization_strategy,
        )
        self._sender: _Sender
        if client is not None:
            self._sender = _Borrowed(client)
            self._location = _location(client.connection_pool)
            return
        options: dict[str, Any] = {"db": db, "username": username, "password": password}
        if url is None:
            options |= {"host": host, "port": port}
        if ssl or (url or "").startswith("rediss://"):
            options |= {
                "connection_class": SSLConnection,
                "ssl_ca_certs": ssl_ca_certs,
                "ssl_certfile": ssl_certfile,
                "ssl_keyfile": ssl_keyfile,
                "ssl_check_hostname": ssl_check_hostname,
                "ssl_cert_reqs": ssl_cert_reqs,
            }
        pool = ConnectionPool(**options) if url is None else ConnectionPool.from_url(url, **options)
        self._sender = _Own(pool.connection_class(**pool.connection_kwargs), timeout)
        self._location = _location(pool)

    @property
    def location(self) -> str:
        """The server and the database, without user and password."""
        return self._location

    async def _setup(self) -> None:
        await self._sender.open()
        await self._check_alone()

    async def _close(self) -> None:
        self._sender.close()
        self._walks.clear()

    def _ask(self, commands: Sequence[Command]) -> Awaitable[list[Any]]:
        return self._sender.send(commands)

    def texts_soon(
        self, keys: Sequence[Key], *, collection: Collection = None, answer: Callable[[list[bytes | None] | Ask], None]
    ) -> bool:
        """Ask by a GET for each on the connection that the store has open; MGET does not tell what is of another type."""
        link = self._sender.link
        names = None if link is None else self._plain_names(keys, collection)
        if link is None or names is None:
            return False
        return link.send(_packed([("GET", name) for name in names]), len(names), partial(_texts_came, answer))

    def _leave_replica(self) -> None:
        if self._sender.link is not None:
            self._sender.link.renew(_pack(("PING",)))

    async def _delete_store(self) -> bool:
        await self._run("FLUSHDB")
        return True


class _Own:
    """Pipelined connections that the store opens."""

    def __init__(self, address: AbstractConnection, timeout: float) -> None:
        self._address = address  # read, never opened
        self._timeout = timeout
        self.link = Link(self._connect)

    async def open(self) -> None:
        if isinstance(self._address, SSLConnection):
            tls = self._address.ssl_context
            await asyncio.to_thread(check_files, tls.ca_certs, tls.certfile, tls.keyfile)
        await self.link.open()

    def send(self, commands: Sequence[Command]) -> Awaitable[list[Any]]:
        is_batch = len(commands) >= LARGE or len(commands[0]) >= LARGE
        return self.link.ask(_packed(commands), len(commands), is_batch=is_batch)

    def close(self) -> None:
        self.link.close()

    async def _connect(self) -> Line:
        loop = asyncio.get_running_loop()
        address = self._address

        def line() -> Line:
            return Line(BoundedReader(), RedisConnectionError, self._timeout)

        try:
            async with asyncio.timeout(self._timeout):
                if isinstance(address, UnixDomainSocketConnection):
                    _, connected = await loop.create_unix_connection(line, address.path)
                elif isinstance(address, Connection):
                    tls = address.ssl_context.get() if isinstance(address, SSLConnection) else None
                    transport, connected = await loop.create_connection(line, address.host, address.port, ssl=tls)
                    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                else:
                    raise TypeError(f"{type(address).__name__} is no kind of connection that this store can open.")
        except TimeoutError as exc:
            raise RedisConnectionError(f"no connection within {self._timeout:g} seconds") from exc
        try:
            await self._greet(connected)
        except BaseException:
            connected.close()
            raise
        return connected

    async def _greet(self, line: Line) -> None:
        """Log in and choose the database."""
        address = self._address
        greeting: list[Command] = [("SELECT", address.db or 0)]
        if address.client_name:
            greeting.insert(0, ("CLIENT", "SETNAME", address.client_name))
        if address.password is not None:
            user = () if address.username is None else (address.username,)
            greeting.insert(0, ("AUTH", *user, address.password))
        for reply in await line.ask(_packed(greeting), len(greeting)):
            if isinstance(reply, Exception):
                raise reply


class _Borrowed:
    """Connections from the pool of a client that was passed in, each for one request."""

    def __init__(self, client: Redis) -> None:
        self.link = None
        self._pool = client.connection_pool
        self._slots = asyncio.Semaphore(POOLED_CONNECTIONS)

    async def open(self) -> None:
        await self.send([("PING",)])

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        async with self._slots:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call] # redis-py's annotations have a hole here
            replies: list[Any] = []
            try:
                await connection.send_packed_command(connection.pack_commands(commands))
                for _ in commands:
                    try:
                        replies.append(await connection.read_response(disable_decoding=True))
                    except ResponseError as exc:
                        replies.append(exc)
            finally:
                # nobody else may read the answers that are still to come, and the address may lead to another server by now
                if len(replies) < len(commands) or any(isinstance(reply, RedisReadOnlyError) for reply in replies):
                    await connection.disconnect(nowait=True)
                await self._pool.release(connection)
            return replies

    def close(self) -> None:
        """The client stays open: it is the caller's."""
        self._slots = asyncio.Semaphore(POOLED_CONNECTIONS)  # another event loop may be the next


def _texts_came(answer: Callable[[list[bytes | None] | Ask], None], answers: list[Any] | Exception) -> None:
    """Open what the GETs answered, where all are entries as they are written."""
    if isinstance(answers, Exception):
        answer(ASK)
        return
    texts: list[bytes | None] = []
    for raw in answers:
        opened = open_text(raw) if type(raw) is bytes else None
        if opened is not None:
            text, until = opened
            texts.append(None if until is not None and until <= utc_now() else text)
        elif raw is None:
            texts.append(None)
        else:
            answer(ASK)
            return
    answer(texts)


_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment] # its stub says one word


def _packed(commands: Sequence[Command]) -> bytes:
    return _pack(commands[0]) if len(commands) == 1 else b"".join(map(_pack, commands))


def _location(pool: ConnectionPool) -> str:
    named = pool.connection_kwargs
    if issubclass(pool.connection_class, UnixDomainSocketConnection):
        return f"unix://{named.get('path')}?db={named.get('db') or 0}"
    scheme = "rediss" if issubclass(pool.connection_class, SSLConnection) else "redis"
    return f"{scheme}://{named.get('host', 'localhost')}:{named.get('port', 6379)}/{named.get('db') or 0}"
