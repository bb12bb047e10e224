"""What the Elasticsearch client raises and what the server answers, and what they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import elastic_transport as transport
import elasticsearch as driver

from stores.backends.answers import StrangeAnswerError
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    CursorExpiredError,
    Fault,
    InvalidKeyError,
    KeyValueOperationError,
    ReadOnlyError,
    SerializationError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)
from stores.faults import Faults

__all__ = [
    "BLOCKED",
    "CONFLICT",
    "ERRORS",
    "FAULTS",
    "NO_INDEX",
    "OVERLOADED",
    "RETRIED",
    "RefusedError",
    "advised",
    "bulk_failure",
    "cause_of",
    "deletion_failure",
    "innermost",
    "item_failure",
    "types_in",
    "types_of",
]

BLOCKED: Final = "cluster_block_exception"
CONFLICT: Final = "version_conflict_engine_exception"
NO_INDEX: Final = "index_not_found_exception"
STARTING: Final = 503
TIMED_OUT: Final = 504
RETRIED: Final = frozenset({429, 502, STARTING, TIMED_OUT})
"""Statuses that say "not now"."""
OVERLOADED: Final = 429


class RefusedError(Exception):
    """Something inside an answer was refused, while the request as a whole was not."""

    def __init__(self, message: str, status: int, types: list[str]) -> None:
        """Keep what the server said.

        Args:
            message: for a person.
            status: that the whole request would have had; 0 where the server tells none.
            types: the server's names for the error, the root causes first.
        """
        super().__init__(message)
        self.status = status
        self.types = types


ERRORS: Final[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
    transport.TransportError: StoreConnectionError,  # also an answer that is not JSON: whoever answered is no Elasticsearch
    transport.ApiError: KeyValueOperationError,
    RefusedError: KeyValueOperationError,
    StrangeAnswerError: StoreConnectionError,
    driver.UnsupportedProductError: StoreSetupError,
}

FAULTS: Final[Faults] = {
    transport.ConnectionTimeout: Fault.SILENT,
    transport.SerializationError: Fault.STRANGER,
    driver.UnsupportedProductError: Fault.STRANGER,
    driver.AuthenticationException: Fault.PASSWORD,
    driver.AuthorizationException: Fault.RIGHT,
    aiohttp.ServerDisconnectedError: Fault.STRANGER,
    aiohttp.ClientResponseError: Fault.STRANGER,
}
"""What they tell of a connection."""

NOT_NOW: Final = (StoreConnectionError, "The server is overloaded or not ready.")
BY_TYPE: Final[Mapping[str, tuple[type[BaseKeyValueError], str]]] = {
    CONFLICT: (ConflictError, ""),
    "document_parsing_exception": (SerializationError, ""),
    "mapper_parsing_exception": (SerializationError, ""),
    "invalid_index_name_exception": (InvalidKeyError, "Choose another collection or a sanitization strategy."),
    BLOCKED: (ReadOnlyError, "The index takes no writes now; a full disk is the usual reason."),
    "search_context_missing_exception": (CursorExpiredError, "Start the scan again."),
    "index_closed_exception": (KeyValueOperationError, "Open the index, or choose another collection."),
    **dict.fromkeys(
        (
            "circuit_breaking_exception",
            "es_rejected_execution_exception",
            "no_shard_available_action_exception",
            "unavailable_shards_exception",
        ),
        NOT_NOW,
    ),
}
BY_STATUS: Final[Mapping[int, tuple[type[BaseKeyValueError], str]]] = {
    401: (StoreSetupError, "Check the API key, or user name and password."),
    403: (KeyValueOperationError, "The user or API key lacks the right to do this on these indices."),
    413: (ValueTooLargeError, "The server's http.max_content_length is the limit."),
    **dict.fromkeys(RETRIED, NOT_NOW),
}


def cause_of(exc: BaseException) -> BaseException:
    """The driver's exception; what the library below it says of a client that its owner closes is turned into one."""
    if type(exc) is RuntimeError and str(exc) == "Session is closed":
        return transport.ConnectionError("the client was closed during the call")
    return exc


def innermost(exc: BaseException) -> BaseException:
    """What went wrong: the driver wraps it in itself, once more for each try, and each says what all others say."""
    while isinstance(exc, transport.TransportError) and exc.errors and isinstance(exc.errors[-1], Exception):
        exc = exc.errors[-1]
    if isinstance(exc, aiohttp.TooManyRedirects):  # which says nothing
        return ConnectionError("the server sends its callers from one address to the next without an end")
    return exc


def types_of(exc: transport.ApiError) -> list[str]:
    """The server's names for an error, the root causes first."""
    return types_in(exc.body.get("error") if isinstance(exc.body, dict) else None)


def types_in(error: Any) -> list[str]:
    """As `types_of`, of an error as it stands in an answer."""
    if not isinstance(error, dict):
        return []
    causes = [cause.get("type") for cause in error.get("root_cause") or ()]
    return [name for name in (*causes, error.get("type")) if isinstance(name, str)]


def advised(ours: BaseKeyValueError, exc: BaseException) -> BaseKeyValueError:
    """The error as the status and the server's names for what went wrong have it, with advice."""
    if isinstance(exc, transport.ApiError):
        status, types = exc.meta.status, types_of(exc)
    elif isinstance(exc, RefusedError):
        status, types = exc.status, exc.types
    else:
        return ours
    for name in types:
        if name in BY_TYPE and not (name == BLOCKED and status == STARTING):
            cls, advice = BY_TYPE[name]
            break
    else:
        cls, advice = BY_STATUS.get(status, (KeyValueOperationError, ""))
    return cls(f"{ours.message}. {advice}" if advice else ours.message)


def bulk_failure(items: list[dict[str, Any]]) -> RefusedError | None:
    """How many operations of a batch failed, and why the first one did; None when all went well."""
    failed = [item for item in items if "error" in item]
    return None if not failed else item_failure(failed[0], f"{len(failed)} of {len(items)} writes failed, the first of them")


def item_failure(item: dict[str, Any], message: str) -> RefusedError:
    """The error for one item of an answer."""
    error = item["error"]
    cause = error.get("caused_by", {}).get("reason")
    which = f" ({item['_id']!r})" if "_id" in item else ""
    told = f"{message}{which}: {error.get('type')}: {error.get('reason')}" + (f" ({cause})" if cause else "")
    return RefusedError(told, item.get("status", 0), types_in(error))


def deletion_failure(answer: dict[str, Any]) -> RefusedError | None:
    """Why deleting by query ended before all was deleted; None when it did not."""
    deleted = f"{answer.get('deleted', 0)} of {answer.get('total', 0)} documents were deleted"
    failures = answer.get("failures")
    if failures:
        failed = failures[0]
        cause = failed.get("cause") or failed.get("reason") or {}  # of a write, or of the search before it
        status = int(failed.get("status", 0))
        return RefusedError(f"{deleted}, then it failed: {cause.get('type')}: {cause.get('reason')}", status, types_in(cause))
    return RefusedError(f"{deleted}, then a search took too long", TIMED_OUT, []) if answer.get("timed_out") else None
