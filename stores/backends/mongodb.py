"""MongoDB: one MongoDB collection a collection, one document an entry, with native dates and the value as a sub-document.

    {_id, key, collection, version: 1, created_at, expires_at, value: {object: {...}}}

Documents are found by their indexed field `key`; an `_id` only addresses what has none. A new document gets its key as `_id`,
so that of two first writes one inserts and the other one replaces: there is never a second document. Dates are milliseconds;
a deadline is rounded up to them. Compare-and-set is a replacement on the condition that the whole document is what was read.
Documents without the envelope are foreign: kind "document", shown as extended JSON.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, overload
from urllib.parse import parse_qsl, urlsplit

import bson
from bson import json_util
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, IndexModel, errors as driver
from pymongo.asynchronous.database import AsyncDatabase

from stores.arguments import Secret
from stores.backends import mongodb_documents as documents, mongodb_requests as requests
from stores.backends.certificates import check_files
from stores.backends.mongodb_errors import ERRORS, FAULT_WORDS, advised
from stores.base import BaseContextManagerStore, BaseDestroyCollectionStore
from stores.batches import made_in_turns, run_bounded
from stores.coalesced import CoalescingStore
from stores.entry import ManagedEntry, utc_now
from stores.errors import (
    BaseKeyValueError,
    DeserializationError,
    InvalidKeyError,
)
from stores.lifecycle import Scope
from stores.names import Key, Name, Page, Token, decode_name, encode_name, shown
from stores.records import Description, Expected, Record, Version
from stores.sanitization import ALPHANUMERIC_UNDERSCORE, HybridSanitizationStrategy, SanitizationStrategy
from stores.traits import Traits

__all__ = ["MongoDBStore", "MongoDBV1CollectionSanitizationStrategy"]

DEFAULT_DB: Final = "kv-store-adapter"
MAX_NAMESPACE: Final = 255
"""Bytes of database, dot and collection."""
MAX_NATIVES: Final = 1000
"""Collections whose objects are kept: the driver takes as long to make one as for a tenth of a request."""
MAX_KNOWN: Final = 10_000
"""Collections of which something is remembered: their names may be made up without an end."""
RECHECK: Final = 60.0
"""Seconds after which a writer looks whether its indexes are still there (somebody may have dropped the collection)."""

EXPIRING: Final = {
    "expires_at": {"$type": "date"},
    "version": 1,
    "key": {"$exists": True},
    "value.object": {"$exists": True},
}
"""What the TTL index covers. Another program's documents may have a field `expires_at` and must not be deleted for it; what has
no deadline costs its writers no second index."""


class MongoDBV1CollectionSanitizationStrategy(HybridSanitizationStrategy):
    """Collections of letters, digits and `_`, 200 characters at most."""

    def __init__(self, *, collision_free: bool = False) -> None:
        """Choose the form of names that are only too long: py-key-value's, or one that no other name can have."""
        super().__init__(max_length=200, allowed_characters=ALPHANUMERIC_UNDERSCORE, collision_free=collision_free)


