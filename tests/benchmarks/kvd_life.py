"""How soon the daemon answers, what a connection costs it, and whether a light client suffers from a heavy one."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kvd import requests
from kvd.blocking import BlockingClient
from tests.benchmarks.kvd_rig import COLLECTION, KEYS, LARGE_VALUE, Rig, alternate, fill, heading, report, state
from tests.daemonkit import ROOT, RawClient

CONNECTIONS = 1000
LIGHT_REQUESTS = 1000
PACE = 0.001
"""Seconds between two requests of the light client."""
HELLO = RawClient.frame([0, 1, "hello", {"protocol": [1, 1], "client": "bench", "version": "0"}])


def first_answer(command: list[str], path: Path, environment: dict[str, str]) -> float:
    """Microseconds from exec to the first answer on a Unix socket."""
    with suppress(FileNotFoundError):
        path.unlink()
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(path))
                except OSError:
                    assert process.poll() is None, f"{command} ended"
                    assert time.perf_counter() - begin < 20, f"{command} does not answer"
                    time.sleep(0.001)
                    continue
                client.sendall(HELLO)
                assert client.recv(4)
                return (time.perf_counter() - begin) * 1e6
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def start(rig: Rig) -> None:
    """From exec to the first answer, with compiled bytecode, against servers that do nothing else."""
    environment = rig.daemon.environment | {"PYTHONPYCACHEPREFIX": str(rig.folder / "pycache"), "XDG_CONFIG_HOME": "/nowhere"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("PYTHONWARNINGS", None)
    python = [sys.executable, "-P"]
    ours, bare = rig.folder / "d" / "socket", rig.folder / "bare"

    def server(kind: str) -> float:
        command = [*python, "-m", "tests.benchmarks.bare_server", kind, str(bare), rig.loop]
        return first_answer(command, bare, environment)

    serve = [*python, "-m", "kvd", "serve", "--socket", str(ours)]
    configured = [*serve, "--config", str(rig.daemon.config)]
    heading("exec to the first answer | against bare servers")
    taken = alternate(
        {
            "kvd": lambda: first_answer(serve, ours, environment),
            "configured": lambda: first_answer(configured, ours, environment),
            "anyio": lambda: server("anyio"),
            "asyncio": lambda: server("asyncio"),
        },
        rig.rounds,
    )
    report("kvd serve", taken["kvd"], "anyio server", taken["anyio"], 1 / 1.3)
    report("start with Redis and disk configured", taken["configured"], "anyio server", taken["anyio"], 1 / 1.3)
    report("kvd serve", taken["kvd"], "asyncio server", taken["asyncio"], None)
    mapped = Path(f"/proc/{rig.daemon.pid}/maps").read_text()
    drivers = [name for name in ("hiredis", "glide", "aiohttp", "bson", "_sqlite3") if name in mapped]
    state("drivers that a daemon nobody used has loaded", ", ".join(drivers) or "none", "none", reached=not drivers)


def idle(rig: Rig) -> None:
    """Resident memory by connections, before and after traffic on each of them."""
    with BlockingClient.open(rig.daemon.socket, spawn=False) as client:
        fill(client, "scratch")
    keys = KEYS[:50]

    def connect(count: int) -> list[RawClient]:
        opened = [rig.stack.enter_context(RawClient(rig.daemon.socket)) for _ in range(count)]
        for client in opened:
            client.hello()
        return opened

    def traffic(clients: list[RawClient]) -> None:
        for client in clients:
            for key in keys:
                client.call("get", connection="scratch", collection=COLLECTION, key=key)
            client.call("get_many", connection="scratch", collection=COLLECTION, keys=KEYS)

    print("\nMemory of the daemon")
    traffic(connect(200))
    before = rig.daemon.memory()
    clients = connect(CONNECTIONS)
    opened = rig.daemon.memory()
    traffic(clients)
    used = rig.daemon.memory()
    traffic(clients)
    traffic(clients)
    again = rig.daemon.memory()
    kib = 1024 * CONNECTIONS
    each = (opened - before) / kib
    state("an idle connection", f"{each:.2f} KiB", "≤ 4 KiB", reached=each <= 4)
    state("growth after traffic, a connection", f"{(used - opened) / kib:.2f} KiB", "none", reached=(used - opened) / kib < 0.1)
    state("growth after twice as much again", f"{(again - used) / kib:.2f} KiB", "none", reached=(again - used) / kib < 0.1)
    state(f"the daemon with {CONNECTIONS + 200} connections", f"{again / 2**20:.1f} MiB", "", reached=None)


@contextmanager
def heavy(path: str, kind: str, cpu: int) -> Iterator[None]:
    """A client in a process of its own that does all it can."""
    command = [sys.executable, "-m", "tests.benchmarks.heavy_client", path, kind, str(cpu)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None, f"the {kind} client ended"
        process.kill()


def light(client: BlockingClient) -> list[float]:
    """Microseconds of each of a light client's requests."""
    request = requests.get("scratch", COLLECTION, KEYS[0])
    taken = []
    for _ in range(LIGHT_REQUESTS):
        begin = time.perf_counter()
        client.call(request)
        taken.append((time.perf_counter() - begin) * 1e6)
        time.sleep(PACE)
    return taken


def fairness(rig: Rig) -> None:
    """The 99th percentile of a light client, alone and beside others.

    The same neighbours are also measured where they leave the daemon alone ("bare"), and where they have a CPU of their own.
    The first shows what the kernel takes for dividing one CPU among busy processes, the second what the daemon takes.
    """
    client = rig.blocking()
    fill(client, "scratch")
    client.call(requests.put("scratch", COLLECTION, "large", LARGE_VALUE))
    (cpu,) = os.sched_getaffinity(0)
    other = next((one for one in range(os.cpu_count() or 1) if one != cpu), cpu)
    ours = str(rig.daemon.socket)
    neighbours = {"bare": ("bare", cpu), "": (ours, cpu), "on a CPU of its own": (ours, other)}
    figures: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def measure(kind: str, how: str) -> None:
        taken = sorted(light(client))
        figures.setdefault((kind, how), []).append((taken[len(taken) // 2], taken[len(taken) * 99 // 100]))

    print("\nA light client's requests, µs: its 50th and 99th percentiles, and how many times the latter is that alone")
    for _ in range(max(rig.rounds // 3, 3)):
        measure("alone", "")
        for kind in ("pipeline", "large-get", "large-put"):
            for how, (path, where) in neighbours.items():
                with heavy(path, kind, where):
                    measure(kind, how)
    assert os.sched_getaffinity(0) == {cpu}
    alone = statistics.median(p99 for _, p99 in figures["alone", ""])
    for (kind, how), found in figures.items():
        p50, p99 = (statistics.median(column) for column in zip(*found, strict=True))
        goal = "" if kind == "alone" or how == "bare" else "≤ 5x alone"
        title = f"beside {kind} {how}" if kind != "alone" else kind
        state(title, f"{p50:.0f} {p99:.0f} {p99 / alone:.1f}x", goal, reached=p99 / alone <= 5 if goal else None)
