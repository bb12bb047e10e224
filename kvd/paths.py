"""Where the daemon's files are, and whether they can be trusted.

- The socket and its locks: `$XDG_RUNTIME_DIR/kvd`; else `/run/user/UID/kvd` where that folder is there and ours; else
  `/tmp/kvd-UID`. Never `TMPDIR`, which differs between shells of one user.
- The folder of the socket is ours, is no link, and nobody else may enter it. It is made when it is missing; it is refused,
  never repaired, when it is not like that: someone else may have put it there.
- Configuration, log and data are under the XDG folders. As XDG demands, a variable that holds a relative path is ignored.
- One socket, and beside it two locks: the daemon holds its own for life, and whoever starts a daemon holds the other
  meanwhile. A daemon at another path (tests, `--socket`) has its own three.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from kvd.errors import DaemonError

__all__ = [
    "UnsafePathError",
    "check_private",
    "check_socket_path",
    "config_file",
    "daemon_lock",
    "data_dir",
    "expanded",
    "log_file",
    "private_dir",
    "runtime_dir",
    "socket_path",
    "start_lock",
    "state_dir",
]

_PRIVATE = 0o700
_SOCKET_PATH_MAX = 103 if sys.platform == "darwin" else 107
"""Bytes of a path that the platform's `sockaddr_un` holds."""


class UnsafePathError(DaemonError):
    """A file or folder of the daemon cannot be trusted or used. The message names it and says what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path = path


def _is_our_dir(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else None  # noqa: PTH117 - asks of the text, which may be empty


def runtime_dir() -> Path:
    """The folder of the socket. Neither made nor checked: `private_dir` does that."""
    given = _from_environment("XDG_RUNTIME_DIR")
    if given is not None:
        return given / "kvd"
    usual = Path(f"/run/user/{os.getuid()}")
    if _is_our_dir(usual):
        return usual / "kvd"
    return Path(f"/tmp/kvd-{os.getuid()}")  # noqa: S108 - a fixed name is the point; owner and mode are checked


def socket_path() -> Path:
    """The path of the one socket of this user."""
    return runtime_dir() / "socket"


def daemon_lock(socket: Path) -> Path:
    """The file that the daemon of this socket keeps locked for as long as it lives."""
    return socket.with_name(socket.name + ".lock")


def start_lock(socket: Path) -> Path:
    """The file that whoever starts the daemon of this socket keeps locked meanwhile."""
    return socket.with_name(socket.name + ".start")


def _home() -> Path:
    """The user's home; for one who has none, as in a container, where nothing is and nothing can be made."""
    try:
        home = Path.home()
    except RuntimeError:
        return Path("/nonexistent")
    return home if home.is_absolute() else Path("/nonexistent")  # the daemon works in another folder than who starts it


def expanded(path: str) -> Path:
    """The path with its `~` resolved.

    Raises:
        ValueError: nobody knows whose home is meant.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home {path.partition('/')[0]}") from None


def config_file() -> Path:
    """The path of connections.toml, whether it is there or not."""
    return (_from_environment("XDG_CONFIG_HOME") or _home() / ".config") / "kvd" / "connections.toml"


def state_dir() -> Path:
    """The folder of the log and of what the daemon remembers."""
    return (_from_environment("XDG_STATE_HOME") or _home() / ".local" / "state") / "kvd"


def log_file() -> Path:
    """The daemon's log; older ones stand beside it with a number."""
    return state_dir() / "kvd.log"


def data_dir() -> Path:
    """The folder of the stores that the daemon keeps by itself."""
    return (_from_environment("XDG_DATA_HOME") or _home() / ".local" / "share") / "kvd"


def check_socket_path(path: Path) -> None:
    """Refuse a path that a socket cannot have.

    Raises:
        UnsafePathError: it is longer than the platform can hold.
    """
    length = len(os.fsencode(path))
    if length > _SOCKET_PATH_MAX:
        raise UnsafePathError(
            path,
            f"is {length} bytes long, and a socket's path can have {_SOCKET_PATH_MAX}: "
            "set XDG_RUNTIME_DIR to a shorter folder, or give --socket",
        )


def check_private(path: Path) -> None:
    """Refuse a folder in which someone else could put a socket.

    Raises:
        UnsafePathError: it is a link, no folder, not ours, open to others, or not there.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise UnsafePathError(path, f"cannot be used: {error.strerror}") from error
    if stat.S_ISLNK(status.st_mode):
        raise UnsafePathError(path, "is a symbolic link, and the daemon's folder must be a folder: remove it")
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafePathError(path, "is not a folder: remove it")
    if status.st_uid != os.getuid():
        raise UnsafePathError(path, f"belongs to the user with id {status.st_uid}, not to you: set XDG_RUNTIME_DIR")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        # of another folder than the daemon's own it is not known who else needs it
        advice = f"run `chmod 700 {path}`" if path.name.startswith("kvd") else "the socket needs a folder of its own"
        raise UnsafePathError(path, f"is open to others (mode {mode:04o}): {advice}")


def private_dir(path: Path) -> Path:
    """Make the folder, for its owner only, where it is missing; check it where it is there.

    Raises:
        UnsafePathError: it cannot be made, or `check_private` refuses it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=_PRIVATE)
    except FileExistsError:
        pass
    except OSError as error:
        raise UnsafePathError(path, f"cannot be made: {error.strerror}") from error
    check_private(path)
    return path
