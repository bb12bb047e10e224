"""Memcached's text protocol: its meta commands as bytes, its answers cut from bytes. No I/O.

A name with spaces or control characters is sent in base64, as the meta commands allow; any other as it is, as older clients do.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from stores.backends.memcached_errors import AnswerError
from stores.errors import InvalidKeyError

__all__ = [
    "Answer",
    "Answers",
    "authenticate",
    "check_name",
    "delete",
    "dumped_names",
    "get",
    "read_dumped",
    "store",
]

MAX_NAME: Final = 250
"""Bytes of a name as it is sent."""

LONGEST_LINE: Final = 8192
"""Bytes; a line without an end is no answer."""
CODES: Final = frozenset({b"HD", b"EN", b"NF", b"NS", b"EX", b"OK", b"STORED"})
"""Of the answers without a value."""

_ODD = re.compile(rb"[\x00-\x20\x7f]")
_VALUE = re.compile(rb"VA (\d+)([^\r\n]*)\r\n")
_NAMES_IN_DUMP = re.compile(rb"^key=(\S*) ", re.MULTILINE)


class Answer(NamedTuple):
    """`code` is HD (done), EN or NF (not there), NS (not stored), EX (another version is there) or VA (with a value)."""

    code: bytes
    flags: Mapping[str, int]
    value: bytes = b""


class Answers:
    """Cuts what the server sends into answers; SERVER_ERROR is an AnswerError among them.

    ERROR and CLIENT_ERROR are raised: after them it is not sure which request the next line answers.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._buffer = b""
        self._at = 0
        self._parts: list[bytes] = []
        self._missing = 0
        """Bytes of the next value that are still to come."""

    def cut(self, data: bytes) -> Iterator[Any]:
        """Take what was received; the answers that are whole with it. Raises ValueError for what is none."""
        self._parts.append(data)
        self._missing -= len(data)
        while (answer := self._next()) is not None:
            yield answer

    def _next(self) -> Answer | AnswerError | None:
        if self._missing > 0:
            return None
        if self._parts:
            self._buffer = b"".join([self._buffer[self._at :], *self._parts])
            self._parts.clear()
            self._at = 0
        head = _VALUE.match(self._buffer, self._at)
        if head is not None:
            start = head.end()
            end = start + int(head[1])
            self._missing = end + 2 - len(self._buffer)
            if self._missing > 0:
                return None
            self._at = end + 2
            return Answer(b"VA", _flags(head[2]), self._buffer[start:end])
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            if len(self._buffer) - self._at > LONGEST_LINE:
                raise ValueError("a line without an end")
            return None
        line = self._buffer[self._at : end]
        code, _, flags = line.partition(b" ")
        if code == b"SERVER_ERROR":
            self._at = end + 2
            return AnswerError(line.decode(errors="replace"))
        if code not in CODES:
            raise ValueError(line[:80].decode(errors="replace"))
        self._at = end + 2
        return Answer(code, _flags(flags))


@lru_cache(maxsize=256)
def _flags(words: bytes) -> Mapping[str, int]:
    """The numbers among an answer's flags, by their letters."""
    return {chr(word[0]): int(word[1:]) for word in words.split() if word[1:].lstrip(b"-").isdigit()}


def get(name: bytes, flags: bytes) -> bytes:
    """Ask for a value (v) and what is known of it: t seconds to live, s size, c version, f the client's flags."""
    sent, form = _sent(name)
    return b"mg %s %s%s\r\n" % (sent, flags, form)


def store(name: bytes, body: bytes, *, exptime: int, client_flags: int = 0, only: bytes = b"") -> bytes:
    """Store a value. `only` narrows: ` C123` where that version is there, ` ME` where nothing is."""
    sent, form = _sent(name)
    return b"ms %s %d c T%d F%d%s%s\r\n%s\r\n" % (sent, len(body), exptime, client_flags, only, form, body)


def delete(name: bytes, *, only: bytes = b"") -> bytes:
    """Delete, with `only` as in `store`."""
    sent, form = _sent(name)
    return b"md %s%s%s\r\n" % (sent, only, form)


def authenticate(username: str, password: str) -> bytes:
    """Log in, where the server was started with a file of users (`-Y`)."""
    credentials = f"{username} {password}".encode()
    return b"set auth 0 0 %d\r\n%s\r\n" % (len(credentials), credentials)


def dumped_names(lines: bytes) -> list[bytes]:
    """The names in whole lines of `lru_crawler metadump`, in its form: percent-encoded."""
    return _NAMES_IN_DUMP.findall(lines)


def read_dumped(name: bytes) -> bytes:
    """The name itself."""
    return unquote_to_bytes(name)


def check_name(name: bytes) -> bytes:
    """The name, if it can be sent. InvalidKeyError otherwise."""
    sent, form = _sent(name)
    if not sent or len(sent) > MAX_NAME:
        written = " in base64, which its spaces or control characters need," if form else ""
        shown = name.decode("utf-8", "surrogateescape")[:40]
        raise InvalidKeyError(
            f"The name {shown!r}… has {len(sent)} bytes{written} with its collection; memcached takes 1 to {MAX_NAME}. "
            "MemcachedV1KeySanitizationStrategy shortens names."
        )
    return name


def _sent(name: bytes) -> tuple[bytes, bytes]:
    return (b64encode(name), b" b") if _ODD.search(name) else (name, b"")
