"""The managed entry: a value with the time it was made and the time it ends. All times are UTC and wall-clock.

Deadlines are absolute because they outlive processes and are shared between machines, so the clock is the wall clock
everywhere; `utc_now` is the only place that asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self, SupportsFloat

from stores.errors import DeserializationError, SerializationError
from stores.pieces import dump_text
from stores.stepwise import rewrite

__all__ = [
    "JsonObject",
    "ManagedEntry",
    "check_value",
    "deadline_after",
    "dump_json",
    "dump_text",
    "in_utc",
    "load_json",
    "moment_at",
    "read_json",
    "utc_now",
]


_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
"""The ends of the calendar."""


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def deadline_after(start: datetime, seconds: float | None) -> datetime | None:
    """When a TTL that starts at `start` ends; a TTL beyond the calendar's end (year 9999) ends there."""
    if seconds is None:
        return None
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return _LAST


def moment_at(seconds: float) -> datetime:
    """The moment so many seconds after the epoch; one beyond the calendar's ends is the calendar's last or first."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _LAST if seconds > 0 else _FIRST


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC, in which a naive one is already; one that UTC's calendar does not reach is its last or first."""
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _LAST if moment.year > 1 else _FIRST


_read = json.JSONDecoder().raw_decode


def read_json(text: str | bytes) -> Any:
    """Do as `json.loads`, which for a small object takes three times as long: it looks for an encoding, and at both ends."""
    if isinstance(text, bytes) and text.startswith(b'{"') and text.isascii():
        text = text.decode()
    if isinstance(text, str) and text.startswith("{"):
        value, end = _read(text)
        if end == len(text):
            return value
    return json.loads(text)


class JsonObject(Mapping[str, Any]):
    """A JSON object that is kept as its text in the form of `dump_json`, which goes by it, and read by whoever looks inside."""

    __slots__ = ("_text", "_value")

    def __init__(self, text: str | bytes, value: dict[str, Any] | None = None) -> None:
        """Take a text that is in that form, and what it says where that is known."""
        self._text = text
        self._value = value

    @classmethod
    def read(cls, text: bytes) -> JsonObject | None:
        """Read a JSON object; None where the JSON is something else.

        Raises:
            ValueError: this is not JSON. RecursionError: it nests too deep.
        """
        value = read_json(text)
        return cls(dump_text(value), value) if type(value) is dict else None

    @classmethod
    def read_in_steps(cls, text: bytes | memoryview) -> Generator[None, None, JsonObject | None]:
        """Do as `read` in steps of a fraction of a millisecond: a large text would take hundreds."""
        written = yield from rewrite(text)
        return cls(written) if written.startswith(b"{") else None

    @property
    def text(self) -> str:
        """The text."""
        return self._text if isinstance(self._text, str) else self._text.decode()

    @property
    def encoded(self) -> bytes:
        """The text as bytes."""
        return self._text if isinstance(self._text, bytes) else self._text.encode()

    @property
    def value(self) -> dict[str, Any]:
        """What the text says. Not to be changed."""
        if self._value is None:
            self._value = read_json(self._text)
        return self._value

    def __getitem__(self, name: str) -> Any:
        """A member's value."""
        return self.value[name]

    def __iter__(self) -> Iterator[str]:
        """The members' names."""
        return iter(self.value)

    def __len__(self) -> int:
        """How many members there are."""
        return len(self.value)


def check_value(value: Mapping[str, Any]) -> None:
    """Raise TypeError for what is not a mapping with string keys."""
    if type(value) is JsonObject:
        return
    if type(value) is not dict and not isinstance(value, Mapping):
        raise TypeError(f"A value is a mapping with string keys, not {type(value).__name__}.")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"A value's keys are strings, not {type(key).__name__} ({key!r}).")


def dump_json(value: Mapping[str, Any]) -> str:
    """Write a mapping in the one form that all stores share: keys sorted at every level, ASCII only.

    Raises:
        TypeError: it is not a mapping with string keys.
        SerializationError: it holds what JSON cannot carry.
    """
    if type(value) is JsonObject:
        return value.text
    check_value(value)
    try:
        return dump_text(value if type(value) is dict else dict(value))
    except (TypeError, ValueError, RecursionError) as exc:
        raise SerializationError(f"The value cannot be written as JSON: {exc}.") from exc


def load_json(text: str | bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DeserializationError: it is not JSON, or not an object.
    """
    try:
        value = read_json(text)
    except (ValueError, RecursionError) as exc:
        raise DeserializationError(f"This is not JSON: {exc}.") from exc
    if not isinstance(value, dict):
        raise DeserializationError(f"This is JSON, but {type(value).__name__}, not an object.")
    return value


@dataclass(kw_only=True)
class ManagedEntry:
    """A value with its times. `expires_at` None means that it lives on."""

    value: Mapping[str, Any]
    created_at: datetime | None = None
    expires_at: datetime | None = None

    @classmethod
    def from_ttl(cls, *, value: Mapping[str, Any], created_at: datetime | None = None, ttl: SupportsFloat) -> Self:
        """An entry that ends `ttl` seconds from now (0: never)."""
        seconds = float(ttl)
        return cls(value=value, created_at=created_at, expires_at=deadline_after(utc_now(), seconds) if seconds else None)

    @property
    def is_expired(self) -> bool:
        """Whether the deadline has come."""
        return self.expires_at is not None and self.expires_at <= utc_now()

    @property
    def ttl(self) -> float | None:
        """Seconds that are left now (negative after the deadline), None without one."""
        return None if self.expires_at is None else (self.expires_at - utc_now()).total_seconds()

    @property
    def value_as_dict(self) -> dict[str, Any]:
        """The value as a new dict. TypeError when it is not a mapping."""
        value = self.value.value if type(self.value) is JsonObject else self.value
        if type(value) is not dict and not isinstance(value, Mapping):  # asking an abstract class takes longer than the copy
            raise TypeError(f"A value is a mapping with string keys, not {type(value).__name__}.")
        return dict(value)

    @property
    def value_as_json(self) -> str:
        """The value as JSON text with sorted keys. SerializationError where JSON cannot carry it."""
        return dump_json(self.value)

    @property
    def value_as_bytes(self) -> bytes:
        """As `value_as_json`, encoded."""
        return self.value.encoded if type(self.value) is JsonObject else dump_json(self.value).encode()

    @property
    def created_at_isoformat(self) -> str | None:
        """`created_at` as it is written."""
        return None if self.created_at is None else self.created_at.isoformat()

    @property
    def expires_at_isoformat(self) -> str | None:
        """`expires_at` as it is written."""
        return None if self.expires_at is None else self.expires_at.isoformat()
