"""What is special to DynamoDBStore, on a real server; odd items are planted with the bare driver."""

import asyncio
import base64
import json
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore import exceptions as botocore_exceptions
from botocore.exceptions import BotoCoreError, ClientError

from stores import DynamoDBStore
from stores.backends import aws, dynamodb_table
from stores.entry import utc_now
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
from stores.records import ABSENT, Record
from tests.faults.proxy import Proxy, Way
from tests.servers.lease import addresses

pytestmark = pytest.mark.anyio
session = get_session()  # reads botocore's models once


@pytest.fixture
def table(unique_name: str) -> str:
    return f"table-{unique_name}"


@pytest.fixture
async def bare(dynamodb_url: str) -> AsyncIterator[Any]:
    async with session.create_client("dynamodb", endpoint_url=dynamodb_url) as client:
        yield client


@pytest.fixture
async def make(dynamodb_url: str, table: str, bare: Any) -> AsyncIterator[Callable[..., DynamoDBStore]]:
    yield lambda **more: DynamoDBStore(**{"table_name": table, "endpoint_url": dynamodb_url} | more)
    if table in (await bare.list_tables())["TableNames"]:
        await bare.delete_table(TableName=table)


@pytest.fixture
async def store(make: Callable[..., DynamoDBStore]) -> AsyncIterator[DynamoDBStore]:
    async with make() as opened:
        yield opened


class Counted:
    """A client that counts its operations and answers some of them itself."""

    def __init__(self, client: Any, **answers: Callable[..., Any]) -> None:
        self.client = client
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.client, name)
        if name == "meta":
            return operation

        async def counted(**parameters: Any) -> Any:
            self.calls.append((name, parameters))
            answer = self.answers.get(name)
            return await operation(**parameters) if answer is None else await answer(operation, **parameters)

        return counted

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


async def plant(bare: Any, table: str, key: str, **attributes: dict[str, Any]) -> None:
    await bare.put_item(TableName=table, Item={"collection": {"S": "c"}, "key": {"S": key}, **attributes})


async def stored(bare: Any, table: str, key: str) -> dict[str, Any]:
    reply = await bare.get_item(TableName=table, Key={"collection": {"S": "c"}, "key": {"S": key}}, ConsistentRead=True)
    item: dict[str, Any] = reply.get("Item", {})
    return item


FOREIGN: dict[str, dict[str, Any]] = {
    "text": {"S": "é"},
    "number": {"N": "12345678901234567890"},
    "binary": {"B": b"\x00\xff"},
    "set": {"BS": [b"a", b"\xfe"]},
    "deep": {"M": {"list": {"L": [{"BOOL": True}, {"NULL": True}, {"B": b"\xfd"}, {"M": {}}]}}},
}


