"""Elasticsearch: one index a collection, `lower(prefix-collection)`; one document an entry, its `_id` the sanitized key.

What is read comes by `_mget`, or by a get if it is one document with a plain `_id`, and is written by `_bulk`: these are exact
at once, where searches only see what was refreshed, and batches carry names in their body, where a `..` is no path. Writes
refresh, so that searches see them; serverless projects refuse that, and list what was written a moment later. Compare-and-set
is by sequence number and primary term.
Scans walk a point in time, which the server keeps for five minutes from page to page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Final, overload
from urllib.parse import urlsplit

import elasticsearch as driver
from elasticsearch import AsyncElasticsearch

from stores.arguments import Secret
from stores.backends import elasticsearch_documents as documents, elasticsearch_scans as scans
from stores.backends.answers import whole
from stores.backends.certificates import check_files
from stores.backends.elasticsearch_client import client_for
from stores.backends.elasticsearch_errors import (
    CONFLICT,
    ERRORS,
    FAULTS,
    NO_INDEX,
    advised,
    bulk_failure,
    cause_of,
    innermost,
)
from stores.backends.elasticsearch_names import (
    MAX_ID,
    MAX_INDEX,
    ElasticsearchV1CollectionSanitizationStrategy,
    ElasticsearchV1KeySanitizationStrategy,
    Names,
)
from stores.backends.elasticsearch_requests import BATCH, bulk, check_mapping, create_index, mget, operations, put
from stores.base import (
    BaseContextManagerStore,
    BaseCullStore,
    BaseDestroyCollectionStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
)
from stores.batches import made_in_turns
from stores.coalesced import CoalescingStore
from stores.entry import ManagedEntry, utc_now
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    InvalidKeyError,
    StoreSetupError,
)
from stores.lifecycle import Scope
from stores.names import Key, Name, Page, Token, compile_glob, decode_name, encode_name, shown
from stores.records import ABSENT, ANY, Description, Expected, Record, Version
from stores.sanitization import (
    SanitizationStrategy,
)
from stores.traits import Traits

__all__ = ["ElasticsearchStore", "ElasticsearchV1CollectionSanitizationStrategy", "ElasticsearchV1KeySanitizationStrategy"]

Document = documents.Document

MATCH_PAGE: Final = 2000
"""Keys that are looked at for one page when most of them will not match."""


class ElasticsearchStore(
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
    BaseDestroyCollectionStore,
    BaseCullStore,
    BaseContextManagerStore,
    CoalescingStore,
):
    """A store in an Elasticsearch cluster (version 9, as the driver) or serverless project.

    Names are not sanitized unless strategies are given; without one, a collection whose name differs from an existing one only
    in case is refused, because an index's name is lowercase.
    """

    traits = Traits(
        name="elasticsearch",
        pings=True,
        expiry="on read",
        scan="snapshot",
        binary_keys=False,
        empty_key=False,
        max_key_bytes=MAX_ID,
        max_collection_bytes=MAX_INDEX - 2,
        max_value_bytes=documents.MAX_BODY,
        max_text_bytes=documents.MAX_TERM,
        batch_size=BATCH,
        notes="A text takes 32,766 bytes with its path, objects nest 20 levels; a scan's place is kept for five minutes.",
    )
    _errors: ClassVar = ERRORS
    _faults: ClassVar = FAULTS

    @overload
    def __init__(
        self,
        *,
        elasticsearch_client: AsyncElasticsearch,
        index_prefix: str,
        default_collection: str | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        auto_create: bool = True,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        url: Annotated[str, Secret],
        api_key: Annotated[str | None, Secret] = None,
        index_prefix: str,
        default_collection: str | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        auto_create: bool = True,
        username: str | None = None,
        password: Annotated[str | None, Secret] = None,
        ca_certs: str | None = None,
        verify_certs: bool = True,
        timeout: float = 10.0,
    ) -> None: ...

    def __init__(
        self,
        *,
        elasticsearch_client: AsyncElasticsearch | None = None,
        url: Annotated[str | None, Secret] = None,
        api_key: Annotated[str | None, Secret] = None,
        index_prefix: str,
        default_collection: str | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
        auto_create: bool = True,
        username: str | None = None,
        password: Annotated[str | None, Secret] = None,
        ca_certs: str | None = None,
        verify_certs: bool = True,
        timeout: float = 10.0,
    ) -> None:
        """Choose the cluster and the indices.

        Args:
            elasticsearch_client: An AsyncElasticsearch to use instead of a URL; it stays the caller's, who closes it.
            url: The cluster's address, https://host:port; without a port 443 for https and 9200 for http.
            api_key: An API key, encoded as Elasticsearch shows it.
            index_prefix: What the names of this store's indices start with.
            default_collection: The collection where none is given.
            key_sanitization_strategy: How keys are made to fit; as they are when empty.
            collection_sanitization_strategy: How collection names are made to fit; as they are when empty.
            auto_create: Create a collection's index at the first write; otherwise a missing index is an error.
            username: Who logs in, instead of an API key.
            password: The user's password.
            ca_certs: A PEM file with the authorities that may have signed the server's certificate.
            verify_certs: Check the server's certificate; switch off only for a trial.
            timeout: Seconds to wait for each answer.

        Raises:
            ValueError: neither a client nor a URL is given, or the prefix cannot begin an index's name.
        """
        if elasticsearch_client is None and not url:
            raise ValueError("ElasticsearchStore needs an elasticsearch_client or a url.")
        super().__init__(
            default_collection=default_collection,
            serialization_adapter=documents.ADAPTER,
            key_sanitization_strategy=key_sanitization_strategy,
            collection_sanitization_strategy=collection_sanitization_strategy,
            client_provided_by_user=elasticsearch_client is not None,
        )
        self._names = Names(index_prefix, self._sanitize_collection, self._sanitize_key)
        self._client = elasticsearch_client
        self._url = url or ""
        self._auto_create = auto_create
        login = None if username is None else (username, password or "")
        self._make_client = partial(
            client_for, api_key=api_key, login=login, ca_certs=ca_certs, verify_certs=verify_certs, timeout=timeout
        )
        self._ca_certs = ca_certs
        self._refresh: bool | None = True

    @property
    def location(self) -> str:
        """The URL without user and password, and the indices."""
        if self._client_provided_by_user:
            return f"indices {self._names.pattern} of the given client"
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{self._names.pattern}"

    # Life

    async def _setup(self) -> None:
        if self._client is None:
            await asyncio.to_thread(check_files, self._ca_certs)
            self._client = self._make_client(self._url)
        try:
            version = whole((await self._client.info()).body, "version")["version"]
        except (driver.AuthorizationException, driver.NotFoundError):
            version = {}  # a key that may only use its own indices: what flavour it is does not matter enough
        self._refresh = None if version.get("build_flavor") == "serverless" else True

    async def _close(self) -> None:
        if self._client is not None and not self._client_provided_by_user:
            client, self._client = self._client, None
            await client.close()

    async def _setup_collection(self, *, collection: str) -> None:
        index = self._names.index(collection)
        if await self._api.indices.exists(index=index):
            for source in await scans.other_collections(self._api, index, collection):
                if self._names.is_rivals(source, collection):
                    raise InvalidKeyError(
                        f"Collection {collection!r} would share index {index!r} with {source['collection']!r}, which is there "
                        "already: an index's name is lowercase. A collection sanitization strategy keeps them apart."
                    )
            return
        if not self._auto_create:
            raise ValueError(f"Index {index!r} does not exist; create it, or set auto_create=True.")
        await create_index(self._api, index)

    def _cause(self, exc: BaseException) -> BaseException:
        return cause_of(exc)

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        ours = super()._translate(exc, scope, key)
        return None if ours is None else advised(ours, exc)

    def _told(self, exc: BaseException) -> str:
        return super()._told(innermost(exc))

    @property
    def _api(self) -> AsyncElasticsearch:
        assert self._client is not None  # noqa: S101 - the base opens the store before it calls a hook
        return self._client

    # Names

    async def _written_names(self, scope: Scope, keys: Sequence[Key]) -> tuple[str, list[str]]:
        """Collection and keys for envelopes; what tokens stand for is asked of what is stored."""
        found: Sequence[Document | None] = [None] * len(keys)
        if any(isinstance(key, Token) and not self._key_strategy.keeps(self._names.own_id(key)) for key in keys):
            found = await self._mget(scope, keys, ["key"])
        names = [
            key if isinstance(key, str) else (self._names.own_id(key) if one is None else self._names.key(one)[0])
            for key, one in zip(keys, found, strict=True)
        ]
        return scope if isinstance(scope, str) else (await self._collection_names([self._names.index(scope)]))[0].text, names

    # Requests

    async def _mget(self, scope: Scope, keys: Sequence[Key], fields: list[str] | None = None) -> list[Document | None]:
        """Documents in the order of the keys, perhaps only some of their fields; None for what is not in the collection."""
        ids = [self._names.own_id(key) for key in keys]
        found = await mget(self._api, self._names.index(scope), ids, None if fields is None else [*fields, "collection"])
        return [None if one is None or self._names.is_rivals(one["_source"], scope) else one for one in found]

    async def _bulk(
        self,
        verb: str,
        scope: Scope,
        keys: Sequence[Key],
        bodies: Sequence[bytes | None] | None = None,
        *,
        once: bool = False,
        **condition: Any,
    ) -> list[Document]:
        ids = [self._names.own_id(key) for key in keys]
        wanted = operations(verb, self._names.index(scope), ids, bodies, **condition)
        return await bulk(self._api, wanted, refresh=self._refresh, once=once)

    async def _check_written(self, scope: Scope, results: list[Document]) -> None:
        """Raise what went wrong, and say so when the index was made anew in passing, without this store's mapping."""
        if (failure := bulk_failure(results)) is not None:
            raise failure
        if any(result["_seq_no"] == 0 and result["result"] == "created" for result in results):
            try:
                await check_mapping(self._api, self._names.index(scope))
            except StoreSetupError:
                if isinstance(scope, str):
                    self._set_up_collections.discard(scope)
                raise

    # Entries

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        pairs = zip(keys, await self._mget(collection, keys), strict=True)
        return [None if found is None else self._load(found["_source"], collection, key) for key, found in pairs]

    def _load(self, source: Document, scope: Scope, key: Key) -> ManagedEntry:
        try:
            return self._adapter.load_dict(source)
        except DeserializationError as exc:
            what = f"Key {shown(key)} in collection {shown(scope)} at {self.location}"
            raise DeserializationError(f"{what} is another program's document. {exc}") from exc

    async def _put_entries(self, *, collection: Scope, keys: Sequence[Key], entries: Sequence[ManagedEntry]) -> None:
        name, texts = await self._written_names(collection, keys)
        bodies = await made_in_turns(lambda text, entry: documents.encode_entry(entry, text, name), texts, entries)
        ids = [self._names.own_id(key) for key in keys]
        results = await put(self._api, self._names.index(collection), ids, bodies, refresh=self._refresh)
        await self._check_written(collection, results)

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        return bool(await self._delete_managed_entries(keys=[key], collection=collection))

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        """Looks first, because deleting does not tell what had expired."""
        found = await self._mget(collection, keys, documents.DEADLINE)
        there = {key: document for key, document in zip(keys, found, strict=True) if document is not None}
        if not there:
            return 0
        results = await self._bulk("delete", collection, list(there))
        if (failure := bulk_failure([one for one in results if one.get("error", {}).get("type") != NO_INDEX])) is not None:
            raise failure
        now = utc_now()
        lived = [not documents.has_expired(document, now) for document in there.values()]
        return sum(alive and one.get("result") == "deleted" for alive, one in zip(lived, results, strict=True))

    async def _delete_collection(self, *, collection: Scope) -> bool:
        everything: Document = {"match_all": {}}
        query = {"term": {"collection": collection}} if isinstance(collection, str) else everything
        return await scans.delete_by_query(self._api, self._names.index(collection), query, refresh=self._refresh) > 0

    async def _cull(self) -> None:
        await scans.delete_expired(self._api, self._names.pattern, utc_now(), refresh=self._refresh)

    # Browse

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        after = "" if cursor is None else decode_name(cursor)
        indices = await self._api.indices.get_alias(index=self._names.pattern, expand_wildcards=["open"])
        left = sorted(index for index in whole(indices.body) if index > after)
        page = left[: min(limit, BATCH)]
        names = await self._collection_names(page, hide_empty=True) if page else []
        return Page(names, encode_name(page[-1]) if len(left) > len(page) else None, len(page))

    async def _collection_names(self, indices: Sequence[str], *, hide_empty: bool = False) -> list[Name]:
        """The callers' names of indices, asked of their entries: an index's name has lost its case, or more."""
        found = zip(indices, await scans.samples(self._api, indices), strict=True)
        names = [(self._names.collection(index, named), is_filled) for index, (named, is_filled) in found]
        return [
            name if is_filled is not None else replace(name, exact=False)
            for name, is_filled in names
            if is_filled is not False or not hide_empty
        ]

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        limit = limit if match is None else max(limit, MATCH_PAGE)
        hits, after = await scans.page_of_hits(self._api, self._names.index(collection), cursor, limit)
        glob = None if match is None else compile_glob(match)
        items: list[Name] = []
        for hit in hits:
            text, exact = self._names.key(hit)
            if not self._names.is_rivals(hit["_source"], collection) and (glob is None or glob.match(text)):
                items.append(Name(text, Token(encode_name(hit["_id"])), exact))
        return Page(items, after, len(hits))

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        found = await self._mget(collection, keys, documents.HEAD)
        return [None if document is None else documents.read_description(document) for document in found]

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        [found] = await self._mget(collection, [key])
        return None if found is None else documents.read_record(found, limit)

    # Edit

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        if new is None and expected == ABSENT:
            if (await self._mget(collection, [key], []))[0] is not None:
                raise ConflictError
            return ABSENT
        verb = "delete" if new is None else "create" if expected == ABSENT else "index"
        condition = {} if expected is ANY or expected == ABSENT else documents.condition(expected)
        if condition is None:
            raise ConflictError
        body: bytes | None = None
        if isinstance(new, Record):
            body = documents.encode_record(new)
        elif new is not None:
            name, [text] = await self._written_names(collection, [key])
            body = documents.encode_entry(new, text, name)
        # Sent once: an answer that was lost must not come back as a conflict with one's own write.
        [result] = await self._bulk(verb, collection, [key], [body], once=True, **condition)
        kind = result.get("error", {}).get("type")
        if kind == CONFLICT or (new is None and (kind == NO_INDEX or result.get("result") == "not_found")):
            raise ConflictError
        await self._check_written(collection, [result])
        return ABSENT if new is None else documents.version_of(result)
