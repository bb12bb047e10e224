"""One S3 bucket and the requests that it gets: made at the first write, and missing it answers reads with nothing.

Bodies are read in bounded parts. A conditional write that arrived though its answer was lost is repeated, by botocore or
unseen by aiohttp, and then refused; so after a refusal what is there is compared with what was to be there, which the
caller makes unlike any other write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from stores.backends.answers import whole
from stores.backends.aws import OVERLOADED, AwsClient, Backoff, has_code
from stores.backends.s3_requests import Requests
from stores.batches import batched, run_bounded
from stores.errors import StoreConnectionError

__all__ = ["CONCURRENCY", "Bucket", "Found", "NameIsTakenError"]

CONCURRENCY: Final = 32
DELETE_BATCH: Final = 1000
LIST_LIMIT: Final = 1000
READ_ATTEMPTS: Final = 5

MISSING: Final = ("404", "NoSuchBucket", "NoSuchKey", "NotFound")
NO_BUCKET: Final = "NoSuchBucket"
TAKEN: Final = ("409", "412", "ConditionalRequestConflict", "PreconditionFailed")

KEPT: Final = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")
"""What S3 keeps beside a body and takes again with `put_object`."""

NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What the XML of a batch cannot carry."""


class NameIsTakenError(Exception):
    """A condition on what is stored does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object, or the first part of one."""

    body: bytes = b""
    length: int = 0
    """Of the whole body."""
    etag: str = ""
    kept: dict[str, Any] = field(default_factory=dict)
    """Headers that S3 keeps, by the names under which `put_object` takes them."""
    modified_at: datetime | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The user's metadata."""
        found: dict[str, str] = self.kept.get("Metadata", {})
        return found


