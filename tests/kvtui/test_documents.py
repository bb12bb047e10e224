from rich.cells import cell_len

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
