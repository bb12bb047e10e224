"""What the daemon's benchmarks share: one CPU, a daemon, a Redis, two event loops, alternation, and a line of print.

Everything that a benchmark starts runs on one CPU: otherwise the machine's wake-up times between CPUs are what is measured.
"""

import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kvd import requests
from kvd.blocking import BlockingClient
from kvd.client import Client
from tests.daemonkit import ROOT, Daemon
from tests.servers.lease import Supervision, private_server

LoopName = Literal["uvloop", "asyncio"]
Block = Callable[[], float]
"""Does some work and returns the microseconds that one operation took."""

PAYLOAD = b'{"name": "Ada Lovelace", "note": "' + b"x" * 164 + b'"}'
"""200 bytes."""
LARGE_VALUE = b'{"text": "' + b"x" * (8 << 20) + b'"}'
COLLECTION = "bench"
KEYS = [f"key-{number}" for number in range(100)]

CONFIG = """
[connections.scratch]
store = "memory"

[connections.redis]
store = "redis"
args = {{ url = "unix://{redis}" }}

[connections.disk]
store = "disk"
args = {{ directory = "{folder}/disk" }}
"""


@dataclass
class Rig:
    """What is measured, and with what."""

    loop: LoopName
    rounds: int
    daemon: Daemon
    redis: Path
    """The Unix socket of a Redis of our own."""
    folder: Path
    runners: dict[LoopName, asyncio.Runner]
    stack: ExitStack = field(default_factory=ExitStack)

    def run(self, work: Awaitable[Any], loop: LoopName | None = None) -> Any:
        """Run on the loop under test, or on another one."""

        async def wait() -> Any:
            return await work

        return self.runners[loop or self.loop].run(wait())

    def client(self) -> Client:
        """An asynchronous client on the loop under test, closed at the end."""
        client: Client = self.run(Client.open(self.daemon.socket, spawn=False))
        self.stack.callback(lambda: self.run(client.aclose()))
        return client

    def blocking(self) -> BlockingClient:
        """A blocking client, closed at the end."""
        return self.stack.enter_context(BlockingClient.open(self.daemon.socket, spawn=False))

    def bare(self) -> BlockingClient:
        """A blocking client of a server that answers without a look at what is asked; both end at the end."""
        path = self.folder / "answers"
        command = [sys.executable, "-m", "tests.benchmarks.bare_server", "msgpack", str(path), self.loop]
        server = self.stack.enter_context(subprocess.Popen(command, cwd=ROOT))
        self.stack.callback(server.kill)
        connection = socket.socket(socket.AF_UNIX)
        for _ in range(500):
            if connection.connect_ex(str(path)) == 0:
                break
            time.sleep(0.02)
        return self.stack.enter_context(BlockingClient(connection))

    def async_redis(self, loop: LoopName, **options: Any) -> Any:
        """redis-py's asynchronous client, closed at the end."""
        from redis.asyncio import Redis

        redis = Redis(unix_socket_path=str(self.redis), **options)
        self.stack.callback(lambda: self.run(redis.aclose(), loop))
        return redis

    def timed(self, operations: int, work: Callable[[], Awaitable[Any]], loop: LoopName | None = None) -> Block:
        """A block of so many asynchronous operations."""

        def block() -> float:
            async def measure() -> float:
                start = time.perf_counter()
                await work()
                return time.perf_counter() - start

            seconds: float = self.run(measure(), loop)
            return seconds / operations * 1e6

        return block


def timed_blocking(operations: int, work: Callable[[], Any]) -> Block:
    """A block of so many blocking operations."""

    def block() -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / operations * 1e6

    return block


def alternate(blocks: dict[str, Block], rounds: int) -> dict[str, list[float]]:
    """Each block once a round, in turn; a first round is not counted."""
    for block in blocks.values():
        block()
    taken: dict[str, list[float]] = {name: [] for name in blocks}
    for _ in range(rounds):
        for name, block in blocks.items():
            taken[name].append(block())
    return taken


def report(work: str, ours: list[float], peer: str, theirs: list[float], goal: float | None) -> None:
    """Print the medians, how many times as fast ours is (the median of the rounds' own ratios), and that of the best rounds.

    The goal is held against the medians. Where other programs keep the machine's caches busy, the best rounds tell more about
    the code, and the medians more about the machine.
    """
    times = statistics.median(other / mine for mine, other in zip(ours, theirs, strict=True))
    best = min(theirs) / min(ours)
    wanted = "" if goal is None else f"≥ {goal:.2g}"
    verdict = "" if goal is None else "reached" if times >= goal else "MISSED"
    title = f"{work} | {peer}"
    medians = f"{statistics.median(ours):>10.1f}{statistics.median(theirs):>10.1f}"
    print(f"{title:66}{medians}{times:>8.2f}{best:>8.2f}{wanted:>8}  {verdict}", flush=True)


def heading(title: str) -> None:
    """Print the head of a table."""
    print(f"\n{title:66}{'ours µs':>10}{'peer µs':>10}{'times':>8}{'best':>8}{'goal':>8}", flush=True)


def state(what: str, measured: str, goal: str, *, reached: bool | None) -> None:
    """Print a figure that is no ratio of two times."""
    verdict = "" if reached is None else "reached" if reached else "MISSED"
    print(f"{what:66}{measured:>20}{goal:>16}  {verdict}", flush=True)


@contextmanager
def rig(loop: LoopName, rounds: int) -> Iterator[Rig]:
    """Start everything on one CPU."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["KVD_LOOP"] = loop
    home = Path(tempfile.mkdtemp(prefix="kvd"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        if "KV_TEST_SUPERVISOR" not in os.environ:
            stack.enter_context(Supervision())
        redis = stack.enter_context(private_server("redis")).folder / "server.sock"
        runners: dict[LoopName, asyncio.Runner] = {"asyncio": stack.enter_context(asyncio.Runner())}
        if loop == "uvloop":
            import uvloop

            runners["uvloop"] = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        daemon = Daemon(home, CONFIG.format(redis=redis, folder=home))
        stack.callback(daemon.stop)
        daemon.start()
        yield Rig(loop, rounds, daemon, redis, home, runners, stack.enter_context(ExitStack()))


def fill(client: BlockingClient, connection: str) -> None:
    """Store the keys that are read."""
    client.call(requests.put_many(connection, COLLECTION, KEYS, [PAYLOAD] * len(KEYS)))
