"""DynamoDB's items as they travel, `{name: {type: value}}`: names, deadlines, sizes, versions, and conditions on them.

Nothing here asks a server.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from stores.entry import moment_at
from stores.errors import InvalidKeyError, SerializationError, UnsupportedError, ValueTooLargeError
from stores.names import Token
from stores.records import Record, Version

__all__ = [
    "FOREIGN",
    "MAX_ITEM_BYTES",
    "SCHEMA",
    "Item",
    "absent",
    "checked",
    "collection_of",
    "collection_token",
    "distinct",
    "epoch",
    "foreign_body",
    "native_deadline",
    "place_of",
    "restored",
    "size_of",
    "text_of",
    "unchanged",
    "version_of",
]

Item = dict[str, dict[str, Any]]

SCHEMA: Final = {"collection": "HASH", "key": "RANGE"}
FOREIGN: Final = "item"
MAX_ITEM_BYTES: Final = 400 * 1024

LAST_SECOND: Final = 253402300799
"""The calendar's end, beyond which Python has no dates."""


def text_of(name: str | Token) -> str:
    """A name as DynamoDB holds it: text, never odd bytes."""
    try:
        text = name if isinstance(name, str) else name.value.decode()
    except UnicodeDecodeError:
        raise InvalidKeyError(f"{name!r} is no name in DynamoDB, whose names are UTF-8.") from None
    return text


def collection_token(name: str) -> Token:
    """The token of a collection. It ends with a slash, so that none is `OUTSIDE`."""
    return Token(f"{name}/".encode())


def collection_of(scope: str | Token) -> str:
    """The partition key that a scope means."""
    return scope if isinstance(scope, str) else text_of(scope).removesuffix("/")


def place_of(collection: str, key: str) -> Item:
    """Where an entry is. The only place that knows what it is called."""
    return {"collection": {"S": collection}, "key": {"S": key}}


def distinct(items: Iterable[Item]) -> list[Item]:
    """The last item of each sort key: a batch may name none twice, but a key and its token can both be given."""
    return list({item["key"]["S"]: item for item in items}.values())


def epoch(moment: datetime) -> int:
    """Whole seconds, rounded up."""
    return min(math.ceil(moment.timestamp()), LAST_SECOND)


def native_deadline(item: Item) -> datetime | None:
    """The deadline that the attribute `ttl` sets. DynamoDB heeds it only where it is a number."""
    number = item.get("ttl", {}).get("N")
    return None if number is None else moment_at(float(number))


def size_of(item: Mapping[str, Any]) -> int:
    """Bytes by which DynamoDB counts an item; of numbers, nearly."""
    return sum(len(name.encode()) + _size(attribute) for name, attribute in item.items())


def _size(attribute: Mapping[str, Any]) -> int:
    ((kind, value),) = attribute.items()
    match kind:
        case "S":
            return len(value.encode())
        case "B":
            return len(value)
        case "N":
            return (len(value) + 1) // 2 + 1
        case "SS" | "NS" | "BS":
            return sum(_size({kind[0]: member}) for member in value)
        case "L":
            return 3 + sum(1 + _size(member) for member in value)
        case "M":
            return 3 + len(value) + size_of(value)
        case _:
            return 1


def checked(item: Item) -> Item:
    """The item, if it is not over DynamoDB's limit: then ValueTooLargeError."""
    size = size_of(item)
    if size > MAX_ITEM_BYTES:
        raise ValueTooLargeError(
            f"Key {item['key']['S']!r} would take {size:,} bytes; DynamoDB's limit is {MAX_ITEM_BYTES:,} (400 KB) an item, "
            "names and envelope included."
        )
    return item


def version_of(item: Item) -> Version:
    """A digest of every attribute."""
    return Version(hashlib.sha256(_rendered(item)).digest())


def _rendered(item: Item) -> bytes:
    """DynamoDB's own JSON, binary as base64."""
    return json.dumps(item, sort_keys=True, ensure_ascii=False, default=lambda raw: base64.b64encode(raw).decode()).encode()


def foreign_body(item: Item) -> bytes:
    """A foreign item as DynamoDB's own JSON: all but its names and its deadline, which stand beside it."""
    return _rendered({name: held for name, held in item.items() if name not in SCHEMA and (name != "ttl" or "N" not in held)})


def restored(place: Item, record: Record) -> Item:
    """The item that a foreign record was."""
    if record.kind != FOREIGN:
        raise UnsupportedError(f"What is {record.kind!r} cannot be stored in DynamoDB.")
    ends = {} if record.expires_at is None else {"ttl": {"N": str(epoch(record.expires_at))}}
    try:
        held = {name: _parsed(attribute) for name, attribute in json.loads(record.body).items()}
        return checked({**held, **place, **ends})
    except (ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise SerializationError(f"What is put back is an item in DynamoDB's own JSON: {exc}.") from exc


def _parsed(attribute: dict[str, Any]) -> dict[str, Any]:
    """An attribute of `_rendered`, its binary restored."""
    ((kind, value),) = attribute.items()
    match kind:
        case "B":
            return {kind: base64.b64decode(value)}
        case "BS":
            return {kind: [base64.b64decode(member) for member in value]}
        case "L":
            return {kind: [_parsed(member) for member in value]}
        case "M":
            return {kind: {name: _parsed(member) for name, member in value.items()}}
        case _:
            return attribute


def absent() -> dict[str, Any]:
    """The condition that nothing is stored."""
    return _condition(["attribute_not_exists(#key)"], {"#key": "key"}, {})


def unchanged(stored: Item) -> dict[str, Any]:
    """The condition that every attribute is what was read, and that none of an entry's has come since."""
    parts = ["attribute_exists(#key)"]
    names = {"#key": "key"}
    values: dict[str, Any] = {}
    for number, name in enumerate(sorted({"ttl", "value", *stored} - SCHEMA.keys())):
        names[f"#a{number}"] = name
        if name in stored:
            values[f":a{number}"] = stored[name]
            parts.append(f"#a{number} = :a{number}")
        else:
            parts.append(f"attribute_not_exists(#a{number})")
    return _condition(parts, names, values)


def _condition(parts: list[str], names: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    return {
        "ConditionExpression": " AND ".join(parts),
        "ExpressionAttributeNames": names,
        **({"ExpressionAttributeValues": values} if values else {}),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
