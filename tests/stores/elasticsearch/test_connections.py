"""Connections that are refused, lost, or secured; the driver's errors become ours; addresses and credentials."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import elastic_transport
import elasticsearch
import pytest
from elasticsearch import AsyncElasticsearch

from stores import ElasticsearchStore
from stores.backends import elasticsearch_scans
from stores.backends.elasticsearch_client import with_port
from stores.errors import (
    BaseKeyValueError,
    CursorExpiredError,
    InvalidKeyError,
    KeyValueOperationError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)
from tests.faults.clock import time_flies
from tests.faults.proxy import Proxy
from tests.faults.tls import tls_in_front
from tests.servers.lease import addresses
from tests.stores.elasticsearch.conftest import Counting, meta

pytestmark = pytest.mark.anyio


# Life


async def test_a_setup_that_fails_can_be_tried_again(elasticsearch_url: str, unique_name: str) -> None:
    async with Proxy(*addresses(elasticsearch_url)[0]) as proxy:
        proxy.refuse()
        store = ElasticsearchStore(url=f"http://127.0.0.1:{proxy.port}", index_prefix=unique_name)
        with pytest.raises(StoreSetupError, match=f"127.0.0.1:{proxy.port}") as failed:
            await store.get("k", collection="c")
        assert "caused by" not in str(failed.value), "it says once what is wrong"
        await proxy.mend()
        assert await store.get("k", collection="c") is None
        await store.close()


@pytest.mark.parametrize("fault", ["refuse", "garbage", "black hole"])
async def test_a_lost_connection_is_said_and_the_next_call_works(
    elasticsearch_url: str, unique_name: str, bare: Counting, fault: str
) -> None:
    async with (
        Proxy(*addresses(elasticsearch_url)[0]) as proxy,
        ElasticsearchStore(url=f"http://127.0.0.1:{proxy.port}", index_prefix=unique_name) as store,
    ):
        keys = [f"k{n}" for n in range(100)]
        await store.put_many(keys, [{"n": 0}] * 100, collection="c")
        calls: list[Callable[[], Any]] = [
            lambda: store.get("k1", collection="c"),
            lambda: store.put_many(keys, [{"n": 1}] * 100, collection="c"),
            lambda: store.scan_keys("c", limit=10),
            lambda: store.edit("k1", {"n": 2}, collection="c"),
        ]
        for call in calls:
            if fault == "refuse":
                proxy.refuse()
                proxy.cut()
            elif fault == "garbage":
                proxy.garbage(b"garbage\r\n\r\n")
            else:
                proxy.black_hole()
            with pytest.raises(StoreConnectionError) as lost:
                async with time_flies():
                    await call()
            assert isinstance(lost.value.__cause__, elastic_transport.TransportError)
            await proxy.mend()
            await call()


async def test_a_connection_that_is_cut_once_is_not_even_noticed(
    elasticsearch_url: str, unique_name: str, bare: Counting
) -> None:
    async with (
        Proxy(*addresses(elasticsearch_url)[0]) as proxy,
        ElasticsearchStore(url=f"http://127.0.0.1:{proxy.port}", index_prefix=unique_name) as store,
    ):
        await store.put("k", {"n": 1}, collection="c")
        proxy.cut_after(10)
        assert await store.get("k", collection="c") == {"n": 1}
        opened = proxy.accepted
        await asyncio.gather(*(store.get("k", collection=f"c{n}") for n in range(200)))  # what shares a request proves nothing
        assert proxy.accepted - opened <= 10


async def test_a_client_that_its_owner_closes_in_the_middle_is_said(
    elasticsearch_url: str, unique_name: str, bare: Counting
) -> None:
    async with Proxy(*addresses(elasticsearch_url)[0]) as proxy:
        client = AsyncElasticsearch(f"http://127.0.0.1:{proxy.port}", connections_per_node=2, request_timeout=1)
        async with ElasticsearchStore(elasticsearch_client=client, index_prefix=unique_name) as store:
            proxy.delay(0.02)
            waiting = [asyncio.create_task(store.get("k", collection=f"c{n}")) for n in range(20)]
            await asyncio.sleep(0.03)
            await client.close()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
        await client.close()  # it had opened a session again
    for one in ended:
        assert one is None or isinstance(one, StoreConnectionError)
    assert any("the client was closed during the call" in str(one) for one in ended)


async def test_deleting_by_query_gives_a_silent_server_up(
    elasticsearch_url: str, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elasticsearch_scans, "QUIET", 0.1)
    async with Proxy(*addresses(elasticsearch_url)[0]) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with ElasticsearchStore(url=url, index_prefix=unique_name, timeout=0.5) as store:
            proxy.black_hole()
            for work in (store.destroy_collection("c"), store.cull()):
                async with asyncio.timeout(5):
                    with pytest.raises(StoreConnectionError):
                        await work


def exceptions(module: Any) -> Iterator[type[Exception]]:
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if issubclass(cls, Exception) and not issubclass(cls, Warning):
            yield cls


async def test_every_exception_of_the_driver_becomes_ours(store: ElasticsearchStore) -> None:
    classes = {*exceptions(elasticsearch), *exceptions(elastic_transport)}
    assert len(classes) > 12
    for cls in classes:
        exc = cls("told", meta(400), {}) if issubclass(cls, elastic_transport.ApiError) else cls("told")
        with pytest.raises(BaseKeyValueError, match="collection 'c', key 'k'"), store._edge("c", "k"):
            raise exc


@pytest.mark.parametrize(
    ("status", "kind", "ours", "said"),
    [
        (401, "security_exception", StoreSetupError, "API key"),
        (403, "security_exception", KeyValueOperationError, "right"),
        (413, "", ValueTooLargeError, "max_content_length"),
        (429, "circuit_breaking_exception", StoreConnectionError, "overloaded"),
        (503, "no_shard_available_action_exception", StoreConnectionError, "overloaded"),
        (400, "invalid_index_name_exception", InvalidKeyError, "strategy"),
        (404, "search_context_missing_exception", CursorExpiredError, "again"),
        (500, "something_new", KeyValueOperationError, "told"),
    ],
)
async def test_a_servers_answer_comes_with_advice(
    store: ElasticsearchStore, status: int, kind: str, ours: type[BaseKeyValueError], said: str
) -> None:
    body = {"error": {"type": kind, "root_cause": [{"type": kind}]}, "status": status}
    with pytest.raises(ours, match=said), store._edge("c", "k"):
        raise elasticsearch.ApiError("told", meta(status), body)


# Addresses


def test_a_client_or_a_url_is_needed() -> None:
    with pytest.raises(ValueError, match="url"):
        ElasticsearchStore(index_prefix="p")  # type: ignore[call-overload] # the point


def test_the_location_shows_no_secret() -> None:
    store = ElasticsearchStore(url="https://user:s3cret@cluster.example:9243", index_prefix="P", api_key="s3cret")
    assert store.location == "https://cluster.example:9243/p-*"


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("https://h", "https://h:443"),
        ("http://u:p@h/path", "http://u:p@h:9200/path"),
        ("https://h:9243/", "https://h:9243/"),
        ("http://[::1]", "http://[::1]:9200"),
    ],
)
def test_a_url_may_leave_its_port_out(url: str, full: str) -> None:
    assert with_port(url) == full


async def test_credentials_reach_the_server() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"error": {"type": "security_exception", "reason": "unable to authenticate"}, "status": 401}'
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nX-Elastic-Product: Elasticsearch\r\n")
        writer.write(b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        cases: list[tuple[dict[str, Any], bytes]] = [
            ({"url": f"http://{host}", "api_key": "a2V5"}, b"ApiKey a2V5"),
            ({"url": f"http://{host}", "username": "u", "password": "p"}, b"Basic dTpw"),
            ({"url": f"http://u:p@{host}"}, b"Basic dTpw"),
        ]
        for arguments, header in cases:
            store = ElasticsearchStore(**arguments, index_prefix="p")
            with pytest.raises(StoreSetupError, match="401"):
                await store.setup()
            assert header in seen.pop()


async def test_a_missing_authority_file_is_said(unique_name: str) -> None:
    store = ElasticsearchStore(url="https://127.0.0.1:1", index_prefix=unique_name, ca_certs="/nonexistent/ca.pem")
    with pytest.raises(StoreSetupError, match=r"ca_certs|No such file"):
        await store.setup()


async def test_tls_with_ones_own_authority(elasticsearch_url: str, unique_name: str, bare: Counting, tmp_path: Path) -> None:
    async with tls_in_front(*addresses(elasticsearch_url)[0], tmp_path) as port:
        url = f"https://127.0.0.1:{port}"
        ca = str(tmp_path / "cert.pem")
        async with ElasticsearchStore(url=url, index_prefix=unique_name, ca_certs=ca) as store:
            await store.put("k", {"n": 1}, collection="c")
            assert await store.get("k", collection="c") == {"n": 1}
        stranger = ElasticsearchStore(url=url, index_prefix=unique_name)
        with pytest.raises(StoreSetupError, match=r"(?i)certificate"):
            await stranger.setup()
        async with ElasticsearchStore(url=url, index_prefix=unique_name, verify_certs=False) as careless:
            assert await careless.get("k", collection="c") == {"n": 1}
