"""Memcached's text protocol: its meta commands as bytes, its answers cut from bytes. No I/O.

A name with spaces or control characters is sent in base64, as the meta commands allow; any other as it is, as older clients do.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from stores.backends.pipelined import INCOMPLETE
from stores.errors import InvalidKeyError

__all__ = [
    "Answer",
    "AnswerError",
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

_ODD = re.compile(rb"[\x00-\x20\x7f]")
_NAMES_IN_DUMP = re.compile(rb"^key=(\S*) ", re.MULTILINE)


class AnswerError(Exception):
    """The server could not do what was asked; the message is its own."""


class Answer(NamedTuple):
    """`code` is HD (done), EN or NF (not there), NS (not stored), EX (another version is there) or VA (with a value)."""

    code: bytes
    flags: dict[str, int]
    value: bytes = b""


class Answers:
    """Cuts what the server sends into answers; SERVER_ERROR is an AnswerError among them.

    ERROR and CLIENT_ERROR are raised: after them it is not sure which request the next line answers.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._buffer = bytearray()
        self._at = 0

    def feed(self, data: bytes, /) -> None:
        """Take what was received."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def gets(self) -> Any:
        """The next answer, or INCOMPLETE. Raises ValueError for what is none."""
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            return INCOMPLETE
        line = bytes(self._buffer[self._at : end])
        code, *words = line.split() or [b""]
        if code == b"SERVER_ERROR":
            self._at = end + 2
            return AnswerError(line.decode(errors="replace"))
        if not code.isupper() or code in (b"ERROR", b"CLIENT_ERROR"):
            raise ValueError(line[:80].decode(errors="replace"))
        value = b""
        if code == b"VA":
            start, end = end + 2, end + 2 + int(words.pop(0))
            if len(self._buffer) < end + 2:
                return INCOMPLETE
            value = bytes(self._buffer[start:end])
        self._at = end + 2
        return Answer(code, {chr(word[0]): int(word[1:]) for word in words if word[1:].lstrip(b"-").isdigit()}, value)


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
        raise InvalidKeyError(
            f"The name {name[:40]!r}… has {len(sent)} bytes{written} with its collection; memcached takes 1 to {MAX_NAME}. "
            "MemcachedV1KeySanitizationStrategy shortens names."
        )
    return name


def _sent(name: bytes) -> tuple[bytes, bytes]:
    return (b64encode(name), b" b") if _ODD.search(name) else (name, b"")
