"""How the daemon starts, keeps its place, and ends.

- A lock that is held for life says that the daemon lives; nothing else does, and never a pid.
- The socket is bound under a temporary name inside the private folder, listens, and is then renamed into its place: nobody ever
  meets one that does not answer, and no live one is replaced, because the lock comes first.
- What is removed at the end is the file that we put there, never another daemon's.
- SIGTERM and SIGINT drain; a second one leaves at once. SIGHUP reads the configuration again.
- Once drained, it is gone: no thread that hangs (on a name server that does not answer) keeps the process and its lock.
- Started by systemd's socket activation, it takes the socket that is handed over and never removes it.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvd import paths
from kvd.errors import DaemonError
from kvd.log import Redactor, open_log
from kvd.server import Server

if TYPE_CHECKING:
    from logging import Logger

    from kvd.config import Config

__all__ = ["AlreadyRunningError", "serve"]

BACKLOG: Final = 4_096
LOCK_TIMEOUT: Final = 15.0
"""Seconds to wait for the lock of a daemon that is about to leave."""
TICK: Final = 1.0
"""Seconds between looks at the clock and at the socket's path."""
LAST_MOMENTS: Final = 1.0
"""Seconds that the loop has to close when everything is drained."""
_FIRST_SYSTEMD: Final = 3
_READY: Final = b"ready\n"


class AlreadyRunningError(DaemonError):
    """Another daemon serves this socket."""


def serve(
    path: Path,
    *,
    config: Path | None = None,
    ready_fd: int | None = None,
    background: bool = False,
    log_file: Path | None = None,
) -> None:
    """Be the daemon of this socket until told to leave.

    Args:
        path: the socket's.
        config: connections.toml; the usual one when None.
        ready_fd: a descriptor to which "ready" is written once clients can connect, or the reason why they cannot.
        background: whether to leave the caller's process and terminal.
        log_file: the usual one when None.

    Raises:
        DaemonError: it cannot start; AlreadyRunningError: another one serves.
    """
    systemd = _systemd_socket()
    if background and os.fork():
        os._exit(0)
    _close_inherited({ready_fd, systemd} - {None})
    try:
        place = _Place(path, systemd)
        place.take()
    except AlreadyRunningError:
        _say(ready_fd, _READY)  # to who wanted a daemon, it is all the same which one it is
        raise
    except DaemonError as error:
        _say(ready_fd, f"{error}\n".encode())
        raise
    try:
        redactor = Redactor()
        log = open_log(log_file or paths.log_file(), redactor, terminal=not background)
        if background:
            _leave_terminal()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_live(place, config, log, redactor, ready_fd))
            _leave_within(LAST_MOMENTS)
        place.give_up()
        _leave()
    except BaseException as error:
        _say(ready_fd, f"{type(error).__name__}: {error}\n".encode())
        raise
    finally:
        place.give_up()


async def _live(place: _Place, config_path: Path | None, log: Logger, redactor: Redactor, ready_fd: int | None) -> None:
    from kvd.config import load  # noqa: PLC0415 - may import what the stores' constructors need

    config = load(config_path)
    log.setLevel(config.daemon.log_level.upper())
    server = Server(config, log, redact=redactor.redact, learn=redactor.learn)
    server.facts = {"socket": str(place.path), "log": str(paths.log_file())}
    _handle_signals(server, place)
    server.listen(place.socket)
    log.info("listening on %s, pid %d", place.path, os.getpid())
    for problem in config.problems:
        log.warning("%s", problem)
    gc.freeze()  # nothing that is there by now is garbage
    _say(ready_fd, _READY)
    _notify_systemd("READY=1")
    watch = server.loop.create_task(_watch(server, place))
    await server.stopped.wait()
    watch.cancel()
    _notify_systemd("STOPPING=1")
    log.info("leaving: %s", server.stop_reason)
    place.unlink()
    await server.drain(server.pool.config.daemon.drain)
    log.info("left")


async def _watch(server: Server, place: _Place) -> None:
    """Once a tick: leave when nobody needs the daemon, and see to it that it can be found."""
    while True:
        await asyncio.sleep(TICK)
        try:
            server.send_away_the_silent()
            if not place.is_ours():
                server.log.warning("%s was removed or replaced", place.path)
                server.unlisten()
                place.restore()
                server.listen(place.socket)
            await _leave_when_idle(server, server.pool.config)
        except DaemonError as error:
            server.stop(str(error))
        except OSError as error:
            server.log.error("the socket cannot be looked after: %s", error)  # noqa: TRY400 - a full disk needs no traceback


async def _leave_when_idle(server: Server, config: Config) -> None:
    idle = config.daemon.idle_exit
    if idle is None or server.sessions or server.busy or time.monotonic() - server.last_used < idle:
        return
    if not await server.pool.holds_entries():
        server.stop(f"nobody needed it for {idle:g} seconds")


