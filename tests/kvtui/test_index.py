import asyncio
import math
import time

from hypothesis import given, settings, strategies as st

from kvd.model import Description, KeyRow, Token
from kvtui.filters import compile_filter
from kvtui.index import KeyIndex
from kvtui.view import SLICE, Sort


def row(name: str, *, ttl: float | None = None, size: int = 1, exact: bool = True, kind: str = "entry") -> KeyRow:
    return KeyRow(name, Token(name.encode()), exact, Description(kind, size, None, ttl, b""))


def names(index: KeyIndex) -> list[str]:
    return [index.names[row] for row in map(index.view.line, range(index.view.count)) if isinstance(row, int)]


def test_pages_come_in_order_and_double_keys_once() -> None:
    index = KeyIndex()
    assert index.upsert([row("b"), row("d")]) == 2
    assert index.upsert([row("a"), row("b", size=9), row("c")]) == 2
    assert names(index) == ["a", "b", "c", "d"]
    assert index.sizes[index.row("b") or 0] == 9


def test_a_name_that_is_no_address_is_addressed_by_token() -> None:
    index = KeyIndex()
    index.upsert([row("same", exact=False)])
    assert index.address(index.view.rows[0]) == Token(b"same")
    assert index.position("same") is None
    assert index.position(Token(b"same")) == 0
    assert index.find("same") == Token(b"same")
    assert index.find("other") is None


def test_columns_order_the_view_and_keys_break_ties() -> None:
    index = KeyIndex()
    index.upsert([row("a", ttl=30), row("b"), row("c", ttl=10), row("d", ttl=10)])
    index.sort = Sort.TTL
    asyncio.run(index.rebuild())
    assert names(index) == ["c", "d", "a", "b"]
    index.reverse = True
    asyncio.run(index.rebuild())
    assert names(index)[0] == "b"


def test_many_changes_in_a_large_collection_are_worked_in_together() -> None:
    index = KeyIndex()
    index.upsert([row(f"k{number:06}") for number in range(100_000)])
    begin = time.process_time()
    index.describe((f"k{number:06}+", Description("entry", 1, None, 30, b"")) for number in range(500))
    index.remove(f"k{number:06}" for number in range(64))
    assert time.process_time() - begin < 2, "it took ten seconds when the view was sorted for each of them"
    assert names(index)[:3] == ["k000000+", "k000001+", "k000002+"]
    assert len(index.view) == len(index) == 100_436


def test_a_renewed_ttl_moves_the_row() -> None:
    index = KeyIndex()
    index.upsert([row("a", ttl=10), row("b", ttl=20)])
    index.sort = Sort.TTL
    asyncio.run(index.rebuild())
    index.describe([("a", Description("entry", 1, None, 30, b""))])
    assert names(index) == ["b", "a"]


def test_new_keys_that_do_not_match_are_known_and_not_shown() -> None:
    index = KeyIndex()
    index.matcher = compile_filter("x*")
    assert index.rebuild_at_once()
    index.upsert([row("x1"), row("y1")])
    assert names(index) == ["x1"]
    assert len(index) == 2


def test_expired_keys_are_found() -> None:
    index = KeyIndex()
    index.upsert([row("a", ttl=5), row("b", ttl=50), row("c")])
    assert index.expired(10) == ["a"]


def test_changes_during_a_rebuild_are_in_its_result() -> None:
    async def scenario() -> KeyIndex:
        index = KeyIndex()
        index.upsert([row(f"k{number:06}", size=number) for number in range(3 * SLICE)])
        index.sort = Sort.SIZE
        rebuilding = asyncio.create_task(index.rebuild())
        await asyncio.sleep(0)
        index.remove(["k000003"])
        index.upsert([row("new", size=-5)])
        index.describe([("k000007", Description("entry", 10**6, None, None, b""))])
        assert await rebuilding
        return index

    index = asyncio.run(scenario())
    shown = names(index)
    assert shown[0] == "new"
    assert shown[-1] == "k000007"
    assert "k000003" not in shown
    assert len(shown) == len(set(shown)) == 3 * SLICE


def test_a_later_rebuild_wins() -> None:
    async def scenario() -> tuple[bool, bool]:
        index = KeyIndex()
        index.upsert([row(f"k{number}") for number in range(3 * SLICE)])
        index.sort = Sort.SIZE
        first = asyncio.create_task(index.rebuild())
        await asyncio.sleep(0)
        return await index.rebuild(), await first

    assert asyncio.run(scenario()) == (True, False)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "sort", "filter", "clear"]), st.integers(0, 12), st.integers(-1, 5)),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_the_view_is_what_sorting_everything_gives(operations: list[tuple[str, int, int]]) -> None:
    index = KeyIndex()
    model: dict[str, float] = {}
    pattern = ""
    for what, number, value in operations:
        name = f"key{number}"
        if what == "put":
            model[name] = math.inf if value < 0 else value
            index.upsert([row(name, ttl=None if value < 0 else value)])
        elif what == "remove":
            model.pop(name, None)
            index.remove([name])
        elif what == "clear" and number == 0:
            model.clear()
            index.clear()
        elif what == "sort":
            index.sort, index.reverse = (Sort.TTL if number % 2 else Sort.KEY), value > 2
            asyncio.run(index.rebuild())
        elif what == "filter":
            pattern = "1" if number % 2 else ""
            index.matcher = compile_filter(pattern)
            asyncio.run(index.rebuild())
    expected = [name for name in model if pattern in name]
    expected.sort(key=lambda name: (model[name], name) if index.sort is Sort.TTL else name, reverse=index.reverse)
    assert names(index) == expected
    assert len(index) == len(model)
