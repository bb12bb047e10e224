"""Objects, ours and others', as they lie in the bucket, and their deadlines; odd ones are planted with the bare driver."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stores import S3Store
from stores.backends import s3 as s3_module
from stores.entry import utc_now
from stores.errors import ConflictError, DeserializationError, UnsupportedError, ValueTooLargeError
from stores.records import ABSENT, Record, Version
from tests.stores.drivers import Counted
from tests.stores.s3.conftest import names_in

pytestmark = pytest.mark.anyio


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
    assert 20 < ttl <= 50
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
