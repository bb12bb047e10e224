"""Arguments are checked here, once, before anything is sent anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import index
from typing import Any, SupportsFloat

from stores.errors import InvalidTTLError
from stores.names import Token

__all__ = ["Secret", "check_key", "check_keys", "check_limit", "check_name", "check_page", "check_ttl", "check_values"]


class Secret:
    """Marks a constructor's parameter as a secret: `password: Annotated[str | None, Secret] = None`.

    Whoever shows or logs arguments reads the mark; it stands nowhere else.
    """


def check_ttl(ttl: SupportsFloat | None) -> float | None:
    """Seconds as a float; None means no deadline.

    Raises:
        InvalidTTLError: it is not a positive finite number (a bool is none).
    """
    if ttl is None:
        return None
    if isinstance(ttl, (bool, str, bytes)) or not hasattr(ttl, "__float__"):
        raise InvalidTTLError(f"A TTL is a positive number of seconds, not {ttl!r}.")
    try:
        seconds = float(ttl)
    except (ValueError, OverflowError, ArithmeticError, TypeError) as exc:
        raise InvalidTTLError(f"A TTL is a positive number of seconds, not {ttl!r}.") from exc
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidTTLError(f"A TTL is a positive finite number of seconds, not {ttl!r}.")
    return seconds


def check_keys(keys: Sequence[str | Token]) -> list[str | Token]:
    """The keys as a list.

    Raises:
        TypeError: a lone string was given, or an item is no key.
    """
    if isinstance(keys, (str, bytes, Token)):
        raise TypeError("keys is a sequence of keys; a single key is for get, put, delete and ttl.")
    listed = list(keys)
    for key in listed:
        if type(key) is not str:
            check_key(key)
    return listed


def check_values(values: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The values for so many keys as a list.

    Raises:
        TypeError: a lone value was given.
        ValueError: there are more or fewer.
    """
    if isinstance(values, (str, bytes, Mapping)):
        raise TypeError("values is a sequence of values, one for each key; a single value is for put.")
    listed = list(values)
    if len(listed) != count:
        raise ValueError(f"put_many takes as many values as keys: {len(listed)} values for {count} keys.")
    return listed


def check_key(key: str | Token) -> None:
    """Raise TypeError unless it is a key."""
    if not isinstance(key, (str, Token)):
        raise TypeError(f"A key is a string, not {type(key).__name__} ({key!r}).")


def check_name(collection: str | Token) -> None:
    """Raise TypeError unless a collection is named."""
    if not isinstance(collection, (str, Token)):
        raise TypeError(f"A collection is a string, not {type(collection).__name__} ({collection!r}).")


def check_limit(limit: int | None) -> int | None:
    """A limit is a natural number or None. Raises TypeError, or ValueError for a negative one."""
    at_most = None if limit is None else _whole(limit)
    if at_most is not None and at_most < 0:
        raise ValueError(f"limit is a whole number of at least 0, not {limit!r}.")
    return at_most


def check_page(cursor: bytes | None, limit: int, match: str | None = None) -> int:
    """The limit of a page, which is at least 1. Raises TypeError for what cannot be asked of a scan."""
    if not (cursor is None or isinstance(cursor, bytes)):
        raise TypeError(f"A cursor is what the last page gave, or None, not {type(cursor).__name__} ({cursor!r}).")
    if not (match is None or isinstance(match, str)):
        raise TypeError(f"match is a glob, not {type(match).__name__} ({match!r}).")
    return max(_whole(limit), 1)


def _whole(limit: int) -> int:
    try:
        return int(index(limit))
    except TypeError:
        raise TypeError(f"limit is a whole number, not {type(limit).__name__} ({limit!r}).") from None