class MongoDBStore(BaseDestroyCollectionStore, BaseContextManagerStore, CoalescingStore):
    """A store in a MongoDB database (server 4.4 or newer).

    Collections are not sanitized unless a strategy is given; `MongoDBV1CollectionSanitizationStrategy` makes every name fit.
    """

    traits = Traits(
        name="mongodb",
        pings=True,
        ttl_granularity=0.001,
        binary_keys=False,
        big_integers=False,
        max_collection_bytes=MAX_NAMESPACE - 1 - len(DEFAULT_DB),
        max_value_bytes=documents.MAX_DOCUMENT,
        batch_size=requests.BATCH,
        notes="The server removes expired documents about once a minute; edits by compare-and-set go up to 8 MB.",
    )
    _errors = ERRORS
    _fault_words = FAULT_WORDS

    @overload
    def __init__(
        self,
        *,
        client: AsyncMongoClient[dict[str, Any]],
        db_name: str | None = None,
        coll_name: str | None = None,
        default_collection: str | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        auto_create: bool = True,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        url: Annotated[str | None, Secret] = None,
        db_name: str | None = None,
        coll_name: str | None = None,
        default_collection: str | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        auto_create: bool = True,
        username: str | None = None,
        password: Annotated[str | None, Secret] = None,
        auth_source: str | None = None,
        tls: bool | None = None,
        tls_ca_file: str | None = None,
        tls_certificate_key_file: str | None = None,
        timeout: float = 10.0,
    ) -> None: ...

    def __init__(
        self,
        *,
        client: AsyncMongoClient[dict[str, Any]] | None = None,
        url: Annotated[str | None, Secret] = None,
        db_name: str | None = None,
        coll_name: str | None = None,
        default_collection: str | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        auto_create: bool = True,
        username: str | None = None,
        password: Annotated[str | None, Secret] = None,
        auth_source: str | None = None,
        tls: bool | None = None,
        tls_ca_file: str | None = None,
        tls_certificate_key_file: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        """Choose the server and the database.

        Args:
            client: An AsyncMongoClient to use instead of a URL; it stays the caller's, who closes it.
            url: The server's address, mongodb:// or mongodb+srv://, with options as MongoDB documents them; a server on this
                machine when empty.
            db_name: The database; "kv-store-adapter" when empty.
            coll_name: Without effect, accepted for compatibility: each collection is a MongoDB collection of its own name.
            default_collection: The collection where none is given.
            collection_sanitization_strategy: How collection names are made to fit MongoDB's rules.
            auto_create: Create collections and their indexes at the first write; otherwise a missing collection is an error.
            username: Who logs in, when the URL does not say.
            password: The user's password.
            auth_source: The database that knows the user; "admin" when empty.
            tls: Encrypt the connection; always so with mongodb+srv://.
            tls_ca_file: A PEM file with the authorities that may have signed the server's certificate.
            tls_certificate_key_file: A PEM file with the client's own certificate and key.
            timeout: Seconds to wait for a server, a connection, and an answer.

        Raises:
            ValueError: both a client and a URL are given.
        """
        if client is not None and url is not None:
            raise ValueError("Give MongoDBStore a client or a url, not both.")
        super().__init__(
            default_collection=default_collection,
            serialization_adapter=documents.ADAPTER,
            collection_sanitization_strategy=collection_sanitization_strategy,
            client_provided_by_user=client is not None,
        )
        self._client = client
        self._url = url or "mongodb://localhost:27017"
        self._db_name = db_name or DEFAULT_DB
        self._auto_create = auto_create
        milliseconds = int(timeout * 1000)
        defaults = {
            "serverSelectionTimeoutMS": milliseconds,
            "connectTimeoutMS": milliseconds,
            "socketTimeoutMS": milliseconds,
            "maxPoolSize": 32,
        }
        given = {
            "username": username,
            "password": password,
            "authSource": auth_source,
            "tls": tls,
            "tlsCAFile": tls_ca_file,
            "tlsCertificateKeyFile": tls_certificate_key_file,
        }
        in_url = {name.lower(): text for name, text in parse_qsl(urlsplit(self._url).query)}
        is_encrypted = "tlscertificatekeyfilepassword" in in_url
        self._files = (
            tls_ca_file or in_url.get("tlscafile"),
            None if is_encrypted else tls_certificate_key_file or in_url.get("tlscertificatekeyfile"),
        )
        self._options: dict[str, Any] = {name: option for name, option in defaults.items() if name.lower() not in in_url} | {
            name: option for name, option in given.items() if option is not None
        }
        self._checked: dict[str, float] = {}
        self._natives: dict[Scope, requests.Native] = {}
        self._caller_names: dict[str, str] = {}

    @property
    def location(self) -> str:
        """The URL without user, password and options, and the database."""
        if self._client_provided_by_user:
            return f"database {self._db_name} of the given client"
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{self._db_name}"

    # Life

    async def _setup(self) -> None:
        if self._client is None:
            await asyncio.to_thread(check_files, *self._files)
            self._client = AsyncMongoClient[dict[str, Any]](self._url, **self._options)
        await self._database.client.admin.command("ping")

    async def _close(self) -> None:
        self._checked.clear()
        self._natives.clear()
        if self._client is not None and not self._client_provided_by_user:
            client, self._client = self._client, None
            await client.close()

    async def _setup_collection(self, *, collection: str) -> None:
        native = self._collection(collection)
        indexes = await native.index_information()
        if not indexes and not self._auto_create:
            raise ValueError(f"Collection {native.name!r} does not exist; create it, or set auto_create=True.")
        missing: list[IndexModel] = []
        keys = [index["key"] for index in indexes.values()]
        if not any(key[0][0] == "key" for key in keys):
            missing.append(IndexModel("key"))
        if [("expires_at", 1)] not in keys:
            missing.append(IndexModel("expires_at", expireAfterSeconds=0, partialFilterExpression=EXPIRING))
        if missing and self._auto_create:
            await native.create_indexes(missing)
        self._checked[collection] = time.monotonic()

    async def _writable(self, scope: Scope) -> requests.Native:
        if len(self._checked) > MAX_KNOWN:
            self._checked.clear()
        if isinstance(scope, str) and time.monotonic() - self._checked.get(scope, 0.0) > RECHECK:
            self._set_up_collections.discard(scope)
            await self.setup_collection(collection=scope)
        return self._collection(scope)

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        ours = super()._translate(exc, scope, key)
        return None if ours is None else advised(ours, exc)

    def _told(self, exc: BaseException) -> str:
        # the driver goes on with its timeouts, the whole answer and all that it knows of every server
        told = super()._told(exc).partition(" (configured timeouts")[0].partition(", Timeout: ")[0]
        return told.partition(", full error: {")[0]

    # Names

    @property
    def _database(self) -> AsyncDatabase[dict[str, Any]]:
        assert self._client is not None  # noqa: S101 - the base opens the store before it calls a hook
        return self._client[self._db_name]

    def _collection(self, scope: Scope) -> requests.Native:
        """The MongoDB collection of a collection. The only place that names one."""
        if (known := self._natives.get(scope)) is not None:
            return known
        name = decode_name(scope.value) if isinstance(scope, Token) else self._sanitize_collection(scope)
        if len(encode_name(f"{self._db_name}.{name}")) > MAX_NAMESPACE or name.startswith("system."):
            raise InvalidKeyError(
                f"{name[:40]!r} cannot be a collection in MongoDB: database, dot and name have at most {MAX_NAMESPACE} bytes, "
                "and the name does not start with `system.`. A sanitization strategy can make it fit."
            )
        try:
            name.encode()
            native = self._database.get_collection(name, codec_options=documents.CODEC)
        except (driver.InvalidName, UnicodeEncodeError) as exc:
            raise InvalidKeyError(f"{name!r} cannot be a collection in MongoDB: {exc}.") from exc
        if len(self._natives) >= MAX_NATIVES:
            self._natives.clear()
        self._natives[scope] = native
        return native

    async def _caller_name(self, native: str) -> tuple[str, bool]:
        """The caller's name of a stored collection and whether it is that for sure: documents know what the form hides."""
        if self._collection_strategy.keeps(native):
            return native, True
        if native not in self._caller_names:
            document = await self._collection(Token(encode_name(native))).find_one(
                {"collection": {"$type": "string"}}, {"_id": 0, "collection": 1}
            )
            name = document["collection"] if document else None
            if name is None or self._collection_strategy.sanitize(name) != native:
                return native, False
            if len(self._caller_names) >= MAX_KNOWN:
                self._caller_names.clear()
            self._caller_names[native] = name
        return self._caller_names[native], True

    async def _written_name(self, scope: Scope) -> str:
        """The collection's name for an envelope."""
        return scope if isinstance(scope, str) else (await self._caller_name(decode_name(scope.value)))[0]

    # Entries

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        if len(keys) == 1:
            document = await self._collection(collection).find_one(documents.address(keys[0]))
            return [None if document is None else self._load(document, collection, keys[0])]
        found = await requests.find(self._collection(collection), keys)
        return [self._load(found[key], collection, key) if key in found else None for key in keys]

    def _load(self, document: dict[str, Any], scope: Scope, key: Key) -> ManagedEntry:
        try:
            return self._adapter.load_dict(document)
        except DeserializationError as exc:
            what = f"Key {shown(key)} in collection {shown(scope)} at {self.location}"
            raise DeserializationError(f"{what} is another program's document. {exc}") from exc

    async def _put_entries(self, *, collection: Scope, keys: Sequence[Key], entries: Sequence[ManagedEntry]) -> None:
        native = await self._writable(collection)
        name = await self._written_name(collection)
        updates = await made_in_turns(lambda key, entry: documents.overwrite(entry, key, name), keys, entries)
        if len(keys) == 1:
            await requests.upsert(native, keys[0], updates[0])
        else:
            await requests.upsert_all(native, list(zip(keys, updates, strict=True)))

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        gone = await self._collection(collection).find_one_and_delete(documents.address(key), projection={"expires_at": 1})
        deadline = None if gone is None else gone.get("expires_at")
        return gone is not None and not (isinstance(deadline, datetime) and deadline.replace(tzinfo=UTC) <= utc_now())

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        return await requests.delete_live(self._collection(collection), keys)

    async def _delete_collection(self, *, collection: Scope) -> bool:
        native = self._collection(collection)
        self._caller_names.pop(native.name, None)
        return "nIndexesWas" in await native.database.drop_collection(native.name)

    # Browse

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        after = None if cursor is None else decode_name(cursor)
        names = await self._database.list_collection_names(authorizedCollections=True)
        left = sorted(name for name in names if not name.startswith("system.") and (after is None or name > after))
        page = left[:limit]
        called = await run_bounded(self._caller_name, page, limit=requests.CONCURRENT_BATCHES)
        items = [Name(text, Token(encode_name(name)), exact) for name, (text, exact) in zip(page, called, strict=True)]
        return Page(items, encode_name(page[-1]) if len(left) > limit else None, len(page))

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        return await requests.scan(self._collection(collection), cursor, limit, match)

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        found = await requests.describe(self._collection(collection), keys)
        return [found.get(key) for key in keys]

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        stored = await requests.stored(self._collection(collection), key)
        return None if stored is None else documents.read_record(stored, limit, json_util.RELAXED_JSON_OPTIONS)

    async def _snapshot(self, *, collection: Scope, key: Key) -> Record | None:
        """As `_read`, but foreign data with the type of every number, so that it can be put back as it was."""
        stored = await requests.stored(self._collection(collection), key)
        return None if stored is None else documents.read_record(stored, None, json_util.CANONICAL_JSON_OPTIONS)

    # Edit

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        native = self._collection(collection) if new is None else await self._writable(collection)

        async def successor(stored: bytes | None) -> RawBSONDocument | None:
            return None if new is None else await self._successor(collection, key, new, stored)

        return await requests.commit(native, key, expected, successor)

    async def _successor(self, scope: Scope, key: Key, new: ManagedEntry | Record, stored: bytes | None) -> RawBSONDocument:
        """The whole document that takes the place of what is stored."""
        replaced = None if stored is None else bson.decode(stored, documents.CODEC)
        if isinstance(new, Record):
            return documents.encode_record(new, key, replaced)
        [own_id] = documents.address(key).values() if replaced is None else [replaced["_id"]]
        return documents.encode_entry(new, key, await self._written_name(scope), {"_id": own_id})
