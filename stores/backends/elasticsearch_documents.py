"""The documents that ElasticsearchStore keeps, their mapping, and their limits. Nothing here speaks to a server.

An entry is `{version, key, collection, created_at, expires_at, value: {flattened: {...}}}`. The value is one field of type
`flattened`: every leaf becomes a term, path included, and a term has at most 32,766 bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from stores.entry import ManagedEntry, dump_text
from stores.errors import DeserializationError, InvalidKeyError, SerializationError, ValueTooLargeError
from stores.names import encode_name
from stores.records import ENTRY, Description, Record, Version
from stores.serialization import SerializationAdapter

Document = dict[str, Any]

DOCUMENT: Final = "document"
"""The kind of foreign data here."""
MAX_TERM: Final = 32_766
MAX_DEPTH: Final = 20
"""Levels of objects that a flattened field takes."""
MAX_BODY: Final = 100 * 1024 * 1024
"""What a server accepts in one request unless it is configured otherwise."""
MAPPING: Final[Document] = {
    "properties": {
        "created_at": {"type": "date"},
        "expires_at": {"type": "date"},
        "collection": {"type": "keyword"},
        "key": {"type": "keyword"},
        "version": {"type": "integer"},
        "value": {"properties": {"flattened": {"type": "flattened"}}},
    }
}
DOUBTFUL: Final = ("\\u0000", "\\ud", "NaN", "Infinity")
"""In the JSON of a value that may hold a NUL, half a surrogate pair, or a number that is none."""
HEAD: Final = ["version", "key", "collection", "created_at", "expires_at"]
"""The fields of an entry without its value."""
DEADLINE: Final = ["version", "key", "collection", "expires_at"]
"""Those that tell whether it has expired."""


class ElasticsearchSerializationAdapter(SerializationAdapter):
    """The value inside `value.flattened`."""

    def prepare_load(self, data: Document) -> Document:
        """Take the value out of its wrapping."""
        value = data.get("value")
        if not isinstance(value, Mapping) or "flattened" not in value:
            raise DeserializationError("It has no field `value.flattened`.")
        return {**data, "value": value["flattened"]}

    def prepare_dump(self, data: Document) -> Document:
        """Wrap the value."""
        return {**data, "value": {"flattened": data["value"]}}


ADAPTER: Final = ElasticsearchSerializationAdapter()


def encode_entry(entry: ManagedEntry, key: str, collection: str) -> bytes:
    """The document as JSON; what Elasticsearch would not take is refused before anything is sent.

    Raises:
        SerializationError: deeper than 20 objects, a name with a NUL, text that is not UTF-8, a number that is none.
        ValueTooLargeError: a leaf, or the whole, is over its limit.
        InvalidKeyError: the key or the collection is over a term's limit.
    """
    for what, name in (("key", key), ("collection", collection)):
        if len(encode_name(name)) > MAX_TERM:
            raise InvalidKeyError(f"The {what} has more than {MAX_TERM:,} bytes, which is Elasticsearch's limit on a field.")
    made = "" if entry.created_at is None else f'"created_at": "{entry.created_at.isoformat()}", '
    ends = "" if entry.expires_at is None else f'"expires_at": "{entry.expires_at.isoformat()}", '
    names = f'"collection": {dump_text(collection)}, {made}{ends}"key": {dump_text(key)}'
    value = entry.value_as_json
    body = f'{{{names}, "value": {{"flattened": {value}}}, "version": 1}}'.encode()
    try:
        if not _surely_fits(value):
            _check_leaves(entry.value, 0, 1)
    except UnicodeEncodeError as exc:
        raise SerializationError(f"Elasticsearch takes UTF-8 only: {exc}.") from exc
    except RecursionError as exc:
        raise SerializationError("The value is nested too deeply.") from exc
    if len(body) > MAX_BODY:
        raise ValueTooLargeError(f"The document has {len(body):,} bytes; Elasticsearch takes {MAX_BODY:,} at most.")
    return body


def encode_record(record: Record) -> bytes:
    """The document of a snapshot of foreign data."""
    try:
        document = json.loads(record.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SerializationError("An Elasticsearch document is restored from a JSON object.")
    return json.dumps(document).encode()


def read_record(found: Document, limit: int | None) -> Record:
    """What browsing sees of a document that was found."""
    source = found["_source"]
    stored = json.dumps(source).encode()
    try:
        entry = ADAPTER.load_dict(source)
    except DeserializationError:
        return Record(kind=DOCUMENT, body=stored[:limit], length=len(stored), size=len(stored), version=version_of(found))
    return Record.of(entry, size=len(stored), version=version_of(found))


def read_description(found: Document) -> Description:
    """The description of a document of which only the head was fetched."""
    head = found["_source"]
    stamp = version_of(found)
    envelope: Document = {"value": {"flattened": {}}} if head.keys() >= {"version", "key", "collection"} else {}
    try:
        entry = ADAPTER.load_dict({**head, **envelope})
    except DeserializationError:
        return Description(DOCUMENT, None, None, None, stamp)
    return Description(ENTRY, None, entry.created_at, entry.expires_at, stamp)


def has_expired(found: Document, now: datetime) -> bool:
    """Whether a document of which at least `DEADLINE` was fetched is an entry whose deadline has come."""
    if found["_source"].get("expires_at") is None:
        return False
    deadline = read_description(found).expires_at
    return deadline is not None and deadline <= now


def version_of(found: Document) -> Version:
    """The sequence number and primary term of a document that was found or written."""
    return Version(f"{found['_seq_no']}.{found['_primary_term']}".encode())


def condition(version: Version) -> Document | None:
    """A version as an operation's condition; None when it is none of ours."""
    number, _, term = version.partition(b".")
    if not (number.isdigit() and term.isdigit()):
        return None
    return {"if_seq_no": int(number), "if_primary_term": int(term)}


def _surely_fits(text: str) -> bool:
    """Whether a value's JSON, which is longer than any leaf and its path, is short and shows nothing that could be refused."""
    return len(text) <= MAX_TERM and text.count("{") <= MAX_DEPTH and not any(sign in text for sign in DOUBTFUL)


def _check_leaves(node: Any, path: int, depth: int) -> None:
    """Check what stands at a path of so many bytes."""
    if isinstance(node, Mapping):
        if depth > MAX_DEPTH:
            raise SerializationError(f"Elasticsearch takes objects nested {MAX_DEPTH} levels deep at most.")
        for name, child in node.items():
            text = str(name)
            if "\0" in text:
                raise SerializationError(f"Elasticsearch takes no NUL in a field's name ({text!r}).")
            _check_leaves(child, path + bool(path) + len(text.encode()), depth + 1)
    elif isinstance(node, (list, tuple)):
        for child in node:
            _check_leaves(child, path, depth)
    elif isinstance(node, str):
        size = path + 1 + (len(node) if node.isascii() else len(node.encode()))
        if size > MAX_TERM:
            raise ValueTooLargeError(
                f"A text in the value has {size:,} bytes with its path; Elasticsearch takes {MAX_TERM:,} at most."
            )
    elif isinstance(node, float) and not math.isfinite(node):
        raise SerializationError(f"Elasticsearch takes no {node} as a number.")
