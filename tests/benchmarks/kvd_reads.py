"""Plain reads through the daemon against redis-py with hiredis doing the same."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from kvd import requests
from kvd.blocking import BlockingClient
from tests.benchmarks.kvd_rig import COLLECTION, KEYS, PAYLOAD, Rig, alternate, fill, heading, report, timed_blocking

SINGLES = 400
TASKS = 8
BATCH = 50

Get = Callable[[str], Awaitable[Any]]


async def sequential(get: Get) -> None:
    for number in range(SINGLES):
        await get(KEYS[number % len(KEYS)])


def blocking_gets(client: BlockingClient) -> None:
    for number in range(SINGLES):
        client.call(requests.get("scratch", COLLECTION, KEYS[number % len(KEYS)]))


async def in_tasks(get: Get) -> None:
    async def one() -> None:
        for number in range(SINGLES // TASKS):
            await get(KEYS[number % len(KEYS)])

    await asyncio.gather(*(one() for _ in range(TASKS)))


async def gathered(get: Get) -> None:
    for _ in range(SINGLES // BATCH):
        await asyncio.gather(*(get(key) for key in KEYS[:BATCH]))


async def batches(get_many: Callable[[], Awaitable[Any]]) -> None:
    for _ in range(SINGLES // BATCH):
        await get_many()


def memory(rig: Rig) -> None:
    """GETs of a memory store."""
    from redis import Redis

    blocking, client = rig.blocking(), rig.client()
    fill(blocking, "scratch")
    straight = rig.stack.enter_context(Redis(unix_socket_path=str(rig.redis)))
    straight.mset(dict.fromkeys(KEYS, PAYLOAD))
    fast = rig.loop == "uvloop"
    peers = {loop: rig.async_redis(loop) for loop in rig.runners}

    def get(key: str) -> Awaitable[Any]:
        return client.call(requests.get("scratch", COLLECTION, key))

    bare = rig.bare()

    heading("Memory through the daemon | against redis-py to redis-server")
    on = {loop: f"redis-py asyncio on {loop}" for loop in rig.runners}
    taken = alternate(
        {
            "blocking": timed_blocking(SINGLES, partial(blocking_gets, blocking)),
            "bare": timed_blocking(SINGLES, partial(blocking_gets, bare)),
            "async": rig.timed(SINGLES, partial(sequential, get)),
            "redis-py": timed_blocking(SINGLES, lambda: [straight.get(KEYS[number % len(KEYS)]) for number in range(SINGLES)]),
            **{on[loop]: rig.timed(SINGLES, partial(sequential, peer.get), loop) for loop, peer in peers.items()},
        },
        rig.rounds,
    )
    report("GET, blocking client", taken["blocking"], on["asyncio"], taken[on["asyncio"]], 4.5 if fast else 3)
    report("GET, blocking client", taken["blocking"], "redis-py blocking", taken["redis-py"], 2.3)
    report("GET, blocking client", taken["blocking"], "a server that only answers", taken["bare"], None)
    for loop in rig.runners:
        goal = (3 if fast else 1.4) if loop == "asyncio" else None
        report("GET, async client", taken["async"], on[loop], taken[on[loop]], goal)

    taken = alternate(
        {
            "ours": rig.timed(SINGLES, partial(in_tasks, get)),
            **{on[loop]: rig.timed(SINGLES, partial(in_tasks, peer.get), loop) for loop, peer in peers.items()},
        },
        rig.rounds,
    )
    for loop in rig.runners:
        goal = (5 if fast else 3) if loop == "asyncio" else None
        report(f"GET, {TASKS} tasks, async client", taken["ours"], on[loop], taken[on[loop]], goal)

    keys = KEYS[:BATCH]
    many = requests.get_many("scratch", COLLECTION, keys)
    rounds = range(SINGLES // BATCH)
    taken = alternate(
        {
            "blocking": timed_blocking(SINGLES, lambda: [blocking.call(many) for _ in rounds]),
            "async": rig.timed(SINGLES, partial(batches, partial(client.call, many))),
            "redis-py": timed_blocking(SINGLES, lambda: [straight.mget(keys) for _ in rounds]),
            **{on[loop]: rig.timed(SINGLES, partial(batches, partial(peer.mget, keys)), loop) for loop, peer in peers.items()},
        },
        rig.rounds,
    )
    report(f"get_many({BATCH}), blocking client, a key", taken["blocking"], "redis-py mget", taken["redis-py"], 3)
    for loop in rig.runners:
        goal = 3 if loop == "asyncio" else None
        report(f"get_many({BATCH}), async client, a key", taken["async"], f"{on[loop]} mget", taken[on[loop]], goal)


def redis(rig: Rig) -> None:
    """GETs of a Redis behind the daemon, against redis-py straight to it."""
    client = rig.client()
    fill(rig.blocking(), "redis")
    peers = {loop: rig.async_redis(loop) for loop in rig.runners}
    fast = rig.loop == "uvloop"
    rig.run(peers["asyncio"].mset(dict.fromkeys(KEYS, PAYLOAD)), "asyncio")

    def get(key: str) -> Awaitable[Any]:
        return client.call(requests.get("redis", COLLECTION, key))

    heading("Redis through the daemon | against redis-py straight to it")
    works: list[tuple[str, Callable[[Get], Awaitable[None]], float]] = [
        ("GET, sequential", sequential, 1.3 if fast else 1),
        (f"GET, {TASKS} tasks", in_tasks, 2.5 if fast else 1.5),
        (f"GET, {BATCH} gathered", gathered, 5 if fast else 3),
    ]
    for title, work, goal in works:
        on = {loop: f"redis-py asyncio on {loop}" for loop in rig.runners}
        taken = alternate(
            {
                "ours": rig.timed(SINGLES, partial(work, get)),
                **{on[loop]: rig.timed(SINGLES, partial(work, peer.get), loop) for loop, peer in peers.items()},
            },
            rig.rounds,
        )
        for loop in rig.runners:
            report(title, taken["ours"], on[loop], taken[on[loop]], goal if loop == "asyncio" else None)
