"""Elasticsearch: one index a collection, `lower(prefix-collection)`; one document an entry, its `_id` the sanitized key.

Everything is read by `_mget` and written by `_bulk`, one entry too: both are exact at once, where searches only see what was
refreshed, and both carry names in their body, where a `..` is no path. Writes refresh, so that searches see them; serverless
projects refuse that, and list what was written a moment later. Compare-and-set is by sequence number and primary term.
Scans walk a point in time, which the server keeps for five minutes from page to page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, overload
from urllib.parse import urlsplit

import elastic_transport as transport
import elasticsearch as driver
from elasticsearch import AsyncElasticsearch

from stores.arguments import Secret
from stores.backends import elasticsearch_documents as documents
from stores.backends.elasticsearch_errors import CONFLICT, ERRORS, NO_INDEX, answered, bulk_failure, types_of
from stores.backends.elasticsearch_requests import BATCH, Node, Operation, bulk, mget
from stores.base import (
    BaseContextManagerStore,
    BaseCullStore,
    BaseDestroyCollectionStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
    BaseStore,
)
from stores.entry import ManagedEntry, utc_now
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    CursorExpiredError,
    DeserializationError,
    InvalidKeyError,
    StoreSetupError,
)
from stores.lifecycle import Scope
from stores.names import Key, Name, Page, Token, compile_glob, decode_name, encode_name
from stores.records import ABSENT, ANY, Description, Expected, Record, Version
from stores.sanitization import (
    ALPHANUMERIC_UNDERSCORE,
    AlwaysHashStrategy,
    HashFragmentMode,
    HybridSanitizationStrategy,
    SanitizationStrategy,
)
from stores.traits import Traits

__all__ = ["ElasticsearchStore", "ElasticsearchV1CollectionSanitizationStrategy", "ElasticsearchV1KeySanitizationStrategy"]

Document = documents.Document

MAX_ID: Final = 512
MAX_INDEX: Final = 255
MATCH_PAGE: Final = 2000
"""Keys that are looked at for one page when most of them will not match."""
MAX_PAGE: Final = 10_000
"""What one search returns at most."""
KEEP_ALIVE: Final = "5m"
LONG: Final = 600.0
"""Seconds that deleting by query may take."""
REFUSED_IN_INDEX: Final = frozenset('\\/*?"<>| ,#:')


class ElasticsearchV1KeySanitizationStrategy(AlwaysHashStrategy):
    """Every key as its whole hash."""

    def __init__(self) -> None:
        """The form has no options."""
        super().__init__(hash_length=64)


class ElasticsearchV1CollectionSanitizationStrategy(HybridSanitizationStrategy):
    """Every collection with a piece of its hash, so that names that differ only in case stay apart."""

    def __init__(self) -> None:
        """The form has no options."""
        super().__init__(
            max_length=200,
            allowed_characters=ALPHANUMERIC_UNDERSCORE + "-.",
            hash_fragment_mode=HashFragmentMode.ALWAYS,
        )


class ElasticsearchStore(
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
    BaseDestroyCollectionStore,
    BaseCullStore,
    BaseContextManagerStore,
    BaseStore,
):
    """A store in an Elasticsearch cluster (version 9, as the driver) or serverless project.

    Names are not sanitized unless strategies are given; without one, a collection whose name differs from an existing one only
    in case is refused, because an index's name is lowercase.
    """

    traits = Traits(
        name="elasticsearch",
        expiry="on read",
        scan="snapshot",
        binary_keys=False,
        empty_key=False,
        max_key_bytes=MAX_ID,
        max_collection_bytes=MAX_INDEX - 2,
        max_value_bytes=documents.MAX_BODY,
        batch_size=BATCH,
        notes="A text takes 32,766 bytes with its path, objects nest 20 levels; a scan's place is kept for five minutes.",
    )
    _errors: ClassVar = ERRORS

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
        self._index_prefix = index_prefix.lower()
        if not index_prefix or index_prefix[0] in "-_+" or REFUSED_IN_INDEX & set(index_prefix):
            raise ValueError(f"index_prefix {index_prefix!r} cannot begin the name of an index.")
        self._client = elasticsearch_client
        self._url = url or ""
        self._auto_create = auto_create
        self._options: dict[str, Any] = {"request_timeout": timeout, "http_compress": self._url.startswith("https")}
        if username is not None:
            self._options["basic_auth"] = (username, password or "")
        given = {"api_key": api_key, "ca_certs": ca_certs}
        self._options |= {name: option for name, option in given.items() if option is not None}
        if not verify_certs:
            self._options |= {"verify_certs": False, "ssl_show_warn": False}
        self._refresh: bool | None = True

    @property
    def location(self) -> str:
        """The URL without user and password, and the indices."""
        if self._client_provided_by_user:
            return f"indices {self._index_prefix}-* of the given client"
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{self._index_prefix}-*"

    # Life

    async def _setup(self) -> None:
        if self._client is None:
            self._client = AsyncElasticsearch([_with_port(self._url)], node_class=Node, **self._options)
        try:
            version = (await self._client.info()).body.get("version", {})
        except (driver.AuthorizationException, driver.NotFoundError):
            version = {}  # a key that may only use its own indices: what flavour it is does not matter enough
        self._refresh = None if version.get("build_flavor") == "serverless" else True

    async def _cleanup_failed_setup(self) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._client is not None and not self._client_provided_by_user:
            client, self._client = self._client, None
            await client.close()

    async def _setup_collection(self, *, collection: str) -> None:
        index = self._index(collection)
        if await self._api.indices.exists(index=index):
            if rival := await self._rival(collection):
                raise InvalidKeyError(
                    f"Collection {collection!r} would share index {index!r} with {rival!r}, which is there already: "
                    "an index's name is lowercase. A collection sanitization strategy keeps them apart."
                )
            return
        if not self._auto_create:
            raise ValueError(f"Index {index!r} does not exist; create it, or set auto_create=True.")
        try:
            await self._api.indices.create(index=index, mappings=documents.MAPPING)
        except driver.BadRequestError as exc:
            if "resource_already_exists_exception" not in types_of(exc):
                raise

    async def _rival(self, collection: str) -> str | None:
        """Another collection whose entries are in the same index."""
        index = self._index(collection)
        others = {"bool": {"filter": {"exists": {"field": "collection"}}, "must_not": {"term": {"collection": collection}}}}
        answer = await self._api.search(index=index, query=others, size=1, source={"includes": ["collection"]})
        for hit in answer["hits"]["hits"]:
            if self._is_rivals(hit["_source"], collection):
                return str(hit["_source"]["collection"])
        return None

    def _is_rivals(self, source: Document, scope: Scope) -> bool:
        """Whether a document belongs to a collection whose name differs from the asked one only in case."""
        name = source.get("collection")
        return isinstance(scope, str) and isinstance(name, str) and name != scope and self._index_of(name) == self._index(scope)

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        ours = super()._translate(exc, scope, key)
        if ours is None or not isinstance(exc, transport.ApiError):
            return ours
        return answered(ours.message or "", exc.meta.status, types_of(exc))

    @property
    def _api(self) -> AsyncElasticsearch:
        assert self._client is not None  # noqa: S101 - the base opens the store before it calls a hook
        return self._client

    # Names

    def _index(self, scope: Scope) -> str:
        """The index of a collection. The only place that names one."""
        if isinstance(scope, Token):
            index = decode_name(scope.value)
            if not index.startswith(f"{self._index_prefix}-"):
                raise InvalidKeyError(f"{index!r} is not an index of this store.")
            return index
        index = f"{self._index_prefix}-{self._sanitize_collection(scope)}".lower()
        if len(encode_name(index)) > MAX_INDEX or any(char < " " or char in REFUSED_IN_INDEX for char in index):
            raise InvalidKeyError(
                f"{scope[:40]!r} cannot be a collection in Elasticsearch: an index's name has {MAX_INDEX} bytes at most and "
                f"none of {''.join(sorted(REFUSED_IN_INDEX))!r}. A sanitization strategy can make it fit."
            )
        return index

    def _index_of(self, name: str) -> str | None:
        """As `_index`; None for a name that has none."""
        try:
            return self._index(name)
        except InvalidKeyError:
            return None

    def _id(self, key: Key) -> str:
        """The `_id` of a key's document."""
        return decode_name(key.value) if isinstance(key, Token) else self._sanitize_key(key)

    def _key_name(self, found: Document) -> tuple[str, bool]:
        """The caller's key of a document, and whether it is that for sure."""
        for name in (found["_source"].get("key"), found["_id"]):
            try:
                if isinstance(name, str) and self._sanitize_key(name) == found["_id"]:
                    return name, True
            except InvalidKeyError:
                continue
        return found["_id"], False

    async def _written_names(self, scope: Scope, keys: Sequence[Key]) -> tuple[str, list[str]]:
        """Collection and keys for envelopes; what tokens stand for is asked of what is stored."""
        found: Sequence[Document | None] = [None] * len(keys)
        if any(isinstance(key, Token) and not self._key_strategy.keeps(self._id(key)) for key in keys):
            found = await self._mget(scope, keys, ["key"])
        names = [
            key if isinstance(key, str) else (self._id(key) if one is None else self._key_name(one)[0])
            for key, one in zip(keys, found, strict=True)
        ]
        return scope if isinstance(scope, str) else (await self._collection_names([self._index(scope)]))[0].text, names

    # Requests

    async def _mget(self, scope: Scope, keys: Sequence[Key], fields: list[str] | None = None) -> list[Document | None]:
        """Documents in the order of the keys, perhaps only some of their fields; None for what is not in the collection."""
        index = self._index(scope)
        wanted = [{"_index": index, "_id": self._id(key)} for key in keys]
        found = await mget(self._api, wanted, None if fields is None else [*fields, "collection"])
        return [None if one is None or self._is_rivals(one["_source"], scope) else one for one in found]

    async def _bulk(self, operations: Sequence[Operation], *, once: bool = False) -> list[Document]:
        return await bulk(self._api, operations, refresh=self._refresh, once=once)

    def _operation(self, verb: str, scope: Scope, key: Key, body: bytes | None = None, **more: Any) -> Operation:
        action = {verb: {"_index": self._index(scope), "_id": self._id(key), **more}}
        return Operation(json.dumps(action).encode(), body)

    async def _check_written(self, scope: Scope, results: list[Document]) -> None:
        """Raise what went wrong, and say so when the index was made anew in passing, without this store's mapping."""
        if (failure := bulk_failure(results)) is not None:
            raise failure
        if any(result["_seq_no"] == 0 and result["result"] == "created" for result in results):
            index = self._index(scope)
            mapping = (await self._api.indices.get_mapping(index=index))[index]["mappings"]
            value = mapping.get("properties", {}).get("value", {})
            if value.get("properties", {}).get("flattened", {}).get("type") != "flattened":
                if isinstance(scope, str):
                    self._set_up_collections.discard(scope)
                raise StoreSetupError(
                    f"Somebody deleted index {index!r}, and Elasticsearch made it anew without this store's mapping when it "
                    "stored the entry. Delete the index and write again."
                )

    # Entries

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        return (await self._get_managed_entries(collection=collection, keys=[key]))[0]

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        found = await self._mget(collection, keys)
        return [
            None if document is None else self._load(document["_source"], collection, key)
            for key, document in zip(keys, found, strict=True)
        ]

    def _load(self, source: Document, scope: Scope, key: Key) -> ManagedEntry:
        try:
            return self._adapter.load_dict(source)
        except DeserializationError as exc:
            raise DeserializationError(
                f"Key {_shown(key)} in collection {_shown(scope)} at {self.location} is another program's document. {exc}"
            ) from exc

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        await self._write(collection, [key], [managed_entry])

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
        await self._write(collection, keys, managed_entries)

    async def _write(self, scope: Scope, keys: Sequence[Key], entries: Sequence[ManagedEntry]) -> None:
        name, texts = await self._written_names(scope, keys)
        operations = [
            self._operation("index", scope, key, documents.encode_entry(entry, text, name))
            for key, text, entry in zip(keys, texts, entries, strict=True)
        ]
        await self._check_written(scope, await self._bulk(operations))

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        return bool(await self._delete_managed_entries(keys=[key], collection=collection))

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        """Looks first, because deleting does not tell what had expired."""
        found = await self._mget(collection, keys, documents.HEAD)
        there = [(key, documents.read_description(one)) for key, one in zip(keys, found, strict=True) if one is not None]
        if not there:
            return 0
        results = await self._bulk([self._operation("delete", collection, key) for key, _ in there])
        if (failure := bulk_failure([one for one in results if one.get("error", {}).get("type") != NO_INDEX])) is not None:
            raise failure
        now = utc_now()
        live = [seen.expires_at is None or seen.expires_at > now for _, seen in there]
        return sum(lived and one.get("result") == "deleted" for lived, one in zip(live, results, strict=True))

    async def _delete_collection(self, *, collection: Scope) -> bool:
        everything: Document = {"match_all": {}}
        query = {"term": {"collection": collection}} if isinstance(collection, str) else everything
        return await self._delete_by_query(self._index(collection), query) > 0

    async def _cull(self) -> None:
        now = int(utc_now().timestamp() * 1000)
        past = [{"exists": {"field": "version"}}, {"exists": {"field": "collection"}}, {"range": {"expires_at": {"lt": now}}}]
        await self._delete_by_query(f"{self._index_prefix}-*", {"bool": {"filter": past}})

    async def _delete_by_query(self, index: str, query: Document) -> int:
        """How many went; what is changed meanwhile stays."""
        api = self._api.options(request_timeout=LONG)
        try:
            answer = await api.delete_by_query(index=index, query=query, conflicts="proceed", refresh=self._refresh)
        except driver.NotFoundError:
            return 0
        return int(answer["deleted"])

    # Browse

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        after = "" if cursor is None else decode_name(cursor)
        indices = await self._api.indices.get_alias(index=f"{self._index_prefix}-*", expand_wildcards=["open"])
        left = sorted(index for index in indices.body if index > after)
        page = left[: min(limit, BATCH)]
        names = await self._collection_names(page, hide_empty=True) if page else []
        return Page(names, encode_name(page[-1]) if len(left) > len(page) else None, len(page))

    async def _collection_names(self, indices: Sequence[str], *, hide_empty: bool = False) -> list[Name]:
        """The callers' names of indices, asked of their entries: an index's name has lost its case, or more."""
        searches: list[Document] = []
        for index in indices:
            searches += [{"index": index}, {"size": 1, "_source": ["collection"], "query": {"exists": {"field": "collection"}}}]
            searches += [{"index": index}, {"size": 1, "_source": False}]
        answers = (await self._api.msearch(searches=searches))["responses"]
        names: list[Name] = []
        for index, entries, anything in zip(indices, answers[::2], answers[1::2], strict=True):
            token = Token(encode_name(index))
            hits = entries.get("hits", {}).get("hits", [])
            name = hits[0]["_source"]["collection"] if hits else None
            if isinstance(name, str) and self._index_of(name) == index:
                names.append(Name(name, token))
            elif not hide_empty or anything.get("hits", {}).get("hits", []):
                text = index.removeprefix(f"{self._index_prefix}-")
                names.append(Name(text, token, exact=self._index_of(text) == index))
        return names

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        size = min(limit if match is None else max(limit, MATCH_PAGE), MAX_PAGE)
        try:
            if cursor is None:
                pit, after = (
                    (await self._api.open_point_in_time(index=self._index(collection), keep_alive=KEEP_ALIVE))["id"],
                    {},
                )
            else:
                pit, place = json.loads(cursor)
                after = {"search_after": place}
        except driver.NotFoundError:
            return Page([], None, 0)
        except ValueError as exc:
            raise CursorExpiredError("This is no cursor of an Elasticsearch store: start the scan again.") from exc
        try:
            answer = await self._api.search(
                pit={"id": pit, "keep_alive": KEEP_ALIVE},
                size=size,
                sort=["_shard_doc"],
                source={"includes": ["key", "collection"]},
                track_total_hits=False,
                allow_partial_search_results=False,
                **after,
            )
        except driver.NotFoundError as exc:
            raise CursorExpiredError("The server no longer keeps this scan's place: start the scan again.") from exc
        hits = answer["hits"]["hits"]
        pit = answer.get("pit_id", pit)
        more = len(hits) == size
        if not more:
            await self._api.options(ignore_status=404).close_point_in_time(id=pit)
        glob = None if match is None else compile_glob(match)
        items: list[Name] = []
        for hit in hits:
            text, exact = self._key_name(hit)
            if not self._is_rivals(hit["_source"], collection) and (glob is None or glob.match(text)):
                items.append(Name(text, Token(encode_name(hit["_id"])), exact))
        return Page(items, json.dumps([pit, hits[-1]["sort"]]).encode() if more else None, len(hits))

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
        [result] = await self._bulk([self._operation(verb, collection, key, body, **condition)], once=True)
        kind = result.get("error", {}).get("type")
        if kind == CONFLICT or (new is None and (kind == NO_INDEX or result.get("result") == "not_found")):
            raise ConflictError
        await self._check_written(collection, [result])
        return ABSENT if new is None else documents.version_of(result)


def _with_port(url: str) -> str:
    """The URL with the port that its scheme implies, which the driver wants to be told."""
    parts = urlsplit(url)
    if parts.port is not None or not parts.hostname:
        return url
    return parts._replace(netloc=f"{parts.netloc}:{443 if parts.scheme == 'https' else 9200}").geturl()


def _shown(name: Key) -> str:
    return repr(name if isinstance(name, str) else name.value)
