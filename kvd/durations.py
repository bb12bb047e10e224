"""TTLs as people write and read them. Pure; used by the configuration, the command line and the terminal UI.

Written: `90s`, `2h30m`, `1.5d`, `90` (seconds), `never`, or the moment itself as `2031-01-31`, `2031-01-31 18:00` (local time)
or with an offset. Read: the two largest units, tenths below ten seconds. What `format_ttl` writes, `parse_ttl` reads.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta

__all__ = ["format_ttl", "parse_duration", "parse_ttl"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_PART = re.compile(rf"({_NUMBER})\s*(ms|[smhdw])\s*")
_PLAIN = re.compile(rf"(?:{_NUMBER})(?:e[+-]?[0-9]+)?")
_NEVER = {"never", "none", "forever", "∞"}
_HINT = "write it as 90s, 2h30m, never, or a date like 2031-01-31 18:00"


def parse_duration(text: str) -> float:
    """Read `90s`, `2h30m`, `1.5d`, or a plain number of seconds.

    Raises:
        ValueError: with a sentence for a person, when it is none, zero or negative, or has no end.
    """
    wanted = text.strip().lower()
    if wanted.startswith(("-", "+")) and (_PLAIN.fullmatch(wanted[1:]) or _sum_of_parts(wanted[1:]) is not None):
        if wanted[0] == "-":
            raise ValueError(f"{text!r} is negative: a TTL is more than zero")
        wanted = wanted[1:]
    seconds = float(wanted) if _PLAIN.fullmatch(wanted) else _sum_of_parts(wanted)
    if seconds is None:
        raise ValueError(f"{text!r} is not a TTL: {_HINT}")
    if seconds <= 0:
        raise ValueError(f"{text!r} is zero: a TTL is more than zero")
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is too large for a TTL: for one without end write never")
    return seconds


def parse_ttl(text: str, *, now: datetime | None = None) -> float | None:
    """Read a TTL in seconds, or None for `never`. A date counts from `now`, which is the clock's unless given.

    Raises:
        ValueError: with a sentence for a person, when it is none, zero or negative, in the past, or beyond the year 9999.
    """
    wanted = text.strip()
    if wanted.lower() in _NEVER:
        return None
    start = now or datetime.now().astimezone()
    moment = _moment(wanted)
    if moment is not None:
        seconds = (moment - start).total_seconds()
        if seconds <= 0:
            raise ValueError(f"{text!r} is in the past")
        return seconds
    seconds = parse_duration(text)
    try:
        start + timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{text!r} ends beyond the year 9999: for a TTL without end write never") from None
    return seconds


def format_ttl(seconds: float | None) -> str:
    """Write what is left of a TTL: "never", "9.5s", "1m30s", "2h", "3d4h"; "0s" once it is over."""
    if seconds is None:
        return "never"
    exact = round(max(seconds, 0.0), 3)  # what a clock added must not show as another second
    tenths = math.ceil(round(exact * 10, 2))
    if 0 < tenths < 100:  # noqa: PLR2004 - ten seconds
        return f"{tenths / 10:.1f}s"
    whole = math.ceil(exact)
    for unit, smaller, size, part in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if whole >= size:
            many, rest = divmod(whole, size)
            few = rest // part
            return f"{many}{unit}{few}{smaller}" if few else f"{many}{unit}"
    return f"{whole}s"


def _sum_of_parts(text: str) -> float | None:
    """The seconds of `2h30m`; None when the text is not made of such parts."""
    at, seconds = 0, 0.0
    while part := _PART.match(text, at):
        seconds += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    return seconds if at == len(text) > 0 else None


def _moment(text: str) -> datetime | None:
    if not re.match(r"[0-9]{4}-", text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None
