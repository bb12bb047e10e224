"""A real daemon for tests, in a folder of its own, and a client that knows nothing but `socket` and `msgpack`."""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgpack  # type: ignore[import-untyped]  # it ships no types

ROOT = Path(__file__).parent.parent
START_TIMEOUT = 120.0  # seconds: on a machine that is overrun, a soak must not take slowness for an end
PATIENCE = 60.0  # seconds that anything else may take, so that what never comes is told from what is slow

SPARE = """
[connections.scratch]
store = "memory"

[connections.frozen]
store = "memory"
read_only = true

[connections.open]
store = "memory"
allow_destroy = true
"""
"""The configuration of most tests."""


class Daemon:
    """A daemon in a process of its own, with its files in a private folder."""

    def __init__(self, home: Path, config: str = SPARE) -> None:
        self.home = home
        self.socket = home / "run" / "kvd" / "socket"
        self.log = home / "state" / "kvd" / "kvd.log"
        self.config = home / "config" / "kvd" / "connections.toml"
        self.config.parent.mkdir(parents=True)
        self.config.write_text(config)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "LISTEN_"))},
            "XDG_RUNTIME_DIR": str(home / "run"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_DATA_HOME": str(home / "data"),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error::ResourceWarning",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wrapper: list[str] | None = None) -> None:
        """Start it and wait until it listens."""
        reading, writing = os.pipe()
        command = [*(wrapper or []), sys.executable, "-P", "-m", "kvd", "serve", "--ready-fd", str(writing)]
        self.process = subprocess.Popen(
            command,
            env=self.environment,
            pass_fds=[writing],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            assert select.select([ready], [], [], START_TIMEOUT)[0], "the daemon does not start"
            said = ready.read()
        assert said == b"ready\n", (said, self.process.communicate()[1].decode())

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end; its status."""
        assert self.process is not None
        self.process.communicate(timeout=timeout)
        return self.process.returncode

    def stop(self) -> int | None:
        """End it, if it is not at its end."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()
                raise
        elif self.process.stderr is not None:
            self.process.stderr.close()
        return self.process.returncode

    def client(self, *, greet: bool = True) -> "RawClient":
        """Connect."""
        client = RawClient(self.socket)
        if greet:
            client.hello()
        return client

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text() if self.log.exists() else ""

    def memory(self) -> int:
        """Return its resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Return how many descriptors it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@contextlib.contextmanager
def running(config: str = SPARE, *, wrapper: list[str] | None = None) -> Iterator[Daemon]:
    """Run a daemon. Its folder is short: a socket's path has room for about a hundred bytes."""
    home = Path(tempfile.mkdtemp(prefix="kvd"))
    daemon = Daemon(home, config)
    try:
        daemon.start(wrapper=wrapper)
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(home, ignore_errors=True)


class RawClient:
    """The protocol by hand."""

    def __init__(self, path: Path, *, timeout: float = PATIENCE) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._received = bytearray()
        self._id = 0
        self._streams: dict[int, bytearray] = {}
        self.events: list[Any] = []
        self.replies: dict[int | None, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def hello(self) -> Any:
        return self.call("hello", protocol=[1, 1], client="test", version="0")

    @staticmethod
    def frame(message: Any) -> bytes:
        body: bytes = msgpack.packb(message)
        return len(body).to_bytes(4, "big") + body

    def send(self, message: Any) -> None:
        self.socket.sendall(self.frame(message))

    def ask(self, method: str, params: dict[str, Any], **options: Any) -> int:
        """Send a request; its id."""
        self._id += 1
        message: list[Any] = [0, self._id, method, params]
        if options:
            message.append(options)
        self.send(message)
        return self._id

    def read(self) -> Any:
        """Return the next message, parts joined; None at the end of the stream."""
        while True:
            body = self._body()
            if body is None:
                return None
            message = msgpack.unpackb(body)
            if message[0] != 3:
                return message
            _, stream, last, chunk = message
            joined = self._streams.setdefault(stream, bytearray())
            joined += chunk
            if last:
                return msgpack.unpackb(self._streams.pop(stream))

    def _body(self) -> bytes | None:
        while True:
            if len(self._received) >= 4:
                length = int.from_bytes(self._received[:4], "big")
                if len(self._received) >= 4 + length:
                    body = bytes(self._received[4 : 4 + length])
                    del self._received[: 4 + length]
                    return body
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._received += data

    def reply(self, number: int | None) -> tuple[Any, Any]:
        """Return error and result of a request; other messages are kept."""
        while number not in self.replies:
            message = self.read()
            assert message is not None, "the daemon closed the connection"
            if message[0] == 2:
                self.events.append(message[1:])
            else:
                assert message[1] not in self.replies, f"two replies to {message[1]}"
                self.replies[message[1]] = (message[2], message[3])
        return self.replies.pop(number)  # type: ignore[no-any-return]  # what it is, the test knows

    def call(self, method: str, **params: Any) -> Any:
        """Do a request that must succeed."""
        error, result = self.reply(self.ask(method, params))
        assert error is None, error
        return result

    def refused(self, method: str, **params: Any) -> Any:
        """Do a request that must fail; its error."""
        error, _ = self.reply(self.ask(method, params))
        assert error is not None, f"{method} succeeded"
        return error

    def event(self) -> Any:
        """Return the next event as [name, params]."""
        while not self.events:
            message = self.read()
            assert message is not None, "the daemon closed the connection"
            if message[0] == 2:
                return message[1:]
            self.replies[message[1]] = (message[2], message[3])
        return self.events.pop(0)


def eventually(condition: Any, timeout: float = PATIENCE) -> None:
    """Wait for a condition that other processes bring about."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
