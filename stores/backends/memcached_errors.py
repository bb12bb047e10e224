"""What memcached answers when it cannot do what was asked, and what becomes of that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from aiomcache.exceptions import ClientException

from stores.errors import (
    BaseKeyValueError,
    Fault,
    KeyValueOperationError,
    KeyValueStoreError,
    StoreConnectionError,
    ValueTooLargeError,
)
from stores.faults import Words

__all__ = ["ERRORS", "WORDS", "AnswerError", "LostError", "advised", "is_incapable"]


class AnswerError(Exception):
    """The server could not do what was asked; the message is its own."""


class LostError(Exception):
    """A connection failed."""


ERRORS: Final[Mapping[type[BaseException], type[BaseKeyValueError]]] = {
    ClientException: KeyValueOperationError,
    AnswerError: KeyValueStoreError,
    LostError: StoreConnectionError,
    OSError: StoreConnectionError,
    EOFError: StoreConnectionError,
    asyncio.LimitOverrunError: StoreConnectionError,
}

WORDS: Final[Words] = dict.fromkeys(("unauthenticated", "authentication failure"), Fault.PASSWORD)
"""What answers tell of a connection."""

CROWDED: Final = "Too many open connections"
"""A server says so to who connects, and hangs up."""

ADVICE: Final[Mapping[str, tuple[type[BaseKeyValueError], str]]] = {
    "out of memory storing": (
        KeyValueStoreError,
        "The server is full and drops nothing: raise its -m, or delete something. What was there under the key is gone.",
    ),
    "out of memory": (KeyValueStoreError, "The server is short of memory: try again, or raise its -m."),
    "too large": (ValueTooLargeError, "The server's option -I is the limit. What was there under the key is gone."),
    "backend|timeout|unavailable": (StoreConnectionError, "A proxy answered: the server behind it did not."),
    CROWDED: (StoreConnectionError, "Raise the server's -c, or close some."),
}
"""By what stands in an answer."""


def advised(ours: BaseKeyValueError, exc: BaseException) -> BaseKeyValueError:
    """The error as the server's words in the exception have it, with advice."""
    for words, (cls, advice) in ADVICE.items():
        if re.search(rf"ERROR [^']*(?:{words})", str(exc)):
            told = (ours.message or "").rstrip(". ")
            return cls(f"{told}. {advice}")
    return ours


def is_incapable(told: str) -> bool:
    """Whether a server says that it cannot do such a thing at all."""
    return told.startswith(("ERROR", "CLIENT_ERROR", "BADCLASS")) and CROWDED not in told
