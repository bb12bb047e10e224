"""Every backend against py-key-value-aio and against its bare driver, on one server, in one run, in alternation.

    python -m tests.benchmarks.bench_stores [BACKEND …] [--rounds 7] [--delay MS | --enumerate N]

Prints the median of each work's time, and the median of the rounds' ratios: below 1 ours is the faster one; then one row of
the ratios for the README. Machines are noisy: believe ratios, not times, and small differences not at all. What is compared in
a round is measured one after the other, in another order each time, so a machine that is slow for a while changes few ratios.

What is compared is alike: all peers write and read the same value as JSON and promise the same (files are synced before and
after they take their place, Elasticsearch's writes are seen by searches). What a delete needs is put back outside the clock.
`--delay` puts a network whose round trip takes so long before the server, for all peers, and times the batches. `--enumerate`
times, once, a walk over so many keys and batches of 10,000 keys with 1 KiB each, with the memory that ours takes at its peak
beyond what was there before; py-key-value is not asked to walk, because it ends at 10,000 keys.
"""

import argparse
import asyncio
import gc
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import stores
from tests.benchmarks.peers import OPENERS, bare
from tests.conftest import AWS, KIND_OF_FIXTURE
from tests.faults.proxy import Proxy, place, through
from tests.servers.lease import Supervision, private_server

VALUE = {"name": "Ada Lovelace", "email": "ada@example.org", "roles": ["admin", "author"], "visits": 1843, "note": "x" * 90}
MANY = 100
BATCHES = 5
"""Batches in a row, so that one pause of the machine is not all of what was measured."""
IN_FLIGHT = 50
SEED_BATCH = 1000
COLLECTION = "bench"
LARGE = 10_000
LARGE_VALUE = {"text": "x" * 1000}

Step = Callable[[], Awaitable[Any]]
Times = dict[str, list[float]]
"""Seconds, by peer and round."""


@dataclass(frozen=True)
class Work:
    """What is timed, `times` in a row, each after what is not."""

    run: Step
    prepare: Step | None = None
    times: int = 1

    async def taken(self) -> float:
        """Seconds for one."""
        total = 0.0
        gc.collect()
        for _ in range(self.times):
            if self.prepare is not None:
                await self.prepare()
            start = time.perf_counter()
            await self.run()
            total += time.perf_counter() - start
        return total / self.times


class Named:
    """A store of either family as a peer: one collection, keys and values."""

    def __init__(self, store: Any) -> None:
        self.store = store

    async def get(self, key: str) -> Any:
        return await self.store.get(key, collection=COLLECTION)

    async def put(self, key: str, value: Any) -> None:
        await self.store.put(key, value, collection=COLLECTION)

    async def get_many(self, keys: list[str]) -> Any:
        return await self.store.get_many(keys, collection=COLLECTION)

    async def ttl_many(self, keys: list[str]) -> Any:
        return await self.store.ttl_many(keys, collection=COLLECTION)

    async def put_many(self, keys: list[str], values: list[Any]) -> None:
        await self.store.put_many(keys, values, collection=COLLECTION)

    async def delete_many(self, keys: list[str]) -> None:
        await self.store.delete_many(keys, collection=COLLECTION)


class Ours(Named):
    async def keys(self) -> int:
        found, cursor = 0, None
        while True:
            page = await self.store.scan_keys(COLLECTION, cursor=cursor, limit=1000)
            found += len(page.items)
            cursor = page.cursor
            if cursor is None:
                return found


