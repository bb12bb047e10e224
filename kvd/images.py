"""What the journal sees of a store: entries as they are, kept, and put back; and many of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from kvd.protocol import MAX_IMAGE
from stores.entry import JsonObject, ManagedEntry
from stores.errors import ConflictError
from stores.names import Collection, Key
from stores.records import ABSENT, ENTRY, Record, Version

if TYPE_CHECKING:
    from kvd.use import Use

__all__ = ["each", "is_kept", "kept", "look", "put", "whole"]

K = TypeVar("K")
R = TypeVar("R")

TOGETHER: Final = 32
"""Keys of one request that are changed at the same time."""


async def look(use: Use, collection: Collection, key: Key) -> Record | None:
    """What is there, in the form that can be put back, or only the beginning of it where it is over `MAX_IMAGE`."""
    store = use.store
    record = await use.look(lambda: store.read(key, collection=collection, limit=0))
    if record is None or record.kind == ENTRY or record.size > MAX_IMAGE:
        return record
    return await use.look(lambda: store.snapshot(key, collection=collection))


def is_kept(record: Record | None) -> bool:
    """Whether the journal takes what was looked at."""
    return record is None or max(record.size, len(record.body)) <= MAX_IMAGE


def kept(record: Record | None) -> Record | None:
    """The form in which the journal keeps it: text, not what is made of it."""
    return None if record is None else replace(record, entry=None)


def whole(record: Record) -> Record:
    """What was kept, as `restore` takes it."""
    if record.kind != ENTRY:
        return record
    value = JsonObject(record.body)  # the text of a store's record is in that form
    return replace(record, entry=ManagedEntry(value=value, created_at=record.created_at, expires_at=record.expires_at))


async def put(use: Use, collection: Collection, key: Key, seen: Record | None, new: Record | None) -> Version:
    """Have the new one (None: nothing) stand where `seen` does; its version.

    Raises:
        ConflictError: something else is there by now.
    """
    store = use.store
    if seen is None and new is None:
        return ABSENT
    try:
        return await use.run(lambda: store.replace(key, seen, new, collection=collection))
    except ConflictError:
        if seen is not None or new is None:
            raise
    # it may be in the way of what has expired and is still there
    return await use.run(lambda: store.restore(key, new, collection=collection, expected=ABSENT))


async def each(use: Use, items: Sequence[K], work: Callable[[K], Awaitable[R]]) -> list[R]:
    """Do the work on each item, `TOGETHER` of them at once, and raise the first failure when those begun are done.

    Given up before anything was written it stops; later it goes on, as any write that a store has.
    """
    results: list[R] = []
    failures: list[Exception] = []
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            if failures:
                return
            try:
                results.append(await work(item))
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
            if use.connection.immediate:
                await asyncio.sleep(0)  # a store that never waits would keep everybody else waiting

    if use.connection.immediate:
        use.begun = True  # it has the first of them at once
    workers = [asyncio.get_running_loop().create_task(worker()) for _ in range(min(TOGETHER, len(items)))]
    if workers:
        await _ended(workers, use)
    if failures:
        raise failures[0]
    return results


async def _ended(workers: list[asyncio.Task[None]], use: Use) -> None:
    try:
        await asyncio.wait(workers)
    except asyncio.CancelledError:
        if use.begun:
            await asyncio.wait(workers)
        else:
            for worker in workers:
                worker.cancel()
        raise