async def test_foreign_items_are_shown_as_what_they_are(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("ours", {"n": 1}, collection="c")
    await plant(bare, table, "other", **FOREIGN)
    await plant(bare, table, "bytes", value={"B": b"{}"})
    await plant(bare, table, "words", value={"S": "no JSON"})
    await plant(bare, table, "bare")
    found = [name.text for name in (await store.scan_keys("c")).items]
    assert found == ["bare", "bytes", "other", "ours", "words"]
    kinds = [one.kind for one in await store.describe(found, collection="c") if one]
    assert kinds == ["item", "item", "item", "entry", "item"]
    record = await store.read("other", collection="c")
    assert record is not None
    assert json.loads(record.body)["number"] == FOREIGN["number"]
    assert json.loads(record.body)["binary"] == {"B": base64.b64encode(b"\x00\xff").decode()}
    assert "é" in record.body.decode()
    beginning = await store.read("other", collection="c", limit=10)
    assert beginning is not None
    assert (beginning.body, beginning.length) == (record.body[:10], record.length)
    for key in ("other", "bytes", "words", "bare"):
        with pytest.raises(DeserializationError, match=f"'{key}' in collection 'c'"):
            await store.get(key, collection="c")
        with pytest.raises(DeserializationError, match=key):
            await store.get_many(["ours", key], collection="c")
        with pytest.raises(DeserializationError):
            await store.edit(key, {}, collection="c")


async def test_a_foreign_item_is_put_back_whole(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("ours", {"n": 1}, collection="c")
    await plant(bare, table, "other", **FOREIGN, ttl={"N": "4000000000"})
    before = await stored(bare, table, "other")
    record = await store.snapshot("other", collection="c")
    assert record is not None
    assert record.expires_at is not None
    assert await store.delete("other", collection="c", expected=record.version) is True
    await store.restore("other", record, collection="c", expected=ABSENT)
    assert await stored(bare, table, "other") == before
    cut = await store.read("other", collection="c", limit=5)
    assert cut is not None
    with pytest.raises(UnsupportedError, match="whole"):
        await store.restore("copy", cut, collection="c")
    alien = Record(kind="hash", body=b"{}", length=2, size=2, version=record.version)
    with pytest.raises(UnsupportedError, match="hash"):
        await store.restore("copy", alien, collection="c")


async def test_foreign_items_have_a_deadline_too(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("ours", {"n": 1}, collection="c")
    await plant(bare, table, "other", **FOREIGN)
    assert await store.expire("other", 1000, collection="c") is True
    item = await stored(bare, table, "other")
    assert abs(int(item["ttl"]["N"]) - utc_now().timestamp() - 1000) < 2
    assert {name: item[name] for name in FOREIGN} == FOREIGN
    assert await store.expire("other", None, collection="c") is True
    assert "ttl" not in await stored(bare, table, "other")
    seen = await store.read("other", collection="c")
    assert seen is not None
    await plant(bare, table, "other", text={"S": "changed"})
    with pytest.raises(ConflictError):
        await store.expire("other", 10, collection="c", expected=seen.version)
    with pytest.raises(ConflictError):
        await store._expire_foreign(collection="c", key="other", record=seen, expires_at=None)


async def test_an_edit_keeps_attributes_that_it_does_not_know(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=100)
    entry = await stored(bare, table, "k")
    await bare.put_item(TableName=table, Item={**entry, "owner": {"S": "billing"}})
    assert await store.get("k", collection="c") == {"n": 1}
    await store.edit("k", {"n": 2}, collection="c", ttl=None)
    item = await stored(bare, table, "k")
    assert item["owner"] == {"S": "billing"}
    assert "ttl" not in item


async def test_the_tables_deadline_wins_where_it_says_something_else(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=100.25)
    item = await stored(bare, table, "k")
    envelope = json.loads(item["value"]["S"])["expires_at"]
    record = await store.read("k", collection="c")
    assert record is not None
    assert record.expires_at is not None
    assert record.expires_at.isoformat() == envelope
    assert int(item["ttl"]["N"]) == math.ceil(record.expires_at.timestamp())
    for native, at_most in (("4000000000", 4e9), ("1e30", math.inf), ("3.5e9", 3.5e9)):
        await bare.put_item(TableName=table, Item={**item, "ttl": {"N": native}})
        _, ttl = await store.ttl("k", collection="c")
        assert ttl is not None
        assert 3e9 - utc_now().timestamp() < ttl < at_most
    for past in ("1", "0", "-1e30"):
        await bare.put_item(TableName=table, Item={**item, "ttl": {"N": past}})
        assert await store.get("k", collection="c") is None
        assert (await store.scan_keys("c")).items == []
        assert await store.delete_many(["k"], collection="c") == 0
    await bare.put_item(TableName=table, Item={**item, "ttl": {"S": "soon"}})  # which DynamoDB does not heed
    assert await store.get("k", collection="c") == {"n": 1}
    assert len((await store.scan_keys("c")).items) == 1
    del item["ttl"]
    await bare.put_item(TableName=table, Item=item)
    _, ttl = await store.ttl("k", collection="c")
    assert ttl is not None
    assert ttl <= 100.25


async def test_deadlines_at_the_calendars_end(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("k", {"n": 1}, collection="c", ttl=1e300)
    assert (await stored(bare, table, "k"))["ttl"] == {"N": "253402300799"}
    assert await store.get("k", collection="c") == {"n": 1}


async def test_what_has_expired_was_not_there(store: DynamoDBStore) -> None:
    await store.put_many(["a", "b"], [{}, {}], collection="c", ttl=0.2)
    await asyncio.sleep(0.3)
    assert await store.delete("a", collection="c") is False
    assert await store.describe(["a", "b"], collection="c") == [None, None]


async def test_looking_makes_no_table(make: Callable[..., DynamoDBStore], bare: Any, table: str) -> None:
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
    assert table not in (await bare.list_tables())["TableNames"]


async def test_looking_leaves_the_tables_ttl_off_and_the_first_write_turns_it_on(
    make: Callable[..., DynamoDBStore], bare: Any, table: str
) -> None:
    async def status() -> str:
        told = await bare.describe_time_to_live(TableName=table)
        return str(told["TimeToLiveDescription"]["TimeToLiveStatus"])

    definitions = [{"AttributeName": name, "AttributeType": "S"} for name in ("collection", "key")]
    schema = [{"AttributeName": "collection", "KeyType": "HASH"}, {"AttributeName": "key", "KeyType": "RANGE"}]
    common = {"TableName": table, "BillingMode": "PAY_PER_REQUEST"}
    await bare.create_table(**common, KeySchema=schema, AttributeDefinitions=definitions)
    async with make() as store:
        await store.get("k")
        await store.scan_keys()
        await store.scan_collections()
        await store.delete("k")
        assert await status() == "DISABLED"
        await store.put("k", {})
        assert await status() == "ENABLED"
    async with make() as again:
        await again.put("k", {})  # enabling twice would be an error


async def test_a_table_of_another_shape_is_refused(make: Callable[..., DynamoDBStore], bare: Any, table: str) -> None:
    await bare.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    with pytest.raises(StoreSetupError, match="`collection`"):
        await make().setup()


async def test_the_tables_configuration(make: Callable[..., DynamoDBStore], bare: Any, table: str) -> None:
    config = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}, "TableName": "ignored"}
    async with make(table_config=config) as store:
        await store.put("k", {})
    described = (await bare.describe_table(TableName=table))["Table"]
    assert described["StreamSpecification"]["StreamEnabled"] is True


async def test_without_auto_create_a_missing_table_is_an_error(
    make: Callable[..., DynamoDBStore], bare: Any, table: str
) -> None:
    store = make(auto_create=False)
    with pytest.raises(StoreSetupError, match="does not exist") as failed:
        await store.setup()
    assert isinstance(failed.value.__cause__, ValueError)
    async with make() as creating:
        await creating.put("k", {"n": 1})
    assert await store.get("k") == {"n": 1}
    await bare.delete_table(TableName=table)
    with pytest.raises(StoreSetupError, match="does not exist"):
        await store.put("k", {"n": 2})
    assert await store.get("k") is None
    await store.close()


async def test_a_table_that_vanished_is_made_again(store: DynamoDBStore, bare: Any, table: str) -> None:
    await store.put("k", {"n": 1})
    await bare.delete_table(TableName=table)
    assert await store.get("k") is None
    await store.put("k", {"n": 2})
    assert await store.get("k") == {"n": 2}
    await bare.delete_table(TableName=table)
    await store.put_many([f"k{n}" for n in range(60)], [{}] * 60)
    assert len((await store.scan_keys()).items) == 60


async def test_many_go_in_the_services_batches(make: Callable[..., DynamoDBStore], bare: Any) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        keys = [f"k{number:03}" for number in range(230)]
        await store.put_many(keys, [{"n": 1}] * 230)
        assert counted.names().count("batch_write_item") == 10
        counted.calls.clear()
        assert None not in await store.get_many(keys)
        assert counted.names() == ["batch_get_item"] * 3
        counted.calls.clear()
        await store.describe(keys)
        assert counted.names() == ["batch_get_item"] * 3
        counted.calls.clear()
        assert await store.delete_many(keys[:100]) == 100
        assert sorted(counted.names()) == ["batch_get_item"] + ["batch_write_item"] * 4
        token = (await store.scan_keys()).items[0].token
        assert await store.get_many([token.value.decode(), token]) == [{"n": 1}, {"n": 1}]
    assert (await bare.list_tables())["TableNames"]  # the caller's client stays open


async def test_what_is_left_unprocessed_is_asked_for_again(make: Callable[..., DynamoDBStore], bare: Any, table: str) -> None:
    async def some(operation: Any, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - the driver's name
        [(name, asked)] = RequestItems.items()
        if isinstance(asked, list):
            reply = await operation(RequestItems={name: asked[:7]})
            return reply | {"UnprocessedItems": {name: asked[7:]} if asked[7:] else {}}
        keys = asked["Keys"]
        reply = await operation(RequestItems={name: asked | {"Keys": keys[:40]}})
        return reply | {"UnprocessedKeys": {name: asked | {"Keys": keys[40:]}} if keys[40:] else {}}

    counted = Counted(bare, batch_write_item=some, batch_get_item=some)
    async with make(client=counted, endpoint_url=None) as store:
        keys = [f"k{number}" for number in range(120)]
        await store.put_many(keys, [{"n": number} for number in range(120)])
        assert await store.get_many(keys) == [{"n": number} for number in range(120)]
        assert await store.delete_many(keys) == 120
    assert counted.names().count("batch_write_item") == 2 * (4 * 4 + 3)


async def test_what_is_never_processed_is_an_error(
    make: Callable[..., DynamoDBStore], bare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: Any, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - the driver's name
        return {"UnprocessedItems": RequestItems, "UnprocessedKeys": RequestItems}

    monkeypatch.setattr(dynamodb_table, "Backoff", lambda: aws.Backoff(first=0.001, attempts=3))
    counted = Counted(bare, batch_write_item=nothing, batch_get_item=nothing)
    async with make(client=counted, endpoint_url=None) as store:
        with pytest.raises(StoreConnectionError, match="2 items were not written"):
            await store.put_many(["a", "b"], [{}, {}])
        with pytest.raises(StoreConnectionError, match="2 keys were not read"):
            await store.get_many(["a", "b"])


async def test_collections_are_found_without_reading_their_items(make: Callable[..., DynamoDBStore], bare: Any) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        names = [f"c{number}" for number in range(60)]
        await asyncio.gather(*(store.put_many(["a", "\U0010ffff" * 255], [{}, {}], collection=name) for name in names))
        counted.calls.clear()
        first = await store.scan_collections(limit=500)
        assert len(first.items) == 50
        rest = await store.scan_collections(cursor=first.cursor, limit=500)
        assert rest.cursor is None
        assert sorted(name.text for name in first.items + rest.items) == sorted(names)
        assert counted.names() == ["scan"] * 61


async def test_nothing_is_outside_collections(store: DynamoDBStore) -> None:
    await store.put("k", {"n": 1}, collection="outside")
    await store.put("k", {"n": 2}, collection="slash/")
    for name in (await store.scan_collections()).items:
        assert name.token != OUTSIDE
        assert [key.text for key in (await store.scan_keys(name.token)).items] == ["k"]
        assert await store.get("k", collection=name.token) == await store.get("k", collection=name.text) is not None
    assert (await store.scan_keys(OUTSIDE)).items == []
    with pytest.raises(InvalidKeyError, match="outside"):
        await store.put("k", {}, collection=OUTSIDE)


async def test_a_match_reads_only_what_can_match(store: DynamoDBStore) -> None:
    keys = [f"{kind}:{number:02}" for kind in ("a", "b*", "c") for number in range(30)]
    await store.put_many(keys, [{}] * 90, collection="c")
    page = await store.scan_keys("c", match=r"b\**5")
    assert [name.text for name in page.items] == ["b*:05", "b*:15", "b*:25"]
    assert page.scanned == 30
    page = await store.scan_keys("c", limit=20, match="?:0[12]")
    assert [name.text for name in page.items] == ["a:01", "a:02"]
    assert (page.scanned, page.cursor) == (20, b"a:19")


async def test_the_limit_of_an_item_is_checked_before_it_is_sent(make: Callable[..., DynamoDBStore], bare: Any) -> None:
    counted = Counted(bare)
    async with make(client=counted, endpoint_url=None) as store:
        await store.put("k", {"v": ""}, collection="c", ttl=1000)
        [described] = await store.describe(["k"], collection="c")
        assert described is not None
        assert described.size is not None
        room = 400 * 1024 - described.size - 10  # the envelope's times may lack a fraction
        await store.put("k", {"v": "x" * room}, collection="c", ttl=1000)
        record = await store.read("k", collection="c")
        assert record is not None
        await store.edit("k", {"v": "y" * room}, collection="c", expected=record.version)
        counted.calls.clear()
        with pytest.raises(ValueTooLargeError, match=r"409,600 \(400 KB\)"):
            await store.put("k", {"v": "x" * (room + 100)}, collection="c")
        with pytest.raises(ValueTooLargeError, match="'j'"):
            await store.put_many(["i", "j"], [{}, {"v": "x" * 410_000}], collection="c")
        assert counted.calls == []
        assert await store.get("i", collection="c") is None


async def test_names_that_cannot_be_are_refused_before_anything_is_sent(
    make: Callable[..., DynamoDBStore], bare: Any, table: str
) -> None:
    async with make() as store:
        for key, collection in (("", "c"), ("é" * 513, "c"), ("k", "é" * 1025), ("\udc80", "c"), ("k", "\udc80")):
            with pytest.raises(InvalidKeyError):
                await store.put(key, {}, collection=collection)
            with pytest.raises(InvalidKeyError):
                await store.get(key, collection=collection)
        assert table not in (await bare.list_tables())["TableNames"]
        await store.put("é" * 512, {"n": 1}, collection="é" * 1024)
        assert await store.get("é" * 512, collection="é" * 1024) == {"n": 1}


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
        make(endpoint_url=f"http://127.0.0.1:{proxy.port}", read_timeout=0.3) as store,
    ):
        await store.put("k", {"n": 1})
        proxy.cut()
        assert await store.get("k") == {"n": 1}
        proxy.black_hole()
        with pytest.raises(StoreConnectionError) as hung:
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
        assert isinstance(store._translate(exc, "c", "k"), BaseKeyValueError), cls
    assert store._translate(RuntimeError("ours to fix"), "c", "k") is None


@pytest.mark.parametrize(
    ("code", "status", "operation", "expected"),
    [
        ("UnrecognizedClientException", 400, "GetItem", StoreConnectionError),
        ("ExpiredTokenException", 400, "PutItem", StoreConnectionError),
        ("AccessDeniedException", 400, "PutItem", ReadOnlyError),
        ("AccessDeniedException", 400, "Query", StoreConnectionError),
        ("ProvisionedThroughputExceededException", 400, "GetItem", StoreConnectionError),
        ("InternalServerError", 500, "GetItem", StoreConnectionError),
        ("ValidationException", 400, "GetItem", KeyValueOperationError),
        ("SomethingNew", 400, "GetItem", KeyValueOperationError),
    ],
)
def test_what_the_services_codes_become(code: str, status: int, operation: str, expected: type[BaseKeyValueError]) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)
    ours = DynamoDBStore(table_name="t")._translate(error, "c", "k")
    assert type(ours) is expected
    assert code in str(ours)
    assert "'c'" in str(ours)
