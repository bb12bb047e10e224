"""Sanitized names are py-key-value's, byte for byte."""

from typing import Any

import pytest
from hypothesis import given, strategies as st
from key_value.aio._utils import sanitization as theirs

from stores import AlwaysHashStrategy, HashExcessLengthStrategy, HybridSanitizationStrategy, PassthroughStrategy
from stores.errors import InvalidKeyError
from stores.sanitization import ALPHANUMERIC_UNDERSCORE, HashFragmentMode, LimitedBytesStrategy

ES = ALPHANUMERIC_UNDERSCORE + "-."
PAIRS: dict[str, tuple[Any, Any]] = {
    "passthrough": (PassthroughStrategy(), theirs.PassthroughStrategy()),
    "always hash": (AlwaysHashStrategy(64), theirs.AlwaysHashStrategy(64)),
    "always hash, short": (AlwaysHashStrategy(9), theirs.AlwaysHashStrategy(9)),
    "excess": (HashExcessLengthStrategy(240), theirs.HashExcessLengthStrategy(240)),
    "excess, short": (HashExcessLengthStrategy(20), theirs.HashExcessLengthStrategy(20)),
    "hybrid": (
        HybridSanitizationStrategy(200, ALPHANUMERIC_UNDERSCORE),
        theirs.HybridSanitizationStrategy(200, ALPHANUMERIC_UNDERSCORE),
    ),
    "hybrid, short": (
        HybridSanitizationStrategy(24, ALPHANUMERIC_UNDERSCORE),
        theirs.HybridSanitizationStrategy(24, ALPHANUMERIC_UNDERSCORE),
    ),
    "hybrid, all characters": (HybridSanitizationStrategy(30), theirs.HybridSanitizationStrategy(30)),
    "hybrid, always": (
        HybridSanitizationStrategy(200, ES, hash_fragment_mode=HashFragmentMode.ALWAYS),
        theirs.HybridSanitizationStrategy(200, ES, hash_fragment_mode=theirs.HashFragmentMode.ALWAYS),
    ),
    "hybrid, never": (
        HybridSanitizationStrategy(40, ES, hash_fragment_mode=HashFragmentMode.NEVER),
        theirs.HybridSanitizationStrategy(40, ES, hash_fragment_mode=theirs.HashFragmentMode.NEVER),
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
@given(name=st.text(max_size=60) | st.text("ab_-./:é日", min_size=150, max_size=330))
def test_ours_and_theirs_are_equal(pair: str, name: str) -> None:
    ours, reference = PAIRS[pair]
    if any("\ud800" <= char <= "\udfff" for char in name):
        return
    assert ours.sanitize(name) == reference.sanitize(name)


@given(name=st.text(max_size=40) | st.text("aé日🎉", min_size=100, max_size=400))
def test_limited_bytes(name: str) -> None:
    from key_value.aio._utils.sanitize import hash_excess_length

    if any("\ud800" <= char <= "\udfff" for char in name):
        return
    ours = LimitedBytesStrategy(500).sanitize(name)
    assert ours == hash_excess_length(name, 500, length_is_bytes=True)
    assert len(ours.encode()) <= 500


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("user_1", "user_1"),
        ("user:1", "S_user_1-abc3a47b"),
        ("https://a.b/c", "S_https_a_b_c-12ba8f2c"),
        ("日本", "S_-cf2abf0c"),
        ("é" * 300, "S_-7250b666"),
    ],
)
def test_known_forms(name: str, stored: str) -> None:
    assert HybridSanitizationStrategy(200, ALPHANUMERIC_UNDERSCORE).sanitize(name) == stored


def test_known_hash() -> None:
    assert HashExcessLengthStrategy().sanitize("é" * 300).startswith("H_7250b66610f8b7db")
    assert len(HashExcessLengthStrategy().sanitize("é" * 300)) == 66


def test_a_name_without_bytes_is_refused_whatever_has_to_be_done_with_it() -> None:
    for strategy in (AlwaysHashStrategy(), HashExcessLengthStrategy(11), LimitedBytesStrategy()):
        with pytest.raises(InvalidKeyError, match="lone surrogate"):
            strategy.sanitize("\ud800" * 20)


@pytest.mark.parametrize("name", ["H_x", "S_x"])
def test_reserved_prefixes_are_refused(name: str) -> None:
    for strategy in (HashExcessLengthStrategy(), HybridSanitizationStrategy()):
        with pytest.raises(InvalidKeyError, match="reserved"):
            strategy.validate(name)
    PassthroughStrategy().validate(name)
    AlwaysHashStrategy().validate(name)


def test_the_collision_free_form_keeps_long_names_apart() -> None:
    default, safe = HybridSanitizationStrategy(50), HybridSanitizationStrategy(50, collision_free=True)
    one, two = "x" * 60 + "1", "x" * 60 + "2"
    assert default.sanitize(one) == default.sanitize(two)
    assert safe.sanitize(one) != safe.sanitize(two)
    assert safe.sanitize("short") == "short"


def test_lengths_without_room_are_refused() -> None:
    for length in (8, 65):
        with pytest.raises(ValueError, match="hash_length is"):
            AlwaysHashStrategy(length)
    with pytest.raises(ValueError, match="at least"):
        HashExcessLengthStrategy(3)
    with pytest.raises(ValueError, match="no room"):
        HybridSanitizationStrategy(8)
    with pytest.raises(ValueError, match="more than"):
        LimitedBytesStrategy(8)
