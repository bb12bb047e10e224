"""What the supervisor must know of a kind of server.

Rules: a kind is data. It says how to get the program, how to start it in a folder on given ports, and how to ask it
whether it answers. It starts nothing by itself; only the supervisor owns processes.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class UnavailableError(Exception):
    """This machine cannot have the server; the message is the one line that says why."""


class NotReadyError(Exception):
    """The server does not answer yet, or not as it should."""


@dataclass(frozen=True)
class Plan:
    """The processes of one server, decided before any of them starts.

    Attributes:
        commands: one argv for each process.
        endpoint: what a client needs, in the form of the kind's environment variable.
        probe: asks every process once; raises NotReadyError or OSError until all of them answer.
        form: what turns answering processes into the server, where that is more than starting them.
        environment: added to the supervisor's own.
    """

    commands: tuple[tuple[str, ...], ...]
    endpoint: str
    probe: Callable[[], None]
    form: Callable[[], None] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """One kind of server.

    Attributes:
        name: how tests and the command line call it.
        variable: the environment variable whose endpoint is used instead of starting a server.
        ports: how many TCP ports one server needs.
        fetch: makes sure that the program is on this machine; raises UnavailableError.
        plan: from an empty folder, the ports, and the caller's further arguments (for every process) to a Plan.
    """

    name: str
    variable: str
    ports: int
    fetch: Callable[[], object]
    plan: Callable[[Path, Sequence[int], Sequence[str]], Plan]


def ask(port: int, request: bytes, *answers: bytes) -> None:
    """Send `request` to a server on loopback; the first line it answers must begin with one of `answers`.

    Raises:
        NotReadyError: the answer is another one.
        OSError: nobody listens, or no answer came within half a second.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
        connection.sendall(request)
        line = b""
        while b"\n" not in line:
            part = connection.recv(4096)
            if not part:
                break
            line += part
    if not line.startswith(answers):
        raise NotReadyError(f"port {port} answered {line[:80]!r}")
