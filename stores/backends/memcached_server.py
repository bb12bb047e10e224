"""The way to a memcached server: pipelined connections for requests, and one of its own for each listing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from stores.backends import memcached_protocol as protocol
from stores.backends.memcached_protocol import Answer, AnswerError
from stores.backends.pipelined import Line, Link
from stores.batches import batched, run_bounded
from stores.errors import StoreConnectionError, UnsupportedError

__all__ = ["BATCH", "DEFAULT_ITEM_LIMIT", "LostError", "Server"]

BATCH = 200
CONCURRENT_BATCHES = 4
DEFAULT_ITEM_LIMIT = 1024 * 1024

SETTINGS = b"stats settings\r\n"
DUMP_ATTEMPTS = 20
DUMP_PAUSE = 0.1
"""Seconds between attempts while somebody else's dump is under way."""


class LostError(Exception):
    """A connection failed."""


class Server:
    """One server. `connect` are further arguments of asyncio's `create_connection`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        login: tuple[str, str] | None,
        authority: str | bool | None,
        check_hostname: bool,
        timeout: float,
        connect: Mapping[str, Any],
    ) -> None:
        """Connect nothing yet.

        Args:
            host: its name or address.
            port: its TCP port.
            login: username and password.
            authority: False for no TLS, else the file of certificates to trust (None: the system's).
            check_hostname: whether the certificate must be for this host.
            timeout: seconds to connect, and of silence while an answer is owed.
            connect: as above.
        """
        self.host = host
        self.port = port
        self.item_limit = DEFAULT_ITEM_LIMIT
        self._login = login
        self._authority = authority
        self._check_hostname = check_hostname
        self._timeout = timeout
        self._connection = dict(connect)
        self._link = Link(self._connect)
        self._dumping = asyncio.Lock()

    async def open(self) -> None:
        """Connect, and learn the limit on items."""
        if not isinstance(self._authority, bool):
            context = await asyncio.to_thread(ssl.create_default_context, cafile=self._authority)
            context.check_hostname = self._check_hostname
            self._connection["ssl"] = context
        login, self._login = self._login, None
        try:
            settings = await self._lines(SETTINGS)
        except AnswerError:
            if login is None:
                raise
            self._login = login  # only now: a server that asks for none would store the password as an item
            settings = await self._lines(SETTINGS)
        await self._link.open()
        self.item_limit = next(
            (int(line.split()[2]) for line in settings if line.startswith(b"STAT item_size_max ")), DEFAULT_ITEM_LIMIT
        )

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    async def ask(self, requests: Sequence[bytes]) -> list[Answer]:
        """Send requests, in batches; their answers in order. Raises the first AnswerError."""

        async def part(requests: Sequence[bytes]) -> list[Any]:
            return await self._link.ask(b"".join(requests), len(requests))

        if len(requests) <= BATCH:
            answers = await part(requests)
        else:
            parts = await run_bounded(part, batched(requests, BATCH), limit=CONCURRENT_BATCHES)
            answers = [answer for part in parts for answer in part]
        for answer in answers:
            if isinstance(answer, AnswerError):
                raise answer
        return answers

    async def names(self) -> list[bytes]:
        """All names, by a dump; the server makes one at a time."""
        async with self._dumping:
            for _ in range(DUMP_ATTEMPTS):
                try:
                    lines = await self._lines(b"lru_crawler metadump all\r\n")
                except AnswerError as exc:
                    if not str(exc).startswith("BUSY"):
                        raise UnsupportedError(
                            f"The memcached at {self.host}:{self.port} cannot list its items: {exc}."
                        ) from exc
                    await asyncio.sleep(DUMP_PAUSE)
                else:
                    return [name for line in lines if (name := protocol.dumped_name(line)) is not None]
        raise StoreConnectionError(
            f"The memcached at {self.host}:{self.port} is busy with another dump of its items; try again."
        )

    async def _connect(self) -> Line:
        async with self._patience():
            _, line = await asyncio.get_running_loop().create_connection(
                lambda: Line(protocol.Answers(), LostError, self._timeout), self.host, self.port, **self._connection
            )
        if self._login is not None:
            answer = None
            try:
                [answer] = await line.ask(protocol.authenticate(*self._login), 1)
            finally:
                if not isinstance(answer, Answer):
                    line.close()
        return line

    async def _lines(self, command: bytes) -> list[bytes]:
        """What a command lists, up to its END."""
        async with self._patience():
            reader, writer = await asyncio.open_connection(self.host, self.port, **self._connection)
        try:
            if self._login is not None:
                writer.write(protocol.authenticate(*self._login))
                async with self._patience():
                    answer = (await reader.readuntil(b"\n")).rstrip()
                if answer != b"STORED":
                    raise LostError(f"the server refused the username or the password ({answer.decode(errors='replace')})")
            writer.write(command)
            found: list[bytes] = []
            async with self._patience() as patience:
                while (line := (await reader.readuntil(b"\n")).rstrip()) != b"END":
                    if line.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"BUSY")):
                        raise AnswerError(line.decode(errors="replace"))
                    found.append(line)
                    if not len(found) % 1000:
                        patience.reschedule(asyncio.get_running_loop().time() + self._timeout)
            return found
        finally:
            writer.close()

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(self._timeout) as timeout:
                yield timeout
        except TimeoutError:
            raise LostError(f"no answer for {self._timeout:g} seconds") from None
