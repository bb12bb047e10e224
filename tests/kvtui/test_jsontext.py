import json
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st

from kvtui import jsontext
from kvtui.jsontext import InvalidJsonError, check_value

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_layout_changes_no_value(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert json.loads(jsontext.indent(text)) == value
    assert json.loads(jsontext.compact(jsontext.indent(text))) == value


@given(VALUES)
def test_indenting_is_what_everyone_knows(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if not any(mark in text for mark in ("\\u", "\u007f")):
        assert jsontext.indent(text) == json.dumps(value, ensure_ascii=False, indent=2)


def test_a_text_of_escaped_emoji_is_shown_at_once() -> None:
    text = json.dumps({"text": "😀" * 50_000})
    begin = time.process_time()
    assert jsontext.compact(text) == '{"text":"' + "😀" * 50_000 + '"}'
    assert time.process_time() - begin < 5, "it took four minutes when each pair was looked for from the start"


def test_numbers_stay_as_they_were_written() -> None:
    text = '{"a": 1e400, "b": 1.10, "c": 123456789012345678901234567890}'
    assert jsontext.compact(text) == '{"a":1e400,"b":1.10,"c":123456789012345678901234567890}'
    assert check_value(text) == jsontext.compact(text)


@pytest.mark.parametrize(
    ("escaped", "shown"),
    [
        (r'"\u00e9"', '"é"'),
        (r'"\ud83d\ude00"', '"😀"'),
        (r'"\ud83d"', r'"\ud83d"'),
        (r'"\ud83d\ud83d\ude00"', r'"\ud83d😀"'),
        (r'"\u0000\u0022\u005c"', r'"\u0000\u0022\u005c"'),
        (r'"\\u00e9"', r'"\\u00e9"'),
    ],
)
def test_only_needless_escapes_are_resolved(escaped: str, shown: str) -> None:
    assert jsontext.indent(escaped) == shown


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("", 1, 1, "nothing"),
        ("[1]", 1, 1, "object"),
        ('{\n  "a": 1,\n}', 2, 9, "comma"),
        ('{"a" 1}', 1, 6, "colon"),
        ('{\n  "a": }', 2, 8, "value"),
        ('{"a": 1 "b": 2}', 1, 9, "comma"),
        ("{a: 1}", 1, 2, "quotes"),
        ('{"a": [1, ]}', 1, 9, "comma"),
        ('{"a": "x}', 1, 7, "quote"),
        ('{"a": 1} x', 1, 10, "more"),
    ],
)
def test_mistakes_are_said_with_their_place(text: str, line: int, column: int, word: str) -> None:
    with pytest.raises(InvalidJsonError, match=word) as caught:
        check_value(text)
    assert caught.value.line == line
    assert caught.value.column == column


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1, "a": 2}', '{"a":' * 100_000])
def test_what_json_or_a_store_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(InvalidJsonError):
        check_value(text)


def test_colours_cover_names_and_values() -> None:
    line = '  "name": ["a\\"b", -1.5e3, true, null],'
    assert [(line[start:end], kind) for start, end, kind in jsontext.spans(line) if kind != "mark"] == [
        ('"name"', "name"),
        ('"a\\"b"', "string"),
        ("-1.5e3", "number"),
        ("true", "word"),
        ("null", "word"),
    ]
