"""What tests and scripts use of the servers: shared ones by kind, private ones as a context manager.

Rules: every process of a test run talks to the same supervisor, whose socket is named in the environment. Calls block
(a start takes 0.1 to 4 seconds), so an asynchronous test that must go on meanwhile calls them in a thread.
"""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.servers import tether
from tests.servers.kind import UnavailableError

ROOT = Path(__file__).parents[2]
VARIABLE = "KV_TEST_SUPERVISOR"  # the path of its socket
PATIENCE = 15.0  # seconds that an orderly end may take

Address = tuple[str, int]


class Lease:
    """A connection to the supervisor; what was started over it ends with it."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")
        self._lock = threading.Lock()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, do: str, **parameters: object) -> Any:
        """Send one request and return its result.

        Raises:
            UnavailableError: this machine cannot have that server.
            RuntimeError: anything else that went wrong.
        """
        with self._lock:
            self._socket.sendall(json.dumps({"do": do, **parameters}).encode() + b"\n")
            line = self._lines.readline()
        match json.loads(line or b"{}"):
            case {"ok": result}:
                return result
            case {"unavailable": reason}:
                raise UnavailableError(reason)
            case {"error": reason}:
                raise RuntimeError(reason)
        raise RuntimeError("the supervisor of the test servers is gone")


@functools.cache
def lease() -> Lease:
    """This process's connection to the supervisor of its test run."""
    if VARIABLE not in os.environ:
        raise RuntimeError("no supervisor: servers are for tests, and for scripts inside `with Supervision():`")
    return Lease(os.environ[VARIABLE])


def release() -> None:
    """Close this process's connection, if it ever used one."""
    if lease.cache_info().currsize:
        lease().close()
        lease.cache_clear()


@dataclass(frozen=True)
class Server:
    """A server of one's own.

    Attributes:
        url: the endpoint, in the form of the kind's environment variable.
        folder: its data; for Redis and Valkey also `server.sock`, a Unix socket.
    """

    url: str
    folder: Path
    _number: int
    _lease: Lease

    @property
    def addresses(self) -> list[Address]:
        return addresses(self.url)

    @property
    def address(self) -> Address:
        return self.addresses[0]

    @property
    def pids(self) -> list[int]:
        result: list[int] = self._lease.ask("pids", number=self._number)
        return result

    def pause(self, member: int = 0) -> None:
        """Make the server hang: its connections stay open and nothing is answered."""
        self._lease.ask("signal", number=self._number, member=member, signal=signal.SIGSTOP)

    def resume(self, member: int = 0) -> None:
        self._lease.ask("signal", number=self._number, member=member, signal=signal.SIGCONT)

    def stop(self, member: int = 0) -> None:
        """End it in order (SIGTERM) and wait until it is gone."""
        self._lease.ask("stop", number=self._number, member=member, signal=signal.SIGTERM)

    def kill(self, member: int = 0) -> None:
        """End it at once (SIGKILL) and wait until it is gone."""
        self._lease.ask("stop", number=self._number, member=member, signal=signal.SIGKILL)

    def start(self) -> None:
        """Start again what was ended, on the same ports and folder, and wait until it answers."""
        self._lease.ask("start again", number=self._number)

    def restart(self, member: int = 0) -> None:
        self.stop(member)
        self.start()


@contextmanager
def private_server(kind: str, args: Sequence[str] = ()) -> Iterator[Server]:
    """A server that nobody else uses, started with further arguments; ends with the block.

    Raises:
        UnavailableError: this machine cannot have it.
    """
    held = lease()
    started = held.ask("start", kind=kind, args=list(args))
    server = Server(started["url"], Path(started["folder"]), started["number"], held)
    try:
        yield server
    finally:
        held.ask("end", number=started["number"])


def addresses(url: str) -> list[Address]:
    """The hosts and ports of an endpoint: a URL, or `host:port` several times with commas between."""
    hosts = url.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
    return [(host, int(port)) for host, _, port in (part.rpartition(":") for part in hosts.split(","))]


class Supervision:
    """A supervisor for this process and those it starts; a context manager, at whose end every server ends."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kv-servers-"))
        path = str(self._folder / "supervisor.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(16)
            # It inherits a socket that listens already: nobody has to wait for it.
            tied = (sys.executable, "-IS", tether.__file__, str(os.getpid()), str(int(signal.SIGTERM)))
            module = (sys.executable, "-m", "tests.servers.supervisor", str(listener.fileno()), str(self._folder))
            self._process = subprocess.Popen(
                (*tied, *module),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )
        os.environ[VARIABLE] = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the supervisor and with it every server, and wait until they are gone."""
        release()
        del os.environ[VARIABLE]
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
