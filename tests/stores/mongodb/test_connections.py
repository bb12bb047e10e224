"""Connections that are refused, lost, or secured; the driver's errors become ours; connection strings."""

import gc
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pymongo.errors
import pytest
from pymongo import AsyncMongoClient

from stores import MongoDBStore
from stores.errors import (
    BaseKeyValueError,
    KeyValueOperationError,
    KeyValueStoreError,
    SerializationError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)
from tests.faults.clock import time_flies
from tests.faults.proxy import Proxy
from tests.faults.tls import tls_in_front
from tests.servers.lease import addresses
from tests.stores.mongodb.conftest import Database

pytestmark = pytest.mark.anyio


# Life


@pytest.fixture
def leaky() -> Iterator[None]:
    """pymongo does not close a socket whose connecting is cancelled: collected here, not in a test that follows."""
    yield
    gc.collect()


ignore_leak = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


@ignore_leak
@pytest.mark.usefixtures("leaky")
async def test_a_setup_that_fails_can_be_tried_again(mongodb_url: str, db_name: str, bare: Database) -> None:
    [(host, port)] = addresses(mongodb_url)
    async with Proxy(host, port) as proxy:
        proxy.refuse()
        store = MongoDBStore(url=f"mongodb://127.0.0.1:{proxy.port}", db_name=db_name, timeout=0.3)
        with pytest.raises(StoreSetupError, match=f"127.0.0.1:{proxy.port}") as failed:
            await store.get("k", collection="c")
        assert not {"Topology", "socketTimeoutMS"} & set(re.findall(r"\w+", str(failed.value))), (
            "what the driver knows beside it"
        )
        await proxy.mend()
        store._options |= dict.fromkeys(("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS"), 30_000)
        assert await store.get("k", collection="c") is None
        await store.close()


@ignore_leak
@pytest.mark.usefixtures("leaky")
@pytest.mark.parametrize("fault", ["cut", "garbage", "black hole"])
async def test_a_lost_connection_is_said_and_the_next_call_works(
    mongodb_url: str, db_name: str, bare: Database, fault: str
) -> None:
    [(host, port)] = addresses(mongodb_url)
    keys = [f"k{n}" for n in range(100)]
    async with MongoDBStore(url=mongodb_url, db_name=db_name) as direct:
        await direct.put_many(keys, [{"text": "x" * 500}] * 100, collection="c")
    async with (
        Proxy(host, port) as proxy,
        MongoDBStore(url=f"mongodb://127.0.0.1:{proxy.port}/?retryReads=false&retryWrites=false", db_name=db_name) as store,
    ):
        await store.get("k1", collection="c")
        calls: list[Callable[[], Any]] = [
            lambda: store.get("k1", collection="c"),
            lambda: store.put_many(keys, [{"n": 1}] * 100, collection="c"),
            lambda: store.scan_keys("c", limit=10),
        ]
        for call in calls[: 1 if fault == "black hole" else 3]:
            if fault == "cut":
                proxy.cut_after(10)
            elif fault == "garbage":
                proxy.garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            else:
                proxy.black_hole()
            with pytest.raises(StoreConnectionError) as lost:
                async with time_flies():
                    await call()
            assert isinstance(lost.value.__cause__, pymongo.errors.PyMongoError)
            await proxy.mend()
            await call()


def exceptions(module: Any) -> Iterator[type[Exception]]:
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if issubclass(cls, Exception) and cls.__module__ == module.__name__ and not issubclass(cls, Warning):
            yield cls


async def test_every_exception_of_the_driver_becomes_ours(store: MongoDBStore) -> None:
    classes = [*exceptions(pymongo.errors), *exceptions(bson.errors)]
    assert len(classes) > 25
    for cls in classes:
        exc = cls.__new__(cls)
        Exception.__init__(exc, "told")
        for name, attribute in (("_OperationFailure__code", None), ("_OperationFailure__details", {}), ("_message", "told")):
            setattr(exc, name, attribute)
        with pytest.raises(BaseKeyValueError, match="collection 'c', key 'k'"), store._edge("c", "k"):
            raise exc


