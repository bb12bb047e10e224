"""Connections and answers that are lost, profiles, addresses; the driver's errors become ours."""

import asyncio
from collections.abc import Callable

import pytest
from botocore import exceptions as botocore_exceptions
from botocore.exceptions import BotoCoreError, ClientError

from stores import DynamoDBStore
from stores.backends import aws
from stores.errors import BaseKeyValueError, KeyValueOperationError, ReadOnlyError, StoreConnectionError, StoreSetupError
from tests.faults.clock import time_flies
from tests.faults.proxy import Proxy, Way
from tests.servers.lease import addresses

pytestmark = pytest.mark.anyio


async def test_an_edit_that_arrived_though_its_answer_was_lost_is_no_conflict(
    make: Callable[..., DynamoDBStore], dynamodb_url: str
) -> None:
    async with (
        Proxy(*addresses(dynamodb_url)[0]) as proxy,
        make(endpoint_url=f"http://127.0.0.1:{proxy.port}") as store,
    ):
        await store.put("k", {"n": 1}, collection="c")
        for number in range(2, 5):
            record = await store.read("k", collection="c")
            assert record is not None
            proxy.cut_after(400, Way.ANSWERS)
            version = await store._commit(
                collection="c", key="k", new=record.entry and type(record.entry)(value={"n": number}), expected=record.version
            )
            assert version != record.version
            assert await store.get("k", collection="c") == {"n": number}


async def test_a_connection_that_is_lost_and_comes_back(
    make: Callable[..., DynamoDBStore], dynamodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "TOTAL_ATTEMPTS", 2)
    async with (
        Proxy(*addresses(dynamodb_url)[0]) as proxy,
        make(endpoint_url=f"http://127.0.0.1:{proxy.port}") as store,
    ):
        await store.put("k", {"n": 1})
        proxy.cut()
        assert await store.get("k") == {"n": 1}
        proxy.black_hole()
        with pytest.raises(StoreConnectionError) as hung:
            async with time_flies():
                await store.get("k")
        assert hung.value.__cause__ is not None
        await proxy.mend()
        assert await store.get("k") == {"n": 1}
        proxy.refuse()
        proxy.cut()
        with pytest.raises(StoreConnectionError):
            await store.put_many(["a", "b"], [{}, {}])
        await proxy.mend()
        assert await store.get("k") == {"n": 1}
        async with make(endpoint_url=f"http://127.0.0.1:{proxy.port}") as patient:
            before = proxy.accepted
            await asyncio.gather(*(patient.get("k") for _ in range(100)))
            assert proxy.accepted - before <= 16


async def test_setup_that_failed_is_tried_again(
    make: Callable[..., DynamoDBStore], dynamodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "TOTAL_ATTEMPTS", 1)
    async with Proxy(*addresses(dynamodb_url)[0]) as proxy:
        proxy.refuse()
        store = make(endpoint_url=f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(StoreSetupError) as failed:
            await store.get("k")
        assert isinstance(failed.value.__cause__, StoreConnectionError)
        await proxy.mend()
        assert await store.get("k") is None
        await store.close()


async def test_a_profile_that_is_missing_is_a_clear_error(make: Callable[..., DynamoDBStore]) -> None:
    with pytest.raises(StoreSetupError, match="nobody"):
        await make(profile_name="nobody").setup()


def test_the_location_has_no_secrets() -> None:
    store = DynamoDBStore(
        table_name="t",
        endpoint_url="http://user:hidden@localhost:8000",
        aws_access_key_id="id",
        aws_secret_access_key="hidden",
    )
    assert store.location == "http://localhost:8000/t"
    assert DynamoDBStore(table_name="t", region_name="eu-west-1").location == "dynamodb://eu-west-1/t"


def every_driver_error() -> list[type[Exception]]:
    classes = [one for one in vars(botocore_exceptions).values() if isinstance(one, type)]
    return [one for one in classes if issubclass(one, (BotoCoreError, ClientError))]


def test_every_exception_of_the_driver_becomes_ours() -> None:
    store = DynamoDBStore(table_name="t")
    found = every_driver_error()
    assert len(found) > 60
    for cls in found:
        exc = cls.__new__(cls)
        if issubclass(cls, ClientError):
            ClientError.__init__(exc, {}, "GetItem")
        assert isinstance(store._ours(exc, "c", "k"), BaseKeyValueError), cls
    assert store._ours(RuntimeError("ours to fix"), "c", "k") is None


@pytest.mark.parametrize(
    ("code", "status", "operation", "expected"),
    [
        ("UnrecognizedClientException", 400, "GetItem", StoreConnectionError),
        ("ExpiredTokenException", 400, "PutItem", StoreConnectionError),
        ("AccessDeniedException", 400, "PutItem", ReadOnlyError),
        ("AccessDeniedException", 400, "Query", KeyValueOperationError),
        ("ProvisionedThroughputExceededException", 400, "GetItem", StoreConnectionError),
        ("ReplicatedWriteConflictException", 400, "PutItem", StoreConnectionError),
        ("InternalServerError", 500, "GetItem", StoreConnectionError),
        ("ValidationException", 400, "GetItem", KeyValueOperationError),
        ("SomethingNew", 400, "GetItem", KeyValueOperationError),
    ],
)
def test_what_the_services_codes_become(code: str, status: int, operation: str, expected: type[BaseKeyValueError]) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
    ours = DynamoDBStore(table_name="t")._ours(error, "c", "k")
    assert type(ours) is expected
    assert code in str(ours)
    assert "'c'" in str(ours)
