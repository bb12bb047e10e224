"""Globs, names, and held cursors."""

import fnmatch

import pytest
from hypothesis import given, strategies as st

from stores.cursors import HeldCursors
from stores.errors import CursorExpiredError, InvalidKeyError
from stores.names import compile_glob, decode_name, encode_name, glob_literal, glob_prefix


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_literal_glob_matches_itself_only(name: str) -> None:
    assert compile_glob(glob_literal(name)).match(name)
    assert not compile_glob(glob_literal(name)).match(name + "x")


@given(st.binary())
def test_every_byte_string_has_a_name(raw: bytes) -> None:
    assert encode_name(decode_name(raw)) == raw


def test_a_lone_surrogate_is_no_name() -> None:
    with pytest.raises(InvalidKeyError, match="lone surrogate"):
        encode_name("a\ud800")


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("h?llo", ["hello", "h\nllo"], ["hllo", "heello"]),
        ("h*o", ["ho", "hello\no"], ["hell"]),
        ("h[ae]llo", ["hallo", "hello"], ["hillo"]),
        ("h[^e]llo", ["hallo"], ["hello"]),
        ("h[a-c]llo", ["hbllo"], ["hdllo"]),
        ("h[c-a]llo", ["hbllo"], ["hdllo"]),
        (r"h\*", ["h*"], ["hx"]),
        (r"[\]]", ["]"], ["\\"]),
        ("[abc", ["a", "c"], ["d", "[abc"]),
        ("[]x", [], ["x", "]x"]),
        ("(a|b).+", ["(a|b).+"], ["a.x"]),
    ],
)
def test_globs(pattern: str, yes: list[str], no: list[str]) -> None:
    assert all(compile_glob(pattern).match(text) for text in yes)
    assert not any(compile_glob(pattern).match(text) for text in no)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_simple_globs_agree_with_the_standard_library(pattern: str, text: str) -> None:
    assert bool(compile_glob(pattern).match(text)) == fnmatch.fnmatchcase(text, pattern)


def test_a_glob_of_many_stars_gives_up_at_once_on_a_key_that_almost_matches() -> None:
    almost = "*a" * 30 + "*b"
    assert not compile_glob(almost).match("a" * 5_000)  # trying every way to place the stars would never end
    assert compile_glob(almost).match("a" * 5_000 + "b")


def test_held_cursors_work_once_are_bounded_and_are_closed() -> None:
    closed: list[int] = []

    class Scan:
        def __init__(self, number: int) -> None:
            self.number = number

        def close(self) -> None:
            closed.append(self.number)

    cursors: HeldCursors[Scan] = HeldCursors(max_held=2)
    first, second, third = (cursors.hold(Scan(number)) for number in range(3))
    assert closed == [0]
    with pytest.raises(CursorExpiredError):
        cursors.take(first)
    assert cursors.take(second).number == 1
    with pytest.raises(CursorExpiredError):
        cursors.take(second)
    cursors.drop(third)
    cursors.drop(third)
    assert closed == [0, 2]
    idle: HeldCursors[Scan] = HeldCursors(idle_seconds=0)
    forgotten = idle.hold(Scan(9))
    idle.hold(Scan(10))
    with pytest.raises(CursorExpiredError):
        idle.take(forgotten)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("user:*", "user:"),
        (r"star\**x", "star*"),
        ("*", ""),
        ("", ""),
        ("a[bc]", "a"),
        ("a?", "a"),
        ("a]b", "a]b"),
        ("a\\", "a\\"),
    ],
)
def test_what_a_glob_begins_with(pattern: str, prefix: str) -> None:
    assert glob_prefix(pattern) == prefix
