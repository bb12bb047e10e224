"""ValkeyStore's own ways: GLIDE's clients, a real cluster of three nodes, and what happens when a server goes."""

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import glide
import pytest
from glide import GlideClient, GlideClientConfiguration, GlideClusterClient, GlideClusterClientConfiguration, NodeAddress
from redis.asyncio import Redis, RedisCluster

from stores import ABSENT, ValkeyStore
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    KeyValueOperationError,
    StoreConnectionError,
    StoreSetupError,
)
from tests.conftest import endpoint as endpoint_of
from tests.faults.proxy import Proxy
from tests.servers.lease import Address, private_server
from tests.stores.conftest import all_names

pytestmark = pytest.mark.anyio

KEYS = [f"key {n}" for n in range(1200)]


@pytest.fixture
async def cluster(valkey_cluster_addresses: list[Address], unique_name: str) -> AsyncIterator[ValkeyStore]:
    nodes = [f"{host}:{port}" for host, port in valkey_cluster_addresses]
    async with ValkeyStore(cluster_nodes=nodes[:1], default_collection=unique_name) as store:
        yield store
        await store.delete_many(KEYS)


async def test_batches_and_walks_cross_a_clusters_slots(cluster: ValkeyStore) -> None:
    c = cluster.default_collection
    await cluster.put_many(KEYS, [{"n": n} for n in range(len(KEYS))], ttl=100)
    assert await cluster.get_many([*KEYS, "absent"]) == [*({"n": n} for n in range(len(KEYS))), None]
    assert all(left and 70 < left <= 100 for _, left in await cluster.ttl_many(KEYS[:10]))
    described = await cluster.describe(KEYS)
    assert all(one is not None and one.kind == "entry" for one in described)
    found = await all_names(cluster, c, limit=200)
    assert sorted(name.text for name in found) == sorted(KEYS)
    collections: list[str] = []
    cursor = None
    while True:
        page = await cluster.scan_collections(cursor=cursor)
        collections.extend(name.text for name in page.items)
        cursor = page.cursor
        if cursor is None:
            break
    assert collections.count(c) == 1
    assert await cluster.delete_many([*KEYS, "absent"]) == len(KEYS)


async def test_edits_in_a_cluster(cluster: ValkeyStore) -> None:
    version = await cluster.edit("key 0", {"n": 1}, expected=ABSENT)
    with pytest.raises(ConflictError):
        await cluster.edit("key 0", {"n": 2}, expected=ABSENT)
    assert await cluster.expire("key 0", 100, expected=version)
    assert (await cluster.ttl("key 0"))[0] == {"n": 1}
    record = await cluster.read("key 0")
    assert record is not None
    assert await cluster.delete("key 0", expected=record.version)
    assert await cluster.get("key 0") is None
    await cluster.restore("key 0", record)
    assert await cluster.get("key 0") == {"n": 1}


async def test_foreign_data_in_a_cluster(cluster: ValkeyStore, valkey_cluster_addresses: list[Address]) -> None:
    c = cluster.default_collection
    host, port = valkey_cluster_addresses[0]
    async with RedisCluster(host=host, port=port) as bare:
        for key in KEYS[:6]:
            await bare.hset(f"{c}::{key}", mapping={"field": "value"})
        kinds = [one and (one.kind, bool(one.size)) for one in await cluster.describe(KEYS[:7])]
        assert kinds == [("hash", True)] * 6 + [None]
        record = await cluster.read(KEYS[0], limit=100)
        assert record is not None
        assert record.body == b'{"field": "value"}'
        with pytest.raises(DeserializationError, match=KEYS[0]):
            await cluster.get_many(KEYS)
        snapshot = await cluster.snapshot(KEYS[0])
        assert snapshot is not None
        await cluster.delete(KEYS[0])
        await cluster.restore(KEYS[0], snapshot)
        assert await bare.hgetall(f"{c}::{KEYS[0]}") == {b"field": b"value"}


async def test_clients_that_were_passed_in_stay_open(
    valkey_address: Address, valkey_cluster_addresses: list[Address], unique_name: str
) -> None:
    single = await GlideClient.create(GlideClientConfiguration([NodeAddress(*valkey_address)]))
    many = await GlideClusterClient.create(
        GlideClusterClientConfiguration([NodeAddress(*address) for address in valkey_cluster_addresses])
    )
    for store in (
        ValkeyStore(client=single, default_collection=unique_name),
        ValkeyStore(client=many, default_collection=unique_name),
    ):
        async with store:
            await store.put("odd \udcff", {"n": 1})
            assert await store.get("odd \udcff") == {"n": 1}
            assert await store.delete("odd \udcff")
        async with store:
            assert await store.get("k") is None
    for client in (single, many):
        assert await client.get("k") is None
        await client.close()


async def test_2000_concurrent_gets_pass_glides_limit() -> None:
    endpoint_of("valkey")
    with private_server("valkey") as server:  # its own, because its reads are counted
        host, port = server.address
        async with Redis(host=host, port=port) as bare, ValkeyStore(host=host, port=port) as store:
            await store.put("k", {"n": 1})
            before = (await bare.info("stats"))["total_reads_processed"]
            assert await asyncio.gather(*(store.get("k") for _ in range(2000))) == [{"n": 1}] * 2000
            assert (await bare.info("stats"))["total_reads_processed"] - before < 200


async def test_2000_concurrent_gets_pass_glides_limit_in_a_cluster(cluster: ValkeyStore) -> None:
    await cluster.put(KEYS[0], {"n": 1})
    assert await asyncio.gather(*(cluster.get(KEYS[0]) for _ in range(2000))) == [{"n": 1}] * 2000


