"""RedisStore's own ways: connections, users, TLS, passed-in clients, and what happens when the server goes."""

import asyncio
import inspect
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis.exceptions
from redis.asyncio import Redis

from stores import OUTSIDE, HashExcessLengthStrategy, RedisStore
from stores.errors import (
    BaseKeyValueError,
    InvalidKeyError,
    KeyValueOperationError,
    KeyValueStoreError,
    StoreConnectionError,
    StoreSetupError,
)
from tests.conftest import endpoint as endpoint_of
from tests.faults.clock import time_flies
from tests.faults.proxy import Proxy
from tests.servers.instance import reserve_port
from tests.servers.lease import Server, private_server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this file's own."""
    endpoint_of("redis")  # skips, or fails, where there is none
    with private_server("redis") as running:
        yield running


@pytest.fixture
async def bare(server: Server) -> AsyncIterator[Any]:
    async with Redis.from_url(server.url) as client:
        yield client
        await client.flushall()


async def connections(bare: Any) -> int:
    return int((await bare.info("clients"))["connected_clients"]) - 1


async def test_200_concurrent_gets_share_one_connection_and_few_writes(server: Server, bare: Any) -> None:
    async with RedisStore(url=server.url) as store:
        await store.put_many([f"k{n}" for n in range(200)], [{"n": n} for n in range(200)])
        before = (await bare.info("stats"))["total_reads_processed"]
        got = await asyncio.gather(*(store.get(f"k{n}") for n in range(200)))
        reads = (await bare.info("stats"))["total_reads_processed"] - before
        assert got == [{"n": n} for n in range(200)]
        assert reads < 20
        assert await connections(bare) == 2  # the second one carried the batch


async def test_turns_that_ask_for_several_keys_are_one_write_each(server: Server, bare: Any) -> None:
    async with RedisStore(url=server.url) as store:
        await store.put_many([f"k{n}" for n in range(8)], [{"n": n} for n in range(8)])
        await asyncio.gather(*(store.get(f"k{n}") for n in range(8)))  # the first one of which does not wait for the others
        before = (await bare.info("stats"))["total_reads_processed"]
        for _ in range(20):
            await asyncio.gather(*(store.get(f"k{n}") for n in range(8)))
        reads = (await bare.info("stats"))["total_reads_processed"] - before
        assert reads <= 20 + 1  # and the one that asked


async def test_batches_take_few_commands(server: Server, bare: Any) -> None:
    keys = [f"k{n}" for n in range(2000)]
    async with RedisStore(url=server.url) as store:
        await bare.config_resetstat()
        await store.put_many(keys, [{"n": 1}] * 2000)
        assert len(await store.get_many(keys)) == 2000
        assert await store.delete_many(keys) == 2000
        stats = await bare.info("commandstats")
        assert stats["cmdstat_mget"]["calls"] == 4
        assert stats["cmdstat_unlink"]["calls"] == 4


async def test_cancelled_callers_leave_no_answer_for_others(server: Server, bare: Any) -> None:
    async with RedisStore(url=server.url) as store:
        keys = [f"k{n}" for n in range(300)]
        await store.put_many(keys, [{"key": key} for key in keys])
        tasks = [asyncio.create_task(store.get(key)) for key in keys]
        for number, task in enumerate(tasks):
            if number % 3 == 0:
                task.cancel()
            if number % 50 == 0:
                await asyncio.sleep(0)
        got = await asyncio.gather(*tasks, return_exceptions=True)
        for key, value in zip(keys, got, strict=True):
            assert value == {"key": key} or isinstance(value, asyncio.CancelledError)
        assert await store.get("k7") == {"key": "k7"}
        assert await connections(bare) <= 2


@pytest.mark.parametrize("options", [{"decode_responses": True}, {"protocol": 3}, {"protocol": 2}], ids=str)
async def test_a_client_that_was_passed_in_is_used_as_it_is_and_stays_open(
    server: Server, bare: Any, options: dict[str, Any]
) -> None:
    async with Redis.from_url(server.url, **options) as client:
        async with RedisStore(client=client) as store:
            await store.put("odd \udcff", {"text": "é"})
            assert await store.get("odd \udcff") == {"text": "é"}
            await bare.hset("default_collection::hash", mapping={"a": "b"})
            await bare.zadd("default_collection::zset", {"a": 1})
            await bare.sadd("default_collection::set", "a")
            for key, body in {"hash": b'{"a": "b"}', "zset": b'[["a", 1.0]]', "set": b'["a"]'}.items():
                for limit in (None, 1000):
                    record = await store.read(key, limit=limit)
                    assert record is not None
                    assert record.body == body
            await bare.delete("default_collection::hash", "default_collection::zset", "default_collection::set")
            await asyncio.gather(*(store.put(f"k{n}", {"n": n}) for n in range(100)))
            assert await connections(bare) <= 8
            assert len(await store.keys()) == 101
            tasks = [asyncio.create_task(store.get(f"k{n}")) for n in range(50)]
            await asyncio.sleep(0.001)
            for task in tasks[::2]:
                task.cancel()
            got = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(value == {"n": n} or isinstance(value, asyncio.CancelledError) for n, value in enumerate(got))
            assert await store.get("k7") == {"n": 7}
        assert await client.ping()


