"""Entries as objects of one S3 bucket, `collection/key`: the entry's JSON as the body, its times in the metadata once more.

S3 removes nothing by itself: what has expired is hidden when it is looked at. Listings know no deadlines, so a page of keys
may name what has expired until it is described. The earlier of envelope and metadata is the deadline. Reading needs no bucket;
the first write makes it.

A version is the ETag with the headers that S3 keeps beside the body, because a copy that only changes metadata keeps the ETag.
Objects that hold no entry are foreign data of any size: only their first part is read, until a snapshot asks for all.

Amazon stores every name as it is. Servers that keep objects in directories change or refuse some, in silence; towards them
such names are refused here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, overload

from aiobotocore.client import AioBaseClient

from stores.arguments import Secret
from stores.backends.answers import whole
from stores.backends.aws import AwsClient
from stores.backends.aws_store import AwsStore
from stores.backends.s3_bucket import CONCURRENCY, Bucket, NameIsTakenError
from stores.backends.s3_objects import (
    FOREIGN,
    JSON_TYPE,
    date_of,
    description_of,
    facts_of,
    has_expired,
    next_cursor,
    restored,
    text_of,
    version_of,
)
from stores.batches import made_in_turns, run_bounded
from stores.entry import ManagedEntry
from stores.errors import (
    ConflictError,
    DeserializationError,
    InvalidKeyError,
    ValueTooLargeError,
)
from stores.lifecycle import Scope
from stores.names import OUTSIDE, Key, Name, Page, Token, compile_glob, glob_prefix
from stores.records import ABSENT, ANY, Description, Expected, Record, Version
from stores.sanitization import LimitedBytesStrategy, SanitizationStrategy
from stores.traits import Traits

__all__ = ["S3CollectionSanitizationStrategy", "S3KeySanitizationStrategy", "S3Store"]

MAX_NAME_BYTES: Final = 1024
MAX_ENTRY_BYTES: Final = 64 * 1024 * 1024
"""Above, an object is taken for foreign data without being read whole."""

FIRST_PART: Final = 1024 * 1024
"""Bytes that a read asks for at first."""

WRITE_ID: Final = "write-id"
"""Metadata of a conditional write, so that one whose answer was lost is told from another writer's with the same content."""

CHANGED_BY_DIRECTORIES: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\\\0]")
"""Empty segments, `.`, `..`, backslashes and NUL."""


class S3KeySanitizationStrategy(LimitedBytesStrategy):
    """Keys over 500 bytes as their beginning and a piece of their hash."""


class S3CollectionSanitizationStrategy(LimitedBytesStrategy):
    """Collections over 500 bytes as their beginning and a piece of their hash."""


