"""The commands that concern the daemon itself: status, stop, restart, reload, connections, logs.

Each returns the command's exit status.
"""

from __future__ import annotations

import argparse
import collections
import os
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from kvd import __version__, paths, requests, spawn
from kvd.blocking import BlockingClient
from kvd.durations import format_ttl
from kvd.errors import ConfigError, ConnectionLostError, DaemonError, UnreachableDaemonError
from kvd.terminal import ASK_DOCTOR, complain, say, say_json, show_size, show_table, told_retry, visible

__all__ = ["connections", "logs", "reload", "restart", "status", "stop"]

OK, FAILED, REFUSED = 0, 1, 3
_ANSWER_TIMEOUT = 10.0
_PATH_TIMEOUT = 2.0
"""Seconds in which a daemon must say where its files are: who looks into the log of one that hangs does not wait for it."""
_LOOK_TIMEOUT = 1.0
"""Seconds that who asks for states waits for servers which nobody has asked lately: one that is gone mostly refuses at once."""
_LOOK_PAUSE = 0.01
_LEAVE_TIMEOUT = 20.0
"""Seconds that a daemon may take to leave, beside those that it gives to what is in flight."""


def _ask_status(path: Path, timeout: float = _ANSWER_TIMEOUT, *, look: float = 0.0) -> dict[str, Any]:
    """The daemon's status; `look`: the seconds that it may take to look at what nobody has used lately."""
    request = requests.status()
    request = requests.Request(request.method, request.params, request.decode, timeout=timeout)
    until = time.monotonic() + look
    with BlockingClient.open(path, spawn=False, greet=False) as client:
        now = client.call(request)
        while any(one.get("looking") for one in now.get("connections", ())) and time.monotonic() < until:
            time.sleep(_LOOK_PAUSE)
            now = client.call(request)
    return now


def _file_of(socket: Path, name: str, usual: Path) -> Path:
    """A file of the daemon that runs, which may have been started with another one than the usual; that, where none answers."""
    try:
        return Path(_ask_status(socket, _PATH_TIMEOUT)[name])
    except (DaemonError, KeyError):
        return usual


def status(options: argparse.Namespace) -> int:
    """Show what the daemon is and does. Starts none."""
    now = _ask_status(options.socket, look=_LOOK_TIMEOUT)
    if options.json:
        say_json(now)
        return OK
    clients = now.get("clients", 0)
    say(
        f"kvd {now['version']}, pid {now['pid']}, up {format_ttl(now.get('uptime', 0))}, "
        f"{clients} client{'' if clients == 1 else 's'}, {show_size(now.get('memory'))} of memory"
    )
    if now["version"] != __version__:
        say(f"this program is version {__version__}: `kvd restart` brings the daemon up to it")
    say(f"socket  {options.socket}")
    for name in ("config", "log"):
        if name in now:
            say(f"{name:7} {now[name]}")
    _tell_journal(now)
    for problem in now.get("problems", ()):
        say(f"mistake {problem}")
    rows = [_status_row(connection) for connection in now.get("connections", ())]
    if rows:
        say()
        show_table([["CONNECTION", "STORE", "STATE", "OPS/S", "P50", "P99", "ERRORS", "WHERE"], *rows])
    for connection in now.get("connections", ()):
        if connection.get("reason"):
            reason = visible(connection["reason"]) + told_retry(connection.get("retry_at"))
            say(f"{visible(connection['name'])} is {connection['state']}: {reason}")
    if any(connection["state"] in {"degraded", "down"} for connection in now.get("connections", ())):
        say(ASK_DOCTOR)
    return OK


def _tell_journal(now: dict[str, Any]) -> None:
    journal = now.get("journal", {"steps": 0})
    if count := journal["steps"]:
        say(f"journal {count} step{'' if count == 1 else 's'}, {show_size(journal['bytes'])}")


def _status_row(connection: dict[str, Any]) -> list[str]:
    figures = connection.get("figures", {})
    marks = [mark for name, mark in (("production", "production"), ("read_only", "read-only")) if connection.get(name)]
    return [
        visible(connection["name"]),
        connection["store"],
        connection["state"] + (f" ({', '.join(marks)})" if marks else ""),
        f"{figures.get('rate', 0):g}",
        _milliseconds(figures.get("p50")),
        _milliseconds(figures.get("p99")),
        str(figures.get("errors", 0)),
        visible(connection.get("location", "")),
    ]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f} ms"


def stop(options: argparse.Namespace) -> int:
    """Have the daemon drain and leave, and wait until it has."""
    pid, lost = _stop(options.socket)
    say("no daemon runs" if pid is None else f"the daemon (pid {pid}) left")
    _tell_lost(lost)
    return OK


def _tell_lost(lost: list[str]) -> None:
    for what in lost:
        complain(what)


def _ends_with(path: Path) -> list[str]:
    """What ends with the daemon, a sentence each, of one that understands this version."""
    found, ending = list[str](), list[str]()
    with suppress(DaemonError), BlockingClient.open(path, spawn=False) as client:
        for one in client.call(requests.connections()):
            ends = one.state == "ready" and not one.traits.get("persistent", True)
            if ends and client.call(requests.scan_collections(one.name, limit=1)).items:
                ending.append(one.name)
        if ending:
            found.append("what was only in memory is gone: " + ", ".join(map(visible, ending)))
        if steps := sum(step.can_undo > 0 for step in client.call(requests.steps())):
            found.append(f"{steps} step{'' if steps == 1 else 's'} can no longer be undone")
    return found


