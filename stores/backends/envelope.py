"""Looking into an entry's stored JSON without reading all of it.

Entries are written with sorted keys and default separators (`stores.serialization`), so the times stand before the value and
the value's own text stands between fixed words. What does not look exactly so is for the serialization adapter to read.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import NamedTuple

from stores.entry import in_utc

__all__ = ["HEAD_BYTES", "Times", "open_text", "peek"]

HEAD_BYTES = 160
"""Bytes of an entry in which its times stand, beside those of its collection's name."""

_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_HEAD = rb'\{(?:"collection": ' + _TEXT + rb', )?"created_at": (?:null|"([^"\\]*)"), (?:"expires_at": (?:null|"([^"\\]*)"), )?'
_TIMES = re.compile(_HEAD + rb'(?="key": "|"value": [{"])')
_VALUE = re.compile(_HEAD + rb'(?:"key": ' + _TEXT + rb', )?"value": (?=\{)')
_END = b'}, "version": 1}'


class Times(NamedTuple):
    """When an entry was made, and when it ends."""

    created_at: datetime | None
    expires_at: datetime | None


def peek(head: bytes) -> Times | None:
    """The times in the beginning of an entry; None when it does not look like one."""
    found = _TIMES.match(head)
    return None if found is None else _times(found)


def open_text(raw: bytes) -> tuple[bytes, datetime | None] | None:
    """The value's JSON text and the entry's deadline; None when it must be read the long way."""
    found = _VALUE.match(raw)
    if found is None or not raw.endswith(_END):
        return None
    text = raw[found.end() : 1 - len(_END)]
    created_at, expires_at = found.groups()
    try:
        if text.find(b'}, "') >= 0:  # another field could stand behind the value
            json.loads(text)
        if created_at is not None:
            datetime.fromisoformat(created_at.decode())
        return text, None if expires_at is None else _moment(expires_at)
    except (ValueError, RecursionError):
        return None


def _times(found: re.Match[bytes]) -> Times | None:
    try:
        return Times(_moment(found[1]), _moment(found[2]))
    except ValueError:
        return None


def _moment(text: bytes | None) -> datetime | None:
    return None if text is None else in_utc(datetime.fromisoformat(text.decode()))
