"""When the table and its TTL are made, and when they are not."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stores import DynamoDBStore
from stores.errors import StoreSetupError
from tests.stores.drivers import Counted

pytestmark = pytest.mark.anyio


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


async def test_a_ttl_that_was_changed_a_short_while_ago_stands_in_no_writes_way(
    make: Callable[..., DynamoDBStore], bare: Any
) -> None:
    async def refuse(_: Any, **parameters: Any) -> Any:
        told = "Time to live has been modified multiple times within a fixed interval"
        raise ClientError({"Error": {"Code": "ValidationException", "Message": told}}, "UpdateTimeToLive")

    async with make(client=Counted(bare, update_time_to_live=refuse), endpoint_url=None) as store:
        await store.put("k", {"n": 1}, ttl=100)
        assert await store.get("k") == {"n": 1}


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
