"""The `kvd` command: what can be typed, and what the exit statuses mean."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kvd import __version__, paths
from kvd.errors import Code, DaemonError, RequestError
from kvd.terminal import ASK_DOCTOR, complain, told_retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["main"]

OK, ABSENT, USAGE, REFUSED, UNREACHABLE, SYSTEM, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_USAGE_CODES = {Code.UNKNOWN_CONNECTION, Code.BAD_REQUEST, Code.UNKNOWN_METHOD}
_UNREACHABLE_CODES = {
    Code.CANCELLED,
    Code.CONFIG_ERROR,
    Code.DEADLINE,
    Code.INTERNAL,
    Code.SETUP_FAILED,
    Code.SHUTTING_DOWN,
    Code.STORE_ERROR,
    Code.TOO_MANY,
    Code.UNREACHABLE,
}

_EPILOG = """\
addresses:
  CONNECTION/COLLECTION/KEY. The key is all after the second slash. In the collection, / and % are percent-encoded; an empty
  collection is the connection's default one: scratch//greeting. A URL can stand for a connection, percent-encoded as well:
  redis:%2F%2Fhost:6379/users/ada.

time to live:
  90s, 2h30m, 1.5d, never, or a date like 2031-01-31 18:00.

exit status:
  0  done
  1  the key (or collection, or step) is not there
  2  the command is wrong: an option, an address, a TTL, JSON, an unknown connection
  3  refused: read-only, somebody else's change, a key or value that the store does not take
  4  the daemon or the store behind it cannot be reached
  5  the system refuses: the output cannot be written, no file descriptors are left