async def test_every_exception_of_the_driver_is_translated() -> None:
    store = RedisStore()
    classes = [
        found
        for _, found in inspect.getmembers(redis.exceptions, inspect.isclass)
        if issubclass(found, redis.exceptions.RedisError)
    ]
    assert len(classes) > 20
    for cls in classes:
        with pytest.raises(BaseKeyValueError), store._edge("c", "k"):
            raise cls.__new__(cls)
    for trouble in (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError, ConnectionResetError):
        with pytest.raises(StoreConnectionError), store._edge("c", "k"):
            raise trouble("down")
    assert issubclass(hiredis.ProtocolError, Exception)  # Line turns it into a lost connection


async def test_users_passwords_and_what_they_may_not(server: Server, bare: Any) -> None:
    await bare.acl_setuser(
        "ada", enabled=True, passwords=["+p@ss:/word"], categories=["+@read", "+@connection"], keys=["own::*"]
    )
    await bare.set("plain", "what another program keeps")
    try:
        secret = "p%40ss%3A%2Fword"
        host = server.url.removeprefix("redis://")
        right: list[dict[str, Any]] = [
            {"url": f"redis://ada:{secret}@{host}"},
            {"url": server.url, "username": "ada", "password": "p@ss:/word"},
        ]
        for options in right:
            async with RedisStore(**options) as store:
                assert "word" not in store.location
                assert "ada" not in store.location
                assert await store.get("k", collection="own") is None
                with pytest.raises(KeyValueOperationError, match="ACL denies") as refused:
                    await store.get("k", collection="other")
                assert "word" not in str(refused.value)
                [name] = (await store.scan_keys(OUTSIDE)).items
                [about] = await store.describe([name.token], collection=OUTSIDE)
                assert about is not None
                assert (name.text, about.kind) == ("plain", "unreadable")
                with pytest.raises(KeyValueOperationError, match="ACL denies"):
                    await store.put_many(["k", "l"], [{}, {}], collection="own")
        wrong: list[dict[str, Any]] = [
            {"url": f"redis://ada:wrong@{host}"},
            {"url": server.url, "username": "ada", "password": "wrong"},
        ]
        for options in wrong:
            store = RedisStore(**options)
            with pytest.raises(StoreSetupError, match="username-password") as denied:
                await store.get("k")
            assert "wrong@" not in str(denied.value)
            with pytest.raises(StoreSetupError):
                await store.get("k")
            await store.close()
    finally:
        await bare.acl_deluser("ada")


async def test_a_unix_socket_and_a_database_number(server: Server, bare: Any) -> None:
    async with RedisStore(url=f"unix://{server.folder}/server.sock?db=3") as store, RedisStore(url=f"{server.url}/3") as other:
        await store.put("k", {"n": 1})
        assert await other.get("k") == {"n": 1}
        assert await bare.dbsize() == 0
        assert await other.destroy()
        assert await store.get("k") is None
        assert store.location == f"unix://{server.folder}/server.sock?db=3"


async def test_destroy_empties_one_database_only(server: Server, bare: Any) -> None:
    await bare.set("other", "stays")
    async with RedisStore(url=f"{server.url}/5") as store:
        await store.put("k", {})
        await store.destroy()
        assert await store.keys() == []
    assert await bare.get("other") == b"stays"


def certificates(folder: Path) -> None:
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority -addext keyUsage=keyCertSign",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names.txt",
    ):
        (folder / "names.txt").write_text("subjectAltName=DNS:localhost")
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


async def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    endpoint_of("redis")
    certificates(tmp_path)
    held = reserve_port()  # which the server may bind, and nobody else
    port = held.getsockname()[1]
    pem = {name: str(tmp_path / name) for name in ("ca.crt", "server.crt", "server.key")}
    args = ["--tls-port", str(port), "--tls-cert-file", pem["server.crt"], "--tls-key-file", pem["server.key"]]
    with private_server("redis", [*args, "--tls-ca-cert-file", pem["ca.crt"], "--tls-auth-clients", "optional"]):
        for options in (
            {"url": f"rediss://localhost:{port}/1", "ssl_ca_certs": pem["ca.crt"]},
            {"url": f"rediss://localhost:{port}/1?ssl_ca_certs={pem['ca.crt']}"},
            {"host": "localhost", "port": port, "db": 1, "ssl": True, "ssl_ca_certs": pem["ca.crt"]},
            {"host": "127.0.0.1", "port": port, "db": 1, "ssl": True, "ssl_cert_reqs": "none"},
        ):
            async with RedisStore(**options) as store:
                await store.put("k", {"n": 1})
                assert await store.get("k") == {"n": 1}
                assert store.location.startswith("rediss://")
        with pytest.raises(StoreSetupError, match=r"(?i)certificate"):
            await RedisStore(url=f"rediss://localhost:{port}").get("k")
    held.close()


