"""`kvd doctor`: looks at everything that a connection to a store needs, step by step, and says what to do. Changes nothing."""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvd import __version__, paths, requests, spawn
from kvd.advice import advice
from kvd.blocking import BlockingClient
from kvd.errors import DaemonError, RequestError
from kvd.terminal import say, say_json, visible

__all__ = ["Finding", "doctor", "examine"]

_STEP_TIMEOUT = 15.0
_MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step found."""

    verdict: str
    """"good", "note" (works, but worth knowing), or "bad"."""
    subject: str
    message: str
    advice: str = ""


def doctor(options: argparse.Namespace) -> int:
    """Print the findings as they come; 1 when something is bad."""
    bad = False
    for finding in examine(options.socket):
        bad = bad or finding.verdict == "bad"
        if options.json:
            say_json(
                {
                    "verdict": finding.verdict,
                    "subject": finding.subject,
                    "message": finding.message,
                    "advice": finding.advice,
                }
            )
        else:
            first, *more = map(visible, finding.message.split("\n"))
            say(f"{_MARKS[finding.verdict]}  {visible(finding.subject)}: {first}")
            for line in [*more, *filter(None, [finding.advice])]:
                say(f"      {line}")
    return 1 if bad else 0


def examine(socket: Path) -> Iterator[Finding]:
    """Look at folder, socket, daemon, versions, configuration and each store."""
    yield _folder(socket)
    try:
        now = _ask(socket, requests.status())
    except DaemonError as error:
        yield from _files(paths.log_file(), paths.config_file())
        yield Finding("bad", "daemon", str(error), f"if it does not come back, {_how_to_end(socket)} and look at `kvd logs`")
        return
    said = now or {}  # a running daemon may have been started with other files than the usual ones
    yield from _files(Path(said.get("log", paths.log_file())), Path(said.get("config", paths.config_file())))
    if now is None:
        yield _lock(socket)
        yield Finding("note", "daemon", "none runs", "any command or program that needs it starts it")
        return
    yield Finding("good", "daemon", f"answers, pid {now['pid']}, version {now['version']}")
    if now["version"] != __version__:
        yield Finding(
            "note", "version", f"this program is {__version__}, the daemon {now['version']}", "`kvd restart` when it suits you"
        )
    for problem in now.get("problems", ()):
        yield Finding("bad", "configuration", problem, "correct the line, then run `kvd reload`")
    if not now.get("problems") and Path(now.get("config", "")).is_file():
        yield Finding("good", "configuration", f"no mistakes in {now.get('config')}")
    for connection in now.get("connections", ()):
        yield from _connection(socket, connection["name"], connection["store"])


def _folder(socket: Path) -> Finding:
    folder = socket.parent
    try:
        paths.check_socket_path(socket)
        if not folder.exists() and not folder.is_symlink():
            return Finding("note", "folder", f"{folder} is not there yet", "it is made with the first start")
        paths.check_private(folder)
    except DaemonError as error:
        return Finding("bad", "folder", str(error))
    return Finding("good", "folder", f"{folder} is yours alone")


def _files(log: Path, config: Path) -> Iterator[Finding]:
    nearest = next(parent for parent in log.parents if os.path.exists(parent))  # noqa: PTH110 - Path's own may raise
    if not os.access(nearest, os.W_OK):
        yield Finding("note", "log", f"{nearest} cannot be written to", "the daemon serves without a log")
    elif not _has_room(nearest):
        yield Finding("note", "log", f"the disk of {nearest} is full", "the daemon serves, and what it logs is lost")
    else:
        yield Finding("good", "log", str(log))
    try:
        open_to_others = config.stat().st_mode & 0o077
    except FileNotFoundError:
        yield Finding("good", "configuration", f"{config} is not there: `scratch` and `local` are offered")
    except OSError as error:
        yield Finding("bad", "configuration", f"{config} cannot be looked at: {error.strerror}")
    else:
        if open_to_others:
            yield Finding("note", "configuration", f"{config} can be read by others", f"run `chmod 600 {config}`")


def _has_room(place: Path) -> bool:
    try:
        disk = os.statvfs(place)
    except OSError:
        return True  # nobody knows
    return (disk.f_bavail if os.geteuid() else disk.f_bfree) > 0


def _lock(socket: Path) -> Finding:
    """Whether a process that does not answer holds the daemon's lock."""
    path = paths.daemon_lock(socket)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return Finding("good", "lock", "free")
    except OSError as error:
        return Finding("bad", "lock", f"{path}: {error.strerror}")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return Finding("bad", "lock", f"a process holds {path}, but nobody answers at {socket}", f"see who: `fuser {path}`")
    finally:
        os.close(descriptor)
    return Finding("good", "lock", "free")


def _how_to_end(socket: Path) -> str:
    """How to end the process of a daemon that does not answer, which wrote into its lock who it is."""
    try:
        pid = paths.daemon_lock(socket).read_text("ascii").strip()
    except (OSError, ValueError):
        pid = ""
    return f"end its process (`kill -9 {pid}`)" if pid.isdecimal() else "end its process"


def _connection(socket: Path, name: str, store: str) -> Iterator[Finding]:
    subject = f"connection {name}"
    try:
        info = _ask(socket, requests.connect(name))
        if info is None:
            return
        yield Finding("good", subject, f"opens: {info.store} at {info.location}")
        _ask(socket, requests.scan_collections(name, limit=1))
        if info.absence is None:
            yield Finding("good", subject, "answers")
        else:
            yield Finding("note", subject, f"answers; {info.absence}")
    except RequestError as error:
        if error.code == "unsupported":
            yield Finding("note", subject, error.message)
        else:
            yield Finding("bad", subject, error.message.removeprefix(f"{name}: "), _advice(store, error))
    except DaemonError as error:
        yield Finding("bad", subject, str(error))


def _advice(store: str, error: RequestError) -> str:
    """What to do about a connection, beside what its error says."""
    told = error.detail.get("fault") if isinstance(error.detail, dict) else None
    return advice(store, "silent" if error.code == "deadline" else told, error.message)


def _ask(socket: Path, request: requests.Request[Any]) -> Any:
    """The answer, from a daemon that runs; None when none does."""
    probe = spawn.connect(socket)
    if probe is None:
        return None
    probe.close()
    patient = requests.Request(request.method, request.params, request.decode, timeout=_STEP_TIMEOUT)
    with BlockingClient.open(socket, spawn=False, greet=request.method != "status") as client:
        return client.call(patient)
