"""What the Elasticsearch client raises and what the server answers, and what they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import elastic_transport as transport
import elasticsearch as driver

from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    CursorExpiredError,
    InvalidKeyError,
    KeyValueOperationError,
    ReadOnlyError,
    SerializationError,
    StoreConnectionError,
    StoreSetupError,
    ValueTooLargeError,
)

__all__ = [
    "CONFLICT",
    "ERRORS",
    "NO_INDEX",
    "RETRIED",
    "answered",
    "bulk_failure",
    "cause_of",
    "innermost",
    "item_failure",
    "types_of",
]

CONFLICT: Final = "version_conflict_engine_exception"
NO_INDEX: Final = "index_not_found_exception"
RETRIED: Final = frozenset({429, 502, 503, 504})
"""Statuses that say "not now"."""

ERRORS: Final[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
    transport.TransportError: StoreConnectionError,  # also an answer that is not JSON: whoever answered is no Elasticsearch
    transport.ApiError: KeyValueOperationError,
    driver.UnsupportedProductError: StoreSetupError,
}

BY_TYPE: Final[Mapping[str, tuple[type[BaseKeyValueError], str]]] = {
    CONFLICT: (ConflictError, ""),
    "document_parsing_exception": (SerializationError, ""),
    "mapper_parsing_exception": (SerializationError, ""),
    "invalid_index_name_exception": (InvalidKeyError, "Choose another collection or a sanitization strategy."),
    "cluster_block_exception": (ReadOnlyError, "The index takes no writes now; a full disk is the usual reason."),
    "search_context_missing_exception": (CursorExpiredError, "Start the scan again."),
}
BY_STATUS: Final[Mapping[int, tuple[type[BaseKeyValueError], str]]] = {
    401: (StoreSetupError, "Check the API key, or user name and password."),
    403: (KeyValueOperationError, "The user or API key lacks the right to do this on these indices."),
    413: (ValueTooLargeError, "The server's http.max_content_length is the limit."),
    **dict.fromkeys(RETRIED, (StoreConnectionError, "The server is overloaded or not ready.")),
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
    return exc


def types_of(exc: transport.ApiError) -> list[str]:
    """The server's names for an error, the root causes first."""
    error = exc.body.get("error") if isinstance(exc.body, dict) else None
    if not isinstance(error, dict):
        return []
    causes = [cause.get("type") for cause in error.get("root_cause") or ()]
    return [name for name in (*causes, error.get("type")) if isinstance(name, str)]


def answered(message: str, status: int, types: list[str]) -> BaseKeyValueError:
    """The error for a status and the server's names for what went wrong, with advice."""
    for name in types:
        if name in BY_TYPE:
            cls, advice = BY_TYPE[name]
            break
    else:
        cls, advice = BY_STATUS.get(status, (KeyValueOperationError, ""))
    return cls(f"{message}. {advice}" if advice else message)


def bulk_failure(items: list[dict[str, Any]]) -> BaseKeyValueError | None:
    """How many operations of a batch failed, and why the first one did; None when all went well."""
    failed = [item for item in items if "error" in item]
    return item_failure(failed[0], f"{len(failed)} of {len(items)} writes to Elasticsearch failed") if failed else None


def item_failure(item: dict[str, Any], message: str) -> BaseKeyValueError:
    """The error for one item of an answer."""
    error = item["error"]
    cause = error.get("caused_by", {}).get("reason")
    told = f"{message}: {error.get('type')}: {error.get('reason')}" + (f" ({cause})" if cause else "")
    return answered(told, item.get("status", 0), [str(error.get("type"))])
