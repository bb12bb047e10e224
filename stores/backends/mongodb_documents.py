"""The documents that MongoDBStore keeps, and how they are addressed. Nothing here speaks to a server.

An entry is `{_id, key, collection, version: 1, created_at, expires_at, value: {object: {...}}}`, with native dates. A key is
the field `key`; a token is the filter that finds one document, by `key` or by `_id`, as extended JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import bson
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from stores.entry import ManagedEntry, dump_json
from stores.errors import DeserializationError, InvalidKeyError, SerializationError, ValueTooLargeError
from stores.names import Key, Token, glob_prefix
from stores.records import ENTRY, Description, Record, Version
from stores.serialization import SerializationAdapter

Document = dict[str, Any]
Filter = dict[str, Any]

DOCUMENT: Final = "document"
"""The kind of foreign data here."""
MAX_DOCUMENT: Final = 16 * 1024 * 1024
SMALL: Final = 1024
"""Bytes up to which a description looks at the whole document, so that its stamp sees every change."""
CODEC: Final = CodecOptions[Document](  # dates stay naive, and are UTC: making them aware takes longer than all the rest
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,  # dates beyond Python's years are foreign, not an error
    unicode_decode_error_handler="surrogateescape",
)
RAW: Final = CodecOptions[RawBSONDocument](document_class=RawBSONDocument)

NOT_STRING: Final = [
    "number",
    "object",
    "array",
    "binData",
    "objectId",
    "bool",
    "date",
    "regex",
    "timestamp",
    "minKey",
    "maxKey",
]
START: Final = object()
"""Before the first name; None is an `_id`."""

LAST_BEFORE_SURROGATES: Final = "\ud7ff"

WITHOUT_KEY: Final[Filter] = {"$or": [{"key": None}, {"key": {"$type": NOT_STRING}}]}

SMALL_ENOUGH: Final = {"$lte": [{"$bsonSize": "$$ROOT"}, SMALL]}
ENVELOPE: Final[Document] = {name: f"${name}" for name in ("_id", "key", "version", "created_at", "expires_at")} | {
    "value": {"$cond": [{"$eq": [{"$type": "$value.object"}, "object"]}, {"object": {"$literal": {}}}, None]}
}
SUMMARY: Final = {"$project": {"size": {"$bsonSize": "$$ROOT"}, "head": {"$cond": [SMALL_ENOUGH, "$$ROOT", ENVELOPE]}}}
"""What a description needs: the size and either all of a small document or the envelope of a big one."""


class MongoDBSerializationAdapter(SerializationAdapter):
    """Native dates, and the value inside `value.object`."""

    def __init__(self) -> None:
        """The form has no options."""
        super().__init__(date_format="datetime", value_format="dict")

    def load_dict(self, data: Document) -> ManagedEntry:
        """As the base; what only BSON can carry (an ObjectId in the value) makes a document foreign, too."""
        entry = super().load_dict(data)
        try:
            dump_json(entry.value)
        except SerializationError as exc:
            raise DeserializationError(str(exc)) from exc
        return entry

    def prepare_load(self, data: Document) -> Document:
        """Take the value out of its wrapping."""
        value = data.get("value")
        if not isinstance(value, Mapping) or "object" not in value:
            raise DeserializationError("It has no field `value.object`.")
        return {**data, "value": value["object"]}

    def prepare_dump(self, data: Document) -> Document:
        """Wrap the value, as JSON would carry it, and round the deadline up to milliseconds."""
        wrapped = {**data, "value": {"object": json.loads(dump_json(data["value"]))}}
        if (deadline := data.get("expires_at")) is not None:
            wrapped["expires_at"] = _next_millisecond(deadline)
        return wrapped


ADAPTER: Final = MongoDBSerializationAdapter()


def encode(document: Document) -> RawBSONDocument:
    """Encode once and for all, so that what MongoDB cannot carry is refused before anything is sent.

    Raises:
        SerializationError: an integer beyond 64 bits, text that is not UTF-8, a name with a NUL.
        ValueTooLargeError: over 16 MiB.
    """
    try:
        raw = bson.encode(document)
    except OverflowError as exc:
        raise SerializationError(
            "MongoDB carries integers of 64 bits (-2^63 to 2^63-1), and this value has a bigger one."
        ) from exc
    except (BSONError, UnicodeEncodeError, RecursionError) as exc:
        raise SerializationError(f"MongoDB cannot carry the value: {exc}.") from exc
    if len(raw) > MAX_DOCUMENT:
        raise ValueTooLargeError(f"The document has {len(raw):,} bytes; MongoDB takes {MAX_DOCUMENT:,} at most.")
    return RawBSONDocument(raw)


def encode_entry(entry: ManagedEntry, key: Key, collection: str, head: Document | None = None) -> RawBSONDocument:
    """The document of an entry, `head` (its `_id`) first."""
    return encode((head or {}) | ADAPTER.dump_dict(entry, key=key_text(key), collection=collection))


def encode_record(record: Record, key: Key, replaced: Document | None) -> RawBSONDocument:
    """The document of a snapshot of foreign data, such that it is found under this key.

    Its `_id` is the one of what it replaces; where nothing is, the one that it had under this same key, else a new one.
    """
    try:
        document = json_util.loads(record.body, json_options=json_util.CANONICAL_JSON_OPTIONS)
    except (ValueError, TypeError, RecursionError, BSONError):
        document = None
    if not isinstance(document, dict):
        raise SerializationError("A MongoDB document is restored from a JSON object.")
    recorded = document.pop("_id", None)
    [(field, value)] = address(key).items()
    own_id = value
    if field == "key":
        if recorded is not None and document.get("key") == value:
            own_id = recorded
        document["key"] = value
    return encode({"_id": own_id if replaced is None else replaced["_id"]} | document)


def overwrite(entry: ManagedEntry, key: Key, collection: str) -> Document:
    """The update that writes the whole envelope, drops what it lacks, and gives a new document its key as `_id`."""
    update: Document = {"$set": encode_entry(entry, key, collection)}
    times = {"created_at": entry.created_at, "expires_at": entry.expires_at}
    if absent := {name: "" for name, moment in times.items() if moment is None}:
        update["$unset"] = absent
    if "_id" not in address(key):
        update["$setOnInsert"] = {"_id": key_text(key)}
    return update


def unchanged(stored: bytes) -> Filter:
    """Matches the document only as it was read."""
    whole = RawBSONDocument(stored)
    return {"_id": whole["_id"], "$expr": {"$eq": ["$$ROOT", {"$literal": whole}]}}


def version_of(stored: bytes) -> Version:
    """The document's content as a version."""
    return Version(hashlib.sha256(stored).digest()[:16])


