"""Redis and Valkey servers that are up and cannot do what is asked: what is told of each, and what becomes of it."""

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError

from stores import BaseStore, RedisStore, ValkeyStore
from stores.errors import (
    BaseKeyValueError,
    KeyValueOperationError,
    KeyValueStoreError,
    ReadOnlyError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)
from tests.conftest import endpoint as endpoint_of
from tests.faults.proxy import Proxy
from tests.servers.lease import private_server

pytestmark = pytest.mark.anyio

Address = tuple[str, int]
STORES: dict[str, Callable[..., BaseStore]] = {"redis": RedisStore, "valkey": ValkeyStore}
NOWHERE = "127.0.0.1", "1"


def is_busy(bare: Redis) -> bool:
    try:
        bare.ping()
    except ResponseError:
        return True
    return False


@contextmanager
def busy(bare: Redis, address: Address) -> Iterator[None]:
    """A server that runs a script without an end."""
    bare.config_set("lua-time-limit", 1)
    with socket.create_connection(address) as running:
        running.sendall(b"*3\r\n$4\r\nEVAL\r\n$14\r\nwhile 1 do end\r\n$1\r\n0\r\n")
        while not is_busy(bare):
            time.sleep(0.001)
        yield
        bare.script_kill()
        assert b"killed" in running.recv(1000)


@contextmanager
def replica(bare: Redis) -> Iterator[None]:
    bare.replicaof(*NOWHERE)
    yield
    bare.replicaof("NO", "ONE")


@contextmanager
def configured(bare: Redis, name: str, value: int | str, usual: int | str) -> Iterator[None]:
    bare.config_set(name, value)
    yield
    bare.config_set(name, usual)


@pytest.mark.parametrize("kind", STORES)
async def test_a_server_in_trouble_says_what_is_the_matter_and_goes_on(kind: str) -> None:
    endpoint_of(kind)
    with private_server(kind) as server, Redis(*server.address) as bare:
        host, port = server.address
        async with STORES[kind](host=host, port=port) as store:
            await store.put("k", {"n": 1}, collection="c")
            reads: list[Callable[[], Awaitable[Any]]] = [
                lambda: store.get("k", collection="c"),
                lambda: store.get_many(["k", "l"], collection="c"),
                lambda: store.texts(["k"], collection="c"),
                lambda: store.describe(["k"], collection="c"),
                lambda: store.scan_keys("c"),
            ]
            writes: list[Callable[[], Awaitable[Any]]] = [
                lambda: store.put("k", {"n": 1}, collection="c"),
                lambda: store.put_many(["k", "l"], [{}, {}], collection="c"),
                lambda: store.put_many(["k", "l"], [{}, {}], collection="c", ttl=9),
                lambda: store.edit("k", {"n": 2}, collection="c"),
            ]

            async def fail(calls: list[Callable[[], Awaitable[Any]]], ours: type[BaseKeyValueError], said: str) -> None:
                for call in calls:
                    with pytest.raises(BaseKeyValueError, match=rf"(?i){said}") as told:
                        await call()
                    assert type(told.value) is ours
                    assert f"{store.location}, collection 'c'" in str(told.value)

            with busy(bare, server.address):
                await fail([*reads, *writes], StoreConnectionError, "busy.*at the moment")
            with replica(bare):
                await fail(writes, ReadOnlyError, "read only replica.*write to its primary")
                with configured(bare, "replica-serve-stale-data", "no", "yes"):
                    await fail(reads, StoreConnectionError, "link with master is down.*at the moment")
            with configured(bare, "min-replicas-to-write", 1, 0):
                await fail(writes, StoreConnectionError, "not enough good replicas.*at the moment")
            with configured(bare, "maxmemory", 1, 0):
                await fail(writes, KeyValueStoreError, "maxmemory.*is full")
            for call in (*reads, *writes):
                await call()


