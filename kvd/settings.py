"""What the configuration says, as frozen nouns: read by `kvd.config`, used by `kvd.connections`. No I/O, nothing of `stores`.

A connection is a constructor call written down. Secrets stand in `args` as they were written (`${ENV}`, `{file = …}`,
`{command = …}`) and are looked up when the store is built; `args` never shows in a repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Configuration", "ConnectionSettings", "DaemonSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """`[connections.NAME]`."""

    name: str
    store: str
    """The backend's name: "memory", "disk", …"""
    args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """`[connections.NAME.args]`: the constructor's keyword arguments, as written."""
    location: str = ""
    """Where the data is, for a person: a path, or a URL without its secrets."""
    read_only: bool = False
    production: bool = False
    allow_destroy: bool = False
    group: str | None = None
    colour: str | None = None
    separators: str = ":"
    timeout: float = 30.0
    """Seconds after which a request on it fails with `deadline`, unless the request brings its own."""
    concurrency: int = 256
    """Operations that run at the same time on its store; more wait in line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """`[daemon]`."""

    idle_exit: float | None = 900.0
    """Seconds without clients, subscriptions and pending work after which the daemon leaves. None: never."""
    drain: float = 5.0
    """Seconds that requests in flight get when the daemon is told to stop."""
    log_level: str = "info"
    """"debug", "info", "warning" or "error"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All of connections.toml."""

    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    connections: Mapping[str, ConnectionSettings] = field(default_factory=dict)
    """By name, in the file's order."""