def read_record(stored: bytes, limit: int | None, options: json_util.JSONOptions) -> Record:
    """What browsing sees of a document."""
    document = bson.decode(stored, CODEC)
    version = version_of(stored)
    try:
        entry = ADAPTER.load_dict(document)
    except DeserializationError:
        text = json_util.dumps(document, json_options=options).encode()
        return Record(kind=DOCUMENT, body=text[:limit], length=len(text), size=len(stored), version=version)
    return Record.of(entry, size=len(stored), version=version)


def read_summary(raw: bytes) -> tuple[Document, Description]:
    """The head of a document and its description, from what `SUMMARY` projects."""
    summary = bson.decode(raw, CODEC)
    stamp = hashlib.sha256(raw).digest()[:12]
    try:
        entry = ADAPTER.load_dict(summary["head"])
    except DeserializationError:
        return summary["head"], Description(DOCUMENT, summary["size"], None, None, stamp)
    return summary["head"], Description(ENTRY, summary["size"], entry.created_at, entry.expires_at, stamp)


# Addresses


def token_of(field: str, value: Any) -> Token:
    """The token of the document with this key or `_id`."""
    if isinstance(value, str):  # as below, for what most names are
        return Token(json.dumps({field: value}).encode())
    return Token(json_util.dumps({field: value}, json_options=json_util.CANONICAL_JSON_OPTIONS).encode())


def read_token(token: bytes) -> tuple[str, Any]:
    """Field and value. InvalidKeyError when it is none of ours."""
    try:
        [(field, value)] = json_util.loads(token, json_options=json_util.CANONICAL_JSON_OPTIONS).items()
    except (ValueError, TypeError, AttributeError, RecursionError, BSONError):
        field, value = "", None
    if field != "_id" and not (field == "key" and isinstance(value, str)):
        raise InvalidKeyError(f"{token[:80]!r} is not a token of a MongoDB store.")
    return field, value


def address(key: Key) -> Filter:
    """The filter that finds a key's document. The only place that locates one."""
    if isinstance(key, str):
        return {"key": key}
    field, value = read_token(key.value)
    return {field: value}


def addresses(keys: Sequence[Key], *, alive_at: datetime | None = None) -> Filter:
    """The filter that finds the documents of many keys; with a moment, of the entries only those that live then."""
    fields: dict[str, list[Any]] = {}
    for key in keys:
        for field, value in address(key).items():
            fields.setdefault(field, []).append(value)
    filters: list[Filter] = [{field: {"$in": values}} for field, values in fields.items()]
    if alive_at is not None:
        for where in filters:
            if "key" in where:
                where["expires_at"] = {"$not": {"$lte": alive_at}}
    return filters[0] if len(filters) == 1 else {"$or": filters}


def names_of(document: Mapping[str, Any], *, by_token: bool) -> Iterator[Key]:
    """Every name under which a document may have been asked for."""
    key = document.get("key")
    if isinstance(key, str):
        yield key
        if by_token:
            yield token_of("key", key)
    if by_token:
        yield token_of("_id", document["_id"])


def keys_after(last: Any, match: str | None) -> Filter:
    """The range of the keys that follow; a glob's literal beginning narrows it. One condition: some servers scan for more."""
    prefix = "" if match is None else glob_prefix(match)
    bounds: Filter = {"$gt": last} if last is not START and last >= prefix else {"$gte": prefix}
    if prefix and prefix[-1] < LAST_BEFORE_SURROGATES:
        bounds["$lt"] = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return {"key": bounds}


def without_key_after(last: Any) -> Filter:
    """The documents without a key that follow, of whatever type their `_id` is ($gt alone stays within one type)."""
    return WITHOUT_KEY if last is START else {**WITHOUT_KEY, "$expr": {"$gt": ["$_id", {"$literal": last}]}}


def key_text(key: Key) -> str:
    """The key to write into an envelope."""
    return key if isinstance(key, str) else id_text(*address(key).values())


def id_text(own_id: Any) -> str:
    """An `_id` as a person reads it."""
    if isinstance(own_id, (str, bson.ObjectId)):
        return str(own_id)
    return json_util.dumps(own_id, json_options=json_util.RELAXED_JSON_OPTIONS)


def _next_millisecond(moment: datetime) -> datetime:
    rest = moment.microsecond % 1000
    try:
        return moment + timedelta(microseconds=1000 - rest) if rest else moment
    except OverflowError:  # the last millisecond of the year 9999
        return moment
