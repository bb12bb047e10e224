"""How the daemon starts, keeps its place, and ends.

- It takes its place first (`kvd.place`), and looks now and then whether it still has it.
- SIGTERM and SIGINT drain; a second one leaves at once. SIGHUP reads the configuration again.
- Once drained, it is gone: no thread that hangs (on a name server that does not answer) keeps the process and its lock.
- Started by systemd's socket activation, it takes the socket that is handed over and never removes it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvd import paths
from kvd.errors import DaemonError
from kvd.log import Redactor, open_log
from kvd.place import AlreadyRunningError, Place
from kvd.server import Server

if TYPE_CHECKING:
    from logging import Logger

    from kvd.config import Config

__all__ = ["serve"]

TICK: Final = 1.0
"""Seconds between looks at the clock and at the socket's path."""
SWITCH: Final = 0.0005
"""Seconds after which a thread that computes lets the event loop go on."""
LAST_MOMENTS: Final = 1.0
"""Seconds that the loop has to close when everything is drained."""
_FIRST_SYSTEMD: Final = 3
_READY: Final = b"ready\n"


def serve(
    path: Path,
    *,
    config: Path | None = None,
    ready_fd: int | None = None,
    background: bool = False,
    log_file: Path | None = None,
) -> None:
    """Be the daemon of this socket until told to leave.

    Args:
        path: the socket's.
        config: connections.toml; the usual one when None.
        ready_fd: a descriptor to which "ready" is written once clients can connect, or the reason why they cannot.
        background: whether to leave the caller's process and terminal.
        log_file: the usual one when None.

    Raises:
        DaemonError: it cannot start; AlreadyRunningError: another one serves.
    """
    systemd = _systemd_socket()
    if background and os.fork():
        os._exit(0)
    _close_inherited({ready_fd, systemd} - {None})
    starter = _Starter(ready_fd)
    os.umask(0o077)
    _raise_descriptor_limit()
    try:
        place = Place(path, systemd)
        place.take()
    except AlreadyRunningError:
        starter.tell(_READY)  # to who wanted a daemon, it is all the same which one it is
        raise
    except DaemonError as error:
        starter.tell(f"{error}\n".encode())
        raise
    try:
        redactor = Redactor()
        log_file = log_file or paths.log_file()
        log = open_log(log_file, redactor, terminal=not background)
        if config is not None and not config.exists():
            log.warning("%s is not there: the connections of a first run are offered", config)
        if background:
            _leave_terminal()
        sys.setswitchinterval(SWITCH)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_live(place, config, log, redactor, starter, log_file=log_file))
            _leave_within(LAST_MOMENTS)
        place.give_up()
        _leave()
    except BaseException as error:
        starter.tell(f"{type(error).__name__}: {error}\n".encode())
        raise
    finally:
        place.give_up()


async def _live(
    place: Place, config_path: Path | None, log: Logger, redactor: Redactor, starter: _Starter, *, log_file: Path
) -> None:
    from kvd.config import load  # noqa: PLC0415 - may import what the stores' constructors need

    config = load(config_path)
    server = Server(config, log, redact=redactor.redact, learn=redactor.learn)
    server.facts = {"socket": str(place.path), "log": str(log_file)}
    _handle_signals(server, place)
    server.listen(place.socket)
    log.info("listening on %s, pid %d", place.path, os.getpid())
    for problem in config.problems:
        log.warning("%s", problem)
    gc.freeze()  # nothing that is there by now is garbage
    starter.tell(_READY)
    _notify_systemd("READY=1")
    watch = server.loop.create_task(_watch(server, place))
    await server.stopped.wait()
    watch.cancel()
    _notify_systemd("STOPPING=1")
    log.info("leaving: %s", server.stop_reason)
    place.unlink()
    await server.drain(server.pool.config.daemon.drain)
    log.info("left")


async def _watch(server: Server, place: Place) -> None:
    """Once a tick: leave when nobody needs the daemon, see to it that it can be found, and to what its clients are told."""
    while True:
        await asyncio.sleep(TICK)
        try:
            server.send_away_the_silent()
            server.look_at_idle()
            server.journal.trim()
            if not place.is_ours():
                server.log.warning("%s was removed or replaced", place.path)
                server.unlisten()
                place.restore()
                server.listen(place.socket)
            await _leave_when_idle(server, server.pool.config)
        except DaemonError as error:
            server.stop(str(error))
        except OSError as error:
            server.log.error("the socket cannot be looked after: %s", error)  # noqa: TRY400 - a full disk needs no traceback


async def _leave_when_idle(server: Server, config: Config) -> None:
    idle = config.daemon.idle_exit
    if idle is None or server.sessions or server.busy or time.monotonic() - server.last_used < idle:
        return
    if not await server.pool.holds_entries():
        server.stop(f"nobody needed it for {idle:g} seconds")


def _handle_signals(server: Server, place: Place) -> None:
    def end(number: int) -> None:
        if server.stopped.is_set():
            place.unlink()
            os._exit(128 + number)
        server.stop(f"told to by {signal.Signals(number).name}")

    def reload() -> None:
        server.keep(server.loop.create_task(_reload(server)))

    for number in (signal.SIGTERM, signal.SIGINT):
        server.loop.add_signal_handler(number, end, number)
    server.loop.add_signal_handler(signal.SIGHUP, reload)


async def _reload(server: Server) -> None:
    try:
        await server.reload()
    except Exception:
        server.log.exception("the configuration could not be read again")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's where it is installed and not turned off."""
    if os.environ.get("KVD_LOOP") == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    # half of these threads look up names; with the usual four, two names that are not found hold up everybody else's
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")
    return uvloop.new_event_loop


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _close_inherited(kept: set[int | None]) -> None:
    """Close what the starter left open: a daemon that holds somebody's pipe or lock would hold them for ever."""
    start = _FIRST_SYSTEMD
    for descriptor in sorted(one for one in kept if one is not None and one >= start):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20))


def _leave_within(seconds: float) -> None:
    """End the process that late at the latest: closing the loop waits for its threads."""
    timer = threading.Timer(seconds, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    """End the process without the interpreter's end, which waits for threads as well."""
    with suppress(OSError, ValueError, AttributeError):  # closed, gone, or never there
        sys.stderr.flush()
    os._exit(0)


def _leave_terminal() -> None:
    with suppress(OSError):
        os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the rest of the process's life


class _Starter:
    """Who waits to hear that the daemon serves, or why not. It hears that once: the descriptor's number is then another's."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def tell(self, message: bytes) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.write(descriptor, message)
                os.close(descriptor)


def _systemd_socket() -> int | None:
    """Return the descriptor that systemd handed over to this very process."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    return _FIRST_SYSTEMD if pid == str(os.getpid()) and count.isdecimal() and int(count) >= 1 else None


def _notify_systemd(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(message.encode())
