"""What SQLite and the file system say of a cache, and what becomes of that."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from stores.errors import (
    BaseKeyValueError,
    KeyValueStoreError,
    ReadOnlyError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)

__all__ = ["ERRORS", "is_no_cache", "told_by_code"]

ERRORS: Final[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
    sqlite3.Error: KeyValueStoreError,
    sqlite3.OperationalError: StoreConnectionError,
    sqlite3.DataError: ValueTooLargeError,
    OSError: KeyValueStoreError,
}
NO_CACHE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM})


def told_by_code(exc: BaseException, location: str) -> BaseKeyValueError | None:
    """What SQLite's code for an error tells, where that is more than its class does."""
    code = _code(exc)
    if code == sqlite3.SQLITE_READONLY:
        return ReadOnlyError(f"The cache at {location} cannot be written: {exc}.")
    if code == sqlite3.SQLITE_FULL:
        return KeyValueStoreError(f"There is no room for the cache at {location}: {exc}.")
    return None


def is_no_cache(exc: BaseException) -> bool:
    """Whether the file is not there, may not be opened, or is something else than a cache."""
    return isinstance(exc, StoreSetupError) or _code(exc) in NO_CACHE


def _code(exc: BaseException) -> int:
    """Without what extends it."""
    return int(getattr(exc, "sqlite_errorcode", 0)) & 0xFF
