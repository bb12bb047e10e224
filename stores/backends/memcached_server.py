"""The way to a memcached server: pipelined connections for requests, and one of its own for each listing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from stores.backends import memcached_protocol as protocol
from stores.backends.certificates import check_files
from stores.backends.memcached_errors import AnswerError, LostError, is_incapable
from stores.backends.memcached_protocol import Answer
from stores.backends.pipelined import Line, Link
from stores.batches import run_batched
from stores.errors import StoreConnectionError, UnsupportedError

__all__ = ["BATCH", "CONCURRENT_BATCHES", "DEFAULT_ITEM_LIMIT", "Server"]

BATCH = 200
CONCURRENT_BATCHES = 4
LARGE = 64
"""Requests from which on they are a batch."""
DEFAULT_ITEM_LIMIT = 1024 * 1024

SETTINGS = b"stats settings\r\n"
END = b"END\r"
REFUSALS = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"BADCLASS", b"BUSY")
RECEIVED_AT_ONCE = 64 << 10
DUMP_ATTEMPTS = 20
DUMP_PAUSE = 0.1
"""Seconds between attempts while somebody else's dump is under way."""


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
        self._known = login
        self._login: tuple[str, str] | None = None
        """With which each connection begins, once the server has asked: one that never asks would store it as an item."""
        self._authority = authority
        self._check_hostname = check_hostname
        self._timeout = timeout
        self._connection = dict(connect)
        self._link = Link(self._connect)
        self._dumping = asyncio.Lock()

    async def open(self) -> None:
        """Connect, and learn the limit on items."""
        if not isinstance(self._authority, bool):
            await asyncio.to_thread(check_files, self._authority)
            context = await asyncio.to_thread(ssl.create_default_context, cafile=self._authority)
            context.check_hostname = self._check_hostname
            self._connection["ssl"] = context
        self._login = None
        try:
            settings = await self._lines(SETTINGS)
        except AnswerError:
            if self._known is None:
                raise
            self._login = self._known
            settings = await self._lines(SETTINGS)
        await self._link.open()
        self.item_limit = next(
            (int(line.split()[2]) for line in settings if line.startswith(b"STAT item_size_max ")), DEFAULT_ITEM_LIMIT
        )

    def close(self) -> None:
        """Close the connections."""
        self._dumping = asyncio.Lock()  # another event loop may be the next
        self._link.close()

    async def ask(self, requests: Sequence[bytes]) -> list[Answer]:
        """Send requests, in batches; their answers in order. Raises the first AnswerError."""
        answers = await self.ask_all(requests)
        for answer in answers:
            if isinstance(answer, AnswerError):
                raise answer
        return answers

    async def ask_all(self, requests: Sequence[bytes]) -> list[Any]:
        """As `ask`, an AnswerError in the place of an answer."""

        async def part(requests: Sequence[bytes]) -> list[Any]:
            return await self._link.ask(b"".join(requests), len(requests), is_batch=len(requests) >= LARGE)

        if len(requests) <= BATCH:
            return await part(requests)
        return await run_batched(part, requests, size=BATCH, limit=CONCURRENT_BATCHES)

    async def flush(self) -> None:
        """Empty the server. UnsupportedError where it does not let itself be emptied (its option -F)."""
        async with self._asked(b"flush_all\r\n") as reader, self._patience():
            answer = (await reader.readuntil(b"\n")).rstrip().decode(errors="replace")
        if is_incapable(answer):
            raise UnsupportedError(f"The memcached at {self.host}:{self.port} does not let itself be emptied: {answer}.")
        if answer != "OK":
            raise AnswerError(answer)

    async def dump(self) -> AsyncIterator[list[bytes]]:
        """All names, in the form of the dump, as they come; the server makes one dump at a time.

        A walk over the server's hash table, because one over its lists (as old servers know no other) misses what moves between
        them meanwhile.
        """
        over, begun = "hash", False
        async with self._dumping:
            for _ in range(DUMP_ATTEMPTS):
                try:
                    async for names in self._dumped(b"lru_crawler metadump %s\r\n" % over.encode()):
                        begun = True
                        yield names
                except AnswerError as exc:
                    if not begun and str(exc).startswith("BUSY"):
                        await asyncio.sleep(DUMP_PAUSE)
                    elif begun or not is_incapable(str(exc)):
                        raise
                    elif over == "hash":
                        over = "all"
                    else:
                        raise UnsupportedError(
                            f"The memcached at {self.host}:{self.port} cannot list its items: {exc}."
                        ) from exc
                else:
                    return
        raise StoreConnectionError(
            f"The memcached at {self.host}:{self.port} is busy with another dump of its items; try again."
        )

    async def _dumped(self, command: bytes) -> AsyncIterator[list[bytes]]:
        """The names in a dump. AnswerError, before the first of them, when the server makes none."""
        async with self._asked(command) as reader:
            rest = b""
            while True:
                async with self._patience():
                    received = await reader.read(RECEIVED_AT_ONCE)
                if not received:
                    raise LostError("the server closed the connection") from EOFError()
                lines, end, rest = (rest + received).rpartition(b"\n")
                if lines.startswith(REFUSALS):
                    raise AnswerError(lines.partition(b"\r")[0].decode(errors="replace"))
                yield protocol.dumped_names(lines + end)
                if lines.endswith(END):  # no name's line has a carriage return
                    return

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
        found: list[bytes] = []
        async with self._asked(command) as reader, self._patience():
            while (line := (await reader.readuntil(b"\n")).rstrip()) != b"END":
                if line.startswith(REFUSALS):
                    raise AnswerError(line.decode(errors="replace"))
                found.append(line)
        return found

    @asynccontextmanager
    async def _asked(self, command: bytes) -> AsyncIterator[asyncio.StreamReader]:
        """A connection of its own, logged in, on which a command was sent."""
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
            yield reader
        finally:
            writer.close()

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(self._timeout) as timeout:
                yield timeout
        except TimeoutError:
            raise LostError(f"no answer for {self._timeout:g} seconds") from None  # whose context tells that time was up
