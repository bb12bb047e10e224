"""The tree of keys against a model that makes it anew each time, and the shapes that names can have."""

import asyncio
import time
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings, strategies as st

from kvd.model import Description, KeyRow, Token
from kvtui import ordered, tree as tree_module
from kvtui.filters import compile_filter
from kvtui.index import KeyIndex
from kvtui.separators import LEVELS, Separators
from kvtui.tree import Tree
from kvtui.view import SLICE, Sort, View, exhaust


def row(name: str, ttl: float | None = None) -> KeyRow:
    return KeyRow(name, Token(name.encode("utf-8", "surrogateescape")), True, Description("entry", 1, None, ttl, b""))


def tree_of(names: Iterable[str] = (), opened: Iterable[str] = (), separators: str = ":") -> KeyIndex:
    index = KeyIndex()
    index.as_tree, index.separators, index.opened = True, Separators(separators), set(opened)
    assert index.rebuild_at_once()
    index.upsert([row(name) for name in names])
    return index


def shape(index: KeyIndex) -> Tree:
    assert index.tree is not None
    return index.tree


def lines(index: KeyIndex) -> list[str]:
    """Each line: how far it is moved, a folder's name and size or a key's whole name."""
    tree = shape(index)
    found = []
    for number in range(tree.count):
        line = tree.line(number)
        text = index.names[line] if isinstance(line, int) else f"{line} ({tree.size(line)})"
        found.append("  " * tree.level(line) + text)
        assert tree.position(line) == number
    return found


def test_keys_stand_in_folders_which_open_and_close() -> None:
    index = tree_of(["user:1:profile", "user:1:cart", "user:2:cart", "user", "config"])
    tree = shape(index)
    assert lines(index) == ["user: (3)", "config", "user"]
    assert tree.open("user:")
    assert lines(index) == ["user: (3)", "  user:1: (2)", "  user:2: (1)", "config", "user"]
    assert tree.open("user:2:")
    assert tree.open("user:1:")
    whole = lines(index)
    assert whole[:5] == ["user: (3)", "  user:1: (2)", "    user:1:cart", "    user:1:profile", "  user:2: (1)"]
    tree.close("user:")
    assert lines(index) == ["user: (3)", "config", "user"]
    tree.open("user:")
    assert lines(index) == whole, "what was open in a folder is open again"


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["a:", "a"], ["a: (1)", "  a:", "a"]),
        ([":", "::", ":a"], [": (3)", "  :: (1)", "    ::", "  :", "  :a"]),
        (["a::b", "a:b"], ["a: (2)", "  a:: (1)", "    a::b", "  a:b"]),
        (["", "x"], ["", "x"]),
        (["one", "two"], ["one", "two"]),
        (["é:x", "日:本:語"], ["é: (1)", "  é:x", "日: (1)", "  日:本: (1)", "    日:本:語"]),
        (["\udcff:x", "\udcfe"], ["\udcff: (1)", "  \udcff:x", "\udcfe"]),
        (["a:b/c", "a/b:c"], ["a/ (1)", "  a/b: (1)", "    a/b:c", "a: (1)", "  a:b/ (1)", "    a:b/c"]),
    ],
)  # fmt: skip
def test_no_name_is_hidden_or_taken_for_another(names: list[str], shown: list[str]) -> None:
    index = tree_of(names, separators=":/")
    for name in names:
        number = index.row(name)
        assert number is not None
        shape(index).reveal(number)
    assert lines(index) == shown


@pytest.mark.parametrize("separators", ["]^-", "\\", ".*", "☃", "\0\x02"])
def test_any_character_can_be_a_separator(separators: str) -> None:
    names = [f"a{character}b{character}c" for character in separators]
    index = tree_of(names, separators=separators)
    assert lines(index) == [f"a{character} (1)" for character in sorted(separators)]


def test_thirty_levels_and_more_than_are_cut() -> None:
    deep = ":".join(f"{level:02}" for level in range(31))
    endless = ":" * (3 * LEVELS) + "end"
    index = tree_of([deep, endless])
    for name in (deep, endless):
        number = index.row(name)
        assert number is not None
        assert shape(index).reveal(number)
        assert index.position(name) is not None
    assert len(lines(index)) == LEVELS + 1 + 31


def test_keys_are_ordered_in_each_folder_and_folders_by_name() -> None:
    index = tree_of(opened=["f:"])
    index.upsert([row("f:a", 30), row("f:b", 10), row("f:c:x", 1), row("f:c2:x", 1), row("b", 5), row("a", 9)])
    assert lines(index) == ["f: (4)", "  f:c2: (1)", "  f:c: (1)", "  f:a", "  f:b", "a", "b"]
    index.reverse = True
    assert index.rebuild_at_once()
    assert lines(index) == ["f: (4)", "  f:c: (1)", "  f:c2: (1)", "  f:b", "  f:a", "b", "a"]
    index.sort, index.reverse = Sort.TTL, False
    assert index.rebuild_at_once()
    assert lines(index) == ["f: (4)", "  f:c2: (1)", "  f:c: (1)", "  f:b", "  f:a", "b", "a"]
    index.describe([("f:a", Description("entry", 1, None, 3, b"")), ("f:c:x", Description("entry", 1, None, 99, b""))])
    assert lines(index)[3:5] == ["  f:a", "  f:b"]


