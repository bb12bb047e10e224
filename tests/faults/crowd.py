"""Many clients at once: idle ones that only cost memory, and active ones that each must read its own writes."""

import asyncio
import contextlib
import itertools
import json
import random
import time
from dataclasses import dataclass
from statistics import median, quantiles

from kvd import requests
from kvd.client import Client
from tests.daemonkit import Daemon, eventually

LEAST = 5
"""Turns that each active client takes, however short the time."""


@dataclass(frozen=True)
class Crowd:
    """How a crowd was served."""

    idle: int
    active: int
    seconds: float
    operations: int
    p50: float
    p99: float
    each: int
    """Bytes of the daemon's memory for each idle client."""
    left: int
    """Bytes by which the daemon was larger after all had left and had come a second time."""

    def __str__(self) -> str:
        return (
            f"{self.idle:,} idle and {self.active:,} active clients for {self.seconds:.0f} s: {self.operations:,} operations, "
            f"p50 {self.p50 * 1000:.1f} ms, p99 {self.p99 * 1000:.1f} ms, {self.each / 1024:.1f} KiB for each idle client, "
            f"{self.left / 2**20:+.1f} MiB after a second crowd"
        )


def crowd(daemon: Daemon, idle: int, active: int, seconds: float) -> Crowd:
    """Let a crowd come twice; the daemon has a memory store `scratch`.

    Raises:
        AssertionError: a client read what it had not written, or the daemon kept something of those who left.
    """
    _once(daemon, idle, active, 0.2)
    before, descriptors = daemon.memory(), daemon.descriptors()
    each, took = _once(daemon, idle, active, seconds)
    eventually(lambda: daemon.descriptors() <= descriptors)
    ordered = quantiles(took, n=100)
    return Crowd(idle, active, seconds, 2 * len(took), median(took), ordered[98], each, daemon.memory() - before)


def _once(daemon: Daemon, idle: int, active: int, seconds: float) -> tuple[int, list[float]]:
    with daemon.client() as witness:
        with contextlib.ExitStack() as stack:
            before = daemon.memory()
            for _ in range(idle):
                stack.enter_context(daemon.client())
            each = (daemon.memory() - before) // idle
            assert witness.call("status")["clients"] == idle + 1
            took = asyncio.run(_be_active(daemon, active, seconds))
            for _ in range(10):
                witness.call("ping")
        eventually(lambda: witness.call("status")["clients"] == 1)
    return each, took


async def _be_active(daemon: Daemon, clients: int, seconds: float) -> list[float]:
    until = time.monotonic() + seconds
    took: list[float] = []

    async def be(number: int) -> None:
        rng = random.Random(number)
        async with await Client.open(daemon.socket, spawn=False) as client:
            for turn in itertools.count():
                if turn >= LEAST and time.monotonic() >= until:
                    return
                key, written = f"{number}-{rng.randrange(4)}", {"by": number, "n": rng.random()}
                began = time.perf_counter()
                await client.call(requests.put("scratch", None, key, json.dumps(written).encode()))
                text = await client.call(requests.get("scratch", None, key))
                took.append((time.perf_counter() - began) / 2)
                assert text is not None
                assert json.loads(text) == written

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(be(number))
    return took
