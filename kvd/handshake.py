"""What both kinds of client do alike beside their requests: greet the daemon, and read its events. No I/O."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kvd import __version__
from kvd.errors import Code, DaemonError, IncompatibleError, RequestError, UnreachableDaemonError
from kvd.model import Change, Key, unpack_name
from kvd.protocol import MAX_IN_FLIGHT, OLDEST_PROTOCOL, PROTOCOL
from kvd.requests import Request

__all__ = [
    "ATTEMPTS",
    "GRACE",
    "HELLO_TIMEOUT",
    "PAUSE",
    "Server",
    "hello",
    "read_change",
    "refused",
    "unanswered",
    "ungreeted",
]

ATTEMPTS: Final = 3
"""How often a client looks for a daemon when the one that it found ends before it answers."""
PAUSE: Final = 0.05
"""Seconds between those attempts."""
HELLO_TIMEOUT: Final = 10.0
"""Seconds that a daemon has to greet."""
GRACE: Final = 2.0
"""Seconds beyond a request's own deadline, or for what is still to be sent at the end, after which the daemon is taken to be
stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What the daemon said of itself in `hello`."""

    protocol: int
    version: str
    pid: int
    capabilities: frozenset[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def max_in_flight(self) -> int:
        """How many requests one client may have waiting."""
        return int(self.limits.get("max_in_flight", MAX_IN_FLIGHT))


def hello() -> Request[Server]:
    """The first request of a connection."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119 - a label for `kvd status`, not a path
    params = {
        "protocol": [OLDEST_PROTOCOL, PROTOCOL],
        "client": f"{name or 'python'} {os.getpid()}",
        "version": __version__,
    }
    return Request("hello", params, _server)


def _server(result: Any) -> Server:
    return Server(
        protocol=int(result["protocol"]),
        version=str(result["version"]),
        pid=int(result["pid"]),
        capabilities=frozenset(result.get("capabilities", ())),
        limits=result.get("limits", {}),
    )


def refused(error: RequestError) -> DaemonError:
    """What a refused `hello` means."""
    if error.code == Code.VERSION_MISMATCH:
        detail = error.detail if isinstance(error.detail, dict) else {}
        return IncompatibleError(
            f"this program is kvtui {__version__} and the running daemon is {detail.get('version', 'of another version')}, "
            "and they share no version of the protocol: run `kvd restart`"
        )
    return UnreachableDaemonError(f"the daemon refuses this program: {error.message}")


def ungreeted() -> UnreachableDaemonError:
    """What it means that `hello` is not answered."""
    return UnreachableDaemonError(
        f"the daemon accepts but does not answer within {HELLO_TIMEOUT:g} s; it may be stopped: see `kvd doctor`"
    )


def unanswered() -> RequestError:
    """What it means that a request is not answered, long after its deadline."""
    return RequestError(Code.DEADLINE, "the daemon does not answer; it may be stopped", retry=True)


def read_change(params: Mapping[str, Any]) -> Change:
    """Read the event `change`; what a newer daemon added is ignored."""
    keys: list[Key] = [key for packed in params.get("keys", ()) if (key := unpack_name(packed)) is not None]
    return Change(
        sequence=params["sequence"],
        connection=params["connection"],
        collection=unpack_name(params.get("collection")),
        keys=keys,
        operation=params["operation"],
        own=bool(params.get("own", False)),
    )