def test_a_filter_that_leaves_few_keys_opens_their_folders() -> None:
    index = tree_of(["a:1", "a:2", "b:1", "b:c:1"], opened=["a:"])
    index.matcher = compile_filter("1")
    assert index.rebuild_at_once()
    assert lines(index) == ["a: (1)", "  a:1", "b: (2)", "  b:c: (1)", "    b:c:1", "  b:1"]
    shape(index).close("b:")
    index.upsert([row("b:d:1"), row("z:1")])
    index.sort = Sort.TTL
    assert index.rebuild_at_once()
    assert lines(index) == ["a: (1)", "  a:1", "b: (3)", "z: (1)", "  z:1"]
    index.matcher = None
    assert index.rebuild_at_once()
    assert lines(index) == ["a: (2)", "  a:1", "  a:2", "b: (3)", "z: (1)"]


def test_a_filter_that_finds_ever_more_opens_no_more_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "UNFOLDED_MOST", 10)
    index = tree_of()
    index.matcher = compile_filter("x")
    assert index.rebuild_at_once()
    index.upsert([row(f"{number:03}:x") for number in range(100)])
    assert 100 < len(lines(index)) <= 110
    shape(index).open("099:")
    assert lines(index)[-1] == "  099:x"


def test_the_nearest_line_is_the_closed_folder() -> None:
    index = tree_of(["a:b:c", "x"], opened=["a:"])
    assert lines(index) == ["a: (1)", "  a:b: (1)", "x"]
    assert index.position("a:b:c") is None
    assert index.nearest("a:b:c") == 1
    assert index.nearest("x") == 2
    assert index.nearest("unknown") is None


def test_a_folder_leaves_with_its_last_key_and_is_open_when_it_comes_back() -> None:
    index = tree_of(["a:b:c", "x"], opened=["a:", "a:b:"])
    assert lines(index) == ["a: (1)", "  a:b: (1)", "    a:b:c", "x"]
    index.remove(["a:b:c"])
    assert lines(index) == ["x"]
    index.upsert([row("a:b:c")])
    assert lines(index) == ["a: (1)", "  a:b: (1)", "    a:b:c", "x"]


def test_folders_in_each_other_leave_together() -> None:
    index = tree_of(["a:b:c", "a:c:d", "a:e", "x"], opened=["a:", "a:b:"])
    index.remove(["a:b:c", "a:c:d", "a:e"])
    assert lines(index) == ["x"]


def test_ten_thousand_keys_in_one_folder_are_all_there() -> None:
    index = tree_of((f"k:{number:05}" for number in range(10_000)), opened=["k:"])
    assert len(lines(index)) == 10_001
    index.remove(f"k:{number:05}" for number in range(0, 10_000, 2))
    assert lines(index)[1:3] == ["  k:00001", "  k:00003"]


def test_a_page_and_an_expiry_cost_no_step_for_every_key() -> None:
    index = tree_of((f"k:{number:06}" for number in range(200_000)), opened=["k:"])
    begin = time.process_time()
    for number in range(300):
        index.remove([f"k:{number * 500:06}"])
        index.upsert([row(f"k:{number * 500:06}+")])
        assert shape(index).count == 200_001
    assert time.process_time() - begin < 3, "going through all keys each time takes ten seconds"


def test_a_folder_too_large_to_open_at_once_opens_in_slices() -> None:
    async def scenario() -> KeyIndex:
        index = tree_of(f"k:{number:06}" for number in range(5 * SLICE))
        assert not shape(index).open("k:")
        assert lines(index) == [f"k: ({5 * SLICE})"]
        building = asyncio.create_task(index.rebuild())
        for _ in range(3):
            await asyncio.sleep(0)
        index.remove([f"k:{number:06}" for number in range(3)])
        index.upsert([row("k:000001"), row("k:a"), row("new:1")])
        assert await building
        return index

    index = asyncio.run(scenario())
    shown = lines(index)
    assert shown[:3] == [f"k: ({5 * SLICE - 1})", "  k:000001", "  k:000003"]
    assert shown[-2:] == ["  k:a", "new: (1)"]
    assert len(shown) == 5 * SLICE + 1


def test_a_rebuild_that_is_given_up_leaves_what_was_shown() -> None:
    async def scenario() -> KeyIndex:
        index = tree_of(f"k:{number:06}" for number in range(5 * SLICE))
        index.sort = Sort.SIZE
        building = asyncio.create_task(index.rebuild())
        await asyncio.sleep(0)
        index.remove(["k:000000"])
        building.cancel()
        await asyncio.gather(building, return_exceptions=True)
        assert not index.is_rebuilding
        index.upsert([row("k:x")])
        return index

    assert lines(asyncio.run(scenario())) == [f"k: ({5 * SLICE})"]