class Bucket:
    """A bucket by its name, over a client that is open."""

    def __init__(self, aws: AwsClient, name: str, *, has_endpoint: bool) -> None:
        """Keep where the bucket is, and whether the service's address was given."""
        self._aws = aws
        self._name = name
        self._has_endpoint = has_endpoint
        self._requests = Requests(aws, name)
        self._is_ready = False
        self._was_missing = False
        self.is_amazon = False
        """Whether Amazon's own S3 answered, which stores every name as it is."""

    @property
    def location(self) -> str:
        """The bucket, behind the endpoint where one was given."""
        return f"{self._aws.endpoint}/{self._name}" if self._has_endpoint else f"s3://{self._name}"

    # Life

    async def check(self) -> None:
        """Look whether the service answers these credentials. A bucket that is missing, or may not be listed, will do."""
        self._requests.watch()
        self._was_missing = False
        try:
            reply = await self._aws.opened.list_objects_v2(Bucket=self._name, MaxKeys=1)
        except ClientError as exc:
            if not has_code(exc, "AccessDenied", *MISSING):
                raise
            reply = exc.response
            self._was_missing = has_code(exc, *MISSING)
        headers = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self.is_amazon = headers.get("server") == "AmazonS3"

    async def missing(self) -> str | None:
        """The bucket, for a person, if it is not there; one that was there is not asked for again."""
        if self._was_missing:
            await self.check()
        return f"bucket {self._name!r}" if self._was_missing else None

    async def prepare(self) -> None:
        """See to it that the bucket is there, as far as these credentials can tell."""
        if self._is_ready:
            return
        try:
            await self._aws.opened.head_bucket(Bucket=self._name)
        except ClientError as exc:
            if has_code(exc, *MISSING):
                await self._create()
            elif not has_code(exc, "403"):  # who may write objects need not be allowed to look at the bucket
                raise
        self._is_ready = True

    def forget(self) -> None:
        """Look at the bucket anew before the next write."""
        self._is_ready = False

    async def _create(self) -> None:
        region = self._aws.opened.meta.region_name
        elsewhere = not self._has_endpoint and region not in (None, "us-east-1", "aws-global")
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
        try:
            await self._aws.opened.create_bucket(Bucket=self._name, **place)
        except ClientError as exc:
            if not has_code(exc, "BucketAlreadyOwnedByYou"):
                raise

    async def _ask(self, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """One request; None where there is no object, or no bucket."""
        try:
            reply = await self._requests.ask(operation, **parameters)
        except ClientError as exc:
            if has_code(exc, *MISSING):
                return None
            raise
        return reply

    # Read

    async def get(self, name: str, *, at_most: int) -> Found | None:
        """An object; without its body when that is longer than `at_most` bytes."""
        reply = await self._ask("get_object", Key=name)
        if reply is None:
            return None
        if whole(reply, "ContentLength")["ContentLength"] > at_most:
            reply["Body"].close()
            return _found(reply, b"")
        return _found(reply, await _body(reply))

    async def get_first(self, name: str, first: int, *, wants_all: Callable[[bytes, int], bool]) -> Found | None:
        """The first bytes of an object, and all the others if `wants_all` says so to the first ones and the length."""
        for _ in range(READ_ATTEMPTS):
            try:
                reply = await self._ask("get_object", Key=name, Range=f"bytes=0-{first - 1}")
            except ClientError as exc:
                if not has_code(exc, "416", "InvalidRange"):
                    raise
                return await self.get(name, at_most=first)  # an empty object has no ranges
            if reply is None:
                return None
            found = _found(reply, await _body(reply))
            if len(found.body) == found.length or not wants_all(found.body, found.length):
                return found
            try:
                reply = await self._ask("get_object", Key=name, Range=f"bytes={len(found.body)}-", IfMatch=found.etag)
            except ClientError as exc:
                if not has_code(exc, *TAKEN):
                    raise
                reply = None
            if reply is not None:
                return replace(found, body=found.body + await _body(reply))
        raise StoreConnectionError(f"{name!r} in {self.location} changes faster than it can be read.")

    async def head(self, name: str) -> Found | None:
        """An object without its body."""
        reply = await self._ask("head_object", Key=name)
        return None if reply is None else _found(reply, b"")

    async def head_if_allowed(self, name: str) -> Found | None:
        """As `head`; something without headers where these credentials may not look."""
        try:
            return await self.head(name)
        except ClientError as exc:
            if not has_code(exc, "403"):
                raise
            return Found()

    async def list(self, prefix: str, cursor: bytes | None, limit: int, *, delimiter: str | None = None) -> dict[str, Any]:
        """A page of names."""
        more: dict[str, Any] = {}
        if cursor is not None:
            more["ContinuationToken"] = cursor.decode(errors="replace")
        if delimiter is not None:
            more["Delimiter"] = delimiter
        return await self._ask("list_objects_v2", Prefix=prefix, MaxKeys=min(limit, LIST_LIMIT), **more) or {}

    # Write

    async def put(self, **arguments: Any) -> str:
        """Store an object; its ETag. NameIsTakenError when a condition does not hold."""
        try:
            reply = await self._put(arguments)
        except ClientError as exc:
            if not has_code(exc, *TAKEN, *(MISSING if "IfMatch" in arguments else ())):
                raise
            there = await self.get(arguments["Key"], at_most=len(arguments["Body"]))
            if there is None or there.body != arguments["Body"] or there.metadata != arguments.get("Metadata", {}):
                raise NameIsTakenError from exc
            return there.etag
        return str(whole(reply, "ETag")["ETag"])

    async def _put(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._put_now(arguments)
        except ClientError as exc:
            if not has_code(exc, NO_BUCKET) or "IfMatch" in arguments:
                raise
        self.forget()
        await self.prepare()
        return await self._put_now(arguments)

    async def _put_now(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._requests.ask("put_object", **arguments)

    async def delete(self, name: str, **condition: Any) -> None:
        """Delete an object. NameIsTakenError when a condition does not hold."""
        try:
            await self._requests.ask("delete_object", Key=name, **condition)
        except ClientError as exc:
            if not condition:
                if has_code(exc, *MISSING):
                    return
                raise
            if not has_code(exc, *TAKEN, *MISSING):
                raise
            if await self.head(name) is not None:
                raise NameIsTakenError from exc

    async def delete_all(self, names: Sequence[str]) -> None:
        """Delete objects, as many as a request takes at once."""
        plain = [name for name in names if not NOT_XML.search(name)]
        await run_bounded(self._delete_batch, batched(plain, DELETE_BATCH), limit=CONCURRENCY)
        await run_bounded(self.delete, [name for name in names if NOT_XML.search(name)], limit=CONCURRENCY)

    async def _delete_batch(self, names: Sequence[str]) -> None:
        backoff = Backoff()
        left = names
        while True:
            reply = await self._ask("delete_objects", Delete={"Objects": [{"Key": name} for name in left], "Quiet": True})
            refused = {} if reply is None else {one["Key"]: one for one in reply.get("Errors", [])}
            if not refused:
                return
            passing = [name for name, one in refused.items() if one.get("Code") in OVERLOADED]
            if len(passing) < len(refused) or not await backoff.pause(progress=len(passing) < len(left)):
                worst = min(refused, key=passing.__contains__)  # the first that does not pass, if there is one
                raise _refusal(refused[worst], f"{len(refused)} of {len(names)} objects were not deleted")
            left = passing


def _refusal(item: dict[str, Any], what: str) -> ClientError:
    """Why a batch left an object as it was, as an answer to a request for that one alone would tell it."""
    message = f"{what}, among them {item['Key']!r}: {item.get('Message', 'no reason was given')}"
    return ClientError({"Error": {"Code": item.get("Code", "Unknown"), "Message": message}}, "DeleteObjects")


async def _body(reply: dict[str, Any]) -> bytes:
    async with reply["Body"] as stream:
        read: bytes = await stream.read()
    return read


def _found(reply: dict[str, Any], body: bytes) -> Found:
    whole(reply, "ETag", "ContentLength")
    part_of = reply.get("ContentRange", "").rpartition("/")[2]
    return Found(
        body=body,
        length=int(part_of) if part_of.isdigit() else reply["ContentLength"],
        etag=reply["ETag"],
        kept={name: reply[name] for name in KEPT if name in reply},
        modified_at=reply.get("LastModified"),
    )
