import time

import pytest
from hypothesis import given, strategies as st

from kvtui.filters import compile_filter, store_glob
from stores.names import compile_glob


@pytest.mark.parametrize(
    ("typed", "key", "matches"),
    [
        ("user", "a:User:1", True),
        ("User", "a:user:1", False),
        ("user:*", "user:1", True),
        ("user:*", "x:user:1", False),
        ("user:?", "user:12", False),
        ("[ab]*", "bc", True),
        ("[!ab]*", "bc", False),
        ("[^a-c]x", "dx", True),
        (r"a\*b", "xa*b", True),
        (r"a\*b", "xaXb", False),
        (r"\*x*", "*xyz", True),
        (r"\*x*", "axyz", False),
        ("re:^u.*[0-9]$", "user:1", True),
        ("re:^s", "user:1", False),
        ("re:é+1$", "caféé1", True),
        ("re:user", "\udcff:user", True),
        ("~usr1", "user:1", True),
        ("~1u", "user:1", False),
        ("*", "a\nb", True),
        ("a*b*a", "abba", True),
        ("a*b*a", "aab", False),
        ("**a", "ba", True),
    ],
)
def test_filters(typed: str, key: str, *, matches: bool) -> None:
    matcher = compile_filter(typed)
    assert matcher is not None
    assert bool(matcher(key)) is matches


@pytest.mark.parametrize("typed", ["*a" * 30 + "*b", "~" + "a" * 30 + "b"])
def test_a_filter_gives_up_at_once_on_a_key_that_almost_matches(typed: str) -> None:
    matcher = compile_filter(typed)
    assert matcher is not None
    assert not matcher("a" * 5_000)  # trying every way to match would never end
    assert matcher("a" * 5_000 + "b")


@pytest.mark.parametrize("typed", ["", "~"])
def test_nothing_typed_filters_nothing(typed: str) -> None:
    assert compile_filter(typed) is None


@pytest.mark.parametrize(
    "typed",
    [
        *("re:(", "re:a{1001}", "re:" + "(" * 5_000, "re:(?L)a", "re:(?=a)", "re:\udcff"),
        "re:((((a{100}){100}){100}){100})",
        *("a[b", "[z-a]", "[!]", "[^]", "[a--b]"),
    ],
    ids=lambda typed: typed[:12],
)
def test_broken_filters_say_so(typed: str) -> None:
    with pytest.raises(ValueError, match=r"broken|without"):
        compile_filter(typed)


@pytest.mark.parametrize("typed", [r"re:(a+)+$", r"re:(a|aa)+b", r"re:(a|a)*b", r"re:a*a*a*a*a*a*b", r"re:(\w+\s?)+$"])
def test_no_expression_takes_long(typed: str) -> None:
    matcher = compile_filter(typed)
    assert matcher is not None
    start = time.process_time()
    assert not matcher("a" * 30_000 + "!")
    assert time.process_time() - start < 2


@given(st.text(min_size=1, max_size=20))
def test_any_text_quoted_matches_itself(key: str) -> None:
    quoted = "".join(f"\\{char}" if char in "*?[]\\~:" else char for char in key)
    matcher = compile_filter(quoted)
    assert matcher is not None
    assert matcher(key)


@pytest.mark.parametrize("typed", ["re:[[a]", "[+--]"])
def test_what_python_may_read_otherwise_one_day_is_no_matter_for_the_screen(typed: str) -> None:
    assert compile_filter(typed)


PIECES = st.lists(st.sampled_from([*"abzAZ09:*?[]!^-\\~é日", "user"]), max_size=12).map("".join)


@given(PIECES, PIECES)
def test_the_store_is_asked_for_nothing_less_than_the_filter_means(typed: str, key: str) -> None:
    glob = store_glob(typed)
    try:
        matcher = compile_filter(typed)
    except ValueError:
        return
    if glob is not None and matcher is not None and matcher(key):
        assert compile_glob(glob).match(key)


@pytest.mark.parametrize(
    ("typed", "glob"),
    [
        ("user", "*[uU][sS][eE][rR]*"),
        ("User:1", "*User:1*"),
        ("user:*", "user:*"),
        ("us?r[ab]*", "us*r*"),
        (r"a\*B", r"*a\*B*"),
        ("~u9", "*[uU]*9*"),
        ("Straße", "*Stra*e*"),
        ("re:user", None),
        ("", None),
    ],
)
def test_what_the_store_is_asked_for(typed: str, glob: str | None) -> None:
    assert store_glob(typed) == glob
