"""ValkeyStore: entries as strings `collection::key`, the same bytes as RedisStore's, on one server or a cluster.

GLIDE shares one connection among all callers. What is asked of a single server in one turn of the event loop, while another
request is under way, goes out as one batch. In a cluster requests stay apart, so that a node that is down fails only those
who ask it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict, Unpack, cast, overload

from glide import (
    AdvancedGlideClientConfiguration,
    AdvancedGlideClusterClientConfiguration,
    Batch,
    ClosingError,
    ClusterBatch,
    ClusterScanCursor,
    ConnectionError as GlideConnectionError,
    GlideClient,
    GlideClientConfiguration,
    GlideClusterClient,
    GlideClusterClientConfiguration,
    GlideError,
    Logger,
    LogLevel,
    NodeAddress,
    ServerCredentials,
    TimeoutError as GlideTimeoutError,
    TlsAdvancedConfiguration,
)

from stores.arguments import Secret
from stores.backends.certificates import check_files
from stores.backends.resp import BATCH, MAX_VALUE_BYTES, WORDS, Command, RespStore, Strategies
from stores.backends.resp_commands import checked, is_denied
from stores.base import BaseContextManagerStore, BaseStore
from stores.cursors import HeldCursors
from stores.errors import Fault, KeyValueOperationError, StoreConnectionError
from stores.sanitization import SanitizationStrategy
from stores.traits import Traits

__all__ = ["ValkeyStore"]

REQUESTS_IN_FLIGHT = 500
"""GLIDE refuses more than 1000."""

COALESCED = 1000
"""Commands in one batch, at most."""


class _More(Strategies, total=False):
    cluster_nodes: Sequence[str] | None
    tls: bool
    tls_ca_certs: str | None
    tls_certfile: str | None
    tls_keyfile: str | None
    tls_insecure: bool
    timeout: float


class _Common(TypedDict):
    """What both kinds of configuration take."""

    addresses: list[NodeAddress]
    use_tls: bool
    credentials: ServerCredentials | None
    request_timeout: int
    lazy_connect: bool


class ValkeyStore(RespStore, BaseContextManagerStore, BaseStore):
    """A key-value store in a Valkey server, or in a cluster of them."""

    traits: ClassVar[Traits] = Traits(
        name="valkey",
        pings=True,
        flat=True,
        ttl_granularity=0.001,
        foreign_ttl=True,
        resumable_cursors=False,
        max_value_bytes=MAX_VALUE_BYTES,
        batch_size=BATCH,
        notes="One server or a cluster. Foreign strings, hashes, lists, sets, sorted sets and streams are shown too.",
    )

    _errors: ClassVar = {
        GlideError: KeyValueOperationError,
        ClosingError: StoreConnectionError,
        GlideConnectionError: StoreConnectionError,
        GlideTimeoutError: StoreConnectionError,
        OSError: StoreConnectionError,
    }
    _fault_words: ClassVar = {
        **WORDS,
        "certificate expired": Fault.EXPIRED_CERTIFICATE,
        "certificate not valid for name": Fault.OTHER_CERTIFICATE,
        "invalid peer certificate": Fault.UNKNOWN_CERTIFICATE,
        "InvalidContentType": Fault.NO_TLS,
        "failed to lookup address": Fault.HOST,
        "Connection refused": Fault.REFUSED,
        "unexpectedly terminated": Fault.STRANGER,
        "timed out": Fault.SILENT,
    }

    @overload
    def __init__(self, *, client: GlideClient, default_collection: str | None = None, **more: Unpack[Strategies]) -> None: ...

    @overload
    def __init__(
        self, *, client: GlideClusterClient, default_collection: str | None = None, **more: Unpack[Strategies]
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        username: str | None = None,
        password: str | None = None,
        default_collection: str | None = None,
        **more: Unpack[_More],
    ) -> None: ...

    def __init__(
        self,
        *,
        client: GlideClient | GlideClusterClient | None = None,
        default_collection: str | None = None,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        username: str | None = None,
        password: Annotated[str | None, Secret] = None,
        cluster_nodes: Sequence[str] | None = None,
        tls: bool = False,
        tls_ca_certs: str | None = None,
        tls_certfile: str | None = None,
        tls_keyfile: str | None = None,
        tls_insecure: bool = False,
        timeout: float = 10.0,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
    ) -> None:
        """Name the server. Nothing is sent before the first use.

        Args:
            client: a GLIDE client to use, of one server or of a cluster; it stays the caller's, who closes it.
            default_collection: used where no collection is given; "default_collection" when None.
            host: the server's name or address.
            port: its TCP port.
            db: the number of the database.
            username: an ACL user; None is the server's "default" user.
            password: of the user.
            cluster_nodes: some nodes of a cluster as "host:port"; go before host and port. The other nodes are found.
            tls: speak TLS.
            tls_ca_certs: file with the certificates (PEM) to trust; the system's when None.
            tls_certfile: file with the client's own certificate (PEM).
            tls_keyfile: file with the key of that certificate (PEM).
            tls_insecure: do not check the server's certificate.
            timeout: seconds to connect, and for one request.
            key_sanitization_strategy: how keys are made to fit; as they are when None.
            collection_sanitization_strategy: how collections are made to fit; as they are when None.

        Raises:
            ValueError: a cluster node is not "host:port".
        """
        super().__init__(
            default_collection=default_collection,
            client_provided_by_user=client is not None,
            key_sanitization_strategy=key_sanitization_strategy,
            collection_sanitization_strategy=collection_sanitization_strategy,
        )
        self._given = client
        self._client = client
        self._clustered = isinstance(client, GlideClusterClient) or cluster_nodes is not None
        if client is not None:
            self._addresses = client.config.addresses
        elif cluster_nodes is not None:
            self._addresses = [_address(node) for node in cluster_nodes]
        else:
            self._addresses = [NodeAddress(host, port)]
        self._db = db
        self._credentials = None if password is None else ServerCredentials(password=password, username=username)
        self._tls = (tls, tls_ca_certs, tls_certfile, tls_keyfile, tls_insecure)
        self._timeout = timeout
        self._under_way = 0
        self._positions: HeldCursors[Any] = HeldCursors()
        self._waiting: list[tuple[Sequence[Command], asyncio.Future[list[Any]]]] = []
        self._batches: set[asyncio.Task[None]] = set()

    @property
    def location(self) -> str:
        """The server and the database, or the cluster's nodes."""
        nodes = ",".join(f"{address.host}:{address.port}" for address in self._addresses)
        return f"valkey://{nodes} (cluster)" if self._clustered else f"valkey://{nodes}/{self._db}"

    # Life

    async def _setup(self) -> None:
        loop = asyncio.get_running_loop()
        self._slots = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        self._waiting = [one for one in self._waiting if one[1].get_loop() is loop]
        if self._given is not None:
            self._client = self._given
            async with asyncio.timeout(self._timeout):  # GLIDE itself waits for ever on an event loop that is gone
                await self._greet()
            return
        Logger.init(LogLevel.OFF)  # it would write over a terminal's screen
        tls, ca_certs, certfile, keyfile, insecure = self._tls
        if tls:
            await asyncio.to_thread(check_files, ca_certs, certfile, keyfile)
        secured = TlsAdvancedConfiguration(
            use_insecure_tls=insecure or None,
            root_pem_cacerts=None if ca_certs is None else await asyncio.to_thread(Path(ca_certs).read_bytes),
            client_cert_path=certfile,
            client_key_path=keyfile,
        )
        milliseconds = int(self._timeout * 1000)
        common: _Common = {
            "addresses": self._addresses,
            "use_tls": tls,
            "credentials": self._credentials,
            "request_timeout": milliseconds,
            "lazy_connect": True,  # connecting in `create` would hold the event loop up
        }
        if self._clustered:
            cluster = AdvancedGlideClusterClientConfiguration(connection_timeout=milliseconds, tls_config=secured)
            self._client = await GlideClusterClient.create(
                GlideClusterClientConfiguration(**common, database_id=self._db or None, advanced_config=cluster)
            )
        else:
            single = AdvancedGlideClientConfiguration(connection_timeout=milliseconds, tls_config=secured)
            self._client = await GlideClient.create(
                GlideClientConfiguration(**common, database_id=self._db, advanced_config=single)
            )
        await self._greet()

    async def _greet(self) -> None:
        """Connect. A user who may not ping is connected too."""
        [reply] = await self._execute([("PING",)])
        if not is_denied(reply):
            checked(reply)
        await self._check_alone()

    async def _close(self) -> None:
        self._walks.clear()
        self._positions.clear()
        client, self._client = self._client, None
        if client is not None and client is not self._given:
            await client.close()

    # Requests

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        if self._clustered or not (self._under_way or self._waiting):
            return await self._execute(commands)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._gather)
        answered: asyncio.Future[list[Any]] = loop.create_future()
        self._waiting.append((commands, answered))
        return await answered

    def _gather(self) -> None:
        """Send what was asked since the last turn of the loop; a caller that is cancelled takes nothing back."""
        waiting, self._waiting = self._waiting, []
        while waiting:
            taken, count = 0, 0
            while taken < len(waiting) and (not taken or count + len(waiting[taken][0]) <= COALESCED):
                count += len(waiting[taken][0])
                taken += 1
            task = asyncio.get_running_loop().create_task(self._answer(waiting[:taken]))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
            waiting = waiting[taken:]

    async def _answer(self, asked: list[tuple[Sequence[Command], asyncio.Future[list[Any]]]]) -> None:
        try:
            replies = await self._execute([command for commands, _ in asked for command in commands])
        except BaseException as exc:
            for _, answered in asked:
                if not answered.done():
                    answered.set_exception(exc if isinstance(exc, Exception) else ClosingError("the request was cancelled"))
            if not isinstance(exc, Exception):
                raise
            return
        for commands, answered in asked:
            own, replies = replies[: len(commands)], replies[len(commands) :]
            if not answered.done():
                answered.set_result(own)

    async def _execute(self, commands: Sequence[Command]) -> list[Any]:
        client = self._client
        if client is None:
            raise ClosingError("the connection was closed")
        self._under_way += 1
        try:
            async with self._slots:
                return await self._send(client, commands)
        finally:
            self._under_way -= 1

    async def _send(self, client: GlideClient | GlideClusterClient, commands: Sequence[Command]) -> list[Any]:
        if len(commands) == 1:
            try:
                return [await client.custom_command(_arguments(commands[0]))]
            except (ClosingError, GlideConnectionError, GlideTimeoutError):
                raise
            except GlideError as exc:
                return [exc]
        batch: Any = ClusterBatch(is_atomic=False) if self._clustered else Batch(is_atomic=False)
        for command in commands:
            batch.custom_command(_arguments(command))
        replies = await client.exec(batch, raise_on_error=False)
        return cast("list[Any]", replies)

    # Scans

    async def _scan(self, position: Any, match: bytes | None, count: int) -> tuple[Any, list[bytes]]:
        client = self._client
        if not isinstance(client, GlideClusterClient):
            return await super()._scan(position, match, count)
        async with self._slots:
            try:
                async with asyncio.timeout(self._timeout):  # GLIDE looks without an end for a node that is down
                    after, names = await client.scan(position or _start(), match=match, count=count)
            except TimeoutError:
                raise GlideTimeoutError(f"no answer for {self._timeout:g} seconds") from None
        cursor = cast("Any", after)
        return None if cursor.is_finished() else cursor, cast("list[bytes]", names)

    def _freeze(self, position: Any) -> bytes:
        return self._positions.hold(position)

    def _thaw(self, cursor: bytes) -> Any:
        return self._positions.take(cursor)

    def _close_cursor(self, cursor: bytes) -> None:
        super()._close_cursor(cursor)
        self._positions.drop(cursor)


def _arguments(command: Command) -> list[str | bytes]:
    return [str(word) if isinstance(word, int) else word for word in command]


def _address(node: str) -> NodeAddress:
    host, colon, port = node.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ValueError(f"A cluster node is named as host:port, not {node!r}.")
    return NodeAddress(host.strip("[]"), int(port))


def _start() -> ClusterScanCursor:
    return ClusterScanCursor()  # type: ignore[no-untyped-call] # GLIDE left it without annotations
