"""Writes connections.toml as a person would: one connection at a time, comments and order kept, only the owner may read it.

What is added is checked as the daemon checks it when it reads the file again. Neither a store nor a driver is loaded.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kvd.config import first_run, read, syntax_problem
from kvd.config_lines import Lines
from kvd.errors import Code, ConfigError, RequestError

__all__ = ["add_connection", "alone", "remove_connection"]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Have others who edit the file wait, so that nobody writes over what another has just written.

    Raises:
        ConfigError: its folder cannot be made or opened.
    """
    folder = path.resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def add_connection(path: Path, name: str, store: str, args: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Append a connection; the first one also makes the file.

    Args:
        path: connections.toml.
        name: the connection's name.
        store: the backend's name.
        args: the constructor's arguments.
        options: the daemon's own options.

    Raises:
        RequestError: `bad_request`: there is no such store, argument or option, or the name is none.
        ConfigError: it is there already, or the file cannot be read or written.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    # appended as text: what the person wrote stays as it is
    longer = text if text.endswith("\n") or not text else text + "\n"
    if "connections" not in _parse(path, text):
        # those of a first run would be gone once there is another
        longer += "".join(_section(one.name, one.store, one.args, {}) for one in first_run().values())
    if name in _names(_parse(path, longer)):
        raise ConfigError(f"{path}: there is a connection {name!r} already")
    longer += _section(name, store, args, options)
    config = read(path, longer)
    if not config.readable:
        raise ConfigError(f"{path}: `connections` is written in a way that cannot be added to: add it by hand")
    if mistakes := config.problems[len(read(path, text).problems) :]:
        said = "; ".join(mistake.removeprefix(f"{path}:").partition(": ")[2] for mistake in mistakes)
        raise RequestError(Code.BAD_REQUEST, f"nothing was written: {said}", connection=name)
    _write(path, longer.lstrip("\n"))


def _section(name: str, store: str, args: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    import tomlkit  # noqa: PLC0415 - slow to load, and only for writing

    table = tomlkit.table()
    table.update({"store": store, **options})
    if args:
        table["args"] = tomlkit.item(dict(args))
    parent = tomlkit.table(is_super_table=True)
    parent[name] = table
    return "\n" + tomlkit.dumps({"connections": parent})


def remove_connection(path: Path, name: str) -> None:
    """Remove a connection and what belongs to it.

    Raises:
        RequestError: `unknown_connection`: it is not there.
        ConfigError: the file cannot be read or written.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise RequestError(Code.UNKNOWN_CONNECTION, f"{path} is not there: nothing to remove", connection=name) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    before = _parse(path, text)
    if name not in _names(before):
        raise RequestError(Code.UNKNOWN_CONNECTION, f"{path}: there is no connection {name!r}", connection=name)
    shorter = _without(text, ("connections", name))
    if "connections" not in _parse(path, shorter):
        shorter += "[connections]\n"  # to have none is not to say nothing of them
    if _names(_parse(path, shorter)) != _names(before) - {name}:
        raise ConfigError(f"{path}: {name!r} is written in a way that cannot be taken out: remove it by hand")
    _write(path, shorter)


def _without(text: str, where: tuple[str, ...]) -> str:
    """The text without the statements of a table, and without the comments that stand right above or between them."""
    kept = ""
    at = 0
    inside = False
    for statement in Lines(text).statements:
        between = text[at : statement.start]
        if statement.where[: len(where)] != where:
            if inside and (not kept or kept.endswith("\n\n")):
                between = between.removeprefix("\n")  # one blank line is enough where something stood between two
            kept += between + text[statement.start : statement.end]
            inside = False
        elif not inside:
            kept += _above(between)
            inside = True
        at = statement.end
    return kept + text[at:]


def _above(between: str) -> str:
    """What stands before a statement without the comment that belongs to it: its last lines up to a blank one."""
    lines = between.splitlines(keepends=True)
    while lines and lines[-1].lstrip().startswith("#"):
        lines.pop()
    return "".join(lines)


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{syntax_problem(path, text, error)} (the file is left as it is)") from None


def _names(document: dict[str, Any]) -> set[str]:
    connections = document.get("connections")
    return set(connections) if isinstance(connections, dict) else set()


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    return ConfigError(f"{path}: cannot be read, and is left as it is: {reason}")


def _write(path: Path, text: str) -> None:
    """Replace the file in one step, so that whoever reads it meets the old or the new one. A link stays a link."""
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".connections-")  # made 0600
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
