"""What pymongo raises, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bson.errors import BSONError, InvalidBSON
from pymongo import errors as driver

from stores.backends.mongodb_documents import MAX_DOCUMENT
from stores.errors import (
    BaseKeyValueError,
    CursorExpiredError,
    DeserializationError,
    Fault,
    InvalidKeyError,
    KeyValueOperationError,
    KeyValueStoreError,
    SerializationError,
    StoreClosedError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)
from stores.faults import WORDS, Words
from stores.names import Key, shown

__all__ = ["DUPLICATE_KEY", "ERRORS", "FAULT_WORDS", "BatchError", "advised", "bulk_failure", "code_of"]

DUPLICATE_KEY: Final = 11000


class BatchError(Exception):
    """Some writes of a batch failed, or all were made and not as safely as was asked for."""

    def __init__(self, message: str, code: int | None) -> None:
        """Keep what the server said of the first, for a person, and its code."""
        super().__init__(message)
        self.code = code


ERRORS: Final[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
    driver.PyMongoError: KeyValueStoreError,
    driver.ProtocolError: StoreConnectionError,
    driver.ConnectionFailure: StoreConnectionError,
    driver.WaitQueueTimeoutError: StoreConnectionError,
    driver.ConfigurationError: StoreSetupError,
    driver.InvalidOperation: StoreClosedError,
    driver.OperationFailure: KeyValueOperationError,
    BatchError: KeyValueOperationError,
    driver.ExecutionTimeout: StoreConnectionError,
    driver.WTimeoutError: StoreConnectionError,
    driver.CursorNotFound: CursorExpiredError,
    driver.DocumentTooLarge: ValueTooLargeError,
    driver.InvalidName: InvalidKeyError,
    driver.CollectionInvalid: InvalidKeyError,
    BSONError: SerializationError,
    InvalidBSON: DeserializationError,
}

FAULT_WORDS: Final[Words] = {
    **dict.fromkeys(("Authentication failed", "bad auth", "requires authentication"), Fault.PASSWORD),
    "not authorized": Fault.RIGHT,
    **WORDS,
    "DNS query name does not exist": Fault.HOST,
    **dict.fromkeys(("connection closed", "Connection is closed", "Connection reset", "max message size"), Fault.STRANGER),
    **dict.fromkeys(("timed out", "No servers found yet"), Fault.SILENT),
}
"""What its messages tell of a connection: of why it found no server it keeps nothing else."""

NOT_NOW: Final = frozenset({6, 7, 64, 89, 91, 100, 112, 133, 189, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436, 16500})
"""The server's codes for what another attempt may get done: a primary that steps down or is away, a write concern that
is not met, too much at once."""
OF_ATLAS: Final = 8000

ADVICE: Final[Mapping[int | None, tuple[type[BaseKeyValueError], str]]] = {
    13: (KeyValueOperationError, "The user lacks the right to do this; it needs the role readWrite on the database."),
    15: (SerializationError, "MongoDB takes at most 100 levels of nesting."),
    18: (StoreSetupError, "Check user name, password and auth_source."),
    50: (StoreConnectionError, "The server took too long."),
    73: (InvalidKeyError, "Choose another collection or a sanitization strategy."),
    OF_ATLAS: (StoreSetupError, "Check user name, password and auth_source."),
    10334: (ValueTooLargeError, f"MongoDB takes documents of {MAX_DOCUMENT:,} bytes at most."),
    14031: (KeyValueStoreError, "The server's disk is full."),
    **dict.fromkeys(NOT_NOW, (StoreConnectionError, "The server could not do that now: try again.")),
}
"""The server's codes that say more than their exception does, and what to do about them."""


def code_of(exc: BaseException) -> int | None:
    """The server's code, where there is one."""
    return exc.code if isinstance(exc, (driver.OperationFailure, BatchError)) else None


def advised(ours: BaseKeyValueError, exc: BaseException) -> BaseKeyValueError:
    """The error as the server's code has it, with advice."""
    code = code_of(exc)
    if code not in ADVICE or (code == OF_ATLAS and "auth" not in str(exc).lower()):  # it says so of a full disk, too
        return ours
    cls, advice = ADVICE[code]
    told = (ours.message or "").rstrip(". ")
    return cls(f"{told}. {advice}")


def bulk_failure(exc: driver.BulkWriteError, keys: Sequence[Key]) -> BatchError:
    """How many writes of a batch failed, and why the first one did."""
    failed, unsafe = exc.details["writeErrors"], exc.details["writeConcernErrors"]
    if failed:
        first = failed[0]
        which = f"{len(failed)} of {len(keys)} writes failed, the first of them {shown(keys[first['index']])}"
        return BatchError(f"{which}: {first.get('errmsg')}", first.get("code"))
    return BatchError(
        f"The writes were made, but not as safely as was asked for: {unsafe[0].get('errmsg')}", unsafe[0].get("code")
    )
