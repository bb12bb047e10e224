"""A TCP proxy on loopback whose network can be made bad while connections are open.

Rules: it keeps one port for its whole life and passes bytes until told otherwise. What it is told holds for connections
that are open and for those that follow, until `mend`; only a cut happens once. It runs on the event loop that enters it,
and when it has ended it leaves no socket, task or transport there. It accepts by itself, since `asyncio.Server` forgets a
connection that it is accepting while it is closed.

    async with Proxy(host, port) as proxy:
        store = RedisStore(host="127.0.0.1", port=proxy.port)
        proxy.black_hole()  # the next get hangs
        await proxy.mend()  # and goes on

A test without a loop runs it in a thread: `with start_blocking_portal() as portal, proxied(portal, host, port) as proxy:
portal.call(proxy.black_hole)`.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, Self

from anyio.from_thread import BlockingPortal

from tests.servers.instance import reserve_port
from tests.servers.lease import addresses

CHUNK = 65536


def place(endpoint: Any) -> tuple[str, int]:
    """Where an endpoint is, which a case may give as an address or a URL."""
    return endpoint if isinstance(endpoint, tuple) else addresses(endpoint)[0]


def through(endpoint: Any, port: int) -> Any:
    """The same endpoint behind another port of loopback."""
    return ("127.0.0.1", port) if isinstance(endpoint, tuple) else re.sub(r"//[^/]+", f"//127.0.0.1:{port}", endpoint)


class Way(Enum):
    """The direction in which bytes go."""

    REQUESTS = "to the server"
    ANSWERS = "to the client"


class Proxy:
    """Passes TCP connections on to one server; with `tls` it speaks TLS to its clients, and plainly to the server.

    Attributes:
        port: where it listens on loopback.
        accepted: how many connections it has taken so far.
        most_open: how many of them were open at once.
        passed: how many bytes it has passed so far, each way.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._target = host, port
        self._tls = tls
        self._held = reserve_port()
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._present: set[socket.socket] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._delay = 0.0
        self._garbage: bytes | None = None
        self._until_cut: dict[Way, int] = {}
        self.port: int = self._held.getsockname()[1]
        self.accepted = 0
        self.most_open = 0
        self.passed = dict.fromkeys(Way, 0)

    @property
    def open(self) -> int:
        """How many connections are open, as far as clients are concerned: one that left need not wait for the server."""
        return len(self._present)

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._held.close()

    async def mend(self) -> None:
        """Accept and pass everything again; what was held back goes on."""
        self._delay = 0.0
        self._garbage = None
        self._until_cut.clear()
        self._flows.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def delay(self, seconds: float) -> None:
        """Hold every chunk back for so long, each way."""
        self._delay = seconds

    def black_hole(self) -> None:
        """Take connections and bytes and pass none on; nobody is told."""
        self._flows.clear()

    def garbage(self, answer: bytes) -> None:
        """Give `answer` in the place of each chunk that the server sends."""
        self._garbage = answer

    def cut_after(self, count: int, way: Way = Way.ANSWERS) -> None:
        """Pass `count` further bytes one way and, in the place of the next one, reset every connection; once."""
        self._until_cut[way] = count

    def cut(self) -> None:
        """Reset every open connection now."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            # Without lingering, closing sends a reset in the place of an orderly end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client has given up
        task = asyncio.create_task(self._client(connection))
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: connection.close())  # one that is cancelled before it begins closes nothing itself
        self._tasks.add(task)
        self._present.add(connection)
        self.accepted += 1
        self.most_open = max(self.most_open, self.open)

    async def _client(self, connection: socket.socket) -> None:
        writers: list[asyncio.StreamWriter] = []
        try:
            reader, writer = await self._streams(connection)
            writers.append(writer)
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            writers.append(server_writer)
            self._writers.update(writers)
            async with asyncio.TaskGroup() as pumps:
                requests = pumps.create_task(self._pump(reader, server_writer, Way.REQUESTS))
                requests.add_done_callback(lambda _: self._present.discard(connection))
                pumps.create_task(self._pump(server_reader, writer, Way.ANSWERS))
        except OSError:
            pass  # no TLS with this client, or a server that died after it was reached
        finally:
            self._present.discard(connection)
            self._writers.difference_update(writers)
            for end in writers:
                end.transport.abort()
            for end in writers:
                with suppress(OSError):
                    await end.wait_closed()

    async def _streams(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._tls)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        try:
            while read := await reader.read(CHUNK):
                await asyncio.sleep(self._delay)
                await self._flows.wait()
                answers = way is Way.ANSWERS
                data = self._garbage if answers and self._garbage is not None else read
                left = self._until_cut.get(way, len(data))
                writer.write(data[:left])
                await writer.drain()
                self.passed[way] += min(left, len(data))
                if left < len(data):
                    del self._until_cut[way]
                    self.cut()
                elif way in self._until_cut:
                    self._until_cut[way] -= len(data)
            if writer.can_write_eof():
                writer.write_eof()
            else:  # TLS has no half that is closed
                writer.close()
        except OSError:
            writer.transport.abort()


@contextmanager
def proxied(portal: BlockingPortal, host: str, port: int) -> Iterator[Proxy]:
    """A proxy on the portal's event loop."""

    async def make() -> Proxy:
        return Proxy(host, port)

    with portal.wrap_async_context_manager(portal.call(make)) as proxy:
        yield proxy
