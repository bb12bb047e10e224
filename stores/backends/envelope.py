"""Looking into an entry's stored JSON without reading all of it.

Entries are written with sorted keys and default separators (`stores.serialization`), so the times stand before the value and
the value's own text stands between fixed words. What does not look exactly so is for the serialization adapter to read.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import NamedTuple

__all__ = ["HEAD_BYTES", "Times", "open_text", "peek"]

HEAD_BYTES = 160
"""Bytes of an entry in which its times stand, beside those of its collection's name."""

_TEXT = rb'"(?:[^"\\]|\\.)*"'
_TIMES = re.compile(
    rb'\{(?:"collection": ' + _TEXT + rb', )?"created_at": (?:null|"([^"\\]*)"), (?:"expires_at": (?:null|"([^"\\]*)"), )?'
    rb'(?="key": "|"value": [{"])'
)
_BEGIN = re.compile(rb'(?:"key": ' + _TEXT + rb', )?"value": (?=\{)')
_END = b'}, "version": 1}'


class Times(NamedTuple):
    """When an entry was made, and when it ends."""

    created_at: datetime | None
    expires_at: datetime | None


def peek(head: bytes) -> Times | None:
    """The times in the beginning of an entry; None when it does not look like one."""
    found = _TIMES.match(head)
    return None if found is None else _times(found)


def open_text(raw: bytes) -> tuple[bytes, Times] | None:
    """The value's JSON text and the entry's times; None when it must be read the long way."""
    found = _TIMES.match(raw)
    begin = None if found is None else _BEGIN.match(raw, found.end())
    if found is None or begin is None or not raw.endswith(_END):
        return None
    text = raw[begin.end() : len(raw) - len(_END) + 1]
    if b'}, "' in text:  # another field could stand behind the value
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return None
    times = _times(found)
    return None if times is None else (text, times)


def _times(found: re.Match[bytes]) -> Times | None:
    try:
        return Times(_moment(found[1]), _moment(found[2]))
    except ValueError:
        return None


def _moment(text: bytes | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text.decode())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
