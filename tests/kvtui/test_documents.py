import json
import time

import pytest
from rich.cells import cell_len

from kvtui import jsontext
from kvtui.documents import CHUNK, BytesDocument, TextDocument


def shown(document: TextDocument, width: int) -> list[str]:
    rows = [document.row(index) for index in range(document.wrap(width))]
    return [row.text for row in rows if row is not None]


def test_long_lines_wrap_without_losing_anything() -> None:
    text = "word " * 40 + "你好" * 30 + "x" * 200
    rows = shown(TextDocument(text, is_json=False), 30)
    assert "".join(rows) == text
    assert max(map(cell_len, rows)) <= 30
    assert rows[0].endswith(" ")


def test_no_row_holds_only_indentation() -> None:
    assert shown(TextDocument(" " * 24 + '"a": {', is_json=True), 26)[0].strip()


def test_line_numbers_stand_at_the_first_row_of_a_line() -> None:
    document = TextDocument("a" * 25 + "\nb", is_json=False)
    count = document.wrap(10)
    margins = [row.margin for index in range(count) if (row := document.row(index)) is not None]
    assert margins == ["1", "", "", "2"]


def test_colours_follow_a_wrapped_string() -> None:
    document = TextDocument('"' + "s" * 30 + '"', is_json=True)
    document.wrap(20)
    row = document.row(1)
    assert row is not None
    assert row.spans == ((2, len(row.text), "string"),)
    assert row.text.startswith("  s")


def test_rows_of_one_long_line_are_drawn_at_once() -> None:
    document = TextDocument('{"a": "' + "x y\\n" * 200_000 + '"}', is_json=True)
    document.wrap(60)
    begin = time.process_time()
    for index in range(40):
        document.row(index)
    assert time.process_time() - begin < 2, "it took ten seconds when the line was coloured anew for each of its rows"


def test_missing_bytes_are_named_and_then_shown() -> None:
    body = bytes(index % 251 for index in range(3 * CHUNK))
    document = BytesDocument(len(body), as_hex=True)
    assert document.wrap(80) == len(body) // 16
    document.take(0, body[:CHUNK])
    assert document.row(0) is not None
    last = CHUNK // 16
    assert document.row(last) is None
    assert document.missing(last, last + 20) == CHUNK
    document.take(CHUNK, body[CHUNK:])
    row = document.row(last)
    assert row is not None
    assert row.margin == f"{CHUNK:05x}"
    assert document.missing(0, len(body) // 16) is None


def test_text_at_the_seam_of_two_pieces_is_whole() -> None:
    text = "aé" * CHUNK
    body = text.encode()
    document = BytesDocument(len(body), as_hex=False)
    document.take(0, body)
    rows = [document.row(index) for index in range(document.wrap(80))]
    assert "".join(row.text for row in rows if row is not None) == text


def text_document(text: str, width: int = 40) -> TextDocument:
    document = TextDocument(text, is_json=False)
    document.wrap(width)
    return document


def test_what_is_found_in_a_text_is_lit_and_gone_round() -> None:
    document = text_document("one\ntwo One\nthree\nONE")
    document.find("one")
    assert document.find_count == 3
    assert [document.go_on(1, 1) for _ in range(4)] == [1, 3, 0, 1]
    assert document.go_on(-1, 0) == 0
    row = document.row(0)
    assert row is not None
    assert row.found == ((0, 3, True),)
    document.find("One")
    assert document.find_count == 1
    assert document.go_on(-1, 0) == 1
    document.find("nothing")
    assert document.go_on(1, 0) is None


def test_what_is_found_behind_a_wrap_is_found_on_its_row() -> None:
    document = text_document("x" * 25 + "needle" + "y" * 25, width=20)
    document.find("needle")
    assert document.go_on(1, 0) == 1
    row = document.row(1)
    assert row is not None
    assert row.text[row.found[0][0] : row.found[0][1]] == "needle"


def test_lines_that_are_others_than_before_are_marked() -> None:
    before, after = text_document("a\nb\nc\nd"), text_document("a\nB\nc\nnew\nd")
    after.mark_changes(before)
    rows = [after.row(number) for number in range(5)]
    assert [row is not None and row.changed for row in rows] == [False, True, False, True, False]


def test_lines_of_long_texts_are_compared_one_by_one() -> None:
    lines = [str(number) for number in range(50_000)]
    before = text_document("\n".join(lines))
    lines[40_000] = "other"
    after = text_document("\n".join([*lines, "more"]))
    after.mark_changes(before)
    changed = [number for number in range(50_001) if (row := after.row(number)) is not None and row.changed]
    assert changed == [40_000, 50_000]


@pytest.mark.parametrize("as_hex", [True, False])
def test_what_is_found_in_bytes_is_lit(*, as_hex: bool) -> None:
    document = BytesDocument(64, as_hex=as_hex)
    document.take(0, bytes(range(0x40, 0x80)))
    document.wrap(80)
    document.found = range(10, 13)
    row = document.row(document.row_of(10))
    assert row is not None
    lit = [row.text[start:end] for start, end, _ in row.found]
    assert lit == (["4a 4b 4c", "JKL"] if as_hex else [row.text])


@pytest.mark.parametrize("indent", [None, 4])
def test_a_byte_of_json_is_found_in_its_rows_and_back(indent: int | None) -> None:
    value = {
        "numbers": list(range(3000)),
        "texts": ["so many words, " * 20 for _ in range(200)],
        "é": ["日本" for _ in range(500)],
    }
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    body = text.encode()
    document = TextDocument(jsontext.indent(text), is_json=True, body=body)
    for row in range(0, document.wrap(60), 97):
        shown = document.row(row)
        assert shown is not None
        start = document.offset_of(row)
        assert body[start:].lstrip().startswith(shown.text.strip().encode()[:12])
        assert document.row_of(start) in {row, row - 1}


def test_a_byte_of_escaped_json_is_found_near() -> None:
    text = json.dumps([f"日本 {number}" for number in range(2000)])
    document = TextDocument(jsontext.indent(text), is_json=True, body=text.encode())
    document.wrap(80)
    assert abs(text.index("1500") - document.offset_of(1501)) < 500
    assert TextDocument("", is_json=False).row_of(0) == TextDocument("", is_json=False).wrap(10) - 1 == 0
