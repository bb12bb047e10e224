"""Peers without a server: a dictionary with deadlines, a diskcache directory, plain files."""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks.peer import Peer, Value, dump, load


class Cachetools:
    def __init__(self) -> None:
        from cachetools import TLRUCache

        self.cache: Any = TLRUCache(10**9, ttu=lambda _key, held, _now: held[1], timer=time.time)

    async def get(self, key: str) -> Value | None:
        held = self.cache.get(key)
        return load(held[0]) if held else None

    async def put(self, key: str, value: Value) -> None:
        self.cache[key] = (dump(value), float("inf"))

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return [await self.get(key) for key in keys]

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        for key, value in zip(keys, values, strict=True):
            await self.put(key, value)

    async def delete_many(self, keys: list[str]) -> None:
        for key in keys:
            self.cache.pop(key, None)

    async def keys(self) -> int:
        return len(list(self.cache))


class Diskcache:
    """On the event loop's thread, as programs that use diskcache in coroutines do."""

    def __init__(self, folder: Path) -> None:
        from diskcache import Cache

        self.cache: Any = Cache(str(folder), eviction_policy="none")

    async def get(self, key: str) -> Value | None:
        return load(self.cache.get(key))

    async def put(self, key: str, value: Value) -> None:
        self.cache.set(key, dump(value))

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return [load(self.cache.get(key)) for key in keys]

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        with self.cache.transact():
            for key, value in zip(keys, values, strict=True):
                self.cache.set(key, dump(value))

    async def delete_many(self, keys: list[str]) -> None:
        with self.cache.transact():
            for key in keys:
                self.cache.delete(key)

    async def keys(self) -> int:
        return sum(1 for _ in self.cache.iterkeys())


class Files:
    """Plain files, synced before they take their names, and the directory after: what survives a power cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _get(self, key: str) -> Value | None:
        return load((self.folder / key).read_text())

    def _write(self, key: str, value: Value) -> None:
        temporary = self.folder / f"{key}.tmp"
        with temporary.open("w") as file:
            file.write(dump(value))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.folder / key)

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def _put(self, key: str, value: Value) -> None:
        self._write(key, value)
        self._sync()

    async def get(self, key: str) -> Value | None:
        return await asyncio.to_thread(self._get, key)

    async def put(self, key: str, value: Value) -> None:
        await asyncio.to_thread(self._put, key, value)

    async def get_many(self, keys: list[str]) -> list[Value | None]:
        return await asyncio.to_thread(lambda: [self._get(key) for key in keys])

    async def put_many(self, keys: list[str], values: list[Value]) -> None:
        def put_all() -> None:
            for key, value in zip(keys, values, strict=True):
                self._write(key, value)
            self._sync()

        await asyncio.to_thread(put_all)

    async def delete_many(self, keys: list[str]) -> None:
        def delete_all() -> None:
            for key in keys:
                (self.folder / key).unlink(missing_ok=True)
            self._sync()

        await asyncio.to_thread(delete_all)

    async def keys(self) -> int:
        return await asyncio.to_thread(lambda: sum(1 for _ in self.folder.iterdir()))


async def open_memory(_endpoint: Any, _folder: Path, _stack: AsyncExitStack) -> Peer:
    return Cachetools()


async def open_disk(_endpoint: Any, folder: Path, stack: AsyncExitStack) -> Peer:
    peer = Diskcache(folder / "bare")
    stack.callback(peer.cache.close)
    return peer


async def open_filetree(_endpoint: Any, folder: Path, _stack: AsyncExitStack) -> Peer:
    (folder / "bare").mkdir()
    return Files(folder / "bare")
