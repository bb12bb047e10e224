"""Entries to and from the form in which py-key-value applications keep them.

An entry is JSON: keys sorted at every level, default separators, ASCII only; `version` is 1; times are ISO 8601 in UTC;
`expires_at` is left out where there is none. The long form also names `collection` and `key` (flat keyspaces), the short form
does not. Reading is tolerant: further fields are ignored, `value` may be an object or a JSON string of one, a date may be null
(records of old releases) or naive (then it is UTC).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from stores.entry import ManagedEntry, dump_json, dump_text, in_utc, read_json
from stores.errors import DeserializationError, SerializationError

__all__ = ["BasicSerializationAdapter", "SerializationAdapter"]

DateFormat = Literal["isoformat", "datetime"]
ValueFormat = Literal["string", "dict"]

FORMAT_VERSION = 1


class SerializationAdapter(ABC):
    """Turns entries into a backend's form and back. A backend with a form of its own overrides the two `prepare_` hooks."""

    def __init__(self, *, date_format: DateFormat | None = "isoformat", value_format: ValueFormat | None = "dict") -> None:
        """Choose the form.

        Args:
            date_format: "isoformat" writes times as text, "datetime" leaves them to the driver.
            value_format: "dict" writes the value as it is, "string" as JSON text.
        """
        self._date_format = date_format
        self._value_format = value_format

    @abstractmethod
    def prepare_load(self, data: dict[str, Any]) -> dict[str, Any]:
        """Turn a backend's document into the common one."""

    @abstractmethod
    def prepare_dump(self, data: dict[str, Any]) -> dict[str, Any]:
        """Turn the common document into a backend's."""

    def load_json(self, json_str: str | bytes) -> ManagedEntry:
        """Read an entry from its JSON text. DeserializationError when it is none."""
        try:
            data = read_json(json_str)
        except UnicodeDecodeError as exc:
            raise DeserializationError("It is not UTF-8 text.") from exc
        except (ValueError, RecursionError) as exc:
            raise DeserializationError(f"It is not JSON: {exc}.") from exc
        if not isinstance(data, dict):
            raise DeserializationError("It is JSON, but not an object.")
        return self.load_dict(data)

    def load_dict(self, data: dict[str, Any]) -> ManagedEntry:
        """Read an entry from a document. DeserializationError when it is none."""
        data = self.prepare_load(data)
        try:
            value = data["value"]
        except KeyError:
            raise DeserializationError("It has no field `value`.") from None
        if isinstance(value, str):
            try:
                value = read_json(value)
            except (ValueError, RecursionError) as exc:
                raise DeserializationError(f"Its `value` is text, but not JSON: {exc}.") from exc
        if type(value) is not dict and not isinstance(value, Mapping):
            raise DeserializationError("Its `value` is neither an object nor a JSON string of one.")
        return ManagedEntry(
            value=value,
            created_at=_load_date(data, "created_at"),
            expires_at=_load_date(data, "expires_at"),
        )

    def dump_dict(
        self,
        entry: ManagedEntry,
        exclude_none: bool = True,  # noqa: FBT002 - py-key-value's adapters take it by position
        *,
        key: str | None = None,
        collection: str | None = None,
        version: int = FORMAT_VERSION,
    ) -> dict[str, Any]:
        """The entry as a document; with `key` and `collection` in the long form."""
        dated = self._date_format == "isoformat"
        data: dict[str, Any] = {
            "version": version,
            "key": key,
            "collection": collection,
            "created_at": entry.created_at_isoformat if dated else entry.created_at,
            "expires_at": entry.expires_at_isoformat if dated else entry.expires_at,
            "value": entry.value_as_json if self._value_format == "string" else entry.value_as_dict,
        }
        if exclude_none:
            data = {name: field for name, field in data.items() if field is not None}
        return self.prepare_dump(data)

    def dump_json(
        self,
        entry: ManagedEntry,
        exclude_none: bool = True,  # noqa: FBT002 - as above
        *,
        key: str | None = None,
        collection: str | None = None,
        version: int = FORMAT_VERSION,
    ) -> str:
        """The entry as JSON text. SerializationError where JSON cannot carry the value."""
        if self._date_format == "datetime":
            raise SerializationError("An adapter with native dates has no JSON form.")
        return dump_json(self.dump_dict(entry, exclude_none, key=key, collection=collection, version=version))


class BasicSerializationAdapter(SerializationAdapter):
    """The common form as it is."""

    def dump_json(
        self,
        entry: ManagedEntry,
        exclude_none: bool = True,  # noqa: FBT002 - as above
        *,
        key: str | None = None,
        collection: str | None = None,
        version: int = FORMAT_VERSION,
    ) -> str:
        """As the base's, in half the time: what surrounds the value is put together here, in the order of its sorted keys."""
        usual = (self._date_format, self._value_format) == ("isoformat", "dict") and exclude_none
        if not usual or type(self) is not BasicSerializationAdapter:  # a heir may prepare something else
            return super().dump_json(entry, exclude_none, key=key, collection=collection, version=version)
        value = entry.value_as_json
        named = "" if collection is None else f'"collection": {dump_text(collection)}, '
        made = "" if entry.created_at is None else f'"created_at": "{entry.created_at.isoformat()}", '
        ends = "" if entry.expires_at is None else f'"expires_at": "{entry.expires_at.isoformat()}", '
        under = "" if key is None else f'"key": {dump_text(key)}, '
        return f'{{{named}{made}{ends}{under}"value": {value}, "version": {version}}}'

    def prepare_load(self, data: dict[str, Any]) -> dict[str, Any]:
        """Nothing to turn."""
        return data

    def prepare_dump(self, data: dict[str, Any]) -> dict[str, Any]:
        """Nothing to turn."""
        return data


def _load_date(data: dict[str, Any], name: str) -> datetime | None:
    moment = data.get(name)
    if moment is None:
        return None
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise DeserializationError(f"Its `{name}` is not a date: {moment!r}.") from None
    if not isinstance(moment, datetime):
        raise DeserializationError(f"Its `{name}` is {type(moment).__name__}, not a date.")
    return in_utc(moment)