class _Place:
    """The lock, the folder and the socket that make this process the daemon."""

    def __init__(self, path: Path, handed_over: int | None) -> None:
        self.path = path
        self.socket: socket.socket
        self._handed_over = handed_over
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None
        """Device and inode of the socket's file that we made."""

    def take(self) -> None:
        """Become the daemon of the path.

        Raises:
            DaemonError: the folder cannot be trusted, or another daemon serves.
        """
        os.umask(0o077)
        _raise_descriptor_limit()
        paths.check_socket_path(self.path)
        paths.private_dir(self.path.parent)
        self._take_lock(LOCK_TIMEOUT)
        if self._handed_over is None:
            self._bind()
        else:
            self.socket = socket.socket(fileno=self._handed_over)

    def _take_lock(self, patience: float) -> None:
        lock_path = paths.daemon_lock(self.path)
        deadline = time.monotonic() + patience
        while True:
            try:
                descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise DaemonError(f"the lock {lock_path} cannot be opened: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                if _answers(self.path):
                    raise AlreadyRunningError(f"a daemon serves {self.path} already") from None
                if time.monotonic() > deadline:
                    raise DaemonError(f"another daemon holds {lock_path} but does not serve {self.path}") from None
                time.sleep(0.02)
                continue
            if _is_file_of(descriptor, lock_path):
                self._lock = descriptor
                with suppress(OSError):  # for people who look; nothing reads it
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, b"%d\n" % os.getpid())
                return
            os.close(descriptor)  # somebody removed the file meanwhile: the lock on it is worth nothing

    def _bind(self) -> None:
        self._remove_leftovers()
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with suppress(FileNotFoundError):
                temporary.unlink()
            try:
                paths.check_socket_path(temporary)
                listener.bind(os.fspath(temporary))
            except DaemonError:
                # the temporary name would be too long: the lock protects the final one as well
                temporary = self.path
                with suppress(FileNotFoundError):
                    temporary.unlink()
                listener.bind(os.fspath(temporary))
            temporary.chmod(0o600)
            listener.listen(BACKLOG)
            status = temporary.stat()
            temporary.replace(self.path)
        except OSError as error:
            listener.close()
            raise DaemonError(f"the socket {self.path} cannot be made: {error.strerror}") from error
        self.socket = listener
        self._identity = (status.st_dev, status.st_ino)

    def _remove_leftovers(self) -> None:
        """Remove the half-made sockets of daemons that were killed while they started."""
        for leftover in self.path.parent.glob(f"{self.path.name}.*"):
            if leftover.suffix[1:].isdecimal() and leftover.is_socket():
                with suppress(OSError):
                    leftover.unlink()

    def is_ours(self) -> bool:
        """Tell whether clients who look at the path find us, and a second daemon our lock."""
        if self._identity is None:
            return True
        try:
            status = self.path.lstat()
        except OSError:
            return False
        lock_is_ours = self._lock is not None and _is_file_of(self._lock, paths.daemon_lock(self.path))
        return (status.st_dev, status.st_ino) == self._identity and lock_is_ours

    def restore(self) -> None:
        """Make folder, lock and socket anew after they were removed.

        Raises:
            DaemonError: another daemon has taken the place.
        """
        paths.private_dir(self.path.parent)
        if self._lock is None or not _is_file_of(self._lock, paths.daemon_lock(self.path)):
            stale, self._lock = self._lock, None
            self._take_lock(0.0)
            if stale is not None:
                os.close(stale)
        old = self.socket
        self._bind()
        old.close()

    def unlink(self) -> None:
        """Remove the socket's file, if it is ours."""
        if self._identity is not None and self.is_ours():
            with suppress(OSError):
                self.path.unlink()
        self._identity = None

    def give_up(self) -> None:
        """Let go of everything. The lock's file stays: to remove it would let two daemons each lock their own."""
        self.unlink()
        if hasattr(self, "socket"):
            self.socket.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _is_file_of(descriptor: int, path: Path) -> bool:
    """Tell whether the descriptor is of the file that the path names now."""
    try:
        named, held = path.lstat(), os.fstat(descriptor)
    except OSError:
        return False
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)
        try:
            caller.connect(os.fspath(path))
        except BlockingIOError:
            return True  # its backlog is full, which is an answer too
        except OSError:
            return False
        return True


def _handle_signals(server: Server, place: _Place) -> None:
    def end(number: int) -> None:
        if server.stopped.is_set():
            place.unlink()
            os._exit(128 + number)
        server.stop(f"told to by {signal.Signals(number).name}")

    def reload() -> None:
        server.keep(server.loop.create_task(_reload(server)))

    for number in (signal.SIGTERM, signal.SIGINT):
        server.loop.add_signal_handler(number, end, number)
    server.loop.add_signal_handler(signal.SIGHUP, reload)


async def _reload(server: Server) -> None:
    try:
        await server.reload()
    except Exception:
        server.log.exception("the configuration could not be read again")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's where it is installed and not turned off."""
    if os.environ.get("KVD_LOOP") == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    # half of these threads look up names; with the usual four, two names that are not found hold up everybody else's
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")
    return uvloop.new_event_loop


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _close_inherited(kept: set[int | None]) -> None:
    """Close what the starter left open: a daemon that holds somebody's pipe or lock would hold them for ever."""
    start = _FIRST_SYSTEMD
    for descriptor in sorted(one for one in kept if one is not None and one >= start):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20))


def _leave_within(seconds: float) -> None:
    """End the process that late at the latest: closing the loop waits for its threads."""
    timer = threading.Timer(seconds, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    """End the process without the interpreter's end, which waits for threads as well."""
    with suppress(OSError, ValueError, AttributeError):  # closed, gone, or never there
        sys.stderr.flush()
    os._exit(0)


def _leave_terminal() -> None:
    with suppress(OSError):
        os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the rest of the process's life


def _say(ready_fd: int | None, message: bytes) -> None:
    if ready_fd is not None:
        with suppress(OSError):
            os.write(ready_fd, message)
            os.close(ready_fd)


def _systemd_socket() -> int | None:
    """Return the descriptor that systemd handed over to this very process."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    return _FIRST_SYSTEMD if pid == str(os.getpid()) and count.isdecimal() and int(count) >= 1 else None


def _notify_systemd(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(message.encode())
