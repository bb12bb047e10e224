"""Names: keys, collections, the tokens that stand for stored names, and the pages in which browsing returns them.

A key is a `str`. Bytes that are not UTF-8 are carried in it with surrogateescape, so every name that a backend can hold has
a `str`; a surrogate that stands for no byte is no name at all. Because sanitized and hashed names cannot be turned back,
everything that browsing returns also carries a `Token`: the stored name itself, which every method accepts instead of a key.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, TypeVar

from stores.errors import InvalidKeyError

__all__ = [
    "OUTSIDE",
    "Collection",
    "Key",
    "Name",
    "Page",
    "Scope",
    "Token",
    "compile_glob",
    "decode_name",
    "encode_name",
    "glob_literal",
    "glob_prefix",
    "shown",
    "walked",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Token:
    """The opaque address of a stored name. Only the store that made it can read it."""

    value: bytes


OUTSIDE: Final = Token(b"")
"""As a collection: the names that belong to none (keys without `::`, documents without an envelope). Neither None nor ""."""

Key = str | Token
Collection = str | Token | None
Scope = str | Token
"""A collection whose default is resolved."""


@dataclass(frozen=True, slots=True)
class Name:
    """A key or a collection that browsing found."""

    text: str
    """As a person reads it."""
    token: Token
    """Where it is: accepted wherever a key (or collection) is."""
    exact: bool = True
    """Whether `text` is the name itself; False where only its sanitized or hashed form is stored."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a scan. It may be empty though more follows; only `cursor is None` ends a scan."""

    items: list[T]
    cursor: bytes | None
    scanned: int
    """Names looked at for this page, those that did not match included."""


async def walked(
    page: Callable[[bytes | None], Awaitable[Page[Name]]],
    close: Callable[[bytes], object],
    limit: int | None,
    *,
    but: Token | None = None,
) -> list[str]:
    """The texts of all names that a scan finds, or of the first `limit`.

    Args:
        page: the page at a cursor; None starts.
        close: lets go of a scan that is not walked to its end.
        limit: None for all.
        but: a name that is left out.
    """
    found: dict[str, None] = {}
    cursor: bytes | None = None
    while limit is None or len(found) < limit:
        names = await page(cursor)
        found.update((name.text, None) for name in names.items if name.token != but)
        cursor = names.cursor
        if cursor is None:
            break
    if cursor is not None:
        close(cursor)
    return list(found)[:limit]


def encode_name(name: str) -> bytes:
    """The bytes of a key or collection.

    Raises:
        InvalidKeyError: it holds a surrogate that stands for no byte.
    """
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidKeyError(f"{name!r} holds a lone surrogate, which has no bytes.") from None


def decode_name(stored: bytes) -> str:
    """The `str` of a stored name, odd bytes as surrogates."""
    return stored.decode("utf-8", "surrogateescape")


def shown(name: str | Token) -> str:
    """A key or collection in a message."""
    return repr(name if isinstance(name, str) else name.value)


def glob_literal(text: str) -> str:
    r"""A glob that matches just this text: `*`, `?`, `[`, `]` and `\` quoted."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def glob_prefix(pattern: str) -> str:
    """The text with which all that matches a glob begins, as far as it is UTF-8; "" where that can be anything."""
    out: list[str] = []
    i = 0
    while i < len(pattern) and pattern[i] not in "*?[":
        if pattern[i] == "\\" and i + 1 < len(pattern):
            i += 1
        if "\ud800" <= pattern[i] <= "\udfff":  # not every server can be asked for that
            break
        out.append(pattern[i])
        i += 1
    return "".join(out)


@lru_cache(maxsize=64)
def compile_glob(pattern: str) -> re.Pattern[str]:
    r"""A regular expression for a Redis glob: `*`, `?`, `[ab]`, `[^a]`, `[a-z]`, and `\` before what is meant literally.

    An unclosed `[` runs to the end of the pattern, as it does in Redis.
    """
    # Between two stars stands what matches a fixed number of characters, so the first place where it fits will do. To try the
    # others too would take minutes for five stars and a key of 150 characters that almost matches.
    parts = [""]
    i = 0
    while i < len(pattern):
        char = pattern[i]
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "."
        elif char == "[":
            i, members = _class(pattern, i + 1)
            parts[-1] += members
        else:
            if char == "\\" and i + 1 < len(pattern):
                i += 1
                char = pattern[i]
            parts[-1] += re.escape(char)
        i += 1
    first, *others = parts
    if others:
        *between, last = others
        first += "".join(f"(?>.*?{part})" for part in between if part) + ".*" + last
    return re.compile(first + r"\Z", re.DOTALL)


def _class(pattern: str, i: int) -> tuple[int, str]:
    """The character class that starts behind `[` at `i`: where it closes, and its regular expression."""
    negated = pattern[i : i + 1] == "^"
    if negated:
        i += 1
    members: list[str] = []
    while i < len(pattern) and pattern[i] != "]":
        if pattern[i] == "\\" and i + 1 < len(pattern):
            i += 1
            members.append(re.escape(pattern[i]))
        elif i + 2 < len(pattern) and pattern[i + 1] == "-" and pattern[i + 2] != "]":
            low, high = sorted((pattern[i], pattern[i + 2]))
            members.append(f"{re.escape(low)}-{re.escape(high)}")
            i += 2
        else:
            members.append(re.escape(pattern[i]))
        i += 1
    if not members:
        return i, "." if negated else r"(?!)"
    return i, f"[{'^' if negated else ''}{''.join(members)}]"
