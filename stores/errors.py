"""Everything that a store raises. A driver's own exceptions never leave `stores`: they are the cause of one of these.

BaseKeyValueError
    KeyValueOperationError      one operation failed; the store is as good as before
        SerializationError  DeserializationError  MissingKeyError  InvalidTTLError  InvalidKeyError
        ValueTooLargeError  ReadOnlyError  EntryTooLargeError  EntryTooSmallError
        ConflictError           somebody else wrote first
        CursorExpiredError      a scan cannot go on from where it was
        UnsupportedError        this store cannot do that
    KeyValueStoreError          the store itself is in trouble
        StoreSetupError  StoreConnectionError  StoreClosedError  PathSecurityError
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stores.records import Record

__all__ = [
    "BaseKeyValueError",
    "ConflictError",
    "CursorExpiredError",
    "DeserializationError",
    "EntryTooLargeError",
    "EntryTooSmallError",
    "ExtraInfo",
    "Fault",
    "InvalidKeyError",
    "InvalidTTLError",
    "KeyValueOperationError",
    "KeyValueStoreError",
    "MissingKeyError",
    "PathSecurityError",
    "ReadOnlyError",
    "SerializationError",
    "StoreClosedError",
    "StoreConnectionError",
    "StoreSetupError",
    "UnsupportedError",
    "ValueTooLargeError",
]

ExtraInfo = dict[str, str | int | float | bool | None]


class Fault(StrEnum):
    """What is wrong with a connection, as far as the driver's exception tells."""

    CREDENTIALS = "credentials"
    """There are none of AWS, or they are not valid."""
    REGION = "region"
    """It is not given, or another one is meant."""
    PASSWORD = "password"  # noqa: S105 - the word itself
    """It is missing or wrong, or the user or the API key is."""
    RIGHT = "right"
    """The user may not do that."""
    HOST = "host"
    """The server's name cannot be looked up."""
    REFUSED = "refused"
    """Nothing listens there."""
    SILENT = "silent"
    """There is no answer in time, or no way to it."""
    STRANGER = "stranger"
    """What listens there answers in another language, or hangs up."""
    NO_TLS = "no_tls"
    """What listens there speaks no TLS."""
    EXPIRED_CERTIFICATE = "expired_certificate"
    OTHER_CERTIFICATE = "other_certificate"
    """It is for another name."""
    UNKNOWN_CERTIFICATE = "unknown_certificate"
    """Who signed it is not trusted."""
    DATABASE = "database"
    """The server has none of that number."""
    FILE = "file"
    """It is not there, may not be used, or is something else."""


class BaseKeyValueError(Exception):
    """The root: a message for a person, and the facts behind it by name."""

    fault: Fault | None = None
    """What is wrong with the connection, where that is known."""

    def __init__(self, message: str | None = None, extra_info: ExtraInfo | None = None) -> None:
        """Append the facts to the message.

        Args:
            message: what happened, to which store and key, and what to do next.
            extra_info: facts by name, shown in brackets.
        """
        self.message = message
        self.extra_info = extra_info
        parts = [message] if message else []
        if extra_info:
            parts.append("(" + ", ".join(f"{name}: {fact}" for name, fact in extra_info.items()) + ")")
        super().__init__(" ".join(parts))


class KeyValueOperationError(BaseKeyValueError):
    """One operation failed; the store is as good as before."""


class SerializationError(KeyValueOperationError):
    """The value cannot be written as JSON, or not in this store."""


class DeserializationError(KeyValueOperationError):
    """What is stored under the key is not an entry of this family of stores."""


class MissingKeyError(KeyValueOperationError):
    """The key is not there."""


class InvalidTTLError(KeyValueOperationError):
    """The TTL is not a positive finite number of seconds."""


class InvalidKeyError(KeyValueOperationError):
    """The key or the collection cannot be a name in this store."""


class ValueTooLargeError(KeyValueOperationError):
    """The value is over the store's limit; the message names the limit."""


class ReadOnlyError(KeyValueOperationError):
    """The store or the connection refuses writes."""


class EntryTooLargeError(KeyValueOperationError):
    """A wrapper's upper limit on entries."""


class EntryTooSmallError(KeyValueOperationError):
    """A wrapper's lower limit on entries."""


class ConflictError(KeyValueOperationError):
    """A compare-and-set was lost: what is stored is not the version that was expected.

    `current` is what is there now, None when nothing lives there any more. A store's own `_commit` raises it without,
    the public methods fill it in.
    """

    def __init__(
        self, message: str | None = None, extra_info: ExtraInfo | None = None, *, current: Record | None = None
    ) -> None:
        super().__init__(message, extra_info)
        self.current = current


class CursorExpiredError(KeyValueOperationError):
    """The scan's place is no longer held: start the scan again."""


class UnsupportedError(KeyValueOperationError):
    """This store cannot do that; its traits say so."""


class KeyValueStoreError(BaseKeyValueError):
    """The store itself is in trouble."""


class StoreSetupError(KeyValueStoreError):
    """The store could not be opened; it may be tried again."""


class StoreConnectionError(KeyValueStoreError, ConnectionError):
    """The backend could not be reached or did not answer; the cause says why. Who tries again on ConnectionError does."""


class StoreClosedError(KeyValueStoreError):
    """The store was closed; enter it again to use it."""


class PathSecurityError(KeyValueStoreError):
    """A path would have left the store's folder."""
