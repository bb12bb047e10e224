"""The daemon's server: it accepts clients on a socket that is bound already, and keeps what they share.

Accepting is a loop of our own: it checks who calls, keeps to a limit, and when descriptors run out it says so to the caller
through the one that it kept in reserve, instead of spinning. How the daemon starts and ends is `kvd.life`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from logging import Logger
from typing import TYPE_CHECKING, Any, Final

from kvd import __version__
from kvd.connections import Connection
from kvd.errors import Code, RequestError
from kvd.events import Hub
from kvd.frames import frame
from kvd.journal import Journal
from kvd.peer import is_welcome
from kvd.pool import Pool
from kvd.protocol import MAX_CLIENTS, PROTOCOL, encode_reply
from kvd.session import Session
from stores.names import Collection, Key

if TYPE_CHECKING:
    from kvd.config import Config

__all__ = ["Server"]

ACCEPTS: Final = 64
"""Clients accepted in one turn of the loop."""
LOOKS_APART: Final = 15.0
"""Seconds between looks at a connection of which nobody asks anything, while a client is told of states."""
ASKED_APART: Final = 1.0
"""The same where its state is asked for."""
LAST_WORDS: Final = 0.02
"""Seconds between saying that the daemon leaves and closing the first connection."""
HELLO_TIMEOUT: Final = 30.0
"""Seconds that a client has to say hello."""


class Server:
    """All that the daemon's clients share."""

    def __init__(
        self,
        config: Config,
        log: Logger,
        *,
        redact: Callable[[str], str] = lambda text: text,
        learn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take the configuration; nothing is opened.

        Args:
            config: the connections and the daemon's own options.
            log: where mistakes go.
            redact: takes secrets out of a text.
            learn: gets each secret that is looked up.
        """
        self.loop = asyncio.get_running_loop()
        self.log = log
        self.heavy = asyncio.Lock()
        """Who reads a large request takes it meanwhile: one at a time, as it holds the request and what is made of it."""
        self.draining = False
        self.stopped = asyncio.Event()
        """Set when the daemon is to leave."""
        self.stop_reason = ""
        self.hub = Hub(self._due)
        self.journal = Journal()
        self.pool = Pool(config, changed=self._connection_changed, learn=learn, redact=redact, replaced=self.journal.forget)
        self.sessions: set[Session] = set()
        self.last_used = time.monotonic()
        self.facts: dict[str, Any] = {}
        """What `kvd.life` adds to the status."""
        self._redact = redact
        self._started = time.time()
        self._began = time.monotonic()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._listener: socket.socket | None = None
        self._spare: int | None = None
        self._full = 0.0
        self._set_log_level()

    # Accepting

    def listen(self, listener: socket.socket) -> None:
        """Accept clients from a listening socket."""
        listener.setblocking(False)
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._listener = listener
        self.loop.add_reader(listener.fileno(), self._accept)

    def unlisten(self) -> None:
        """Accept no more clients. The socket itself stays open."""
        if self._listener is not None:
            self.loop.remove_reader(self._listener.fileno())
            self._listener = None
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            if self._listener is None:
                return
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    raise
                self._accept_without_descriptors(error)
                return
            if len(self.sessions) >= MAX_CLIENTS:
                self._turn_away(client, f"the daemon has {MAX_CLIENTS} clients, which is its limit")
            elif is_welcome(client):
                client.setblocking(False)
                self.keep(self.loop.create_task(self._join(client)))
            else:
                client.close()

    async def _join(self, client: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: Session(self), client)
        except OSError:
            client.close()

    def _accept_without_descriptors(self, error: OSError) -> None:
        """Give the reserved descriptor to the caller, tell it, and take the descriptor back."""
        now = time.monotonic()
        if now - self._full > 60.0:  # noqa: PLR2004 - once a minute is often enough for the log
            self._full = now
            self.log.error("a client was turned away: %s", error.strerror)
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        with suppress(OSError):
            assert self._listener is not None  # noqa: S101 - it was just used
            client, _ = self._listener.accept()
            self._turn_away(client, "the daemon has no file descriptors left")
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)
        if self._spare is None and self._listener is not None:
            # somebody else took it: look again a little later instead of being woken for the same caller at once
            listener = self._listener
            self.loop.remove_reader(listener.fileno())
            self.loop.call_later(0.1, self._listen_again, listener)

    def _listen_again(self, listener: socket.socket) -> None:
        if self._listener is listener:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY)
            self.loop.add_reader(listener.fileno(), self._accept)

    def _turn_away(self, client: socket.socket, reason: str) -> None:
        error = RequestError(Code.TOO_MANY, reason, retry=True)
        with suppress(OSError):
            client.setblocking(False)
            client.send(frame(encode_reply(None, error.pack())))
        client.close()

    # Clients

    def joined(self, session: Session) -> None:
        """Note a new client."""
        self.sessions.add(session)
        self.last_used = time.monotonic()

    def left(self, session: Session) -> None:
        """Forget a client, and let go of what it had opened."""
        self.sessions.discard(session)
        self.hub.left(session)
        self.pool.left(session)
        self.last_used = time.monotonic()

    def send_away_the_silent(self) -> None:
        """Close connections that did not say hello in time."""
        now = time.monotonic()
        for session in list(self.sessions):
            if not session.greeted and now - session.since > HELLO_TIMEOUT and not session.busy:
                session.close()

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task until it is done: the loop itself holds it only weakly."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def busy(self) -> bool:
        """Whether work is in flight, that of clients who left included."""
        return bool(self._tasks) or any(session.busy for session in self.sessions)

    def redact(self, packed: dict[str, Any]) -> dict[str, Any]:
        """Take secrets out of an error map."""
        packed["message"] = self._redact(packed["message"])
        return packed

    # What concerns the daemon as a whole

    def status(self, session: Session) -> dict[str, Any]:
        """Return what `kvd status` shows. What stands open and is not used is looked at, for who asks again."""
        visible = self.pool.visible(session)
        for connection in visible:
            connection.look(ASKED_APART)
        return {
            "version": __version__,
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "python": sys.version.split()[0],
            "loop": type(self.loop).__module__.partition(".")[0],
            "started": self._started,
            "uptime": time.monotonic() - self._began,
            "clients": len(self.sessions),
            "memory": _resident_bytes(),
            "draining": self.draining,
            "drain": self.pool.config.daemon.drain,
            "config": str(self.pool.config.path),
            "problems": list(self.pool.config.problems),
            "journal": self.journal.status(),
            "connections": [connection.status() for connection in visible],
        } | self.facts

    def look_at_idle(self) -> None:
        """While somebody is told of states, find out what those of unused connections are."""
        if self.hub:
            for connection in self.pool:
                connection.look(LOOKS_APART)

    def stop(self, reason: str) -> None:
        """Ask the daemon to drain and leave."""
        if not self.stopped.is_set():
            self.stop_reason = reason
            self.stopped.set()

    async def reload(self) -> list[str]:
        """Read the configuration again; returns the names of the connections that changed."""
        changed = await self.pool.reload()
        self._set_log_level()
        self.log.info("configuration read again; changed: %s", ", ".join(changed) or "nothing")
        for problem in self.pool.config.problems:
            self.log.warning("%s", problem)
        return changed

    def _set_log_level(self) -> None:
        self.log.setLevel(self.pool.config.daemon.log_level.upper())

    def _connection_changed(self, connection: Connection) -> None:
        reason = "" if connection.reason is None else f": {connection.reason}"
        self.log.info("connection %s is %s%s", connection.name, connection.state, reason)
        self.hub.publish(connection.name, None, [], "connection")

    def _due(self, name: str, collection: Collection, keys: list[Key]) -> None:
        self.keep(self.loop.create_task(self._look_for_expired(name, collection, keys)))

    async def _look_for_expired(self, name: str, collection: Collection, keys: list[Key]) -> None:
        """Publish those of the keys that are really gone."""
        connection = next((one for one in self.pool if one.name == name), None)
        if connection is None or connection.store is None:
            return
        store = connection.store
        try:
            found = await connection.guard(lambda: store.describe(keys, collection=collection))
        except Exception as error:  # noqa: BLE001 - it is only an event; whoever reads learns the same
            self.log.debug("could not look for expired keys: %s", error)
            return
        gone = [key for key, description in zip(keys, found, strict=True) if description is None]
        if gone:
            self.hub.publish(name, collection, gone, "expired")

    # The end

    async def drain(self, seconds: float) -> None:
        """Accept nobody, say so, let what is in flight finish for a while, and cut off the rest with an error."""
        self.draining = True
        self._accept()  # who is in the backlog already learns why nobody will answer
        self.unlisten()
        for session in list(self.sessions):
            session.say_closing(self.stop_reason)
        deadline = time.monotonic() + seconds
        await asyncio.sleep(LAST_WORDS)  # what was asked by who did not know it is refused, so that they know it was not begun
        while self.busy and time.monotonic() < deadline:  # noqa: ASYNC110 - a dozen things can keep it busy
            await asyncio.sleep(0.02)
        for session in list(self.sessions):
            session.give_up_all("the daemon left before it was done")
            session.close()
        self.hub.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 1.0)):
                await self.pool.close()
        for session in list(self.sessions):
            session.abort()


def _resident_bytes() -> int:
    """Return the memory that the process has now, or where that is not told, had at most."""
    try:
        with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - quicker, and there is no path to handle
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource  # noqa: PLC0415 - not needed on Linux

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
