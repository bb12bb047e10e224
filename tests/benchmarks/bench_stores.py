"""Every backend against py-key-value-aio and against its bare driver, on one server, in one run, in alternation.

    python -m tests.benchmarks.bench_stores [BACKEND …] [--rounds 7] [--keys 100000]

Prints the median of each work's time, and the ratios of the rounds' medians: below 1 ours is the faster one; then one row of
the ratios for the README. Machines are noisy: believe ratios, not times, and small differences not at all.

What is compared is alike: all peers write and read the same value as JSON and promise the same (files are synced before and
after they take their place, Elasticsearch's writes are seen by searches). What a delete needs is put back outside the clock.
py-key-value is not asked to enumerate: it ends at 10,000 keys.
"""

import argparse
import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import stores
from tests.benchmarks.peers import OPENERS, bare
from tests.conftest import AWS, KIND_OF_FIXTURE
from tests.servers.lease import Supervision, private_server

VALUE = {"name": "Ada Lovelace", "email": "ada@example.org", "roles": ["admin", "author"], "visits": 1843, "note": "x" * 90}
MANY = 100
BATCHES = 5
"""Batches in a row, so that one pause of the machine is not all of what was measured."""
IN_FLIGHT = 50
SEED_BATCH = 1000
COLLECTION = "bench"
SLOW = {"elasticsearch": 20_000, "mongodb": 20_000, "filetree": 20_000, "s3": 20_000, "dynamodb": 20_000}
"""Keys to enumerate where the stand-in servers (or files) would take minutes to fill."""

Step = Callable[[], Awaitable[Any]]


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


async def compare(name: str, endpoint: Any, folder: Path, rounds: int, enumerated: int) -> None:
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
        singles = 500 if name in {"memory", "redis", "valkey", "memcached", "disk"} else 100
        lists = {label: works(peer, 5000 if name == "memory" else singles) for label, peer in peers.items()}
        row = [f"`{case.STORE}`"]
        for work in lists["ours"]:
            row += report(work, await alternate({label: given[work] for label, given in lists.items()}, rounds))
        for peer in peers.values():
            if peer is not peers.get("reference"):
                for start in range(0, enumerated, SEED_BATCH):
                    batch = [f"key-{number}" for number in range(start, min(start + SEED_BATCH, enumerated))]
                    for part in range(0, len(batch), MANY):
                        await peer.put_many(batch[part : part + MANY], [VALUE] * len(batch[part : part + MANY]))
        listing = {label: Work(peer.keys) for label, peer in peers.items() if hasattr(peer, "keys")}
        row += report(f"all {enumerated} keys", await alternate(listing, 3))
        print("| " + " | ".join(row) + " |", flush=True)
        await case.clean(endpoint, "bench", folder)


async def alternate(given: dict[str, Work], rounds: int) -> dict[str, float]:
    """Each peer's median over the rounds, all peers in every round, after one that is not counted."""
    times: dict[str, list[float]] = {label: [] for label in given}
    for number in range(rounds + 1):
        for label, work in given.items():
            taken = await work.taken()
            if number:
                times[label].append(taken)
    return {label: statistics.median(taken) for label, taken in times.items()}


def report(work: str, medians: dict[str, float]) -> list[str]:
    """Print a line, and return its cell of the README's row."""
    ours, reference, driver = (medians.get(label) for label in ("ours", "reference", "bare"))
    shown = [f"{value * 1000:.2f}" if value else "-" for value in (ours, reference, driver)]
    ratios = [f"{ours / other:.2f}" if ours and other else "-" for other in (reference, driver)]
    print(f"{work:32}{shown[0]:>10}{shown[1]:>14}{shown[2]:>10}{ratios[0]:>12}{ratios[1]:>12}", flush=True)
    return [" / ".join(ratio for ratio in ratios if ratio != "-")]


@contextmanager
def endpoint_of(name: str) -> Iterator[Any]:
    """A server of the benchmark's own, in the form that the suite's fixture of the backend gives."""
    fixture = import_module(f"tests.cases.{name}").SERVER
    if fixture is None:
        yield None
        return
    with private_server(KIND_OF_FIXTURE[fixture]) as server:
        yield server.address if fixture.endswith("_address") else server.url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backends", nargs="*", choices=[[], *OPENERS], default=[])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keys", type=int, default=100_000, help="keys to enumerate (20,000 on the slow stand-ins)")
    options = parser.parse_args()
    os.environ.update(AWS)
    print(f"Python {sys.version.split()[0]}, {options.rounds} rounds in alternation")
    with Supervision():
        for name in options.backends or OPENERS:
            with endpoint_of(name) as endpoint, tempfile.TemporaryDirectory() as folder:
                enumerated = min(options.keys, SLOW.get(name, options.keys))
                asyncio.run(compare(name, endpoint, Path(folder), options.rounds, enumerated))


if __name__ == "__main__":
    main()
