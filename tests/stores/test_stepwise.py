"""JSON in steps: the same bytes, and the same refusals, as from json's own code at once, in steps that are all short."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st

from stores.pieces import dump_text
from stores.stepwise import rewrite
from tests.stores.steps import finished

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ODD = st.sampled_from(['a"b', "\\", "\x7f", "\ud83d", "\U0001f600", "x,y]}", "[{", "},", "]"])
VALUES = st.recursive(
    LEAVES | ODD,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=6),
    max_leaves=40,
)
MARKS = [*'[]{},:"\\ 1-e.u\x00\ud83d', "{ }", "[ ]", "\\u12", '",', "null"]
CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(MARKS), st.integers(0, 2)), max_size=3)


def at_once(text: bytes) -> bytes:
    return dump_text(json.loads(text)).encode()


@given(VALUES, CHANGES, st.booleans(), st.sampled_from([None, 1]), st.sampled_from([1, 2, 3, 5, 8, 20, 100]))
def test_the_same_comes_of_it_as_at_once(
    value: Any, changes: list[tuple[int, str, int]], ascii_only: bool, indent: int | None, ahead: int
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    for place, mark, length in changes:
        at = place % (len(text) + 1)
        text = text[:at] + mark + text[at + length :]
    encoded = text.encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stores.stepwise.AHEAD", ahead)
        patch.setattr("stores.pieces.AHEAD", ahead)
        patch.setattr("stores.pieces.RUN", 2)
        try:
            wanted = at_once(encoded)
        except ValueError:
            with pytest.raises(ValueError, match=r"char|byte|digits"):
                finished(rewrite(encoded))
        else:
            assert finished(rewrite(encoded)) == wanted


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_other_encodings_are_read_as_json_reads_them(encoding: str) -> None:
    assert finished(rewrite('{"é": [1]}'.encode(encoding))) == b'{"\\u00e9": [1]}'


def test_a_mistake_is_named_with_its_place() -> None:
    text = b'{"a": [' + b'{"b": 1}, ' * 50_000 + b"oops]}"
    with pytest.raises(ValueError, match="Expecting value: char 500007"):
        finished(rewrite(text))
    with pytest.raises(ValueError, match="invalid start byte: byte 300"):
        finished(rewrite(b'"' + b"x" * 299 + b"\xff" * 300_000))


def test_what_nests_too_deep_is_refused() -> None:
    with pytest.raises(RecursionError):
        finished(rewrite(b"[" * 300_000))


LARGE = {
    "a text": {"text": "x" * 4_000_000},
    "JSON in a text": {"text": json.dumps([{"id": number} for number in range(200_000)])},
    "objects": {"all": [{"id": number, "name": f"n{number}", "tags": ["a"]} for number in range(20_000)]},
    "members": {f"k{number}": {"id": number} for number in range(20_000)},
    "numbers": [0] * 500_000,
}


@pytest.mark.parametrize("name", LARGE)
def test_no_step_is_long(name: str) -> None:
    text = json.dumps(LARGE[name], separators=(",", ":")).encode()
    work, steps = rewrite(text), []
    while True:
        begin = time.thread_time()
        try:
            next(work)
        except StopIteration as done:
            written = done.value
            break
        finally:
            steps.append(time.thread_time() - begin)
    assert written == at_once(text)
    steps.sort()
    assert steps[len(steps) * 99 // 100] < 0.005  # of which at once it takes 0.025 and more