async def test_a_server_with_too_many_clients_says_so() -> None:
    endpoint_of("redis")
    with private_server("redis") as server, Redis(*server.address) as bare:
        host, port = server.address
        store = RedisStore(host=host, port=port)
        with configured(bare, "maxclients", 1, 100), pytest.raises(StoreSetupError, match="maxclients") as crowded:
            await store.get("k")
        assert isinstance(crowded.value.__cause__, ResponseError)
        await store.put("k", {"n": 1})
        bare.client_kill_filter(_type="normal", skipme=True)
        with configured(bare, "maxclients", 1, 100):
            with pytest.raises(StoreConnectionError, match="closed the connection"):
                await store.get("k")
            with pytest.raises(StoreConnectionError, match="maxclients"):
                await store.get("k")
        assert await store.get("k") == {"n": 1}
        await store.close()


GLIDES = "An error was signalled by the server: - "
SCRIPT = "ERR Error running script (call to f_32e1): @user_script:12: @user_script: 12: "


@pytest.mark.parametrize(
    ("told", "ours", "said"),
    [
        (f"{SCRIPT}-OOM command not allowed when used memory > 'maxmemory'.", KeyValueStoreError, "is full"),
        (f"{SCRIPT}-READONLY You can't write against a read only replica.", ReadOnlyError, "primary"),
        (f"{SCRIPT}The user executing the script can't run this command", KeyValueOperationError, "ACL"),
        ("LOADING Redis is loading the dataset in memory", StoreConnectionError, "memory. The server"),
        ("MISCONF Errors writing to the AOF file: No space left on device", StoreConnectionError, "device. The server"),
        ("DENIED Redis is running in protected mode because", StoreConnectionError, "password"),
        ("MOVED 12521 127.0.0.1:42337", KeyValueStoreError, "cluster_nodes"),
        ("ERR Protocol error: invalid bulk length", ValueTooLargeError, "proto-max-bulk-len"),
        (f"{GLIDES}ResponseError: Protocol error: invalid bulk length", ValueTooLargeError, "proto-max-bulk-len"),
        ("BUSYKEY Target key name already exists.", KeyValueOperationError, "exists"),
    ],
)
async def test_what_servers_of_all_versions_say_comes_with_advice(told: str, ours: type[BaseKeyValueError], said: str) -> None:
    store = RedisStore()
    with pytest.raises(BaseKeyValueError, match=re.escape(said)) as error, store._edge("c", "k"):
        raise ResponseError(told)
    assert type(error.value) is ours


@pytest.mark.parametrize("kind", STORES)
async def test_one_node_of_a_cluster_is_refused_as_it_has_only_a_part(
    kind: str, valkey_cluster_addresses: list[Address]
) -> None:
    host, port = valkey_cluster_addresses[0]
    with pytest.raises(StoreSetupError, match="cluster_nodes"):
        await STORES[kind](host=host, port=port).get("k")


@pytest.mark.parametrize("given", [False, True])
async def test_an_address_that_leads_to_another_primary_is_followed(given: bool) -> None:
    endpoint_of("redis")
    with private_server("redis") as old, private_server("redis") as new, Redis(*old.address) as bare:
        async with Proxy(*old.address) as proxy, AsyncRedis(port=proxy.port) as client:
            async with RedisStore(client=client) if given else RedisStore(host="127.0.0.1", port=proxy.port) as store:
                await store.put("k", {"n": 1})
                await store.put_many([f"k{n}" for n in range(200)], [{}] * 200)
                with replica(bare):
                    proxy._target = new.address
                    reading = [asyncio.create_task(store.get("k")) for _ in range(50)]
                    with pytest.raises(ReadOnlyError):
                        await store.put("k", {"n": 2})
                    found = await asyncio.gather(*reading, return_exceptions=given)  # none connects when the client is closed
                    assert given or all(found), "what was asked before is answered"
                    await store.put("k", {"n": 2})
                    await store.put_many([f"k{n}" for n in range(200)], [{"n": 2}] * 200)
                assert await store.get("k") == {"n": 2}
            await client.aclose()
            async with asyncio.timeout(5):
                while proxy.open:  # noqa: ASYNC110 - the other end closes when it likes
                    await asyncio.sleep(0.01)
