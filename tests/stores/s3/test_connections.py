"""Connections and answers that are lost, credentials, certificates; the driver's errors become ours."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from stores import S3Store
from stores.backends import aws
from stores.entry import ManagedEntry, utc_now
from stores.errors import (
    BaseKeyValueError,
    InvalidKeyError,
    KeyValueOperationError,
    ReadOnlyError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)
from stores.records import ABSENT
from tests.faults.clock import time_flies
from tests.faults.proxy import Proxy, Way
from tests.faults.tls import tls_in_front
from tests.servers.lease import addresses

pytestmark = pytest.mark.anyio


async def test_an_edit_that_arrived_though_its_answer_was_lost_is_no_conflict(
    make: Callable[..., S3Store], s3_url: str
) -> None:
    async with Proxy(*addresses(s3_url)[0]) as proxy, make(endpoint_url=f"http://127.0.0.1:{proxy.port}") as store:
        await store.put("k", {"n": 1}, collection="c")
        record = await store.read("k", collection="c")
        assert record is not None
        proxy.cut_after(10, Way.ANSWERS)
        entry = ManagedEntry(value={"n": 2}, created_at=utc_now())
        version = await store._commit(collection="c", key="k", new=entry, expected=record.version)
        now = await store.read("k", collection="c")
        assert now is not None
        assert now.version == version
        assert now.body == b'{"n": 2}'
        proxy.cut_after(10, Way.ANSWERS)
        assert await store._commit(collection="c", key="k", new=None, expected=version) == ABSENT
        assert await store.read("k", collection="c") is None


async def test_a_connection_that_is_lost_and_comes_back(
    make: Callable[..., S3Store], s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "TOTAL_ATTEMPTS", 1)
    async with Proxy(*addresses(s3_url)[0]) as proxy:
        proxy.refuse()
        store = make(endpoint_url=f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(StoreSetupError) as failed:
            await store.get("k")
        assert isinstance(failed.value.__cause__, StoreConnectionError)
        await proxy.mend()
        await store.put("k", {"text": "x" * 200_000})
        proxy.cut_after(100_000, Way.ANSWERS)  # in the middle of the body
        with pytest.raises(StoreConnectionError):
            await store.get("k")
        proxy.black_hole()
        with pytest.raises(StoreConnectionError):
            async with time_flies():
                await store.get("k")
        await proxy.mend()
        proxy.refuse()
        proxy.cut()
        with pytest.raises(StoreConnectionError):
            await store.put_many(["a", "b"], [{}, {}])
        await proxy.mend()
        assert await store.get("k") == {"text": "x" * 200_000}
        await store.close()
        async with make(endpoint_url=f"http://127.0.0.1:{proxy.port}") as patient:
            before = proxy.accepted
            await asyncio.gather(*(patient.describe(["k"]) for _ in range(100)))
            assert proxy.accepted - before <= 32


async def test_wrong_credentials_are_named_at_once(make: Callable[..., S3Store]) -> None:
    with pytest.raises(StoreSetupError, match="access key"):
        await make(aws_access_key_id="nobody", aws_secret_access_key="wrong").setup()


async def test_a_profile_of_the_users_files(
    make: Callable[..., S3Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    keys = "aws_access_key_id = test\naws_secret_access_key = test\naws_session_token = temporary\n"
    config.write_text(f"[profile work]\nregion = eu-west-1\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "not-this-one")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    store = make(profile_name="work")
    made = await asyncio.to_thread(store._aws._make)
    assert made.meta.region_name == "eu-west-1"
    assert (await made._request_signer._credentials.get_frozen_credentials()).token == "temporary"
    with pytest.raises(StoreSetupError, match="nobody"):
        await make(profile_name="nobody").setup()


async def test_only_the_given_certificates_are_trusted(make: Callable[..., S3Store], s3_url: str, tmp_path: Path) -> None:
    async with tls_in_front(*addresses(s3_url)[0], tmp_path) as port:
        endpoint = f"https://127.0.0.1:{port}"
        async with make(endpoint_url=endpoint, ca_bundle=str(tmp_path / "cert.pem")) as store:
            await store.put("k", {"n": 1}, collection="c")
            assert await store.get("k", collection="c") == {"n": 1}
        with pytest.raises(StoreSetupError, match=r"(?i)certificate"):
            await make(endpoint_url=endpoint).setup()


def test_the_location_has_no_secrets() -> None:
    assert S3Store(bucket_name="b", endpoint_url="http://user:hidden@localhost:9000").location == "http://localhost:9000/b"
    assert S3Store(bucket_name="b", aws_access_key_id="id", aws_secret_access_key="hidden").location == "s3://b"


def test_every_exception_of_the_driver_becomes_ours() -> None:
    store = S3Store(bucket_name="b")

    def leaves(cls: type[Exception]) -> set[type[Exception]]:
        return {cls}.union(*(leaves(one) for one in cls.__subclasses__()))

    found = leaves(BotoCoreError) | leaves(ClientError)
    assert len(found) > 60
    for cls in found:
        exc = cls.__new__(cls)
        if isinstance(exc, ClientError):
            ClientError.__init__(exc, {}, "GetObject")
        assert isinstance(store._ours(exc, "c", "k"), BaseKeyValueError), cls


@pytest.mark.parametrize(
    ("code", "status", "operation", "expected"),
    [
        ("InvalidAccessKeyId", 403, "GetObject", StoreConnectionError),
        ("AccessDenied", 403, "PutObject", ReadOnlyError),
        ("AccessDenied", 403, "GetObject", KeyValueOperationError),
        ("SlowDown", 503, "PutObject", StoreConnectionError),
        ("EntityTooLarge", 400, "PutObject", ValueTooLargeError),
        ("KeyTooLongError", 400, "PutObject", InvalidKeyError),
        ("SomethingNew", 400, "PutObject", KeyValueOperationError),
    ],
)
def test_what_the_services_codes_become(code: str, status: int, operation: str, expected: type[BaseKeyValueError]) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
    assert type(S3Store(bucket_name="b")._ours(error, "c", "k")) is expected
