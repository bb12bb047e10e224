"""The proxy does to a real connection what its methods say."""

import asyncio
import gc
import socket
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError, InvalidResponse

from tests.faults.proxy import Proxy, Way
from tests.servers.lease import addresses

pytestmark = pytest.mark.anyio
NEVER = Retry(NoBackoff(), 0)
VALUE = b"v" * 100_000


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(*addresses(redis_url)[0]) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: Proxy, key: str) -> AsyncIterator[Redis]:
    """A client that does not retry, with a large value behind `key`."""
    async with Redis(port=proxy.port, socket_timeout=60, retry=NEVER, single_connection_client=True) as client:
        await client.set(key, VALUE, px=60_000)
        yield client


async def test_passes_everything_and_counts_it(proxy: Proxy, unique_name: str) -> None:
    async with connected(proxy, unique_name) as client:
        assert await client.get(unique_name) == VALUE
    assert proxy.accepted == 1
    assert proxy.passed[Way.REQUESTS] > len(VALUE)
    assert proxy.passed[Way.ANSWERS] > len(VALUE)


async def test_delays_each_way(proxy: Proxy, unique_name: str) -> None:
    async with connected(proxy, unique_name) as client:
        proxy.delay(0.05)
        begin = time.perf_counter()
        await client.ping()
        assert time.perf_counter() - begin >= 0.1


async def test_black_hole_is_silent_and_gives_back_what_it_held(proxy: Proxy, unique_name: str) -> None:
    async with connected(proxy, unique_name) as client:
        proxy.black_hole()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ping(), 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"PING\r\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readline(), 0.1)
    await proxy.mend()
    assert await asyncio.wait_for(reader.readline(), 60) == b"+PONG\r\n"
    writer.close()


async def test_cuts_in_the_middle_of_an_answer_once(proxy: Proxy, unique_name: str) -> None:
    async with connected(proxy, unique_name) as client:
        before = proxy.passed[Way.ANSWERS]
        proxy.cut_after(50_000)
        with pytest.raises(RedisConnectionError):
            await client.get(unique_name)
        assert proxy.passed[Way.ANSWERS] == before + 50_000
        assert await client.get(unique_name) == VALUE


async def test_cuts_in_the_middle_of_a_request(proxy: Proxy, unique_name: str) -> None:
    async with connected(proxy, unique_name) as client:
        proxy.cut_after(50_000, Way.REQUESTS)
        with pytest.raises(RedisConnectionError):
            await client.set(unique_name, b"w" * 100_000)
        assert await client.get(unique_name) == VALUE


async def test_resets_what_is_open(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"PING\r\n")
    assert await reader.readline() == b"+PONG\r\n"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_answers_garbage(proxy: Proxy, unique_name: str) -> None:
    async with connected(proxy, unique_name) as client:
        proxy.garbage(b"\x00not what was asked\r\n")
        with pytest.raises((InvalidResponse, RedisConnectionError)):
            await client.ping()


async def test_refuses_and_accepts_again_on_the_same_port(proxy: Proxy, unique_name: str) -> None:
    async with connected(proxy, unique_name) as client:
        proxy.refuse()
        await client.ping()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.mend()
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.close()


async def test_ends_with_connections_open_and_held_back(redis_url: str) -> None:
    async with Proxy(*addresses(redis_url)[0]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.black_hole()
        writer.write(b"PING\r\n")
        await asyncio.sleep(0.05)
    assert await reader.read() == b""
    writer.close()


async def test_leaves_nothing_to_the_collector(redis_url: str) -> None:
    """However far its connections have come when it ends: known to the kernel only, accepted, passing, left, cut."""
    clients = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for pauses in range(8):
            async with Proxy(*addresses(redis_url)[0]) as proxy:
                for _ in range(3):
                    client = socket.socket()
                    clients.append(client)
                    client.connect(("127.0.0.1", proxy.port))
                    client.send(b"PING\r\n")
                clients[-1].close()
                for _ in range(pauses):
                    await asyncio.sleep(0)
                if pauses % 2:
                    proxy.cut()
        del proxy
        gc.collect()
    for client in clients:
        client.close()
    assert [str(warning.message) for warning in seen] == []
