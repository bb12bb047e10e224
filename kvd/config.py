"""connections.toml: which stores the daemon has, each a constructor call written in TOML. The daemon's side only.

    [daemon]
    idle_exit = "30m"                       # or "never"

    [connections.sessions]
    store = "redis"
    read_only = true                        # the daemon's own options: the fields of ConnectionConfig
    [connections.sessions.args]             # the arguments of the store's constructor
    url = "rediss://cache.example:6380/0"
    password = "${CACHE_PASSWORD}"          # or { file = "~/.cache-password" }, or { command = "pass show cache" }

- A mistake costs the connection that it stands in, nothing else: `load` never raises for what the file holds. Each problem
  is one line with file, line and field.
- What is a reference stays one until the store is opened; configurations can be compared, shown and logged without it.
- Without a file, or without a word of connections in it, there are two: `scratch` in memory and `local` on disk.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kvd import paths
from kvd.durations import parse_duration
from kvd.errors import ConfigError

if TYPE_CHECKING:
    from kvd.config_lines import Lines

__all__ = [
    "COLOURS",
    "Config",
    "ConfigError",
    "ConnectionConfig",
    "DaemonOptions",
    "first_run",
    "load",
    "syntax_problem",
    "without_secrets",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonOptions:
    """The table `[daemon]`."""

    idle_exit: float | None = 1800.0
    """Seconds without clients and work after which the daemon leaves; None: never. `idle_exit = "30m"` or `"never"`."""
    drain: float = 5.0
    """Seconds that requests in flight get when the daemon is told to stop."""
    log_level: str = "info"
    """"debug", "info", "warning" or "error"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionConfig:
    """One connection as it is written down. Holds references to secrets, and secrets that were written out; shows neither."""

    name: str
    store: str
    """The backend's name: "memory", "redis", …"""
    args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The constructor's arguments as written."""
    read_only: bool = False
    """Whether the daemon refuses every write."""
    production: bool = False
    """Whether the terminal UI warns by colour, and asks for the number before many keys change."""
    allow_destroy: bool = False
    """Whether the whole store may be emptied."""
    group: str | None = None
    """A heading under which it is shown."""
    colour: str | None = None
    """What it is marked with where it is shown: one of `COLOURS`."""
    separators: str = ":"
    """Characters at which a key is cut when it is shown as a tree."""
    timeout: float = 30.0
    """Seconds that a request may take when it does not say itself."""
    connect_timeout: float = 12.0
    """Seconds that opening may take. Longer than the stores' own timeout, whose message says more."""
    max_in_flight: int = 64
    """Requests that may be at the backend at once; the others wait."""
    problems: tuple[str, ...] = ()
    """Why it cannot be opened, a line each; empty when it can."""

    @property
    def location(self) -> str:
        """Where the data is, for a person: a path, or a URL without its secrets."""
        args = self.args
        if isinstance(args.get("url"), str):
            return without_secrets(args["url"])
        for name in ("directory", "data_directory"):
            if isinstance(args.get(name), str):
                return str(args[name])
        if isinstance(args.get("host"), str):
            return ":".join(str(args[name]) for name in ("host", "port") if name in args)
        named = [str(args[name]) for name in ("endpoint_url", "table_name", "bucket_name") if isinstance(args.get(name), str)]
        return " ".join(without_secrets(text) for text in named) or self.store


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file, read."""

    path: Path
    daemon: DaemonOptions
    connections: dict[str, ConnectionConfig]
    """In the file's order, those with problems included."""
    problems: tuple[str, ...]
    """All of them, those of single connections included."""
    readable: bool = True
    """Whether there is a file that is TOML, or none; otherwise the first problem is what is wrong with it."""


_OPTIONS = {option.name: option for option in fields(ConnectionConfig) if option.name not in {"name", "args", "problems"}}
_TYPES: dict[str, Any] = {"str": str, "bool": bool, "int": int, "float": (int, float)}
_WORDS = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number of seconds or a time like 30s"}
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "grey")
"""Names, not values: a program picks the tone that can be read on its ground."""
_LOG_LEVELS = ("debug", "info", "warning", "error")


def load(path: Path | None = None) -> Config:
    """Read connections.toml; without one, the two connections of a first run.

    What it reads is checked against what the stores' constructors take, but neither a store's module nor a driver is imported.
    """
    path = path or paths.config_file()
    try:
        if path.is_fifo():
            return _unreadable(path, f"{path}: cannot be read: it is a pipe, for which the daemon would wait")
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return Config(path=path, daemon=DaemonOptions(), connections=first_run(), problems=())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        return _unreadable(path, f"{path}: cannot be read: {reason}")
    return read(path, text)


