"""The blocking client: a plain socket over the same protocol and the same typed requests. No event loop is needed.

    with BlockingClient.open() as client:
        client.call(requests.put("scratch", None, "greeting", b'{"hello": "world"}', ttl=90))

One request at a time; threads may share a client and take turns. Who wants many answers at once asks for many keys, or uses
`kvd.client`. A process that was forked opens a client of its own: two processes on one connection would read each other's
answers.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

from kvd import paths
from kvd.errors import Code, ConnectionLostError, ProtocolError, RequestError, UnreachableDaemonError
from kvd.frames import Inbox
from kvd.handshake import ATTEMPTS, GRACE, HELLO_TIMEOUT, PAUSE, Server, hello, refused, unanswered, ungreeted
from kvd.protocol import REPLY, Encoder
from kvd.requests import Request
from kvd.spawn import find, find_or_start

__all__ = ["BlockingClient"]

T = TypeVar("T")

_RECEIVE = 64 << 10
_ID = 0
"""Of each request: one at a time needs no more."""

_clients: WeakSet[BlockingClient] = WeakSet()
"""Those that hear of a fork."""


class BlockingClient:
    """A connection to the daemon. Made by `open`."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected socket, on which nothing was said yet."""
        self.server: Server | None = None
        """What the daemon said of itself; None before `greet`."""
        self._sock = sock
        self._inbox = Inbox()
        self._encode = Encoder().request
        self._lost: str | None = None
        self._lock = threading.Lock()
        _clients.add(self)

    @classmethod
    def open(cls, path: Path | None = None, *, spawn: bool = True, greet: bool = True) -> Self:
        """Connect to the daemon.

        Args:
            path: its socket; the user's own daemon unless given.
            spawn: start the daemon when none runs.
            greet: say hello. Without it only `status`, `stop` and `ping` may be asked, whatever version the daemon has.

        Raises:
            UnreachableDaemonError: there is none, it does not start, or it does not answer. The message says what to do.
            IncompatibleError: it speaks another version of the protocol.
            UnsafePathError: the folder of its socket cannot be trusted.
        """
        socket_path = path or paths.socket_path()
        for attempt in range(ATTEMPTS):
            client = cls(find_or_start(socket_path) if spawn else find(socket_path))
            if not greet:
                break
            try:
                client.greet()
                break
            except ConnectionLostError as error:
                # a daemon that is killed, or leaves, resets who came last
                if attempt == ATTEMPTS - 1:
                    raise UnreachableDaemonError(str(error)) from None
                time.sleep(PAUSE)
            except BaseException:
                client.close()
                raise
        return client

    def greet(self) -> Server:
        """Say hello; raises as `open`, and ConnectionLostError."""
        self._sock.settimeout(HELLO_TIMEOUT)
        try:
            self.server = self.call(hello())
        except RequestError as error:
            if error.code == Code.DEADLINE:
                raise ungreeted() from None
            raise refused(error) from None
        finally:
            if self._lost is None:
                self._sock.settimeout(None)
        return self.server

    def call(self, request: Request[T]) -> T:
        """Ask, and wait for the answer.

        Raises:
            RequestError: the daemon refused or failed; `code` says why.
            ConnectionLostError: the daemon went before it answered, or long ago.
        """
        timeout, lock = request.timeout, self._lock
        lock.acquire()  # `with` would take half a microsecond more
        try:
            frame = self._encode(_ID, request.method, request.params, timeout, request.journal)
            try:
                if timeout is not None:
                    self._sock.settimeout(timeout + GRACE)
                self._sock.sendall(frame)
                reply = self._receive()
                if timeout is not None:
                    self._sock.settimeout(None)
            except TimeoutError:
                self._lose("the daemon did not answer; it may be stopped")
                raise unanswered() from None
            except OSError as error:
                raise self._lose(f"the connection to the daemon broke: {error.strerror}") from None
            except ProtocolError as error:
                raise self._lose(f"the daemon broke the protocol: {error.message}") from None
            except BaseException:
                # what was asked is on its way, and its answer must not be taken for the next one's
                self._lose("an earlier request was interrupted")
                raise
        finally:
            lock.release()
        if reply[2] is not None:
            raise RequestError.unpack(reply[2])
        return request.decode(reply[3])

    def _receive(self) -> list[Any]:
        """Read until the answer to the request is there; events are not for this client."""
        reason = "the daemon closed the connection"
        while data := self._sock.recv(_RECEIVE):
            for message in self._inbox.messages(data):
                if message[0] == REPLY:
                    if message[1] == _ID:
                        return message
                    if message[1] is None:
                        reason = RequestError.unpack(message[2]).message
        raise self._lose(reason)

    def _lose(self, reason: str) -> ConnectionLostError:
        """End the connection; returns the error to raise, which says why it ended first."""
        if self._lost is None:
            self._lost = reason
        self._sock.close()
        return ConnectionLostError(self._lost)

    def _abandon(self) -> None:
        """Leave the connection to the process that this one was forked from, of which a thread may hold the lock."""
        self._lock = threading.Lock()
        self._lose("this client was opened before a fork: open another one in this process")

    def close(self) -> None:
        """End the connection."""
        self._lose("this client was closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _abandon_all() -> None:
    for client in _clients:
        client._abandon()  # noqa: SLF001 - as private to this module


os.register_at_fork(after_in_child=_abandon_all)
