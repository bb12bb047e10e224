"""Memcached servers that are full, crowded or locked: what is told of each, and that nobody else suffers from it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from stores import MemcachedStore
from stores.errors import (
    BaseKeyValueError,
    KeyValueStoreError,
    StoreConnectionError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)
from tests.conftest import endpoint as endpoint_of
from tests.servers.lease import private_server

pytestmark = pytest.mark.anyio


async def test_a_full_server_that_drops_nothing_says_which_entry_was_not_stored_and_what_became_of_it() -> None:
    endpoint_of("memcached")
    with private_server("memcached", ["-M", "-m", "8"]) as server:
        host, port = server.address
        async with MemcachedStore(host=host, port=port, default_collection="c") as store:
            await store.put("k", {"n": 1})
            keys = [f"k{number:03}" for number in range(200)]
            with pytest.raises(KeyValueStoreError, match=r"\d+ of 200 entries.*'k\d+'.*is full.*-m") as full:
                await store.put_many(keys, [{"text": "x" * 100_000}] * 200)
            assert type(full.value) is KeyValueStoreError
            stored = [value is not None for value in await store.get_many(keys)]
            first = stored.index(False)
            assert f"{stored.count(False)} of 200" in str(full.value)
            assert f"'{keys[first]}'" in str(full.value)
            with pytest.raises(KeyValueStoreError, match=r"'k'.*is full.*under the key is gone"):
                await store.put("k", {"text": "x" * 100_000})
            assert await store.get("k") is None
            assert await store.delete_many(keys) == first
            await store.put("k", {"n": 2})
            assert await store.get("k") == {"n": 2}


async def test_a_server_with_too_many_clients_says_so() -> None:
    endpoint_of("memcached")
    with private_server("memcached", ["-c", "32"]) as server:
        host, port = server.address
        async with AsyncExitStack() as others:

            async def crowd() -> None:
                while True:
                    reader, writer = await asyncio.open_connection(host, port)
                    others.callback(writer.close)
                    writer.write(b"mn\r\n")
                    if (await reader.readline()).startswith(b"ERROR"):
                        return

            async with MemcachedStore(host=host, port=port) as store:
                await store.put("k", {"n": 1})
                await crowd()
                assert await store.get("k") == {"n": 1}
                for call in (store.scan_keys, store.destroy):
                    with pytest.raises(StoreConnectionError, match=r"Too many open connections.*-c"):
                        await call()
            await crowd()
            # that it has no room the server says behind a connection that it took, so perhaps only to the first request
            with pytest.raises((StoreSetupError, StoreConnectionError), match=r"Too many open connections.*-c"):
                await MemcachedStore(host=host, port=port).get("k")


async def test_a_server_that_may_not_be_emptied_says_so_and_disturbs_nobody() -> None:
    endpoint_of("memcached")
    with private_server("memcached", ["-F"]) as server:
        host, port = server.address
        async with MemcachedStore(host=host, port=port) as store:
            await store.put("k", {"n": 1})
            destroying = asyncio.create_task(store.destroy())
            assert await asyncio.gather(*(store.get("k") for _ in range(50))) == [{"n": 1}] * 50
            with pytest.raises(UnsupportedError, match=r"emptied.*not allowed"):
                await destroying
            assert await store.get("k") == {"n": 1}


class Scripted:
    """A server, or a proxy before some, that gives one answer to all but `stats`."""

    answer = b"HD\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                if line.startswith(b"ms "):
                    await reader.readline()
                writer.write(b"STAT item_size_max 1048576\r\nEND\r\n" if line.startswith(b"stats") else self.answer)
        writer.close()


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[Scripted, MemcachedStore]]:
    server = Scripted()
    async with (
        await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening,
        MemcachedStore(port=listening.sockets[0].getsockname()[1], default_collection="timeout") as store,
    ):
        yield server, store


@pytest.mark.parametrize(
    ("answer", "ours", "said"),
    [
        (b"SERVER_ERROR backend timeout\r\n", StoreConnectionError, "proxy"),
        (b"SERVER_ERROR object too large for cache\r\n", ValueTooLargeError, "-I"),
        (b"SERVER_ERROR out of memory writing get response\r\n", KeyValueStoreError, "try again"),
        (b"SERVER_ERROR something new\r\n", KeyValueStoreError, "something new"),
        (b"CLIENT_ERROR bad data chunk\r\n", StoreConnectionError, "bad data chunk"),
        (b"XX\r\n", StoreConnectionError, "cannot be used"),
        (b"x" * 100_000, StoreConnectionError, "without an end"),
    ],
)
async def test_what_is_no_answer_is_never_taken_for_one(
    scripted: tuple[Scripted, MemcachedStore], answer: bytes, ours: type[BaseKeyValueError], said: str
) -> None:
    server, store = scripted
    server.answer = answer
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.get("k"),
        lambda: store.get_many(["k", "l"]),
        lambda: store.put("k", {}),
        lambda: store.put_many(["k", "l"], [{}, {}]),
        lambda: store.delete("k"),
        lambda: store.edit("k", {}),
        lambda: store.describe(["k"]),
    ]
    for call in calls:
        with pytest.raises(BaseKeyValueError, match=said) as told:
            await call()
        assert type(told.value) is ours
        assert f"{store.location}, collection 'timeout'" in str(told.value)
