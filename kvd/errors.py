"""What goes wrong between a program and the daemon, one class a situation. The class writes the message.

`DaemonError` is the root. An error that the daemon answered with is a `RequestError`, whatever its code; the others are the
client's own: nothing was asked (`UnreachableDaemonError`, `IncompatibleError`), or it is unknown what became of what was
asked (`ConnectionLostError`). `UnsafePathError` and `ConfigError` concern the files of the daemon, on either side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "ConfigError",
    "ConnectionLostError",
    "DaemonError",
    "IncompatibleError",
    "RequestError",
    "UnreachableDaemonError",
    "UnsafePathError",
]


class DaemonError(Exception):
    """The root of everything that the daemon and its clients raise."""


class RequestError(DaemonError):
    """The daemon refused a request, or could not do it.

    Attributes:
        code: One of `kvd.protocol.ErrorCode`, or a code of a newer daemon.
        message: One sentence for a person, without secrets.
        retry: Whether the same request may succeed later.
        connection: The connection that it concerns.
        detail: What the code promises beside the message, or None.
    """

    def __init__(
        self, code: str, message: str, *, retry: bool = False, connection: str | None = None, detail: Any = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry = retry
        self.connection = connection
        self.detail = detail

    @classmethod
    def from_map(cls, error: Mapping[str, Any]) -> RequestError:
        """Read the map that the wire carries; what a newer daemon added is ignored."""
        return cls(
            str(error.get("code", "internal")),
            str(error.get("message", "the daemon gave no reason")),
            retry=bool(error.get("retry", False)),
            connection=error.get("connection"),
            detail=error.get("detail"),
        )


class UnreachableDaemonError(DaemonError):
    """No daemon answers, and none could be started. Nothing was asked of anyone."""

    def __init__(self, path: Path, reason: str, *, advice: str | None = None) -> None:
        super().__init__(f"no daemon at {path}: {reason}" + (f"; {advice}" if advice else ""))
        self.path = path
        self.reason = reason
        self.advice = advice


class ConnectionLostError(DaemonError):
    """The daemon went away before it answered: what was asked may or may not have happened."""

    def __init__(self, reason: str = "the daemon closed the connection") -> None:
        super().__init__(reason)
        self.reason = reason


class IncompatibleError(DaemonError):
    """The daemon and this program do not speak the same version of the protocol.

    Attributes:
        client: This program's build.
        server: The daemon's build.
        pid: The daemon's process, or None when it did not say.
    """

    def __init__(self, client: str, server: str, *, pid: int | None = None) -> None:
        where = f" (pid {pid})" if pid else ""
        super().__init__(
            f"this program is version {client} and the running daemon{where} is version {server}, which speak different "
            "protocols; run `kvd restart`"
        )
        self.client = client
        self.server = server
        self.pid = pid


class UnsafePathError(DaemonError):
    """A file or folder of the daemon cannot be trusted or used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path = path
        self.reason = reason


class ConfigError(DaemonError):
    """The configuration has mistakes; each problem is one line with file, line and field."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)
