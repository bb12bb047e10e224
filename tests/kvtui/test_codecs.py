import tracemalloc

import pytest
from hypothesis import given, strategies as st
from rich.cells import cell_len

from kvtui.codecs import elide, hex_row, name_text, printable, size_text, take_cells, text_row


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain key", "plain key"),
        ("a\nb\tc\x00", "a␊b␉c␀"),
        ("\x1b[31mred", "␛[31mred"),
        ("\x7f\x85", "␡\\x85"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("a\u202eb", "a\\u{202e}b"),
        ("👩\u200d💻", "👩💻"),
        ("[b]bold[/b]", "[b]bold[/b]"),
        ("你好", "你好"),
    ],
)
def test_names_are_shown_safely(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_long_texts_are_not_kept() -> None:
    tracemalloc.start()
    for number in range(20):
        printable(f"{number}" + "x" * 1_000_000)
        printable(f"{number}" + "é" * 100_000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain key", "plain key"),
        (" a b  ", "␠a b␠␠"),
        ("  ", "␠␠"),
        ("", ""),
        ("a\u00a0b", "a\\u{a0}b"),
        ("👩\u200d💻", "👩\\u{200d}💻"),
        ("❤\ufe0f", "❤\\u{fe0f}"),
        ("a\n\u200b", "a␊\\u{200b}"),
        ("你好 é", "你好 é"),
    ],
)
def test_names_that_differ_are_shown_as_two(name: str, shown: str) -> None:
    assert name_text(name) == shown


@given(st.text(alphabet=st.characters(), max_size=40))
def test_nothing_drawn_controls_the_terminal(text: str) -> None:
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in printable(text))


@given(st.text(max_size=60), st.integers(1, 40))
def test_elided_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    shown = printable(text)
    cut = elide(shown, width)
    assert cell_len(cut) <= width
    if cell_len(shown) <= width:
        assert cut == shown
    elif width > 8:
        assert cut[0] == shown[0]
        assert "…" in cut


def test_wide_characters_are_not_split() -> None:
    assert take_cells("你好", 3) == "你"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (99_940, "99.9 KB"),
        (99_960, "100 KB"),
        (5_000_000_000, "5.0 GB"),
    ],
)
def test_sizes_have_three_digits(size: int | None, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(0, 10**15))
def test_sizes_fit_their_column(size: int) -> None:
    assert len(size_text(size)) <= 7


def test_a_hex_row_keeps_its_width_at_the_end() -> None:
    full, _ = hex_row(bytes(range(16)), 16)
    short, shown = hex_row(b"A\x00", 16)
    assert full.startswith("00 01 02 03 04 05 06 07  08")
    assert len(full) == len(short)
    assert shown == "A·"


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), st.integers(1, 9))
def test_rows_cut_anywhere_show_each_character_once(body: bytes, step: int) -> None:
    rows = [text_row(body, start, min(len(body), start + step)) for start in range(0, len(body), step)]
    assert "".join(rows) == printable(body.decode("utf-8", "surrogateescape"))
