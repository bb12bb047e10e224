"""Between the daemon's nouns and errors and those of `stores`: the one place that knows both on a client's side. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kvd import model
from kvd.errors import Code, DaemonError, RequestError
from stores import errors
from stores.entry import ManagedEntry, dump_json, moment_at, read_json
from stores.names import Collection, Name, Token, encode_name
from stores.records import ENTRY, Description, Record, Version

__all__ = ["from_daemon", "from_record", "to_description", "to_model", "to_name", "to_record"]

_CLASSES: dict[str, type[errors.BaseKeyValueError]] = {
    Code.CONFLICT: errors.ConflictError,
    Code.CURSOR_EXPIRED: errors.CursorExpiredError,
    Code.FOREIGN: errors.DeserializationError,
    Code.INVALID_KEY: errors.InvalidKeyError,
    Code.INVALID_TTL: errors.InvalidTTLError,
    Code.INVALID_VALUE: errors.SerializationError,
    Code.PATH_REFUSED: errors.PathSecurityError,
    Code.READ_ONLY: errors.ReadOnlyError,
    Code.DESTROY_REFUSED: errors.UnsupportedError,
    Code.UNSUPPORTED: errors.UnsupportedError,
    Code.TOO_LARGE: errors.ValueTooLargeError,
    Code.VALUE_TOO_LARGE: errors.ValueTooLargeError,
    Code.SETUP_FAILED: errors.StoreSetupError,
    Code.CONFIG_ERROR: errors.StoreSetupError,
    Code.UNKNOWN_CONNECTION: errors.StoreSetupError,
    Code.UNREACHABLE: errors.StoreConnectionError,
    Code.DEADLINE: errors.StoreConnectionError,
    Code.SHUTTING_DOWN: errors.StoreConnectionError,
    Code.OPERATION_FAILED: errors.KeyValueOperationError,
    Code.STORE_ERROR: errors.KeyValueStoreError,
}


def to_model(name: Collection) -> model.Collection:
    """A key or collection as the daemon's requests take it.

    Raises:
        InvalidKeyError: it holds a surrogate that stands for no byte.
        TypeError: it is no name.
    """
    if isinstance(name, Token):
        return model.Token(name.value)
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"A collection is a string, not {type(name).__name__} ({name!r}).")
    if not name.isascii():
        encode_name(name)
    return name


def to_name(row: model.KeyRow | model.CollectionRow) -> Name:
    """A name that browsing found."""
    return Name(row.key if isinstance(row, model.KeyRow) else row.name, Token(row.token.value), row.exact)


def to_description(description: model.Description | None) -> Description | None:
    """What is known of an entry."""
    if description is None:
        return None
    return Description(
        kind=description.kind,
        size=description.size,
        created_at=_moment(description.created_at),
        expires_at=_moment(description.expires_at),
        stamp=description.stamp,
    )


def to_record(record: model.Record | None) -> Record | None:
    """An entry with its version; with the entry itself where all of it came."""
    if record is None:
        return None
    created_at, expires_at = _moment(record.created_at), _moment(record.expires_at)
    entry = None
    if record.kind == ENTRY and len(record.body) == record.length:
        entry = ManagedEntry(value=read_json(record.body), created_at=created_at, expires_at=expires_at)
    return Record(
        kind=record.kind,
        body=record.body,
        length=record.length,
        size=record.size,
        created_at=created_at,
        expires_at=expires_at,
        version=Version(record.version),
        entry=entry,
    )


def from_record(record: Record) -> model.Record:
    """A snapshot as the daemon takes it back."""
    entry = record.entry
    body = record.body if entry is None else dump_json(entry.value).encode()
    return model.Record(
        kind=record.kind if entry is None else ENTRY,
        body=body,
        length=record.length if entry is None else len(body),
        size=record.size,
        created_at=_seconds(record.created_at if entry is None else entry.created_at),
        expires_at=_seconds(record.expires_at if entry is None else entry.expires_at),
        version=model.Version(record.version),
    )


def from_daemon(error: DaemonError | OSError) -> errors.BaseKeyValueError:
    """What a store of one's own would have raised."""
    if not isinstance(error, RequestError):
        return errors.StoreConnectionError(str(error))
    if error.code == Code.CONFLICT:
        detail: Any = error.detail
        packed = detail.get("record") if isinstance(detail, dict) else None
        return errors.ConflictError(error.message, current=to_record(packed and _known(packed)))
    return _CLASSES.get(error.code, errors.KeyValueOperationError)(error.message)


def _known(packed: dict[str, Any]) -> model.Record:
    names = model.Record.__dataclass_fields__
    return model.Record(**{name: value for name, value in packed.items() if name in names})


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment_at(seconds)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
