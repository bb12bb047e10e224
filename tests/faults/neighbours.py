"""What a light client of one store feels while the store beside it hangs with thousands of requests waiting for it."""

import time
from dataclasses import dataclass
from statistics import median, quantiles

from tests.daemonkit import Daemon, RawClient, eventually
from tests.servers.lease import Server

CONFIG = """
[connections.scratch]
store = "memory"

[connections.remote]
store = "redis"
timeout = 2
[connections.remote.args]
url = "{url}"
"""
WAITING = 2_500
"""Requests of each of the two clients whose store hangs."""


@dataclass(frozen=True)
class Felt:
    """The neighbour's latency, in seconds, and what the crowd cost."""

    before: float
    during: float
    grown: int
    """Bytes of the daemon's memory while all were waiting."""
    recovered: float
    """Seconds after the server went on until its connection worked again."""

    def __str__(self) -> str:
        return (
            f"{2 * WAITING:,} requests waiting for a stopped Redis: p99 of a memory store's client {self.before * 1000:.2f} ms "
            f"before, {self.during * 1000:.2f} ms meanwhile, {self.grown / 2**20:+.1f} MiB; each was answered by its deadline "
            f"or given up when its client left; worked again {self.recovered:.1f} s after Redis did"
        )


def hang(daemon: Daemon, redis: Server, reads: int) -> Felt:
    """Stop the server of a daemon that has `CONFIG`, and measure its neighbour.

    Raises:
        AssertionError: a request was not answered, or the connection did not recover.
    """
    with daemon.client() as light:
        light.reply(light.ask("connect", {"connection": "remote"}, timeout=30))  # loads the driver, however long that takes
        for name in ("scratch", "remote"):
            light.call("put", connection=name, key="k", value=b"{}")
        before = _p99(light, reads)
        memory = daemon.memory()
        redis.pause()
        try:
            with daemon.client() as leaving, daemon.client() as staying:
                for client in (leaving, staying):
                    for number in range(WAITING):
                        client.ask("get", {"connection": "remote", "collection": None, "key": f"k{number}"})
                during = _p99(light, reads)
                grown = daemon.memory() - memory
                leaving.socket.close()
                for number in range(1, WAITING + 1):
                    error, _ = staying.reply(number + 1)  # the first was the hello's
                    assert error["code"] in {"deadline", "unreachable"}, error
            eventually(lambda: light.call("status")["clients"] == 1)
            for number in range(50):
                assert light.call("get", connection="scratch", key="k") == b"{}", number
        finally:
            redis.resume()
        began = time.monotonic()
        eventually(lambda: light.reply(light.ask("get", {"connection": "remote", "key": "k"})) == (None, b"{}"))
        return Felt(before, during, grown, time.monotonic() - began)


def _p99(client: RawClient, reads: int) -> float:
    """The 99th percentile, in seconds, of the median of three rounds: another program's burst is not the daemon's."""
    return median(_round(client, reads) for _ in range(3))


def _round(client: RawClient, reads: int) -> float:
    took = []
    for _ in range(reads):
        began = time.perf_counter()
        client.call("get", connection="scratch", key="k")
        took.append(time.perf_counter() - began)
    return quantiles(took, n=100)[98]