def _stop(path: Path) -> tuple[int | None, list[str]]:
    """The pid of the daemon that left, None when there was none; and what went with it, a sentence each."""
    if (probe := spawn.connect(path)) is None:
        return None, []
    probe.close()
    now = _ask_status(path)
    pid, patience = int(now["pid"]), _LEAVE_TIMEOUT + 2 * now.get("drain", 0.0)  # its stores get as long as its clients
    lost = _ends_with(path)
    # it may leave before it can say so
    with BlockingClient.open(path, spawn=False, greet=False) as client, suppress(ConnectionLostError):
        client.call(requests.stop())
    if not spawn.wait_until_gone(path, patience):
        raise UnreachableDaemonError(f"the daemon (pid {pid}) was told to stop and still runs after {patience:g} s")
    return pid, lost


def restart(options: argparse.Namespace) -> int:
    """Stop the daemon if one runs, and start the one of this version with this environment."""
    _, lost = _stop(options.socket)
    with BlockingClient.open(options.socket) as client:
        assert client.server is not None, "it was greeted"  # noqa: S101 - tells the type
        say(f"kvd {client.server.version} runs, pid {client.server.pid}")
    _tell_lost(lost)
    return OK


def reload(options: argparse.Namespace) -> int:
    """Have the daemon read connections.toml again."""
    with BlockingClient.open(options.socket, spawn=False) as client:
        changed = client.call(requests.reload())
        now = client.call(requests.status())
    problems = now.get("problems", ())
    for problem in problems:
        complain(problem)
    states = {one["name"]: one for one in now.get("connections", ())}
    for name, one in states.items():
        if one["state"] == "ready" and one["reason"]:  # it works, but not as the file says
            complain(f"{name}: {one['reason']}")
    for label, names in (
        ("changed", [name for name in changed if name in states]),
        ("removed", [name for name in changed if name not in states]),
    ):
        if names:
            say(f"{label}: " + ", ".join(visible(name) for name in names))
    if not changed:
        say("nothing changed")
    return FAILED if problems else OK


def connections(options: argparse.Namespace) -> int:
    """List the connections, or change connections.toml and have the daemon read it again."""
    if options.action is not None:
        return _change_connections(options)
    BlockingClient.open(options.socket).close()  # it starts the daemon where none runs
    now = _ask_status(options.socket, look=_LOOK_TIMEOUT)
    found = now["connections"]
    if options.json:
        for connection in found:
            say_json(connection)
    elif found:
        show_table(
            [
                ["CONNECTION", "STORE", "STATE", "WHERE"],
                *([*_status_row(connection)[:3], visible(connection["location"])] for connection in found),
            ]
        )
        for connection in found:
            if connection["reason"]:
                complain(f"{visible(connection['name'])}: {connection['reason']}")
    else:
        say(f"no connections: write one into {now['config']}")
    for problem in now["problems"]:
        complain(problem)
    return OK


def _change_connections(options: argparse.Namespace) -> int:
    from kvd.config_edit import add_connection, alone, remove_connection  # noqa: PLC0415 - for these two commands only

    path = _file_of(options.socket, "config", paths.config_file())
    try:
        with alone(path):
            if options.action == "add":
                flags = {name: True for name in ("read_only", "production") if getattr(options, name)}
                args = dict(_argument(options.store, text) for text in options.args)
                add_connection(path, options.name, options.store, args, flags)
            else:
                remove_connection(path, options.name)
    except ConfigError as error:
        complain(str(error))
        return REFUSED
    say(f"wrote {path}")
    probe = spawn.connect(options.socket)
    if probe is None:
        return OK
    probe.close()
    return reload(options)


def _argument(store: str, text: str) -> tuple[str, Any]:
    """`port=6379`, `password=2024`: a value as TOML writes it, where it is none or the store wants another kind, text."""
    from kvd.config_fields import mismatch, store_fields, store_names  # noqa: PLC0415 - for this command only

    name, _, value = text.partition("=")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value
    field = store_fields(store).get(name) if store in store_names() else None
    is_text = field is not None and mismatch(field, parsed) is not None and mismatch(field, value) is None
    return name, value if is_text else parsed


def logs(options: argparse.Namespace) -> int:
    """Show the end of the log, and with --follow what is added to it."""
    path = _file_of(options.socket, "log", paths.log_file())
    try:
        log = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        complain(f"there is no log yet: {path}")
        return FAILED
    with log:
        sys.stdout.writelines(collections.deque(log, maxlen=options.lines))
        if options.follow:
            sys.stdout.flush()
            _follow(path, log)
    return OK


def _follow(path: Path, log: IO[str]) -> NoReturn:
    """Copy what is added to an open log, across rotations, until the reader interrupts."""
    while True:
        added = log.read()
        if added:
            sys.stdout.write(added)
            sys.stdout.flush()
        try:
            rotated = path.stat().st_ino != os.fstat(log.fileno()).st_ino
        except FileNotFoundError:
            rotated = False
        if rotated:
            sys.stdout.write(log.read())  # what was added before it was put aside
            log.close()
            log = path.open(encoding="utf-8", errors="replace")
        else:
            time.sleep(0.2)
