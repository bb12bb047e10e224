"""TTLs as they count down on screen: absolute deadlines in, text and urgency out. Pure."""

from __future__ import annotations

import math
from datetime import datetime
from enum import Enum

__all__ = ["FADE_SECONDS", "TENTHS_BELOW", "Urgency", "left_text", "moment_text", "until_text", "urgency"]

TENTHS_BELOW = 10.0
"""Seconds under which tenths are shown."""
SOON_BELOW = 60.0
CALM_BELOW = 3600.0
FADE_SECONDS = 1.2
"""How long an expired row fades before it leaves."""

_UNITS = ((86400 * 365, "y", 86400, "d"), (86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))


class Urgency(Enum):
    """How near the end is; the value is the suffix of the style that shows it."""

    NEVER = "never"
    FAR = "far"
    CALM = "calm"
    SOON = "soon"
    LAST = "last"
    OVER = "over"


def urgency(deadline: float | None, now: float) -> Urgency:
    """How near the deadline (epoch seconds; None is never) is."""
    if deadline is None or deadline == math.inf:
        return Urgency.NEVER
    left = deadline - now
    if left <= 0:
        return Urgency.OVER
    if left < TENTHS_BELOW:
        return Urgency.LAST
    if left < SOON_BELOW:
        return Urgency.SOON
    return Urgency.CALM if left < CALM_BELOW else Urgency.FAR


def left_text(deadline: float | None, now: float) -> str:
    """What is left until the deadline, in at most seven cells whose widths do not jump: "4m 05s", "9.4s", "∞"."""
    if deadline is None or deadline == math.inf:
        return "∞"
    left = deadline - now
    if left <= 0:
        return "expired"
    if left < TENTHS_BELOW:
        return f"{math.floor(left * 10) / 10:.1f}s"
    whole = math.floor(deadline - math.floor(now))  # of the whole second, so that all who show it say the same
    for size, unit, part, part_unit in _UNITS:
        if whole >= size:
            many, rest = divmod(whole, size)
            if unit == "y" and many > 9999:  # noqa: PLR2004 - the last year of dates
                return ">9999y"
            if many >= 100 or (unit == "y" and many >= 10):  # noqa: PLR2004 - no room for the smaller unit
                return f"{many}{unit}"
            return f"{many}{unit} {rest // part:02d}{part_unit}"
    return f"{whole}s"


def moment_text(moment: float | None) -> str:
    """A moment (epoch seconds) in local time to the second; a dash when it is not known."""
    if moment is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return "beyond the year 9999"


def until_text(moment: float, now: float) -> str:
    """A moment that is near `now` as shortly as it can be said: "18:03:20" today, "Fri 18:03", or the date."""
    try:
        then, today = datetime.fromtimestamp(moment).astimezone(), datetime.fromtimestamp(now).astimezone()
    except (OverflowError, ValueError, OSError):
        return moment_text(moment)
    if then.date() == today.date():
        return f"{then:%H:%M:%S}"
    if moment - now < 6 * 86400:
        return f"{then:%a %H:%M}"
    return f"{then:%Y-%m-%d}"
