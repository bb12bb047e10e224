"""The lock, the folder and the socket that make a process the daemon.

- A lock that is held for life says that the daemon lives; nothing else does, and never a pid.
- The socket is bound under a temporary name inside the private folder, listens, and is then renamed into its place: nobody ever
  meets one that does not answer, and no live one is replaced, because the lock comes first.
- What is removed at the end is the file that we put there, never another daemon's.
- A socket that was handed over (by systemd) is never removed.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from kvd import paths
from kvd.errors import DaemonError

__all__ = ["AlreadyRunningError", "Place"]

BACKLOG: Final = 4_096
LOCK_TIMEOUT: Final = 60.0
"""Seconds to wait for the lock. Who holds it lives, and is about to serve or to leave, however slow the machine is."""


class AlreadyRunningError(DaemonError):
    """Another daemon serves this socket."""


class Place:
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
            stale = self._lock
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
