"""What pymongo raises, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bson.errors import BSONError, InvalidBSON
from pymongo import errors as driver

from stores.backends.mongodb_documents import MAX_DOCUMENT
from stores.errors import (
    BaseKeyValueError,
    CursorExpiredError,
    DeserializationError,
    InvalidKeyError,
    KeyValueOperationError,
    KeyValueStoreError,
    SerializationError,
    StoreClosedError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)

__all__ = ["DUPLICATE_KEY", "ERRORS", "advised", "bulk_failure"]

DUPLICATE_KEY: Final = 11000

ERRORS: Final[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
    driver.PyMongoError: KeyValueStoreError,
    driver.ProtocolError: StoreConnectionError,
    driver.ConnectionFailure: StoreConnectionError,
    driver.WaitQueueTimeoutError: StoreConnectionError,
    driver.ConfigurationError: StoreSetupError,
    driver.InvalidOperation: StoreClosedError,
    driver.OperationFailure: KeyValueOperationError,
    driver.ExecutionTimeout: StoreConnectionError,
    driver.WTimeoutError: StoreConnectionError,
    driver.CursorNotFound: CursorExpiredError,
    driver.DocumentTooLarge: ValueTooLargeError,
    driver.InvalidName: InvalidKeyError,
    driver.CollectionInvalid: InvalidKeyError,
    BSONError: SerializationError,
    InvalidBSON: DeserializationError,
}

ADVICE: Final[Mapping[int | None, tuple[type[BaseKeyValueError], str]]] = {
    13: (KeyValueOperationError, "The user lacks the right to do this; it needs the role readWrite on the database."),
    15: (SerializationError, "MongoDB takes at most 100 levels of nesting."),
    18: (StoreSetupError, "Check user name, password and auth_source."),
    50: (StoreConnectionError, "The server took too long."),
    73: (InvalidKeyError, "Choose another collection or a sanitization strategy."),
    8000: (StoreSetupError, "Check user name, password and auth_source."),
    10334: (ValueTooLargeError, f"MongoDB takes documents of {MAX_DOCUMENT:,} bytes at most."),
}
"""The server's codes that say more than their exception does, and what to do about them."""


def advised(ours: BaseKeyValueError, code: int | None) -> BaseKeyValueError:
    """The error as the server's code has it, with advice."""
    if code not in ADVICE:
        return ours
    cls, advice = ADVICE[code]
    return cls(f"{ours.message}. {advice}")


def bulk_failure(exc: driver.BulkWriteError, writes: int) -> BaseKeyValueError:
    """How many writes of a batch failed, and why the first one did."""
    failed = exc.details["writeErrors"] or exc.details["writeConcernErrors"]
    message = f"{len(failed)} of {writes} writes to MongoDB failed, the first because of: {failed[0].get('errmsg')}"
    return advised(KeyValueOperationError(message), failed[0].get("code"))