NAME = st.text(alphabet="ab:/", max_size=6)
STEP = st.one_of(
    st.tuples(st.just("put"), st.lists(st.tuples(NAME, st.integers(0, 3)), max_size=5)),
    st.tuples(st.just("remove"), st.lists(NAME, max_size=3)),
    st.tuples(st.just("remove_all"), NAME),
    st.tuples(st.just("open"), NAME),
    st.tuples(st.just("close"), NAME),
    st.tuples(st.just("sort"), st.sampled_from([(Sort.KEY, False), (Sort.KEY, True), (Sort.TTL, False), (Sort.TTL, True)])),
    st.tuples(st.just("filter"), st.sampled_from(["", "a", "b*"])),
    st.tuples(st.just("begin"), st.none()),
    st.tuples(st.just("end"), st.none()),
)


class Model:
    """What there is, and the lines that follow from it, made anew each time."""

    def __init__(self) -> None:
        self.keys: dict[str, int] = {}
        self.opened: set[str] = set()
        self.closed: set[str] | None = None
        self.sort, self.reverse, self.text = Sort.KEY, False, ""

    def shown(self) -> list[str]:
        matcher = compile_filter(self.text)
        return [name for name in self.keys if matcher is None or matcher(name)]

    def lines(self) -> list[str]:
        return self._within("", self.shown(), 0)

    def _within(self, folder: str, names: list[str], level: int) -> list[str]:
        folders: dict[str, list[str]] = {}
        keys = []
        for name in names:
            end = min((at for mark in ":/" if (at := name.find(mark, len(folder)) + 1)), default=0)
            if end:
                folders.setdefault(name[:end], []).append(name)
            else:
                keys.append(name)
        found = []
        for inner in sorted(folders, reverse=self.reverse and self.sort is Sort.KEY):
            found.append("  " * level + f"{inner} ({len(folders[inner])})")
            if (inner in self.opened) if self.closed is None else (inner not in self.closed):
                found += self._within(inner, folders[inner], level + 1)
        keys.sort(key=lambda name: (self.keys[name] if self.sort is Sort.TTL else 0, name), reverse=self.reverse)
        return found + ["  " * level + name for name in keys]

    def toggle(self, folder: str, *, wide: bool) -> None:
        """Open a folder, or close it."""
        there = self.opened if self.closed is None else self.closed
        if wide == (self.closed is None):
            there.add(folder)
        else:
            there.discard(folder)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEP, max_size=30), st.sampled_from([2, 1_000]))
def test_the_lines_are_what_making_the_tree_anew_gives(steps: list[tuple[str, object]], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "BLOCK", block)
        go_through(steps)


def go_through(steps: list[tuple[str, object]]) -> None:
    both = Both()
    for what, value in steps:
        getattr(both, what)(value)
        assert lines(both.index) == both.model.lines()
        assert len(both.index.view) == len(both.model.shown())


class Both:
    """The index and the model, which are told the same."""

    def __init__(self) -> None:
        self.index = tree_of(separators=":/")
        self.model = Model()
        self.making: tuple[View, Iterator[None]] | None = None
        """Another view that is being made meanwhile."""

    def put(self, keys: list[tuple[str, int]]) -> None:
        self.index.upsert([row(name, ttl) for name, ttl in keys])
        self.model.keys |= dict(keys)

    def remove(self, names: list[str]) -> None:
        self.index.remove(names)
        for name in names:
            self.model.keys.pop(name, None)

    def remove_all(self, start: str) -> None:
        self.remove([name for name in self.model.keys if name.startswith(start)])

    def open(self, name: str) -> None:
        if name.endswith((":", "/")) and self.making is None:
            shape(self.index).open(name)
            self.model.toggle(name, wide=True)

    def close(self, name: str) -> None:
        if name.endswith((":", "/")) and self.making is None:
            shape(self.index).close(name)
            self.model.toggle(name, wide=False)

    def sort(self, order: tuple[Sort, bool]) -> None:
        if self.making is None:
            self.model.sort, self.model.reverse = self.index.sort, self.index.reverse = order
            assert self.index.rebuild_at_once()

    def filter(self, text: str) -> None:
        if self.making is None and text != self.model.text:
            self.index.matcher = compile_filter(text)
            self.model.text, self.model.closed = text, set() if text else None
            assert self.index.rebuild_at_once()

    def begin(self, _: None) -> None:
        if self.making is None:
            view = self.index._begin()
            self.making = view, view.build(list(self.index._rows.values()), self.index.view)
            next(self.making[1], None)

    def end(self, _: None) -> None:
        if self.making is not None:
            view, rest = self.making
            exhaust(rest)
            self.index._end(view)
            self.making = None
