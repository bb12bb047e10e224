"""One DynamoDB table and the requests that it gets: made at the first write, asked in whole batches, and nothing lost.

A table that is missing answers reads with nothing. What a batch leaves unprocessed, or a service that throttles refuses whole,
is asked for again, with pauses that grow while nothing gets done, and is an error in the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from stores.backends.answers import whole
from stores.backends.aws import AwsClient, Backoff, has_code, is_throttled, refuses_credentials
from stores.backends.dynamodb_items import SCHEMA, Item, place_of
from stores.batches import batched, run_bounded
from stores.errors import StoreConnectionError, StoreSetupError

__all__ = ["WRITE_BATCH", "Table"]

T = TypeVar("T")

READ_BATCH: Final = 100
WRITE_BATCH: Final = 25
CONCURRENCY: Final = 8
SECONDS_TO_WAIT: Final = 60


class Table:
    """A table by its name, over a client that is open."""

    def __init__(self, aws: AwsClient, name: str, *, auto_create: bool, config: Mapping[str, Any]) -> None:
        """Keep what the table is made from.

        Args:
            aws: the client.
            name: the table's.
            auto_create: whether `prepare` may make it.
            config: further arguments for `create_table`.
        """
        self._aws = aws
        self._name = name
        self._auto_create = auto_create
        self._config = config
        self._is_ready = False
        self._was_missing = False

    @property
    def location(self) -> str:
        """The endpoint or region, and the table."""
        return f"{self._aws.endpoint}/{self._name}"

    # Life

    async def check(self) -> None:
        """Look whether the table can be used. ValueError when it is missing and may not be made, or has another schema."""
        try:
            table = await self._describe()
        except ClientError as exc:
            if has_code(exc, "AccessDeniedException"):
                return  # who may read and write items need not be allowed to look at the table
            raise
        self._was_missing = table is None
        if table is None:
            if not self._auto_create:
                raise ValueError(f"Table {self._name!r} does not exist. Create it, or set auto_create.")
            return
        schema = {part["AttributeName"]: part["KeyType"] for part in table["KeySchema"]}
        if schema != SCHEMA:
            raise ValueError(
                f"Table {self._name!r} has the key attributes {sorted(schema)}; "
                "this store needs `collection` (HASH) and `key` (RANGE), both text."
            )

    async def missing(self) -> str | None:
        """The table, for a person, if it is not there; one that was there is not asked for again."""
        if self._was_missing:
            await self.check()
        return f"table {self._name!r}" if self._was_missing else None

    async def prepare(self) -> None:
        """See to it that the table is there and has its TTL on, as far as these credentials allow."""
        if self._is_ready:
            return
        try:
            await self._find_or_create()
            await self._enable_ttl()
        except ClientError as exc:
            may_go_on = has_code(exc, "AccessDeniedException") and exc.operation_name != "CreateTable"
            if refuses_credentials(exc) or not may_go_on:
                raise
        self._is_ready = True

    def forget(self) -> None:
        """Look at the table anew before the next write."""
        self._is_ready = False

    async def _describe(self) -> dict[str, Any] | None:
        reply = await self.ask("describe_table")
        return None if reply is None else whole(whole(reply, "Table")["Table"], "TableStatus", "KeySchema")

    async def _find_or_create(self) -> None:
        for _ in range(SECONDS_TO_WAIT):
            table = await self._describe()
            if table is None:
                await self._create()
            elif table["TableStatus"] in ("CREATING", "DELETING"):
                await asyncio.sleep(1)
            else:
                return
        raise StoreSetupError(f"Table {self._name!r} at {self.location} is not ready after {SECONDS_TO_WAIT} s; try again.")

    async def _create(self) -> None:
        if not self._auto_create:
            raise StoreSetupError(f"Table {self._name!r} at {self.location} does not exist. Create it, or set auto_create.")
        needed = {
            "TableName": self._name,
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in SCHEMA.items()],
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in SCHEMA],
            "BillingMode": "PAY_PER_REQUEST",
        }
        try:
            await self._aws.opened.create_table(**{**self._config, **needed})
        except ClientError as exc:
            if not has_code(exc, "ResourceInUseException"):  # somebody else has just made it
                raise

    async def _enable_ttl(self) -> None:
        told = await self._aws.opened.describe_time_to_live(TableName=self._name)
        if told.get("TimeToLiveDescription", {}).get("TimeToLiveStatus") != "DISABLED":
            return
        wanted = {"Enabled": True, "AttributeName": "ttl"}
        try:
            await self._aws.opened.update_time_to_live(TableName=self._name, TimeToLiveSpecification=wanted)
        except ClientError as exc:
            # what was changed a short while ago may not be changed yet; what has expired is hidden without it, too
            if "already enabled" not in str(exc) and "modified multiple times" not in str(exc):
                raise

    # Requests

    async def ask(self, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """One request; None when there is no table."""
        if "RequestItems" not in parameters:
            parameters["TableName"] = self._name
        try:
            reply: dict[str, Any] = await getattr(self._aws.opened, operation)(**parameters)
        except ClientError as exc:
            if has_code(exc, "ResourceNotFoundException"):
                return None
            raise
        return reply

    async def write(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """One write; a table that somebody deleted meanwhile is made again."""
        reply = await self.ask(operation, **parameters)
        if reply is None:
            self.forget()
            await self.prepare()
            reply = await self.ask(operation, **parameters)
        if reply is None:
            raise StoreConnectionError(f"Table {self._name!r} at {self.location} was deleted while it was written to.")
        return reply

    async def item(self, place: Item, *, consistent: bool) -> Item | None:
        """One item."""
        reply = await self.ask("get_item", Key=place, ConsistentRead=consistent)
        return None if reply is None else reply.get("Item")

    async def items(
        self, collection: str, keys: Iterable[str], into: Callable[[Item], T], *, consistent: bool, **projection: Any
    ) -> dict[str, T]:
        """Items of one collection by their sort keys, each as what `into` makes of it while its batch is here."""

        async def read(batch: Sequence[str]) -> dict[str, T]:
            found: dict[str, T] = {}
            backoff = Backoff()
            left = [place_of(collection, key) for key in batch]
            while left:
                request = {self._name: {"Keys": left, "ConsistentRead": consistent, **projection}}
                try:
                    reply = await self.ask("batch_get_item", RequestItems=request)
                except ClientError as exc:
                    if is_throttled(exc) and await backoff.pause(progress=False):
                        continue
                    raise
                if reply is None:
                    return {}
                got: list[Item] = whole(reply, "Responses")["Responses"].get(self._name, [])
                found |= {item["key"]["S"]: into(item) for item in got}
                left = reply.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
                if left and not await backoff.pause(progress=bool(got)):
                    raise StoreConnectionError(f"{self.location} is overloaded: {len(left)} keys were not read.")
            return found

        batches = await run_bounded(read, batched(list(dict.fromkeys(keys)), READ_BATCH), limit=CONCURRENCY)
        return {key: made for batch in batches for key, made in batch.items()}

    async def put_all(self, items: Sequence[Item]) -> None:
        """Put items of different keys."""
        await self._write_all(items, lambda item: {"PutRequest": {"Item": item}})

    async def delete_all(self, collection: str, keys: Sequence[str]) -> None:
        """Delete the items of one collection under different sort keys."""
        await self._write_all(keys, lambda key: {"DeleteRequest": {"Key": place_of(collection, key)}})

    async def _write_all(self, whats: Sequence[T], request: Callable[[T], dict[str, Any]]) -> None:
        async def write(batch: Sequence[T]) -> None:
            backoff = Backoff()
            left = [request(what) for what in batch]
            while left:
                try:
                    reply = await self.write("batch_write_item", RequestItems={self._name: left})
                except ClientError as exc:
                    if is_throttled(exc) and await backoff.pause(progress=False):
                        continue
                    raise
                still = reply.get("UnprocessedItems", {}).get(self._name, [])
                if still and not await backoff.pause(progress=len(still) < len(left)):
                    raise StoreConnectionError(f"{self.location} is overloaded: {len(still)} items were not written.")
                left = still

        await run_bounded(write, batched(whats, WRITE_BATCH), limit=CONCURRENCY)
