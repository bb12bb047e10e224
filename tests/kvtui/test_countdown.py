import pytest
from hypothesis import given, strategies as st

from kvtui.countdown import Urgency, left_text, moment_text, until_text, urgency

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (0.05, "0.0s"),
        (9.97, "9.9s"),
        (10.0, "10s"),
        (59.9, "59s"),
        (65, "1m 05s"),
        (7_500, "2h 05m"),
        (266_400, "3d 02h"),
        (86_400 * 200, "200d"),
        (86_400 * 400, "1y 35d"),
        (-1, "expired"),
    ],
)
def test_what_is_left(left: float, text: str) -> None:
    assert left_text(NOW + left, NOW) == text


def test_never_is_infinite() -> None:
    assert left_text(None, NOW) == "∞"
    assert urgency(None, NOW) is Urgency.NEVER


@given(st.floats(-10, 3e11))
def test_the_column_is_wide_enough(left: float) -> None:
    assert len(left_text(NOW + left, NOW)) <= 7


@pytest.mark.parametrize(
    ("left", "how"),
    [(0, Urgency.OVER), (9.9, Urgency.LAST), (59, Urgency.SOON), (60, Urgency.CALM), (7200, Urgency.FAR)],
)
def test_urgency_grows(left: float, how: Urgency) -> None:
    assert urgency(NOW + left, NOW) is how


def test_moments_beyond_the_calendar_are_words() -> None:
    assert moment_text(1e18) == "beyond the year 9999"
    assert until_text(1e18, NOW) == "beyond the year 9999"
    assert moment_text(None) == "-"
