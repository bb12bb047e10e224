"""Parameters of the daemon's methods: from what the wire brought to what a method takes, or a clear refusal.

A method is a function with keyword-only parameters. The name of each parameter's annotation is the name of its reader here, so
that a method's signature is the only description of what it takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from kvd.errors import Code, RequestError
from kvd.protocol import MAX_ID, MAX_KEYS, MAX_NAME
from stores.entry import JsonObject, ManagedEntry, moment_at
from stores.names import Collection, Key, Token
from stores.records import ENTRY, Record, Version

__all__ = [
    "IN_STEPS",
    "READERS",
    "Bin",
    "Collection",
    "Count",
    "Flag",
    "Id",
    "Key",
    "Keys",
    "Map",
    "Record",
    "Seconds",
    "Span",
    "Text",
    "Ttl",
    "Value",
    "Values",
    "Version",
]

Text = str
Flag = bool
Bin = bytes
Count = int
"""At least 1."""
Span = int
"""At least 0."""
Id = int
Seconds = float
"""At least 0."""
Ttl = float | None
Keys = list[Key]
Value = Mapping[str, Any]
Values = list[Mapping[str, Any]]
Map = Any
"""Whatever a later version may put there."""

T = TypeVar("T")
Steps = Generator[None, None, T]

_ONE_STEP: Final = 16 << 10
"""Bytes of JSON that are read at once."""
_SHORT = MAX_NAME >> 2
"""Characters of a name that cannot have too many bytes."""


def _refuse(name: str, wanted: str, value: Any) -> RequestError:
    return RequestError(Code.BAD_REQUEST, f"{name} must be {wanted}, not {type(value).__name__}")


def _text(name: str, value: Any) -> Text:
    if type(value) is not str:
        raise _refuse(name, "text", value)
    return value


def _flag(name: str, value: Any) -> Flag:
    if type(value) is not bool:
        raise _refuse(name, "true or false", value)
    return value


def _bin(name: str, value: Any) -> Bin:
    if type(value) is not bytes:
        raise _refuse(name, "bin", value)
    return value


def _version(name: str, value: Any) -> Version:
    return Version(_bin(name, value))


def _integer(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int:
        raise _refuse(name, "an integer", value)
    if not low <= value <= high:
        raise RequestError(Code.BAD_REQUEST, f"{name} must be from {low} to {high}, not {value}")
    return value


def _count(name: str, value: Any) -> Count:
    return _integer(name, value, 1, MAX_ID)


def _span(name: str, value: Any) -> Span:
    return _integer(name, value, 0, MAX_ID)


def _id(name: str, value: Any) -> Id:
    return _integer(name, value, 0, MAX_ID)


def _key(name: str, value: Any) -> Key:
    if type(value) is str:
        size = len(value)
        if size <= _SHORT or len(value.encode()) <= MAX_NAME:
            return value
    elif type(value) is bytes:
        size = len(value)
        if size <= MAX_NAME:
            return value.decode("utf-8", "surrogateescape")
    elif type(value) is list and len(value) == 1 and type(value[0]) is bytes:
        size = len(value[0])
        if size <= MAX_NAME:
            return Token(value[0])
    else:
        raise _refuse(name, "text, bin, or a token", value)
    raise RequestError(Code.INVALID_KEY, f"{name} has {size:,} bytes, and a name has at most {MAX_NAME:,}")


def _collection(name: str, value: Any) -> Collection:
    return None if value is None else _key(name, value)


def _list(name: str, value: Any) -> list[Any]:
    if type(value) is not list:
        raise _refuse(name, "an array", value)
    if len(value) > MAX_KEYS:
        raise RequestError(Code.TOO_MANY, f"{name} has {len(value):,} elements, and a request has at most {MAX_KEYS:,}")
    return value


def _keys(name: str, value: Any) -> Keys:
    return [one if type(one) is str and len(one) <= _SHORT else _key(name, one) for one in _list(name, value)]


def _seconds(name: str, value: Any) -> Seconds:
    if type(value) not in {int, float}:
        raise _refuse(name, "a number of seconds", value)
    if not value >= 0:
        raise RequestError(Code.BAD_REQUEST, f"{name} must be at least 0, not {value}")
    return float(value)


def _ttl(name: str, value: Any) -> Ttl:
    if value is None or type(value) is float or type(value) is int:
        return value  # the store knows which numbers are TTLs
    raise RequestError(Code.INVALID_TTL, f"{name} must be a number of seconds or nil, not {type(value).__name__}")


def _value(name: str, value: Any) -> Value:
    """Read a short value: at once."""
    if type(value) is not bytes:
        raise _refuse(name, "JSON text as bin", value)
    try:
        parsed = JsonObject.read(value)
    except (ValueError, RecursionError) as error:
        raise _not_json(name, error) from None
    if parsed is None:
        raise _no_object(name, value)
    return parsed


def _read_value(name: str, value: Any) -> Steps[Value]:
    if type(value) is not memoryview and (type(value) is not bytes or len(value) <= _ONE_STEP):
        return _value(name, value)
    try:
        parsed = yield from JsonObject.read_in_steps(value)
    except (ValueError, RecursionError) as error:
        raise _not_json(name, error) from None
    if parsed is None:
        raise _no_object(name, value)
    return parsed


def _not_json(name: str, error: Exception) -> RequestError:
    if isinstance(error, RecursionError):
        return RequestError(Code.INVALID_VALUE, f"{name} nests too deep for JSON")
    return RequestError(Code.INVALID_VALUE, f"{name} is not JSON: {error}")


def _no_object(name: str, value: bytes | memoryview) -> RequestError:
    kinds = {b"[": "an array", b'"': "a string", b"t": "true or false", b"f": "true or false", b"n": "null"}
    kind = kinds.get(bytes(value[:_ONE_STEP]).lstrip(b" \t\n\r\0\xef\xbb\xbf\xff\xfe")[:1], "a number")
    return RequestError(Code.INVALID_VALUE, f"{name} must be a JSON object, not {kind}")


def _read_values(name: str, value: Any) -> Steps[Values]:
    values = []
    for one in _list(name, value):
        values.append((yield from _read_value(name, one)))
        yield
    return values


def _read_record(name: str, value: Any) -> Steps[Record]:
    if type(value) is not dict:
        raise _refuse(name, "a map", value)
    kind, body = _text(f"{name}.kind", value.get("kind")), _bin(f"{name}.body", value.get("body"))
    if value.get("length", len(body)) != len(body):
        raise RequestError(Code.BAD_REQUEST, f"{name} has only a part of its body: `snapshot` gives all of it")
    created_at, expires_at = (_moment(f"{name}.{one}", value.get(one)) for one in ("created_at", "expires_at"))
    entry = None
    if kind == ENTRY:
        read = yield from _read_value(f"{name}.body", body)
        entry = ManagedEntry(value=read, created_at=created_at, expires_at=expires_at)
    return Record(
        kind=kind,
        body=body,
        length=len(body),
        size=len(body),
        created_at=created_at,
        expires_at=expires_at,
        version=_version(f"{name}.version", value.get("version", b"")),
        entry=entry,
    )


def _moment(name: str, value: Any) -> datetime | None:
    if value is None:
        return None
    if type(value) not in {int, float} or not -math.inf < value < math.inf:
        raise RequestError(Code.BAD_REQUEST, f"{name} must be seconds since the epoch or nil, not {value!r:.40}")
    return moment_at(value)


def _map(_name: str, value: Any) -> Map:
    return value


def _at_once(read: Callable[[str, Any], Steps[T]]) -> Callable[[str, Any], T]:
    """Make a reader of one that reads in steps."""

    def read_at_once(name: str, value: Any) -> T:
        steps = read(name, value)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                result: T = done.value
                return result

    return read_at_once


READERS: dict[str, Callable[[str, Any], Any]] = {
    "Bin": _bin,
    "Collection": _collection,
    "Count": _count,
    "Flag": _flag,
    "Id": _id,
    "Key": _key,
    "Keys": _keys,
    "Map": _map,
    "Record": _at_once(_read_record),
    "Seconds": _seconds,
    "Step": _text,
    "Span": _span,
    "Text": _text,
    "Ttl": _ttl,
    "Value": _value,
    "Values": _at_once(_read_values),
    "Version": _version,
}
"""By the annotation's name. Each takes the parameter's name and value, and raises RequestError."""

IN_STEPS: dict[Callable[[str, Any], Any], Callable[[str, Any], Steps[Any]]] = {
    READERS["Record"]: _read_record,
    READERS["Value"]: _read_value,
    READERS["Values"]: _read_values,
}
"""By the reader: of what can be large, what does the same in steps of a fraction of a millisecond, for others to go between."""