@pytest.mark.parametrize(
    ("code", "ours", "said"),
    [
        (13, KeyValueOperationError, "readWrite"),
        (18, StoreSetupError, "password"),
        (91, StoreConnectionError, "try again"),
        (16500, StoreConnectionError, "try again"),
        (14031, KeyValueStoreError, "disk is full"),
        (10334, ValueTooLargeError, "16,777,216"),
        (15, SerializationError, "nesting"),
        (None, KeyValueOperationError, "told"),
    ],
)
async def test_a_servers_code_comes_with_advice(
    store: MongoDBStore, code: int | None, ours: type[BaseKeyValueError], said: str
) -> None:
    with pytest.raises(ours, match=said), store._edge("c", "k"):
        raise pymongo.errors.OperationFailure("told", code)


@pytest.mark.parametrize(
    ("told", "ours"),
    [
        ("bad auth : Authentication failed.", StoreSetupError),
        ("you are over your space quota, using 512 MB of 512 MB", KeyValueOperationError),
    ],
)
async def test_what_atlas_says_by_one_code_is_told_apart(store: MongoDBStore, told: str, ours: type[BaseKeyValueError]) -> None:
    with pytest.raises(BaseKeyValueError, match=told.rstrip(".")) as error, store._edge("author", "k"):
        raise pymongo.errors.OperationFailure(told, 8000, {"ok": 0.0, "errmsg": told, "code": 8000})
    assert type(error.value) is ours
    assert ("password" in str(error.value)) is (ours is StoreSetupError)
    assert "errmsg" not in str(error.value), "what the driver knows beside it"


# Connection strings


def test_a_client_and_a_url_exclude_each_other(mongodb_url: str) -> None:
    with pytest.raises(ValueError, match="not both"):
        MongoDBStore(client=AsyncMongoClient(mongodb_url, connect=False), url=mongodb_url)  # type: ignore[call-overload] # the point


def test_the_location_shows_no_secret() -> None:
    store = MongoDBStore(url="mongodb+srv://user:s3cret@cluster.example/?authSource=x&appName=s3cret", db_name="d")
    assert store.location == "mongodb+srv://cluster.example/d"


def test_options_in_the_url_go_before_defaults() -> None:
    store = MongoDBStore(url="mongodb://h/?maxpoolsize=7&socketTimeoutMS=5", timeout=3, username="u", password="p")
    assert store._options == {
        "serverSelectionTimeoutMS": 3000,
        "connectTimeoutMS": 3000,
        "username": "u",
        "password": "p",
    }


@ignore_leak
@pytest.mark.usefixtures("leaky")
async def test_srv_and_user_and_tls_reach_the_driver() -> None:
    store = MongoDBStore(url="mongodb+srv://nowhere.invalid/", username="u", password="p", timeout=0.5)
    with pytest.raises(StoreSetupError, match="nowhere"):
        await store.setup()
    missing = MongoDBStore(url="mongodb://h", tls=True, tls_ca_file="/nonexistent/ca.pem")
    with pytest.raises(StoreSetupError, match="No such file"):
        await missing.setup()


@ignore_leak
@pytest.mark.usefixtures("leaky")
async def test_tls_with_ones_own_authority(mongodb_url: str, db_name: str, bare: Database, tmp_path: Path) -> None:
    async with tls_in_front(*addresses(mongodb_url)[0], tmp_path) as port:
        url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        async with MongoDBStore(url=url, db_name=db_name, tls_ca_file=str(tmp_path / "cert.pem"), tls=True) as store:
            await store.put("k", {"n": 1}, collection="c")
            assert await store.get("k", collection="c") == {"n": 1}
        for timeout in (0.5, 2, 8, 32):  # it is waited for to the end, whose reason is known once a connection came so far
            with pytest.raises(StoreSetupError) as refused:
                await MongoDBStore(url=url, db_name=db_name, tls=True, timeout=timeout).setup()
            if "certificate" in str(refused.value).lower():
                break
        else:
            pytest.fail(str(refused.value))