def works(peer: Any, singles: int) -> dict[str, Work]:
    """What is timed, by name."""
    keys = [f"key-{number}" for number in range(MANY)]
    values = [VALUE] * MANY

    async def sequential(operation: Callable[[str], Awaitable[Any]]) -> None:
        for number in range(singles):
            await operation(keys[number % MANY])

    async def in_flight(operation: Callable[[str], Awaitable[Any]]) -> None:
        for _ in range(max(singles // IN_FLIGHT, 1)):
            await asyncio.gather(*(operation(key) for key in keys[:IN_FLIGHT]))

    return {
        "put": Work(lambda: sequential(lambda key: peer.put(key, VALUE))),
        "get": Work(lambda: sequential(peer.get)),
        f"put, {IN_FLIGHT} in flight": Work(lambda: in_flight(lambda key: peer.put(key, VALUE))),
        f"get, {IN_FLIGHT} in flight": Work(lambda: in_flight(peer.get)),
        f"put_many({MANY})": Work(lambda: peer.put_many(keys, values), times=BATCHES),
        f"get_many({MANY})": Work(lambda: peer.get_many(keys), times=BATCHES),
        f"delete_many({MANY})": Work(
            lambda: peer.delete_many(keys), prepare=lambda: peer.put_many(keys, values), times=BATCHES
        ),
    }


async def compare(name: str, endpoint: Any, folder: Path, options: argparse.Namespace) -> None:
    case = import_module(f"tests.cases.{name}")
    async with AsyncExitStack() as stack:
        peers: dict[str, Any] = {}
        store = getattr(stores, case.STORE)(**case.arguments(endpoint, "bench", folder))
        peers["ours"] = Ours(await stack.enter_async_context(store))
        reference = await stack.enter_async_context(case.reference(endpoint, "bench", folder))
        if reference is None and name == "memory":
            from key_value.aio.stores.memory import MemoryStore as Reference

            reference = Reference()
        if reference is not None:
            peers["reference"] = Named(reference)
        peers["bare"] = await stack.enter_async_context(bare(name, endpoint, folder))
        print(f"\n{name}: median ms, and ours against the others (below 1: ours is faster)")
        print(f"{'':32}{'ours':>10}{'py-key-value':>14}{'bare':>10}{'ours/pkv':>12}{'ours/bare':>12}")
        row = [f"`{case.STORE}`"]
        if options.enumerate:
            row += await large(peers, options.enumerate)
        else:
            singles = 500 if name in {"memory", "redis", "valkey", "memcached", "disk"} else 100
            lists = {label: works(peer, 5000 if name == "memory" else singles) for label, peer in peers.items()}
            for work in lists["ours"]:
                if "many" in work or not options.delay:
                    given = {label: one[work] for label, one in lists.items()}
                    row += report(work, await alternate(given, options.rounds))
        print("| " + " | ".join(row) + " |", flush=True)
        await case.clean(endpoint, "bench", folder)


async def large(peers: dict[str, Any], enumerated: int) -> list[str]:
    """Batches of many keys and a walk over more, each once."""
    keys = [f"large-{number}" for number in range(LARGE)]
    values = [LARGE_VALUE] * LARGE
    steps: dict[str, Callable[[Any], Awaitable[Any]]] = {
        "put_many": lambda peer: peer.put_many(keys, values),
        "get_many": lambda peer: peer.get_many(keys),
        "ttl_many": lambda peer: peer.ttl_many(keys),
        "delete_many": lambda peer: peer.delete_many(keys),
    }
    cells: list[str] = []
    for work, step in steps.items():
        able = {label: peer for label, peer in peers.items() if hasattr(peer, work)}
        cells += report(f"{work}({LARGE})", await once(able, step))
    for work, step in steps.items():
        gc.collect()
        tracemalloc.start()
        kept = await step(peers["ours"])
        held, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del kept
        print(f"{work}({LARGE}): {most / 2**20:.1f} MiB at its peak, {held / 2**20:.1f} MiB of them the result", flush=True)
    walkers = {label: peer for label, peer in peers.items() if hasattr(peer, "keys")}
    for start in range(0, enumerated, SEED_BATCH):
        batch = [f"key-{number}" for number in range(start, min(start + SEED_BATCH, enumerated))]
        for peer in walkers.values():
            await peer.put_many(batch, [VALUE] * len(batch))
    return cells + report(f"all {enumerated} keys", await once(walkers, lambda peer: peer.keys()))


async def once(peers: dict[str, Any], step: Callable[[Any], Awaitable[Any]]) -> Times:
    """The time of each peer that can do it."""
    times: Times = {}
    for label, peer in peers.items():
        try:
            times[label] = [await Work(partial(step, peer)).taken()]
        except Exception as exc:  # noqa: BLE001 - whatever stops a driver is what is to be shown
            print(f"{label} fails: {type(exc).__name__}: {str(exc)[:90]}")
    return times


async def alternate(given: dict[str, Work], rounds: int) -> Times:
    """Each peer's times, all peers in every round, after one that is not counted."""
    times: Times = {label: [] for label in given}
    order = list(given)
    for number in range(rounds + 1):
        for label in order:
            taken = await given[label].taken()
            if number:
                times[label].append(taken)
        order.append(order.pop(0))
    return times


def report(work: str, times: Times) -> list[str]:
    """Print a line, and return its cell of the README's row."""
    shown, ratios = [], []
    for label in ("ours", "reference", "bare"):
        taken = times.get(label)
        shown.append(f"{statistics.median(taken) * 1000:.2f}" if taken else "-")
        pairs = list(zip(times.get("ours", []), taken or [], strict=False))
        ratios.append(f"{statistics.median(ours / other for ours, other in pairs):.2f}" if pairs else "-")
    print(f"{work:32}{shown[0]:>10}{shown[1]:>14}{shown[2]:>10}{ratios[1]:>12}{ratios[2]:>12}", flush=True)
    return [" / ".join(ratio for ratio in ratios[1:] if ratio != "-")]


@contextmanager
def endpoint_of(name: str, delay: float = 0.0) -> Iterator[Any]:
    """A server of the benchmark's own, in the form that the suite's fixture of the backend gives, perhaps far away (ms)."""
    fixture = import_module(f"tests.cases.{name}").SERVER
    if fixture is None:
        yield None
        return
    with private_server(KIND_OF_FIXTURE[fixture]) as server:
        endpoint = server.address if fixture.endswith("_address") else server.url
        if not delay:
            yield endpoint
            return
        near, far = multiprocessing.Pipe()
        network = multiprocessing.get_context("spawn").Process(target=_be_far, args=(place(endpoint), delay, far), daemon=True)
        network.start()
        yield through(endpoint, near.recv())
        network.terminate()
        network.join()


def _be_far(server: tuple[str, int], delay: float, port: Any) -> None:
    """In a process of its own, a network whose round trip takes `delay` milliseconds."""

    async def pass_on() -> None:
        async with Proxy(*server) as proxy:
            proxy.delay(delay / 2000)
            port.send(proxy.port)
            await asyncio.Event().wait()

    asyncio.run(pass_on())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backends", nargs="*", choices=[[], *OPENERS], default=[])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="time the batches at such a distance")
    parser.add_argument("--enumerate", type=int, default=0, metavar="N", help="walk so many keys instead, and large batches")
    options = parser.parse_args()
    os.environ.update(AWS)
    print(f"Python {sys.version.split()[0]}, {options.rounds} rounds in alternation")
    with Supervision():
        for name in options.backends or OPENERS:
            with endpoint_of(name, options.delay) as endpoint, tempfile.TemporaryDirectory() as folder:
                asyncio.run(compare(name, endpoint, Path(folder), options))


if __name__ == "__main__":
    main()
