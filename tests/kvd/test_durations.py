from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from kvd.durations import format_ttl, parse_ttl

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        (" 2h30m ", 9000),
        ("2h 30m", 9000),
        ("1.5d", 129600),
        (".5s", 0.5),
        ("500ms", 0.5),
        ("1w", 604800),
        ("1H", 3600),
        ("+5m", 300),
        ("1e3", 1000),
        ("never", None),
        ("Forever", None),
        ("2026-11-22T12:01:00+00:00", 60),
        ("2026-11-23T12:00Z", 86400),
        ("2026-11-22T14:00:30+02:00", 30),
    ],
)
def test_a_ttl_is_read(text: str, seconds: float | None) -> None:
    assert parse_ttl(text, now=NOW) == seconds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-1", "negative"),
        ("-5m", "negative"),
        ("0", "zero"),
        ("0s", "zero"),
        ("abc", "not a TTL"),
        ("", "not a TTL"),
        ("5 bananas", "not a TTL"),
        ("nan", "not a TTL"),
        ("inf", "not a TTL"),
        ("٣", "not a TTL"),
        ("1e999", "too large"),
        ("1" * 400, "too large"),
        ("99999999999d", "9999"),
        ("2020-01-01", "in the past"),
        ("2026-13-45", "not a TTL"),
        ("2026-11-22T12:00:00Z", "in the past"),
    ],
)
def test_what_is_no_ttl_is_refused_with_its_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        parse_ttl(text, now=NOW)
    assert repr(text) in str(caught.value)


def test_a_date_without_offset_is_local_time() -> None:
    midnight = datetime(2027, 1, 1).astimezone()
    assert parse_ttl("2027-01-01", now=NOW) == (midnight - NOW).total_seconds()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (-3, "0s"),
        (0, "0s"),
        (0.04, "0.1s"),
        (9.9, "9.9s"),
        (9.95, "10s"),
        (10, "10s"),
        (59.2, "1m"),
        (90, "1m30s"),
        (90.0000001, "1m30s"),
        (89.9999, "1m30s"),
        (7200, "2h"),
        (7199.99, "2h"),
        (277140, "3d4h"),
    ],
)
def test_a_ttl_is_shown(seconds: float | None, text: str) -> None:
    assert format_ttl(seconds) == text


@given(st.floats(min_value=0.1, max_value=1e9))
def test_what_is_shown_can_be_typed_and_shows_the_same(seconds: float) -> None:
    text = format_ttl(seconds)
    assert format_ttl(parse_ttl(text)) == text


@given(st.text(max_size=20))
def test_no_text_does_more_than_complain(text: str) -> None:
    try:
        seconds = parse_ttl(text)
    except ValueError:
        return
    assert seconds is None or seconds > 0
