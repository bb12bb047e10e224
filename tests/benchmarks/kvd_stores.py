"""RemoteStore against py-key-value-aio in this process on the same kind of backend."""

import warnings
from collections.abc import Awaitable, Callable
from typing import Any

from kvd.remote import RemoteStore
from tests.benchmarks.kvd_rig import COLLECTION, KEYS, Rig, alternate, heading, report

VALUE = {"name": "Ada Lovelace", "note": "x" * 164}
MANY = 100
GOALS = {"get": 1 / 1.5, "put": None, f"get_many({MANY}), a key": 1.0, f"put_many({MANY}), a key": 1.0}

Work = Callable[[], Awaitable[Any]]


def works(store: Any, singles: int) -> dict[str, tuple[int, Work]]:
    """What is timed, by name, with its number of operations."""
    keys, values = KEYS[:MANY], [VALUE] * MANY

    async def get() -> None:
        for number in range(singles):
            await store.get(KEYS[number % len(KEYS)], collection=COLLECTION)

    async def put() -> None:
        for number in range(singles):
            await store.put(KEYS[number % len(KEYS)], VALUE, collection=COLLECTION)

    async def get_many() -> None:
        for _ in range(5):
            await store.get_many(keys, collection=COLLECTION)

    async def put_many() -> None:
        for _ in range(5):
            await store.put_many(keys, values, collection=COLLECTION)

    return dict(zip(GOALS, [(singles, get), (singles, put), (5 * MANY, get_many), (5 * MANY, put_many)], strict=True))


def reference(rig: Rig, backend: str) -> Any:
    """py-key-value-aio's store."""
    with warnings.catch_warnings(action="ignore"):  # it warns that its stores may change
        match backend:
            case "redis":
                from key_value.aio.stores.redis import RedisStore

                return RedisStore(client=rig.async_redis(rig.loop, decode_responses=True))
            case "disk":
                from key_value.aio.stores.disk import DiskStore

                return DiskStore(directory=rig.folder / "reference")
            case _:
                from key_value.aio.stores.memory import MemoryStore

                return MemoryStore()


def _close(rig: Rig, store: RemoteStore) -> None:
    rig.run(store.close())


def remote(rig: Rig) -> None:
    """Single gets and puts, and batches, on three backends."""
    for backend, connection in (("memory", "scratch"), ("redis", "redis"), ("disk", "disk")):
        heading(f"RemoteStore of {backend} | against py-key-value-aio in process")
        ours = rig.run(RemoteStore.open(connection, rig.daemon.socket, spawn=False))
        theirs = reference(rig, backend)
        rig.stack.callback(_close, rig, ours)
        singles = 500 if backend != "disk" else 200
        rig.run(works(theirs, singles)[f"put_many({MANY}), a key"][1]())
        rig.run(works(ours, singles)[f"put_many({MANY}), a key"][1]())
        for name, goal in GOALS.items():
            blocks = {
                label: rig.timed(*works(store, singles)[name])
                for label, store in (("ours", ours), ("py-key-value-aio", theirs))
            }
            taken = alternate(blocks, rig.rounds)
            report(name, taken["ours"], "py-key-value-aio", taken["py-key-value-aio"], goal)