async def test_a_server_that_is_not_there_and_then_is() -> None:
    endpoint_of("redis")
    with private_server("redis") as server:
        host, port = server.address
        await asyncio.to_thread(server.stop)
        store = RedisStore(host=host, port=port)
        with pytest.raises(StoreSetupError):
            await store.get("k")
        await asyncio.to_thread(server.start)
        await store.put("k", {"n": 1})
        await asyncio.to_thread(server.kill)
        with pytest.raises(StoreConnectionError):
            await store.get("k")
        with pytest.raises(StoreConnectionError):
            await store.get("k")
        await asyncio.to_thread(server.start)
        assert await store.get("k") is None
        await store.close()


async def test_a_connection_cut_in_the_middle_of_a_call(server: Server, bare: Any) -> None:
    async with Proxy(*server.address) as proxy, RedisStore(port=proxy.port, host="127.0.0.1") as store:
        keys = [f"k{n}" for n in range(1000)]
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: store.get("k1"),
            lambda: store.put_many(keys, [{"text": "x" * 500}] * 1000),
            lambda: store.get_many(keys),
            lambda: store.scan_keys(limit=1000),
        ]
        for call in calls:
            await store.put("k1", {"n": 1})
            proxy.cut_after(3)
            with pytest.raises(StoreConnectionError):
                await call()
            assert await store.get("absent") is None
        proxy.black_hole()
        with pytest.raises(StoreConnectionError, match=r"no answer for 10 seconds"):
            async with time_flies():
                await store.get("k1")
        await proxy.mend()
        assert await store.get("k1") is not None
        proxy.garbage(b"\x00HTTP/1.1 400 Bad Request\r\n")
        with pytest.raises(StoreConnectionError):
            await store.get("k1")
        await proxy.mend()
        assert await store.get("k1") is not None


async def test_silence_counts_from_when_an_answer_is_owed(server: Server, bare: Any) -> None:
    async with RedisStore(url=server.url, timeout=1.0) as store:
        await store.put("k", {"n": 1})
        await asyncio.sleep(0.8)
        await bare.client_pause(500)
        assert await store.get("k") == {"n": 1}  # more than a second after the last answer, half a second after the request


async def test_a_full_server_says_so_and_still_reads_and_deletes() -> None:
    endpoint_of("redis")
    with private_server("redis", ["--maxmemory", "3mb"]) as server:
        async with RedisStore(url=server.url) as store:
            keys = [f"0-{n}" for n in range(10_000)]
            with pytest.raises(KeyValueStoreError, match="maxmemory") as full:
                await store.put_many(keys, [{"text": "x" * 1000}] * 10_000)
            assert not isinstance(full.value, StoreConnectionError)
            assert await store.get("0-0") == {"text": "x" * 1000}
            assert await store.delete("0-0")


async def test_looking_changes_nothing(server: Server, bare: Any) -> None:
    await bare.set("c::k", "foreign")
    before = await bare.lastsave(), await bare.info("persistence")
    async with RedisStore(url=server.url) as store:
        await store.scan_collections()
        await store.scan_keys("c")
        await store.describe(["k"], collection="c")
        await store.read("k", collection="c")
        await store.snapshot("k", collection="c")
        await store.get("other", collection="c")
    after = await bare.lastsave(), await bare.info("persistence")
    assert before[1]["rdb_changes_since_last_save"] == after[1]["rdb_changes_since_last_save"]


async def test_a_name_that_is_refused_is_not_asked_for_without_a_detour(server: Server, bare: Any) -> None:
    told: list[Any] = []
    strategy = HashExcessLengthStrategy()
    async with RedisStore(
        url=server.url, key_sanitization_strategy=strategy, collection_sanitization_strategy=strategy
    ) as store:
        await store.put("k", {}, collection="c")
        for collection, key in (("c", "H_k"), ("S_c", "k")):
            assert not store.texts_soon([key], collection=collection, answer=told.append)
            with pytest.raises(InvalidKeyError):
                await store.texts([key], collection=collection)
        assert not told


async def test_a_bad_url_is_refused_at_once() -> None:
    for url in ("http://localhost", "localhost:6379"):
        with pytest.raises(ValueError, match="scheme"):
            RedisStore(url=url)