class S3Store(AwsStore):
    """A key-value store in one S3 bucket."""

    _asks_for_outside: ClassVar[bool] = True
    traits: ClassVar[Traits] = Traits(
        name="s3",
        expiry="on read",
        binary_keys=False,
        empty_key=False,
        max_key_bytes=MAX_NAME_BYTES - 2,
        max_collection_bytes=MAX_NAME_BYTES - 2,
        max_value_bytes=MAX_ENTRY_BYTES,
        batch_size=1,
        notes="Collection and key share 1,024 bytes; listings may name what has expired; deletes go 1,000 at a time.",
    )

    @overload
    def __init__(
        self,
        *,
        client: AioBaseClient,
        bucket_name: str,
        default_collection: str | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        bucket_name: str,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        default_collection: str | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        profile_name: str | None = None,
        ca_bundle: str | None = None,
        max_connections: int = CONCURRENCY,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
    ) -> None: ...

    def __init__(
        self,
        *,
        client: AioBaseClient | None = None,
        bucket_name: str,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: Annotated[str | None, Secret] = None,
        aws_session_token: Annotated[str | None, Secret] = None,
        default_collection: str | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        profile_name: str | None = None,
        ca_bundle: str | None = None,
        max_connections: int = CONCURRENCY,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
    ) -> None:
        """Choose the bucket; nothing connects before the store opens.

        Args:
            client: an entered aiobotocore client to use; it stays open when the store closes.
            bucket_name: the bucket that holds the entries; made at the first write when it is missing.
            region_name: AWS region; from the environment or the profile when None.
            endpoint_url: address of an S3 that is not Amazon's, such as "http://localhost:9000".
            aws_access_key_id: access key; from the environment or the profile when None.
            aws_secret_access_key: the secret that belongs to the access key.
            aws_session_token: session token of temporary credentials.
            default_collection: used where no collection is given; "default_collection" when None.
            collection_sanitization_strategy: how collections are made to fit; as they are when None.
            key_sanitization_strategy: how keys are made to fit; as they are when None.
            profile_name: profile in the user's AWS files to take credentials and region from.
            ca_bundle: path of a file with the certificates to trust instead of the usual ones.
            max_connections: connections that may be open at once.
            connect_timeout: seconds that connecting may take.
            read_timeout: seconds to wait for an answer, or for its next bytes.
        """
        super().__init__(
            default_collection=default_collection,
            collection_sanitization_strategy=collection_sanitization_strategy,
            key_sanitization_strategy=key_sanitization_strategy,
            client_provided_by_user=client is not None,
        )
        self._aws = AwsClient(
            "s3",
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
        self._bucket = Bucket(self._aws, bucket_name, has_endpoint=endpoint_url is not None)

    @property
    def _place(self) -> Bucket:
        return self._bucket

    # Names and bodies

    def _check_new_collection(self, scope: Scope) -> None:
        if isinstance(scope, str) and "/" in self._sanitize_collection(scope):
            raise InvalidKeyError(
                f"Collection {scope!r} contains '/', which joins collection and key in S3; "
                "choose another name or a sanitization strategy."
            )

    def _prefix(self, scope: Scope) -> str:
        """What the names of a collection's objects begin with; a collection's token is just that."""
        if scope == OUTSIDE:
            return ""
        return text_of(scope) if isinstance(scope, Token) else self._sanitize_collection(scope) + "/"

    def _locate(self, scope: Scope, key: Key) -> str:
        """The only place that knows what an entry's object is called."""
        stored = text_of(key) if isinstance(key, Token) else self._sanitize_key(key)
        name = self._prefix(scope) + stored
        if len(name.encode()) > MAX_NAME_BYTES:
            raise InvalidKeyError(
                f"{name[:40]!r}… has over {MAX_NAME_BYTES} bytes, S3's limit for collection and key together."
            )
        if isinstance(key, str) and not self._bucket.is_amazon and CHANGED_BY_DIRECTORIES.search(name):
            raise InvalidKeyError(f"{name!r}: this server keeps objects in directories and would store another name.")
        return name

    def _load(self, body: bytes, metadata: dict[str, str]) -> ManagedEntry:
        entry = self._adapter.load_json(body)
        entry.expires_at = min(filter(None, (entry.expires_at, date_of(metadata, "expires-at"))), default=None)
        return entry

    def _dump(self, name: str, entry: ManagedEntry) -> dict[str, Any]:
        """The arguments of `put_object`."""
        body = self._adapter.dump_json(entry).encode()
        if len(body) > MAX_ENTRY_BYTES:
            raise ValueTooLargeError(
                f"{name!r} would take {len(body):,} bytes; this store's limit is {MAX_ENTRY_BYTES:,} (64 MiB)."
            )
        times = {"expires-at": entry.expires_at_isoformat, "created-at": entry.created_at_isoformat}
        metadata = {field: text for field, text in times.items() if text is not None}
        return {"Key": name, "Body": body, "ContentType": JSON_TYPE, "Metadata": metadata}

    # Entries

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        found = await self._bucket.get(self._locate(collection, key), at_most=MAX_ENTRY_BYTES)
        if found is None:
            return None
        try:
            return self._load(found.body, found.metadata)  # of what is too long for an entry the body is empty
        except DeserializationError as exc:
            raise DeserializationError(f"Key {key!r} in collection {collection!r} holds no entry. {exc}") from exc

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        return await run_bounded(lambda key: self._get_managed_entry(collection=collection, key=key), keys, limit=CONCURRENCY)

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        await self._bucket.put(**self._dump(self._locate(collection, key), managed_entry))

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
        entries = {self._locate(collection, key): entry for key, entry in zip(keys, managed_entries, strict=True)}

        def check(name: str, entry: ManagedEntry) -> None:
            self._dump(name, entry)  # what comes out is not kept: beside a request, making it once more takes no time

        async def put(pair: tuple[str, ManagedEntry]) -> None:
            await self._bucket.put(**self._dump(*pair))

        await made_in_turns(check, list(entries), list(entries.values()))
        await run_bounded(put, entries.items(), limit=CONCURRENCY)

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        name = self._locate(collection, key)
        found = await self._bucket.head_if_allowed(name)
        if found is None:
            return False
        await self._bucket.delete(name)
        return not has_expired(found)

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        names = list(dict.fromkeys(self._locate(collection, key) for key in keys))
        heads = await run_bounded(self._bucket.head_if_allowed, names, limit=CONCURRENCY)
        found = {name: head for name, head in zip(names, heads, strict=True) if head is not None}
        await self._bucket.delete_all(list(found))
        return sum(not has_expired(head) for head in found.values())

    # Browse

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        page = await self._bucket.list("", cursor, limit, delimiter="/")
        prefixes = [whole(found, "Prefix")["Prefix"] for found in page.get("CommonPrefixes", ())]
        names = [Name(prefix[:-1], Token(prefix.encode()), self._collection_strategy.keeps(prefix[:-1])) for prefix in prefixes]
        return Page(names, next_cursor(page), page.get("KeyCount", 0))

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        prefix = self._prefix(collection)
        begins = "" if match is None else glob_prefix(match)
        delimiter = {"delimiter": "/"} if collection == OUTSIDE else {}
        page = await self._bucket.list(prefix + begins, cursor, limit, **delimiter)
        keys = [whole(found, "Key")["Key"][len(prefix) :] for found in page.get("Contents", ())]
        if match is not None:
            matches = compile_glob(match).match
            keys = [key for key in keys if matches(key)]
        names = [Name(key, Token(key.encode()), self._key_strategy.keeps(key)) for key in keys]
        return Page(names, next_cursor(page), page.get("KeyCount", 0))

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        names = [self._locate(collection, key) for key in keys]
        heads = await run_bounded(self._bucket.head, names, limit=CONCURRENCY)
        return [None if head is None else description_of(head) for head in heads]

    # Edit

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        first = FIRST_PART if limit is None else max(limit, FIRST_PART)
        found = await self._bucket.get_first(
            self._locate(collection, key),
            first,
            wants_all=lambda body, length: length <= MAX_ENTRY_BYTES and (limit is None or body.lstrip()[:1] == b"{"),
        )
        if found is None:
            return None
        entry: ManagedEntry | None = None
        if len(found.body) == found.length:
            try:
                entry = self._load(found.body, found.metadata)
            except DeserializationError:
                entry = None
        if entry is None:
            return Record(
                kind=FOREIGN,
                body=found.body[:limit],
                length=found.length,
                size=found.length,
                created_at=found.modified_at,
                version=version_of(found.etag, found.kept),
            )
        return Record.of(entry, size=found.length, version=version_of(found.etag, found.kept))

    async def _snapshot(self, *, collection: Scope, key: Key) -> Record | None:
        record = await self._read(collection=collection, key=key, limit=None)
        if record is not None and len(record.body) < record.length:
            raise ValueTooLargeError(
                f"Key {key!r} holds an object of {record.length:,} bytes; a snapshot has {MAX_ENTRY_BYTES:,} (64 MiB) at most."
            )
        return record

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        name = self._locate(collection, key)
        condition: dict[str, Any] = {}
        if expected == ABSENT:
            condition = {"IfNoneMatch": "*"}
        elif expected is not ANY:
            facts = facts_of(expected)
            if not facts:
                raise ConflictError  # no object has such a version
            condition = {"IfMatch": facts["ETag"]}
        try:
            if new is None:
                await self._bucket.delete(name, **({} if expected == ABSENT else condition))
                return ABSENT
            whole = restored(name, new) if isinstance(new, Record) else self._dump(name, new)
            if condition and not isinstance(new, Record):
                whole["Metadata"][WRITE_ID] = secrets.token_hex(8)
            etag = await self._bucket.put(**whole, **condition)
        except NameIsTakenError as exc:
            raise ConflictError from exc
        return version_of(etag, {field: value for field, value in whole.items() if field not in ("Key", "Body")})