def read(path: Path, text: str) -> Config:
    """Read what connections.toml says, or would say."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return _unreadable(path, syntax_problem(path, text, error))
    return _Reader(path, text).read(document)


def _unreadable(path: Path, problem: str) -> Config:
    return Config(path=path, daemon=DaemonOptions(), connections={}, problems=(problem,), readable=False)


def first_run() -> dict[str, ConnectionConfig]:
    """The connections that there are without a file."""
    return {
        "scratch": ConnectionConfig(name="scratch", store="memory"),
        "local": ConnectionConfig(name="local", store="disk", args={"directory": str(paths.data_dir() / "local")}),
    }


def syntax_problem(path: Path, text: str, error: tomllib.TOMLDecodeError) -> str:
    """What is wrong with a text that is not TOML, with file and line."""
    reason, _, place = str(error).partition(" (at ")
    at_end = not place.startswith("line ")
    line = text.count("\n") + 1 if at_end else int(place.removeprefix("line ").partition(",")[0])
    return f"{path}:{line}: {reason[:1].lower()}{reason[1:]}"


class _Reader:
    """One reading of a file that is TOML. Collects problems and goes on."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._problems: list[str] = []

    def read(self, document: dict[str, Any]) -> Config:
        for name in document.keys() - {"daemon", "connections"}:
            self._problem((name,), f"unknown table{_meant(name, ['daemon', 'connections'])}")
        daemon = self._daemon(self._table(document, "daemon"))
        connections: dict[str, ConnectionConfig] = {} if "connections" in document else first_run()
        for name, table in self._table(document, "connections").items():
            before = len(self._problems)
            connection = self._connection(name, table)
            if connection is not None:
                problems = tuple(self._problems[before:])
                connections[name] = replace(connection, problems=problems)
        return Config(path=self._path, daemon=daemon, connections=connections, problems=tuple(self._problems))

    @cached_property
    def _lines(self) -> Lines:
        from kvd.config_lines import Lines  # noqa: PLC0415 - only where there is a mistake

        return Lines(self._text)

    def _problem(self, where: tuple[str, ...], message: str) -> None:
        line = self._lines.find(where)
        named = ".".join(name if name.isprintable() and name else ascii(name) for name in where)
        self._problems.append(f"{self._path}:{line}: {named}: {message}")

    def _table(self, document: dict[str, Any], name: str) -> dict[str, Any]:
        table = document.get(name, {})
        if isinstance(table, dict):
            return table
        self._problem((name,), "must be a table")
        return {}

    def _daemon(self, table: dict[str, Any]) -> DaemonOptions:
        known = {option.name: option for option in fields(DaemonOptions)}
        options: dict[str, Any] = {}
        for name, value in table.items():
            if name not in known:
                self._problem(("daemon", name), f"unknown option{_meant(name, known)}")
            elif name == "idle_exit" and value == "never":
                options[name] = None
            elif name == "log_level" and value not in _LOG_LEVELS:
                self._problem(("daemon", name), f"must be one of {', '.join(_LOG_LEVELS)}")
            else:
                self._option(("daemon", name), known[name], value, options)
        return DaemonOptions(**options)

    def _connection(self, name: str, table: Any) -> ConnectionConfig | None:
        where = ("connections", name)
        if not isinstance(table, dict):
            self._problem(where, "must be a table")
            return None
        if not name.strip() or "/" in name or ":" in name or not name.isprintable():
            self._problem(where, "a connection's name is text without '/', ':' and control characters")
            return None
        options: dict[str, Any] = {}
        for option, value in table.items():
            if option == "args":
                continue
            if option not in _OPTIONS:
                hint = _meant(option, [*_OPTIONS, "args"]) or "; the constructor's arguments go under args"
                self._problem((*where, option), f"unknown option{hint}")
            elif option == "colour" and value not in COLOURS:
                self._problem((*where, option), f"must be one of {', '.join(COLOURS)}")
            else:
                self._option((*where, option), _OPTIONS[option], value, options)
        args = table.get("args", {})
        if not isinstance(args, dict):
            self._problem((*where, "args"), "must be a table")
            args = {}
        if "store" not in table:
            self._problem(where, f"has no store; one of {_known_stores()}")
        elif "store" in options:
            self._arguments(where, options["store"], args)
        return ConnectionConfig(name=name, args=args, **({"store": "unknown"} | options))

    def _option(self, where: tuple[str, ...], option: Field[Any], value: Any, options: dict[str, Any]) -> None:
        """Check one option by its declared type and keep it. Seconds may be written as `30s` or `5m`."""
        try:
            options[option.name] = _checked(str(option.type).removesuffix(" | None"), value)
        except ValueError as error:
            self._problem(where, str(error))

    def _arguments(self, where: tuple[str, ...], store: str, args: dict[str, Any]) -> None:
        from kvd import config_fields  # noqa: PLC0415 - imports stores, which only a file with connections needs

        if store not in config_fields.store_names():
            hint = _meant(store, config_fields.store_names()) or f"; one of {_known_stores()}"
            self._problem((*where, "store"), f"there is no store {store!r}{hint}")
            return
        known = config_fields.store_fields(store)
        for name, value in args.items():
            if name not in known:
                hint = _meant(name, known) or f"; it takes {', '.join(known)}"
                self._problem((*where, "args", name), f"{store} has no argument {name!r}{hint}")
            elif (reason := config_fields.mismatch(known[name], value)) is not None:
                self._problem((*where, "args", name), reason)
        for name, argument in known.items():
            if argument.required and name not in args:
                self._problem((*where, "args"), f"{store} needs {name}")


def _checked(kind: str, value: Any) -> Any:
    """The value of an option of that type. ValueError when it is none."""
    if kind == "float" and isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) != (kind == "bool") or not isinstance(value, _TYPES[kind]):
        raise ValueError(f"must be {_WORDS[kind]}, not {_kind(value)}")
    if kind in {"int", "float"} and not 0 < value < inf:
        raise ValueError("must be more than zero")
    return value


def _kind(value: Any) -> str:
    names = {bool: "true or false", str: "text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


def _meant(name: str, known: Any) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only where there is a mistake

    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _known_stores() -> str:
    from kvd import config_fields  # noqa: PLC0415 - as above

    return ", ".join(config_fields.store_names())


def without_secrets(url: str) -> str:
    """The URL without user, password and query, which may hold one too."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that cannot be read"
    if not parts.netloc:
        return url.partition("?")[0]
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
