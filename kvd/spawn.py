"""Find the daemon, or start it. Blocking; an async program calls `find_or_start` in a thread.

However many programs come at once, there is one daemon: whoever finds none takes the start lock, looks again, and only then
starts one; the others look until they find it, or get the lock because the start failed. The daemon says on a descriptor of its
own that it listens, or why it cannot, and closes it when it ends; so whoever waits learns of an end at once, and can be patient
with what merely is slow.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kvd import paths
from kvd.errors import UnreachableDaemonError
from kvd.peer import is_welcome, peer_uid

__all__ = ["connect", "find", "find_or_start", "start", "wait_until_gone"]

START_TIMEOUT = 120.0
"""Seconds in which a daemon must listen. So long, because only a process that neither listens nor ends ever gets there."""
_OTHERS_TIMEOUT = START_TIMEOUT + 10.0
"""Seconds in which someone else's start must end."""
_BUSY_TIMEOUT = 10.0
_PAUSE = 0.02
READY = b"ready\n"
"""What the daemon writes to its readiness descriptor once it listens; anything else is the reason why it does not."""


def connect(path: Path) -> socket.socket | None:
    """Connect to the daemon at this path; None when there is none.

    Raises:
        UnsafePathError: the path is longer than a socket's can be.
        UnreachableDaemonError: something is there that must not or cannot be talked to.
    """
    paths.check_socket_path(path)
    deadline = time.monotonic() + _BUSY_TIMEOUT
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)  # a full backlog must not block for ever
            sock.connect(os.fspath(path))
            _check_peer(sock, path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            sock.close()
            return None
        except BlockingIOError:
            sock.close()
            if time.monotonic() > deadline:
                raise UnreachableDaemonError(
                    f"the daemon at {path} accepts nobody: it is overloaded, or stopped; see `kvd doctor`"
                ) from None
            time.sleep(_PAUSE)
        except OSError as error:
            sock.close()
            raise UnreachableDaemonError(f"the daemon's socket {path} cannot be used: {error.strerror or error}") from error
        except BaseException:
            sock.close()
            raise
        else:
            sock.setblocking(True)
            return sock


def _check_peer(sock: socket.socket, path: Path) -> None:
    if not is_welcome(sock):
        raise UnreachableDaemonError(
            f"the socket {path} is served by the user with id {peer_uid(sock)}, who is neither you nor root"
        )


def find(path: Path) -> socket.socket:
    """Connect to the daemon at this path.

    Raises:
        UnsafePathError: the path is too long.
        UnreachableDaemonError: there is none.
    """
    sock = connect(path)
    if sock is None:
        raise UnreachableDaemonError(f"no daemon listens at {path}: start it with `kvd serve`")
    return sock


def find_or_start(path: Path) -> socket.socket:
    """Connect to the daemon at this path, starting it where there is none.

    Raises:
        UnsafePathError: its folder cannot be trusted, or the path is too long.
        UnreachableDaemonError: it does not start; the message says why and what to do.
    """
    sock = connect(path)
    if sock is not None:
        return sock
    paths.private_dir(path.parent)
    lock = paths.start_lock(path)
    deadline = time.monotonic() + _OTHERS_TIMEOUT
    while True:
        with _locked(lock) as locked:
            sock = connect(path)
            if sock is None and locked:
                start(path)
                sock = connect(path)
                if sock is None:
                    raise UnreachableDaemonError(f"the daemon at {path} left right after its start: see {paths.log_file()}")
        if sock is not None:
            return sock
        if time.monotonic() > deadline:
            raise UnreachableDaemonError(f"another program has been starting the daemon for {_OTHERS_TIMEOUT:g} s; see {lock}")
        time.sleep(_PAUSE)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock file, unless somebody else does. It stays afterwards: a file that is removed is two locks for a moment."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UnreachableDaemonError(f"the lock {path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                raise UnreachableDaemonError(f"the lock {path} cannot be taken: {error.strerror}") from error
            locked = False
        yield locked
    finally:
        os.close(descriptor)


def wait_until_gone(path: Path, timeout: float) -> bool:
    """Wait until the daemon that is leaving has let go of its lock; False when it has not within so many seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            descriptor = os.open(paths.daemon_lock(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                return False
        else:
            return True
        finally:
            os.close(descriptor)
        time.sleep(_PAUSE)


def start(path: Path) -> None:
    """Start a daemon in the background and wait until it listens.

    Raises:
        UnreachableDaemonError: it does not; the message says why and what to do.
    """
    if not sys.executable:
        raise UnreachableDaemonError(
            "no daemon runs, and this Python does not know its own program to start one: run `kvd serve`"
        )
    reading, piped = os.pipe()
    # in a program without standard streams the pipe could have got their numbers, which mean something else in the daemon
    writing = fcntl.fcntl(piped, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(piped)
    with tempfile.TemporaryFile() as stderr, os.fdopen(reading, "rb", buffering=0) as ready:
        try:
            _launch(path, writing, stderr)
        finally:
            os.close(writing)
        said = _wait_ready(ready, path)
        if said == READY:
            return
        stderr.seek(0)
        complaint = stderr.read().decode("utf-8", "replace").strip().splitlines()
    reason = said.decode("utf-8", "replace").strip() or (complaint[-1] if complaint else "it ended without a word")
    raise UnreachableDaemonError(f"the daemon does not start: {reason} (log: {paths.log_file()})")


def _launch(path: Path, ready: int, stderr: IO[bytes]) -> None:
    command = [sys.executable, "-P", "-m", "kvd", "serve", "--background", "--socket", str(path), "--ready-fd", str(ready)]
    environment = dict(os.environ)
    home = str(Path(__file__).resolve().parent.parent)
    if home not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        # run from a checkout: the daemon must be of the same one, though it starts elsewhere
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [home, environment.get("PYTHONPATH")]))
    try:
        # the program forks and its first process ends at once, so that nobody has a daemon for a child
        subprocess.run(  # noqa: S603 - our own program
            command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=[ready],
            start_new_session=True,
            check=False,
            timeout=START_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableDaemonError(f"the daemon cannot be started: {error}") from error


def _wait_ready(ready: IO[bytes], path: Path) -> bytes:
    """What the daemon says until it says no more. Empty when it ended without a word."""
    said = b""
    deadline = time.monotonic() + START_TIMEOUT
    while not said.endswith(b"\n"):
        if not select.select([ready], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise UnreachableDaemonError(
                f"the daemon at {path} neither listens nor ends for {START_TIMEOUT:g} s: see {paths.log_file()}"
            )
        piece = ready.read(4096)
        if not piece:
            break
        said += piece
    return said
