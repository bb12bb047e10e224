"""From what a store answers to what the wire carries: names, times, records, pages, and errors. The one edge for both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from kvd.advice import advice
from kvd.errors import Code, RequestError
from stores import errors, protocols
from stores.names import Collection, Name, Token
from stores.records import Description, Record

if TYPE_CHECKING:
    from kvd.config import ConnectionConfig
    from stores.base import BaseStore

__all__ = [
    "mistake",
    "pack_collections",
    "pack_description",
    "pack_keys",
    "pack_name",
    "pack_record",
    "pack_traits",
    "refusal",
]

CONFLICT_BODY: Final = 64 << 10
"""Bytes of the body that a conflict carries; its record's `length` tells how many there are."""


def pack_name(name: Collection) -> str | bytes | list[bytes] | None:
    """Pack a key or collection as `kvd.model` says."""
    if name is None or (type(name) is str and name.isascii()):
        return name
    if isinstance(name, Token):
        return [name.value]
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape")
    return name


def pack_time(moment: datetime | None) -> float | None:
    """Pack a time as seconds since the epoch."""
    return None if moment is None else moment.timestamp()


def pack_description(description: Description | None) -> dict[str, Any] | None:
    """Pack `stores.records.Description` as `kvd.model.Description`."""
    if description is None:
        return None
    return {
        "kind": description.kind,
        "size": description.size,
        "created_at": pack_time(description.created_at),
        "expires_at": pack_time(description.expires_at),
        "stamp": description.stamp,
    }


def pack_record(record: Record | None, offset: int = 0, length: int | None = None) -> dict[str, Any] | None:
    """Pack `stores.records.Record` as `kvd.model.Record`, with `length` bytes of its body from `offset`."""
    if record is None:
        return None
    end = None if length is None else offset + length
    return {
        "kind": record.kind,
        "body": record.body[offset:end] if offset or end is not None else record.body,
        "offset": offset,
        "length": record.length,
        "size": record.size,
        "created_at": pack_time(record.created_at),
        "expires_at": pack_time(record.expires_at),
        "version": record.version,
    }


def pack_collections(names: Sequence[Name]) -> list[list[Any]]:
    """Pack a page's collections as rows of name, token and exact."""
    return [[pack_name(name.text), [name.token.value], name.exact] for name in names]


def pack_keys(names: Sequence[Name], descriptions: Sequence[Description | None]) -> list[list[Any]]:
    """Pack a page's keys as rows of key, token, exact and description."""
    return [
        [pack_name(name.text), [name.token.value], name.exact, pack_description(description)]
        for name, description in zip(names, descriptions, strict=True)
    ]


def pack_traits(store: BaseStore) -> dict[str, Any]:
    """Pack what a store can do as the traits of `kvd.model.ConnectionInfo`."""
    from dataclasses import asdict  # noqa: PLC0415 - the daemon starts without it

    capabilities: dict[str, type] = {
        "keys": protocols.AsyncEnumerateKeysProtocol,
        "collections": protocols.AsyncEnumerateCollectionsProtocol,
        "destroy": protocols.AsyncDestroyStoreProtocol,
        "destroy_collection": protocols.AsyncDestroyCollectionProtocol,
        "cull": protocols.AsyncCullProtocol,
    }
    held = [name for name, protocol in capabilities.items() if isinstance(store, protocol)]
    return asdict(store.traits) | {"capabilities": held}


_CODES: Final[dict[type[BaseException], Code]] = {
    errors.ConflictError: Code.CONFLICT,
    errors.CursorExpiredError: Code.CURSOR_EXPIRED,
    errors.DeserializationError: Code.FOREIGN,
    errors.EntryTooLargeError: Code.VALUE_TOO_LARGE,
    errors.InvalidKeyError: Code.INVALID_KEY,
    errors.InvalidTTLError: Code.INVALID_TTL,
    errors.PathSecurityError: Code.PATH_REFUSED,
    errors.ReadOnlyError: Code.READ_ONLY,
    errors.SerializationError: Code.INVALID_VALUE,
    errors.StoreClosedError: Code.UNREACHABLE,
    errors.StoreConnectionError: Code.UNREACHABLE,
    errors.StoreSetupError: Code.SETUP_FAILED,
    errors.UnsupportedError: Code.UNSUPPORTED,
    errors.ValueTooLargeError: Code.VALUE_TOO_LARGE,
    errors.KeyValueOperationError: Code.OPERATION_FAILED,
    errors.BaseKeyValueError: Code.STORE_ERROR,
    TypeError: Code.INVALID_VALUE,
    ValueError: Code.BAD_REQUEST,
}
_RETRY: Final = {Code.UNREACHABLE, Code.SETUP_FAILED}


def refusal(error: Exception, connection: ConnectionConfig) -> RequestError | None:
    """Turn what was raised on the way to a store, or by it, into the error of a reply; None for what none should raise."""
    refused = error if isinstance(error, RequestError) else _refusal(error, connection.name)
    if refused is not None and isinstance(refused.detail, dict) and "fault" in refused.detail:
        helps = advice(connection.store, refused.detail["fault"], refused.message)
        refused.detail |= {"advice": helps} if helps else {}
    return refused


def _refusal(error: Exception, connection: str) -> RequestError | None:
    code = next((_CODES[cls] for cls in type(error).__mro__ if cls in _CODES), None)
    if code is None:
        return None
    detail: dict[str, Any] | None = None
    if isinstance(error, errors.BaseKeyValueError) and (error.fault is not None or code in _RETRY):
        detail = {"fault": None if error.fault is None else str(error.fault)}
    if isinstance(error, errors.ConflictError):
        detail = {"record": pack_record(error.current, 0, CONFLICT_BODY)}
    message = str(error)
    if isinstance(error, errors.StoreClosedError):
        message = f"{connection} was closed meanwhile: its configuration changed, or the daemon is leaving"
    return RequestError(code, message, retry=code in _RETRY, connection=connection, detail=detail)


def mistake() -> RequestError:
    """What a client is told of an error of the daemon's own."""
    return RequestError(Code.INTERNAL, "the daemon made a mistake, which its log describes")
