"""What is special to S3Store, on a real server; odd objects are planted with the bare driver."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from stores import S3CollectionSanitizationStrategy, S3KeySanitizationStrategy, S3Store
from stores.backends import aws, s3 as s3_module
from stores.entry import ManagedEntry, utc_now
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    InvalidKeyError,
    KeyValueOperationError,
    ReadOnlyError,
    StoreConnectionError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)
from stores.names import OUTSIDE
from stores.records import ABSENT, Record, Version
from tests.faults.proxy import Proxy, Way
from tests.faults.tls import tls_in_front
from tests.servers.lease import addresses

pytestmark = pytest.mark.anyio
session = get_session()  # reads botocore's models once


@pytest.fixture
def bucket(unique_name: str) -> str:
    return f"bucket-{unique_name}"


@pytest.fixture
async def bare(s3_url: str) -> AsyncIterator[Any]:
    async with session.create_client("s3", endpoint_url=s3_url) as client:
        yield client


async def names_in(bare: Any, bucket: str) -> list[str]:
    return [one["Key"] for one in (await bare.list_objects_v2(Bucket=bucket)).get("Contents", [])]


async def buckets(bare: Any) -> list[str]:
    return [one["Name"] for one in (await bare.list_buckets())["Buckets"]]


@pytest.fixture
async def make(s3_url: str, bucket: str, bare: Any) -> AsyncIterator[Callable[..., S3Store]]:
    yield lambda **more: S3Store(**{"bucket_name": bucket, "endpoint_url": s3_url} | more)
    if bucket in await buckets(bare):
        while found := await names_in(bare, bucket):
            await bare.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in found]})
        await bare.delete_bucket(Bucket=bucket)


@pytest.fixture
async def store(make: Callable[..., S3Store]) -> AsyncIterator[S3Store]:
    async with make() as opened:
        await opened.put("ours", {"n": 1}, collection="c")
        yield opened


class Counted:
    """A client that counts its operations, and how many of them are under way at once."""

    def __init__(self, client: Any, **answers: Callable[..., Any]) -> None:
        self.client = client
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.running = self.most = 0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.client, name)
        if name == "meta":
            return operation

        async def counted(**parameters: Any) -> Any:
            self.calls.append((name, parameters))
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                answer = self.answers.get(name)
                return await operation(**parameters) if answer is None else await answer(operation, **parameters)
            finally:
                self.running -= 1

        return counted

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


async def test_the_bytes_and_headers_of_an_entry(store: S3Store, bare: Any, bucket: str) -> None:
    await store.put("k", {"b": 1, "a": "é"}, collection="c", ttl=100)
    found = await bare.get_object(Bucket=bucket, Key="c/k")
    envelope = json.loads(await found["Body"].read())
    assert set(envelope) == {"created_at", "expires_at", "value", "version"}
    assert found["ContentType"] == "application/json"
    assert found["Metadata"] == {"created-at": envelope["created_at"], "expires-at": envelope["expires_at"]}


async def test_foreign_objects_are_shown_as_what_they_are(store: S3Store, bare: Any, bucket: str) -> None:
    planted = {
        "image.png": (b"\x89PNG\r\n\x1a\n", "image/png"),
        "empty": (b"", "text/plain"),
        "data.json": (b'{"no": "envelope"}', "application/json"),
        "list.json": (b"[1, 2]", "application/json"),
        "broken.json": (b'{"value": ', "application/json"),
        "deep/er": (b"text", "text/plain"),
    }
    for key, (body, kind) in planted.items():
        await bare.put_object(Bucket=bucket, Key=f"c/{key}", Body=body, ContentType=kind)
    found = (await store.scan_keys("c")).items
    assert {name.text for name in found} == {*planted, "ours"}
    described = await store.describe([name.text for name in found], collection="c")
    kinds = {name.text: one.kind for name, one in zip(found, described, strict=True) if one}
    json_kinds = dict.fromkeys(("data.json", "list.json", "broken.json"), "unknown")
    assert kinds == {"ours": "entry", "image.png": "object", "empty": "object", "deep/er": "object", **json_kinds}
    for key, (body, _) in planted.items():
        record = await store.read(key, collection="c")
        assert record is not None
        assert (record.kind, record.body, record.length, record.entry) == ("object", body, len(body), None)
        assert await store.read(key, collection="c", limit=0) is not None
        with pytest.raises(DeserializationError, match=f"'{key}' in collection 'c'"):
            await store.get(key, collection="c")
        with pytest.raises(DeserializationError):
            await store.get_many(["ours", key], collection="c")
    with pytest.raises(UnsupportedError):
        await store.expire("image.png", 10, collection="c")


async def test_of_a_large_foreign_object_only_the_first_part_is_read(
    make: Callable[..., S3Store], store: S3Store, bare: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "FIRST_PART", 1000)
    monkeypatch.setattr(s3_module, "MAX_ENTRY_BYTES", 50_000)
    await bare.put_object(Bucket=bucket, Key="c/large", Body=b"0123456789" * 10_000)
    await bare.put_object(Bucket=bucket, Key="c/middle", Body=b"{" * 20_000)
    await store.put("entry", {"text": "x" * 20_000}, collection="c")
    sent = 0

    async def weighed(operation: Any, **parameters: Any) -> Any:
        nonlocal sent
        reply = await operation(**parameters)
        if "Range" in parameters:
            sent += reply["ContentLength"]
        return reply

    async with make(client=Counted(bare, get_object=weighed), endpoint_url=None) as watched:
        record = await watched.read("large", collection="c", limit=25)
        assert record is not None
        assert (record.body, record.length, sent) == (b"0123456789012345678901234", 100_000, 1000)
        record = await watched.read("large", collection="c")
        assert record is not None
        assert (len(record.body), record.length, sent) == (1000, 100_000, 2000)
        with pytest.raises(DeserializationError):
            await watched.get("large", collection="c")
        with pytest.raises(ValueTooLargeError, match="100,000"):
            await watched.snapshot("large", collection="c")
        with pytest.raises(UnsupportedError, match="whole"):
            await watched.restore("copy", record, collection="c")
        assert await watched.delete("large", collection="c", expected=record.version) is True
        whole = await watched.snapshot("middle", collection="c")
        assert whole is not None
        assert whole.body == b"{" * 20_000
        entry = await watched.read("entry", collection="c", limit=0)
        assert entry is not None
        assert entry.entry is not None
    with pytest.raises(ValueTooLargeError, match="64 MiB"):
        await store.put("k", {"text": "x" * 50_000}, collection="c")


async def test_an_object_that_changes_while_it_is_read_is_read_again(
    make: Callable[..., S3Store], store: S3Store, bare: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "FIRST_PART", 1000)
    await bare.put_object(Bucket=bucket, Key="c/k", Body=b"a" * 2000)
    changes = [b"b" * 3000, b"c" * 1500]

    async def changed(operation: Any, **parameters: Any) -> Any:
        if "IfMatch" in parameters and changes:
            await bare.put_object(Bucket=bucket, Key="c/k", Body=changes.pop(0))
        return await operation(**parameters)

    async with make(client=Counted(bare, get_object=changed), endpoint_url=None) as watched:
        record = await watched.read("k", collection="c")
        assert record is not None
        assert record.body == b"c" * 1500


async def test_a_foreign_object_is_put_back_with_its_headers(store: S3Store, bare: Any, bucket: str) -> None:
    headers = {"ContentType": "image/png", "CacheControl": "max-age=5", "Metadata": {"owner": "ada"}}
    await bare.put_object(Bucket=bucket, Key="c/image", Body=b"\x89PNG", **headers)
    record = await store.snapshot("image", collection="c")
    assert record is not None
    assert await store.delete("image", collection="c", expected=record.version) is True
    version = await store.restore("image", record, collection="c", expected=ABSENT)
    assert version == record.version
    found = await bare.get_object(Bucket=bucket, Key="c/image")
    assert await found["Body"].read() == b"\x89PNG"
    assert {name: found[name] for name in headers} == headers
    alien = Record(kind="hash", body=b"{}", length=2, size=2, version=record.version)
    with pytest.raises(UnsupportedError, match="hash"):
        await store.restore("copy", alien, collection="c")


@pytest.mark.parametrize("version", [b"\x01", b"[]", b'{"ETag": 5}', b"{}"])
async def test_a_version_of_another_store_is_of_no_object(store: S3Store, bare: Any, bucket: str, version: bytes) -> None:
    await bare.put_object(Bucket=bucket, Key="c/image", Body=b"\x89PNG")
    record = await store.snapshot("image", collection="c")
    assert record is not None
    with pytest.raises(UnsupportedError, match="read from S3"):
        await store.restore("copy", replace(record, version=Version(version)), collection="c")
    with pytest.raises(ConflictError):
        await store.delete("image", collection="c", expected=Version(version))
    made_up = json.dumps({**json.loads(record.version), "ACL": "public-read", "Key": "elsewhere"}).encode()
    await store.restore("copy", replace(record, version=Version(made_up)), collection="c")
    assert (await bare.head_object(Bucket=bucket, Key="c/copy"))["ContentLength"] == 4


async def test_the_earlier_deadline_counts_and_a_change_of_metadata_is_a_change(store: S3Store, bare: Any, bucket: str) -> None:
    async def change(**metadata: str) -> None:
        source = {"Bucket": bucket, "Key": "c/k"}
        replaced = {"MetadataDirective": "REPLACE", "ContentType": "application/json"}
        await bare.copy_object(Bucket=bucket, Key="c/k", CopySource=source, Metadata=metadata, **replaced)

    await store.put("k", {"n": 1}, collection="c", ttl=100)
    seen = await store.read("k", collection="c")
    assert seen is not None
    await change(**{"created-at": "x", "expires-at": (utc_now() + timedelta(seconds=50)).isoformat()})
    _, ttl = await store.ttl("k", collection="c")
    assert ttl is not None
    assert 48 < ttl <= 50
    with pytest.raises(ConflictError):
        await store.edit("k", {"n": 2}, collection="c", expected=seen.version)
    await change(**{"created-at": "x", "expires-at": (utc_now() + timedelta(seconds=500)).isoformat()})
    _, ttl = await store.ttl("k", collection="c")
    assert ttl is not None
    assert ttl <= 100
    await change(**{"expires-at": "no date"})
    assert (await store.get("k", collection="c")) == {"n": 1}
    await store.expire("k", 9000, collection="c")
    headers = (await bare.head_object(Bucket=bucket, Key="c/k"))["Metadata"]
    record = await store.read("k", collection="c")
    assert record is not None
    assert record.expires_at is not None
    assert headers["expires-at"] == record.expires_at.isoformat()


async def test_what_has_expired_is_hidden_and_stays(store: S3Store, bare: Any, bucket: str) -> None:
    await store.put_many(["a", "b"], [{}, {}], collection="c", ttl=0.2)
    await asyncio.sleep(0.3)
    assert await store.get("a", collection="c") is None
    assert await store.describe(["a", "b"], collection="c") == [None, None]
    assert await store.read("a", collection="c") is None
    assert {"c/a", "c/b"} <= set(await names_in(bare, bucket))
    assert await store.delete("a", collection="c") is False
    assert await store.delete_many(["b", "ours"], collection="c") == 1
    assert await names_in(bare, bucket) == []


async def test_looking_makes_no_bucket(make: Callable[..., S3Store], bare: Any, bucket: str) -> None:
    async with make() as store:
        assert await store.get("k") is None
        assert await store.get_many(["a", "b"]) == [None, None]
        assert await store.delete("k") is False
        assert await store.delete_many(["a", "b"]) == 0
        assert (await store.scan_keys()).items == []
        assert (await store.scan_collections()).items == []
        assert await store.describe(["k"]) == [None]
        assert await store.read("k") is None
        assert await store.expire("k", 10) is False
        assert bucket not in await buckets(bare)
        await store.put("k", {})
        assert bucket in await buckets(bare)


async def test_a_bucket_that_vanished_is_made_again(store: S3Store, bare: Any, bucket: str) -> None:
    await store.delete("ours", collection="c")
    await bare.delete_bucket(Bucket=bucket)
    assert await store.get("ours", collection="c") is None
    await store.put("k", {"n": 2}, collection="c")
    assert await store.get("k", collection="c") == {"n": 2}


async def test_collections_are_listed_by_the_delimiter_and_pages_go_on(make: Callable[..., S3Store], bare: Any) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        await asyncio.gather(*(store.put(f"k{key}", {}, collection=f"c{n}") for n in range(7) for key in range(3)))
        counted.calls.clear()
        found: list[str] = []
        cursor: bytes | None = None
        while True:
            page = await store.scan_collections(cursor=cursor, limit=3)
            found += [name.text for name in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(found) == [f"c{n}" for n in range(7)]
        assert 3 <= len(counted.calls) <= 4
        page = await store.scan_keys("c1", match="k[01]")
        assert [name.text for name in page.items] == ["k0", "k1"]
        assert counted.calls[-1][1]["Prefix"] == "c1/k"


async def test_objects_outside_collections(store: S3Store, bare: Any, bucket: str) -> None:
    await bare.put_object(Bucket=bucket, Key="readme.txt", Body=b"hello")
    await store.put("k", {}, collection="outside")
    found = (await store.scan_collections()).items
    assert {name.text for name in found} == {"c", "outside", ""}
    assert [name for name in found if name.token == OUTSIDE] == found[-1:]
    [name] = (await store.scan_keys(OUTSIDE)).items
    assert name.text == "readme.txt"
    record = await store.read(name.token, collection=OUTSIDE)
    assert record is not None
    assert record.body == b"hello"
    assert await store.delete(name.token, collection=OUTSIDE) is True
    for collection in (await store.scan_collections()).items:
        assert collection.token != OUTSIDE
        assert len((await store.scan_keys(collection.token)).items) == 1


async def test_many_are_bounded_and_deletes_are_batches(make: Callable[..., S3Store], bare: Any, bucket: str) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        keys = [f"k{number}" for number in range(80)] + ["line\nbreak", "return\rhere", "control\x01", "<&>"]
        await store.put_many(keys, [{"n": 1}] * len(keys), collection="c")
        assert None not in await store.get_many(keys, collection="c")
        assert 8 < counted.most <= 32
        counted.calls.clear()
        assert await store.delete_many([*keys, "absent"], collection="c") == len(keys)
        assert counted.names().count("delete_objects") == 1
        assert counted.names().count("delete_object") == 1
        assert await names_in(bare, bucket) == []
    await buckets(bare)  # the caller's client stays open


async def test_an_object_that_is_not_deleted_is_an_error(make: Callable[..., S3Store], bare: Any) -> None:
    async def refused(_: Any, **parameters: Any) -> Any:
        first = parameters["Delete"]["Objects"][0]["Key"]
        return {"Errors": [{"Key": first, "Code": "InternalError", "Message": "try later"}]}

    async with make(client=Counted(bare, delete_objects=refused), endpoint_url=None) as store:
        await store.put_many(["a", "b"], [{}, {}], collection="c")
        with pytest.raises(KeyValueOperationError, match="1 of 2 objects were not deleted, the first of them 'c/a'"):
            await store.delete_many(["a", "b"], collection="c")


async def test_strategies_shorten_long_names(make: Callable[..., S3Store], bare: Any, bucket: str) -> None:
    strategies = {
        "key_sanitization_strategy": S3KeySanitizationStrategy(max_bytes=200),
        "collection_sanitization_strategy": S3CollectionSanitizationStrategy(max_bytes=100),
    }
    async with make(**strategies) as store:
        await store.put("é" * 300, {"n": 1}, collection="c" * 300)
        await store.put("short", {"n": 2}, collection="c" * 300)
        assert await store.get("é" * 300, collection="c" * 300) == {"n": 1}
        [collection] = (await store.scan_collections()).items
        assert not collection.exact
        exact = {name.exact: name for name in (await store.scan_keys(collection.token)).items}
        assert exact[True].text == "short"
        assert await store.get(exact[False].token, collection=collection.token) == {"n": 1}


async def test_names_that_cannot_be_are_refused(make: Callable[..., S3Store], bare: Any, bucket: str) -> None:
    async with make() as store:
        for key, collection in (("", "c"), ("x" * 1023, "c"), ("\udc80", "c"), ("k", "\udc80"), ("k", "a/b")):
            with pytest.raises(InvalidKeyError):
                await store.put(key, {}, collection=collection)
        assert bucket not in await buckets(bare)
        await store.put("k", {}, collection="c")
        for key in ("a//b", "a/", "/a", ".", "a/../../d/k", "back\\slash", "x" * 600, "k" * 1022):
            with pytest.raises(InvalidKeyError):
                await store.put(key, {}, collection="c" * 10)
        assert await names_in(bare, bucket) == ["c/k"]


def test_on_amazon_every_name_is_stored_as_it_is() -> None:
    store = S3Store(bucket_name="b")
    store._bucket.is_amazon = True
    for key in ("https://a.b/c/", "a//b", "..", "back\\slash"):
        assert store._locate("c", key) == f"c/{key}"


async def test_twenty_racers_create_one(make: Callable[..., S3Store]) -> None:
    async with make() as store:

        async def create(number: int) -> bool:
            try:
                await store.edit("k", {"n": number}, collection="c", expected=ABSENT)
            except ConflictError:
                return False
            return True

        assert sum(await asyncio.gather(*(create(number) for number in range(20)))) == 1


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
        store = make(endpoint_url=f"http://127.0.0.1:{proxy.port}", read_timeout=0.5)
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
        assert isinstance(store._translate(exc, "c", "k"), BaseKeyValueError), cls


@pytest.mark.parametrize(
    ("code", "status", "operation", "expected"),
    [
        ("InvalidAccessKeyId", 403, "GetObject", StoreConnectionError),
        ("AccessDenied", 403, "PutObject", ReadOnlyError),
        ("AccessDenied", 403, "GetObject", StoreConnectionError),
        ("SlowDown", 503, "PutObject", StoreConnectionError),
        ("EntityTooLarge", 400, "PutObject", ValueTooLargeError),
        ("KeyTooLongError", 400, "PutObject", InvalidKeyError),
        ("SomethingNew", 400, "PutObject", KeyValueOperationError),
    ],
)
def test_what_the_services_codes_become(code: str, status: int, operation: str, expected: type[BaseKeyValueError]) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
    assert type(S3Store(bucket_name="b")._translate(error, "c", "k")) is expected
