"""Entries in one DynamoDB table: `collection` is its partition key, `key` its sort key, `value` the entry's JSON text.

Where the attribute `ttl` (epoch seconds, rounded up) is set it is the deadline; the envelope's finer one counts while both
agree. DynamoDB deletes some time after the deadline, so what has expired is hidden here. Reading needs no table; the first
write makes it and switches its TTL on.

DynamoDB compares attributes, not hashes: a commit reads the item, compares it with the version, and writes on the condition
that the item still is what was read. Other attributes beside a readable `value` are kept by edits. An item without one is
foreign data; it is shown as DynamoDB's own JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, TypeVar, overload

from aiobotocore.client import AioBaseClient
from botocore.exceptions import ClientError

from stores.arguments import Secret
from stores.backends import dynamodb_entries as entries
from stores.backends.answers import whole
from stores.backends.aws import AwsClient, has_code, was_repeated
from stores.backends.aws_store import AwsStore
from stores.backends.dynamodb_items import (
    MAX_ITEM_BYTES,
    Item,
    absent,
    checked,
    collection_of,
    collection_token,
    distinct,
    epoch,
    native_deadline,
    place_of,
    restored,
    text_of,
    unchanged,
    version_of,
)
from stores.backends.dynamodb_table import WRITE_BATCH, Table
from stores.batches import made_in_turns
from stores.entry import ManagedEntry, utc_now
from stores.errors import ConflictError, InvalidKeyError
from stores.lifecycle import Scope
from stores.names import OUTSIDE, Key, Name, Page, Token, compile_glob, glob_prefix
from stores.records import ABSENT, ANY, DatedText, Description, Expected, Record, Version
from stores.traits import Traits

__all__ = ["DynamoDBStore"]

COLLECTIONS_PER_PAGE: Final = 50
"""Each costs a round trip, one after the other."""

LAST_KEY: Final = "\U0010ffff" * 256
"""No sort key comes after it: 1,024 bytes of the last character."""


T = TypeVar("T")


class DynamoDBStore(AwsStore):
    """A key-value store in one DynamoDB table."""

    traits: ClassVar[Traits] = Traits(
        name="dynamodb",
        ttl_granularity=1.0,
        foreign_ttl=True,
        binary_keys=False,
        empty_key=False,
        max_key_bytes=1024,
        max_collection_bytes=2048,
        max_value_bytes=MAX_ITEM_BYTES,
        batch_size=WRITE_BATCH,
        notes="Batches are 100 keys read and 25 written; expired items are hidden at once, DynamoDB deletes them within days.",
    )

    @overload
    def __init__(
        self,
        *,
        client: AioBaseClient,
        table_name: str,
        default_collection: str | None = None,
        table_config: dict[str, Any] | None = None,
        auto_create: bool = True,
        consistent_reads: bool = False,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        table_name: str,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        default_collection: str | None = None,
        table_config: dict[str, Any] | None = None,
        auto_create: bool = True,
        consistent_reads: bool = False,
        profile_name: str | None = None,
        ca_bundle: str | None = None,
        max_connections: int = 16,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
    ) -> None: ...

    def __init__(
        self,
        *,
        client: AioBaseClient | None = None,
        table_name: str,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: Annotated[str | None, Secret] = None,
        aws_session_token: Annotated[str | None, Secret] = None,
        default_collection: str | None = None,
        table_config: dict[str, Any] | None = None,
        auto_create: bool = True,
        consistent_reads: bool = False,
        profile_name: str | None = None,
        ca_bundle: str | None = None,
        max_connections: int = 16,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
    ) -> None:
        """Choose the table; nothing connects before the store opens.

        Args:
            client: an entered aiobotocore client to use; it stays open when the store closes.
            table_name: the table that holds the entries.
            region_name: AWS region; from the environment or the profile when None.
            endpoint_url: address of a DynamoDB that is not Amazon's, such as "http://localhost:8000".
            aws_access_key_id: access key; from the environment or the profile when None.
            aws_secret_access_key: the secret that belongs to the access key.
            aws_session_token: session token of temporary credentials.
            default_collection: used where no collection is given; "default_collection" when None.
            table_config: further arguments for the table's creation, such as SSESpecification or Tags.
            auto_create: make the table at the first write when it is missing; otherwise a missing table is an error.
            consistent_reads: read what was written last, at twice the price; edits always do.
            profile_name: profile in the user's AWS files to take credentials and region from.
            ca_bundle: path of a file with the certificates to trust instead of the usual ones.
            max_connections: connections that may be open at once.
            connect_timeout: seconds that connecting may take.
            read_timeout: seconds to wait for an answer.
        """
        super().__init__(default_collection=default_collection, client_provided_by_user=client is not None)
        self._consistent_reads = consistent_reads
        self._aws = AwsClient(
            "dynamodb",
            client,
            profile_name=profile_name,
            ca_bundle=ca_bundle,
            max_connections=max_connections,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            region_name=region_name,
            endpoint_url=endpoint_url,
            aws_access_key_id=aws_access_key_id,
            aws_secret_access_key=aws_secret_access_key,
            aws_session_token=aws_session_token,
        )
        self._table = Table(self._aws, table_name, auto_create=auto_create, config=dict(table_config or {}))

    @property
    def _place(self) -> Table:
        return self._table

    # Names and items

    def _locate(self, scope: Scope, key: Key) -> Item:
        return place_of(_partition(scope), text_of(key))

    async def _found(self, scope: Scope, keys: Sequence[Key], into: Callable[[Item], T]) -> list[T | None]:
        """Of each key what `into` makes of its item; None where there is none."""
        texts = [text_of(key) for key in keys]
        found = await self._table.items(_partition(scope), texts, into, consistent=self._consistent_reads)
        return [found.get(text) for text in texts]

    # Entries

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        item = await self._table.item(self._locate(collection, key), consistent=self._consistent_reads)
        return None if item is None else entries.load_named(item)

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        return await self._found(collection, keys, entries.load_named)

    async def _get_texts(self, *, collection: Scope, keys: Sequence[Key]) -> list[DatedText]:
        if len(keys) == 1:
            item = await self._table.item(self._locate(collection, keys[0]), consistent=self._consistent_reads)
            return [None if item is None else entries.text(item)]
        return await self._found(collection, keys, entries.text)

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        item = entries.dump(self._locate(collection, key), managed_entry)
        await self._table.write("put_item", Item=item)

    async def _put_managed_entries(
        self,
        *,
        collection: Scope,
        keys: Sequence[Key],
        managed_entries: Sequence[ManagedEntry],
        ttl: float | None,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> None:
        items = await made_in_turns(
            lambda key, entry: entries.dump(self._locate(collection, key), entry), keys, managed_entries
        )
        await self._table.put_all(distinct(items))

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        place = self._locate(collection, key)
        reply = await self._table.ask("delete_item", Key=place, ReturnValues="ALL_OLD")
        old: Item = {} if reply is None else reply.get("Attributes", {})
        return bool(old) and not entries.record(old, 0).is_expired

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        # A batch of deletes does not tell what was there, so it is looked up first: names and deadlines only.
        projection = {
            "ProjectionExpression": "#collection, #key, #ttl",
            "ExpressionAttributeNames": {"#collection": "collection", "#key": "key", "#ttl": "ttl"},
        }
        partition = _partition(collection)
        deadlines = await self._table.items(partition, map(text_of, keys), native_deadline, consistent=True, **projection)
        if deadlines:
            await self._table.delete_all(partition, list(deadlines))
        now = utc_now()
        return sum(deadline is None or deadline > now for deadline in deadlines.values())

    # Browse

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        last = None if cursor is None else cursor.decode(errors="replace")
        names: list[Name] = []
        while len(names) < min(limit, COLLECTIONS_PER_PAGE):
            after = {} if last is None else {"ExclusiveStartKey": {"collection": {"S": last}, "key": {"S": LAST_KEY}}}
            reply = await self._table.ask(
                "scan",
                Limit=1,
                ProjectionExpression="#collection",
                ExpressionAttributeNames={"#collection": "collection"},
                ConsistentRead=self._consistent_reads,
                **after,
            )
            if reply is None or not whole(reply, "Items")["Items"]:
                return Page(names, None, len(names))
            last = reply["Items"][0]["collection"]["S"]
            names.append(Name(last, collection_token(last)))
        return Page(names, (last or "").encode(), len(names))

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        if collection == OUTSIDE:
            return Page([], None, 0)
        partition = {"S": collection_of(collection)}
        last = None if cursor is None else {"S": cursor.decode(errors="replace")}
        after = {} if last is None else {"ExclusiveStartKey": {"collection": partition, "key": last}}
        condition = "#collection = :collection"
        values = {":collection": partition, ":now": {"N": str(utc_now().timestamp())}}
        prefix = "" if match is None else glob_prefix(match)
        if prefix:
            condition += " AND begins_with(#key, :prefix)"
            values[":prefix"] = {"S": prefix}
        reply = await self._table.ask(
            "query",
            Limit=limit,
            KeyConditionExpression=condition,
            FilterExpression="NOT #ttl <= :now",
            ProjectionExpression="#key",
            ExpressionAttributeNames={"#collection": "collection", "#key": "key", "#ttl": "ttl"},
            ExpressionAttributeValues=values,
            ConsistentRead=self._consistent_reads,
            **after,
        )
        if reply is None:
            return Page([], None, 0)
        keys = [item["key"]["S"] for item in whole(reply, "Items", "ScannedCount")["Items"]]
        if match is not None:
            matches = compile_glob(match).match
            keys = [key for key in keys if matches(key)]
        last = reply.get("LastEvaluatedKey")
        names = [Name(key, Token(key.encode())) for key in keys]
        return Page(names, None if last is None else last["key"]["S"].encode(), reply["ScannedCount"])

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        return await self._found(collection, keys, entries.describe)

    # Edit

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        item = await self._table.item(self._locate(collection, key), consistent=True)
        return None if item is None else entries.record(item, limit)

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        place = self._locate(collection, key)
        stored: Item | None = None
        condition: dict[str, Any] = {}
        if expected == ABSENT:
            condition = absent()
        elif expected is not ANY:
            stored = await self._table.item(place, consistent=True)
            if stored is None or version_of(stored) != expected:
                raise ConflictError
            condition = unchanged(stored)
        if new is None:
            await self._commit_delete(place, condition)
            return ABSENT
        if isinstance(new, Record):
            item = restored(place, new)
        else:
            kept = {name: attribute for name, attribute in (stored or {}).items() if name not in ("value", "ttl")}
            item = checked({**kept, **entries.dump(place, new)})
        await self._commit_put(item, condition)
        return version_of(item)

    async def _commit_put(self, item: Item, condition: dict[str, Any]) -> None:
        try:
            await self._table.write("put_item", Item=item, **condition)
        except ClientError as exc:
            if not has_code(exc, "ConditionalCheckFailedException"):
                raise
            if not (was_repeated(exc) and exc.response.get("Item") == item):  # else an earlier attempt has written it
                raise ConflictError from exc

    async def _commit_delete(self, place: Item, condition: dict[str, Any]) -> None:
        try:
            await self._table.ask("delete_item", Key=place, **condition)
        except ClientError as exc:
            if not has_code(exc, "ConditionalCheckFailedException"):
                raise
            if not (was_repeated(exc) and "Item" not in exc.response):
                raise ConflictError from exc

    async def _expire_foreign(self, *, collection: Scope, key: Key, record: Record, expires_at: datetime | None) -> None:
        place = self._locate(collection, key)
        stored = await self._table.item(place, consistent=True)
        if stored is None or version_of(stored) != record.version:
            raise ConflictError(f"Key {place['key']['S']!r} was changed by somebody else.")
        await self._table.prepare()
        item = {name: attribute for name, attribute in stored.items() if name != "ttl"}
        if expires_at is not None:
            item["ttl"] = {"N": str(epoch(expires_at))}
        await self._commit_put(item, unchanged(stored))


def _partition(scope: Scope) -> str:
    if scope == OUTSIDE:
        raise InvalidKeyError("In DynamoDB nothing is outside collections.")
    return collection_of(scope)