async def test_cancelled_callers_leave_no_answer_for_others(valkey_address: Address, unique_name: str) -> None:
    host, port = valkey_address
    async with ValkeyStore(host=host, port=port, default_collection=unique_name) as store:
        await store.put_many(KEYS[:100], [{"key": key} for key in KEYS[:100]])
        tasks = [asyncio.create_task(store.get(key)) for key in KEYS[:100]]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        got = await asyncio.gather(*tasks, return_exceptions=True)
        for key, value in zip(KEYS, got, strict=False):
            assert value == {"key": key} or isinstance(value, asyncio.CancelledError)
        await store.delete_many(KEYS[:100])


async def test_a_node_that_is_down_fails_only_those_who_ask_it() -> None:
    endpoint_of("valkey-cluster")
    with private_server("valkey-cluster", ["--cluster-require-full-coverage", "no"]) as servers:
        nodes = [f"{host}:{port}" for host, port in servers.addresses]
        async with ValkeyStore(cluster_nodes=nodes, timeout=3) as store:
            await store.put_many(KEYS[:60], [{}] * 60)
            await asyncio.to_thread(servers.kill, 2)
            got = await asyncio.gather(*(store.get(key) for key in KEYS[:60]), return_exceptions=True)
            failed = [one for one in got if isinstance(one, Exception)]
            assert 0 < len(failed) < 60
            assert {type(one) for one in failed} == {StoreConnectionError}, failed
            with pytest.raises(StoreConnectionError):
                await store.put_many(KEYS[:60], [{}] * 60)
            async with asyncio.timeout(60):
                with pytest.raises(StoreConnectionError):
                    await all_names(store, "default_collection", limit=1000)


async def answered(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a server answers that is there again: GLIDE connects anew by itself, with a backoff."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except StoreConnectionError:
                await asyncio.sleep(0.1)


async def test_a_server_that_goes_and_comes_back() -> None:
    endpoint_of("valkey")
    with private_server("valkey") as server:
        host, port = server.address
        store = ValkeyStore(host=host, port=port, timeout=2)
        await store.put("k", {"n": 1})
        await asyncio.to_thread(server.pause)
        with pytest.raises(StoreConnectionError, match=r"(?i)tim"):
            await store.get("k")
        await asyncio.to_thread(server.resume)
        assert await answered(lambda: store.get("k")) == {"n": 1}
        await asyncio.to_thread(server.kill)
        with pytest.raises(StoreConnectionError):
            await store.put("k", {"n": 2})
        await asyncio.to_thread(server.start)
        assert await answered(lambda: store.get("k")) is None
        await answered(lambda: store.put("k", {"n": 3}))
        await store.close()


async def test_connecting_holds_nobody_up(valkey_address: Address) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    async with Proxy(*valkey_address) as proxy:
        proxy.black_hole()
        counting = asyncio.create_task(count())
        with pytest.raises(StoreSetupError):
            await ValkeyStore(port=proxy.port, timeout=1.5).setup()
        counting.cancel()
        assert turns > 20  # of about 300; in the driver's own way nobody has a turn before the timeout is over


async def test_a_wrong_password_and_a_user_without_rights() -> None:
    endpoint_of("valkey")
    with private_server("valkey", ["--requirepass", "secret"]) as server:
        host, port = server.address
        async with Redis(host=host, port=port, password="secret") as bare:
            await bare.acl_setuser(
                "ada", enabled=True, passwords=["+word"], categories=["+@read"], commands=["+info"], keys=["own::*"]
            )
        with pytest.raises(StoreSetupError) as refused:
            await ValkeyStore(host=host, port=port, password="wrong", timeout=1).get("k")
        assert "wrong" not in str(refused.value)
        async with ValkeyStore(host=host, port=port, password="secret") as store:
            await store.put("k", {"n": 1}, collection="own")
        async with ValkeyStore(host=host, port=port, username="ada", password="word") as store:
            assert await store.get("k", collection="own") == {"n": 1}
            with pytest.raises(KeyValueOperationError, match="ACL denies"):
                await store.put("k", {"n": 2}, collection="own")


async def test_every_exception_of_the_driver_is_translated() -> None:
    store = ValkeyStore()
    classes: list[Any] = [
        found for _, found in inspect.getmembers(glide, inspect.isclass) if issubclass(found, glide.GlideError)
    ]
    assert len(classes) >= 6
    for cls in classes:
        with pytest.raises(BaseKeyValueError), store._edge("c", "k"):
            raise cls("trouble")
    troubles: list[type[Exception]] = [glide.ClosingError, glide.ConnectionError, glide.TimeoutError, OSError]
    for trouble in troubles:
        with pytest.raises(StoreConnectionError), store._edge("c", "k"):
            raise trouble("down")


async def test_a_node_is_named_by_host_and_port() -> None:
    for node in ("localhost", ":7000", "localhost:", "localhost:port"):
        with pytest.raises(ValueError, match="host:port"):
            ValkeyStore(cluster_nodes=[node])


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_given_client_whose_event_loop_is_gone_is_not_waited_for(valkey_address: Address) -> None:
    configuration = GlideClientConfiguration([NodeAddress(*valkey_address)])
    client = await asyncio.to_thread(lambda: asyncio.run(GlideClient.create(configuration)))
    anything: Any = ValkeyStore
    with pytest.raises(StoreSetupError, match="TimeoutError"):
        await asyncio.wait_for(anything(client=client, timeout=0.3).get("k"), 60)
    del client
    gc.collect()  # it says that nobody closed it