The daemon is started when it is needed and not running. Connections are written in {config}.
"""


_KEY = "CONNECTION/COLLECTION/KEY; `kvd --help` tells more"


class _Parser(argparse.ArgumentParser):
    """Takes options before, between and behind what is told by its place: `put ADDRESS --ttl 90s VALUE`."""

    _between = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._between or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._between = True  # what is called next calls this
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._between = False


def _parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of all commands, or of the one that is typed: the others would only cost time, each time."""
    parser = _Parser(
        prog="kvd",
        description="Key-value stores, shared by every program on this machine.",
        epilog=_EPILOG.format(config=paths.config_file()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kvd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in [command] if command in _COMMANDS else _COMMANDS:
        text, add_arguments = _COMMANDS[name]
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.add_argument("--socket", type=_socket, metavar="PATH", help="the daemon's socket, instead of the user's own")
        if add_arguments is not None:
            add_arguments(one)
    return parser


def _as_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object a line, for programs")


def _ls(command: argparse.ArgumentParser) -> None:
    command.add_argument("address", nargs="?", help="CONNECTION or CONNECTION/COLLECTION; keys may be cut to a beginning")
    command.add_argument("-l", "--long", action="store_true", help="with TTL, size and type")
    command.add_argument("--match", metavar="GLOB", help="only keys like this: * ? [a-z], \\ quotes")
    command.add_argument("--limit", type=_count, metavar="N", help="at most so many")
    _as_json(command)


def _get(command: argparse.ArgumentParser) -> None:
    command.add_argument("address", help=_KEY)
    command.add_argument("--raw", action="store_true", help="the bytes as they are, of what is not an entry too")
    _as_json(command)


def _put(command: argparse.ArgumentParser) -> None:
    command.add_argument("address", help=_KEY)
    command.add_argument("value", nargs="?", help="a JSON object; standard input when it is missing or -")
    command.add_argument("--ttl", metavar="TTL", help="how long it lives; for ever when not given")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--if-absent", action="store_true", help="only where nothing is")
    how.add_argument("--keep-ttl", action="store_true", help="leave the TTL of what is there as it is")
    how.add_argument(
        "--force", action="store_true", help="replace also what is no entry: a plain Redis hash, another program's file"
    )


def _ttl(command: argparse.ArgumentParser) -> None:
    command.add_argument("address", help=_KEY)
    command.add_argument("ttl", nargs="?", metavar="TTL", help="how long it is to live from now")
    _as_json(command)


def _rm(command: argparse.ArgumentParser) -> None:
    command.add_argument("addresses", nargs="+", metavar="address", help=_KEY)
    command.add_argument("--collection", action="store_true", help="the addresses are of whole collections")


def _undo(command: argparse.ArgumentParser) -> None:
    command.add_argument("step", nargs="?", metavar="STEP", help="its id, as `kvd steps` tells it; the latest when not given")
    command.add_argument(
        "--never-expire", action="store_true", help="bring back without a TTL what would have expired meanwhile"
    )


def _steps(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=_count, metavar="N", help="at most so many")
    _as_json(command)


def _connections(command: argparse.ArgumentParser) -> None:
    _as_json(command)
    actions = command.add_subparsers(dest="action", metavar="add | rm")
    added = actions.add_parser(
        "add",
        help="write a connection into connections.toml",
        epilog=_stores_arguments(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.add_argument("name")
    added.add_argument("store", help="memory, disk, redis, ...")
    added.add_argument(
        "args", nargs="*", metavar="ARGUMENT=VALUE", help="of the store's constructor, a value as in TOML or text"
    )
    added.add_argument("--read-only", action="store_true", help="refuse every write")
    added.add_argument(
        "--production", action="store_true", help="warn by colour, and ask for their number before many keys change"
    )
    removed = actions.add_parser("rm", help="take a connection out of connections.toml; its data stays")
    removed.add_argument("name")


def _stores_arguments() -> str:
    import textwrap  # noqa: PLC0415 - for this command only

    from kvd.config_fields import store_fields, store_names  # noqa: PLC0415 - as above

    lines = ["arguments of the stores (! marks those that it cannot do without):"]
    for store in store_names():
        names = [name + "!" * field.required for name, field in store_fields(store).items()]
        lines += textwrap.wrap(f"{store}: {', '.join(names)}", 120, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _logs(command: argparse.ArgumentParser) -> None:
    command.add_argument("-n", "--lines", type=_count, default=50, metavar="N", help="so many lines (50)")
    command.add_argument("-f", "--follow", action="store_true", help="go on with what is added")


def _serve(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="PATH", help="connections.toml")
    command.add_argument("--background", action="store_true", help="leave the terminal")
    command.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)


_COMMANDS: Final[dict[str, tuple[str, Callable[[argparse.ArgumentParser], None] | None]]] = {
    "ls": ("list connections, a connection's collections, or a collection's keys", _ls),
    "get": ("print a value", _get),
    "put": ("store a value; an entry that was there is replaced, its TTL included", _put),
    "ttl": ("show how long a key lives, or change it", _ttl),
    "rm": ("delete keys", _rm),
    "undo": ("undo what was done last by put, ttl, rm or in kvtui, or one step of it", _undo),
    "redo": ("do again what was undone", _undo),
    "steps": ("list what was done and can be undone, newest first", _steps),
    "connections": ("list the connections, add one, or remove one", _connections),
    "status": ("show what the daemon does", _as_json),
    "doctor": ("check configuration, folder, socket, versions and stores, and say what to do", _as_json),
    "logs": ("show the end of the daemon's log", _logs),
    "stop": ("end the daemon; what is only in memory is lost, undo included", None),
    "restart": ("end the daemon and start it anew; what is only in memory is lost, undo included", None),
    "reload": ("have the daemon read connections.toml again", None),
    "serve": ("be the daemon", _serve),
}
"""By name: what it does, and what adds its arguments."""


_DATA: Final = dict.fromkeys(("ls", "get", "put", "ttl", "rm"), "kvd.cli_data") | dict.fromkeys(
    ("undo", "redo", "steps"), "kvd.cli_journal"
)
"""Where the commands are that concern data."""


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return min(int(text), sys.maxsize)


def _socket(text: str) -> Path:
    path = Path(text).absolute()
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{str(path)!r} is a folder, and the socket is a file in one")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    parser = _parser(arguments[0] if arguments else None)
    if not arguments:
        parser.print_help(sys.stderr)
        return USAGE
    options = parser.parse_args(arguments)
    if options.socket is None:
        options.socket = paths.socket_path()
    if getattr(options, "ttl", None) is not None and getattr(options, "keep_ttl", False):
        complain("--ttl and --keep-ttl exclude each other")
        return USAGE
    _take_stdout()
    try:
        with _interrupts_raise():
            status = _command(options.command)(options)
            sys.stdout.flush()
    except DaemonError as error:
        complain(_told(error))
        return _status_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        # the interpreter must not complain once more when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return OK  # whoever read this has enough
        complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        return SYSTEM
    return status


@contextmanager
def _interrupts_raise() -> Iterator[None]:
    """Have ctrl+c undo what is half done, where it would end the process at once."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _take_stdout() -> None:
    """Make standard output one that takes everything."""
    if sys.stdout is None:  # it was closed by who started this
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the rest of the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is: names need not be of the terminal's alphabet


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    if name in _DATA:
        return _data
    if name == "doctor":
        from kvd.doctor import doctor  # noqa: PLC0415 - each command loads only what it needs

        return doctor
    if name == "serve":
        return _be_the_daemon
    from kvd import cli_daemon  # noqa: PLC0415 - as above

    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "connections": cli_daemon.connections,
        "logs": cli_daemon.logs,
        "reload": cli_daemon.reload,
        "restart": cli_daemon.restart,
        "status": cli_daemon.status,
        "stop": cli_daemon.stop,
    }
    return commands[name]


def _be_the_daemon(options: argparse.Namespace) -> int:
    from kvd.life import serve  # noqa: PLC0415 - as above: of the clients' side, the daemon needs nothing
    from kvd.place import AlreadyRunningError  # noqa: PLC0415 - as above

    config = None if options.config is None else options.config.absolute()  # the daemon leaves this folder
    try:
        serve(options.socket, config=config, ready_fd=options.ready_fd, background=options.background)
    except AlreadyRunningError as error:
        complain(str(error))
        return ABSENT
    return OK


def _data(options: argparse.Namespace) -> int:
    from importlib import import_module  # noqa: PLC0415 - as above

    from kvd import cli_data  # noqa: PLC0415 - as above
    from kvd.blocking import BlockingClient  # noqa: PLC0415 - as above

    command = getattr(import_module(_DATA[options.command]), options.command)
    try:
        with BlockingClient.open(options.socket) as client:
            status: int = command(client, options)
            return status
    except cli_data.UsageError as error:
        complain(str(error))
        return USAGE
    except ValueError as error:  # a name that no store can have
        complain(str(error))
        return REFUSED


def _told(error: DaemonError) -> str:
    """What went wrong, at which connection, and when it is tried again."""
    if not isinstance(error, RequestError):
        return str(error)
    name, told = error.connection, str(error)
    if name is not None and not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", told):
        told = f"{name}: {told}"
    detail = error.detail if isinstance(error.detail, dict) else {}
    told += told_retry(detail.get("retry_at"))
    is_configured = name is not None and ":" not in name
    is_away = error.code == Code.UNREACHABLE or (error.code == Code.SETUP_FAILED and "retry_at" in detail)
    return f"{told}; {ASK_DOCTOR}" if is_configured and is_away else told


def _status_of(error: DaemonError) -> int:
    if not isinstance(error, RequestError):
        return UNREACHABLE
    if error.code == Code.UNKNOWN_STEP:
        return ABSENT
    no_such_url = error.code == Code.CONFIG_ERROR and error.connection is None
    if error.code in _USAGE_CODES or no_such_url:
        return USAGE
    return UNREACHABLE if error.code in _UNREACHABLE_CODES else REFUSED
