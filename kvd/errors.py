"""Why a request failed, as a code on the wire and as an exception. `kvd.protocol` documents how they travel.

One class stands for every error of the daemon, told apart by its code, because a newer daemon may send codes that an older
client does not know. The other classes are for what happens before or instead of an answer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

__all__ = [
    "Code",
    "ConfigError",
    "ConnectionLostError",
    "DaemonError",
    "IncompatibleError",
    "ProtocolError",
    "RequestError",
    "UnreachableDaemonError",
]


class Code(StrEnum):
    """Why a request failed."""

    # the wire and the daemon
    BAD_REQUEST = "bad_request"
    UNKNOWN_METHOD = "unknown_method"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY = "too_many"
    VERSION_MISMATCH = "version_mismatch"
    SHUTTING_DOWN = "shutting_down"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    INTERNAL = "internal"
    # connections
    UNKNOWN_CONNECTION = "unknown_connection"
    CONFIG_ERROR = "config_error"
    READ_ONLY = "read_only"
    DESTROY_REFUSED = "destroy_refused"
    UNSUPPORTED = "unsupported"
    UNREACHABLE = "unreachable"
    SETUP_FAILED = "setup_failed"
    # the journal
    UNKNOWN_STEP = "unknown_step"
    # stores
    CONFLICT = "conflict"
    INVALID_KEY = "invalid_key"
    INVALID_VALUE = "invalid_value"
    INVALID_TTL = "invalid_ttl"
    FOREIGN = "foreign"
    VALUE_TOO_LARGE = "value_too_large"
    CURSOR_EXPIRED = "cursor_expired"
    PATH_REFUSED = "path_refused"
    OPERATION_FAILED = "operation_failed"
    STORE_ERROR = "store_error"


class DaemonError(Exception):
    """The root of what the daemon and its clients raise."""


class RequestError(DaemonError):
    """A request that was refused or failed: raised by the daemon's methods, and again by the client that asked."""

    def __init__(
        self, code: str, message: str, *, retry: bool = False, connection: str | None = None, detail: Any = None
    ) -> None:
        """Take the fields of an error on the wire. `code` is one of `Code`, or a newer daemon's."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry = retry
        self.connection = connection
        self.detail = detail

    def pack(self) -> dict[str, Any]:
        """Turn it into the error map of a reply."""
        # what a message quotes may hold text that utf-8 cannot carry
        message = self.message.encode("utf-8", "backslashreplace").decode()
        packed: dict[str, Any] = {"code": str(self.code), "message": message, "retry": self.retry}
        if self.connection is not None:
            packed["connection"] = self.connection
        if self.detail is not None:
            packed["detail"] = self.detail
        return packed

    @classmethod
    def unpack(cls, packed: Any) -> Self:
        """Turn a reply's error map into the exception to raise."""
        if not isinstance(packed, dict):
            return cls(Code.INTERNAL, "the daemon answered with an error that is not one")
        code, message = str(packed.get("code", Code.INTERNAL)), str(packed.get("message", "no reason given"))
        connection, detail = packed.get("connection"), packed.get("detail")
        return cls(code, message, retry=bool(packed.get("retry")), connection=connection, detail=detail)


class ProtocolError(RequestError):
    """The other side sent what the protocol does not allow. Where it concerns a request, `id` is that request's."""

    def __init__(self, code: Code, message: str, *, id: int | None = None) -> None:  # noqa: A002 - the wire's own word
        """Say what was wrong, and with which request."""
        super().__init__(code, message)
        self.id = id


class UnreachableDaemonError(DaemonError):
    """No daemon answers and none could be started. The message says what to do."""


class ConnectionLostError(DaemonError):
    """The connection ended with requests in flight: whether those took effect is not known."""


class IncompatibleError(DaemonError):
    """Client and daemon share no version of the protocol. The message says which one to upgrade or restart."""


class ConfigError(DaemonError):
    """The configuration has mistakes, or what it refers to is not there. Each problem is one line."""

    def __init__(self, *problems: str) -> None:
        """Take the lines."""
        super().__init__("\n".join(problems))
        self.problems = problems
