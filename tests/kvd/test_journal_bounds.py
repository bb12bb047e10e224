"""The journal as data, and as a client without our library sees it: the option, the bounds, the shapes."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from kvd import requests
from kvd.connections import Connection
from kvd.errors import RequestError
from kvd.journal import Change, Journal, Mark, read_mark
from kvd.model import ABSENT, Problem, StepChange, Token, Undone
from kvd.protocol import MAX_JOURNAL, MAX_STEP_ID, MAX_STEPS, MAX_TITLE
from stores.records import Record, Version
from tests.daemonkit import Daemon, RawClient, running

C = "scratch"
WRONG: list[Any] = [
    [],
    "",
    0,
    {},
    {"step": 5},
    {"step": ""},
    {"step": "x" * 65},
    {"step": "x", "title": b"t"},
    {"step": b"x"},
]


@pytest.fixture(scope="module")
def server() -> Iterator[Daemon]:
    with running() as daemon:
        yield daemon
        assert "Traceback" not in daemon.said()


# The option


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.binary(), st.lists))
def test_an_option_that_is_none_is_refused(option: Any) -> None:
    with pytest.raises(RequestError, match="the option journal is a map") as refused:
        read_mark(option)
    assert refused.value.code == "bad_request"


@given(st.dictionaries(st.sampled_from(["step", "title", "more"]), st.none() | st.text(max_size=300) | st.integers()))
def test_an_option_is_read_or_refused(option: dict[str, Any]) -> None:
    step, title = option.get("step"), option.get("title")
    if isinstance(step, str) and 1 <= len(step) <= MAX_STEP_ID and (title is None or isinstance(title, str)):
        assert read_mark(option) == Mark(step, None if title is None else title[:MAX_TITLE])
    else:
        with pytest.raises(RequestError):
            read_mark(option)


def test_whatever_the_option_is_there_is_one_answer(server: Daemon, unique_name: str) -> None:
    write: dict[str, Any] = {"connection": C, "collection": unique_name, "key": "k", "value": b"{}"}
    with server.client() as raw:
        for option in WRONG:
            error, _ = raw.reply(raw.ask("put", write, journal=option))
            assert error["code"] == "bad_request", option
        assert raw.call("get", connection=C, collection=unique_name, key="k") is None
        for method, params in (("put", write), ("get", {name: write[name] for name in ("connection", "collection", "key")})):
            assert raw.reply(raw.ask(method, params, journal={"step": "x" * 64, "more": [1]}, timeout=5.0))[0] is None
        assert raw.reply(raw.ask("put", write, journal=None))[0]["code"] == "bad_request"
        for params in ({"step": "no such"}, {"step": ""}, {"step": "\0" * 1000}):
            assert raw.refused("undo", **params)["code"] == "unknown_step"
        for params in ({"step": 5}, {"limit": 0}, {"never_expire": 1}, {"connection": b"x"}, {"other": 1}):
            assert raw.refused("undo", **params)["code"] == "bad_request"
            assert raw.refused("redo", **params)["code"] == "bad_request"
        assert "journal" in raw.hello()["capabilities"]


# Bounds


def connection(name: str = C, folder: str = "/") -> Connection:
    return cast("Connection", SimpleNamespace(name=name, config=SimpleNamespace(store="memory", args={"folder": folder})))


def record(body: bytes = b"{}", version: bytes = b"1") -> Record:
    return Record(kind="entry", body=body, length=len(body), size=len(body), version=Version(version))


def written(journal: Journal, name: str, *sizes: int, place: Connection | None = None) -> None:
    step = journal.begin(Mark(name, None), place or connection())
    for number, size in enumerate(sizes):
        journal.add(step, Change(operation="put", collection="c", key=f"{name}{number}", image=record(bytes(size))))
    journal.end(step)


def held(journal: Journal) -> list[str]:
    return [step.id for step in journal]


def test_it_holds_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()
    for number in range(MAX_STEPS + 50):
        written(journal, f"{number}", 10)
    assert held(journal) == [f"{number}" for number in range(50, MAX_STEPS + 50)]
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    assert journal.pack(lambda _: True, None, None, 5) == []
    assert journal.status() == {"steps": 0, "bytes": 0}


def test_it_holds_so_many_bytes_and_the_oldest_leave() -> None:
    journal = Journal()
    for number in range(12):
        written(journal, f"{number}", MAX_JOURNAL // 10)
        assert journal.size <= MAX_JOURNAL
        assert journal.size == sum(change.size for step in journal for change in step.changes.values())
    assert held(journal) == [f"{number}" for number in range(3, 12)]
    written(journal, "many", *[MAX_JOURNAL // 10] * 15)
    assert held(journal) == ["many"]
    [step] = journal.pack(lambda _: True, None, None, 5)
    assert (step["count"], step["can_undo"]) == (15, 9)
    assert step["why"] == "it replaced more than the 64 MiB that the journal holds"
    assert journal.size <= MAX_JOURNAL


def test_a_step_of_more_keys_than_there_is_room_for_keeps_those_for_which_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvd.journal.MAX_JOURNAL", 100_000)
    journal = Journal()
    written(journal, "many", *[10] * 1_000)
    journal.trim()
    assert held(journal) == ["many"]
    assert journal.size <= 100_000
    [step] = journal.pack(lambda _: True, None, None, 5)
    assert (step["count"], step["can_undo"]) == (1_000, 161)
    assert step["why"] == "it replaced more than the 64 MiB that the journal holds"
    assert [problem["message"].partition(":")[0] for one in journal for problem in one.pack_lost()] == ["838 more keys"]
    written(journal, "one", 10)
    assert held(journal) == ["one"]


def test_what_a_step_says_is_bounded() -> None:
    journal = Journal()
    step = journal.begin(Mark("s", None), connection())
    for number in range(500):
        journal.add(step, Change(operation="delete", collection="c", key=f"{number}" + "x" * 60_000))
    journal.end(step)
    assert len(journal.pack(lambda _: True, None, None, 5)[0]["changes"]) == 1
    assert len(journal.pack(lambda _: True, None, "s", 5)[0]["changes"]) == 1


def test_the_steps_of_another_store_leave() -> None:
    journal = Journal()
    written(journal, "kept", 1)
    written(journal, "left", 1, place=connection("other", "/old"))
    journal.forget(connection(), connection())
    journal.forget(connection("other", "/old"), connection("other", "/new"))
    assert held(journal) == ["kept"]
    journal.forget(connection())
    assert held(journal) == []


def test_a_write_of_nothing_leaves_no_step() -> None:
    journal = Journal()
    written(journal, "empty")
    assert not journal._steps


def test_changes_of_one_key_in_one_step_are_one_where_nobody_wrote_between() -> None:
    journal = Journal()
    step = journal.begin(Mark("s", None), connection())

    def change(before: bytes, after: bytes) -> Change:
        image = None if before == ABSENT else record(b"{}", before)
        return Change(operation="put", collection="c", key="k", image=image, there=Version(after))

    journal.add(step, change(b"1", b"2"))
    journal.add(step, change(b"2", b"3"))
    [one] = step.changes.values()
    assert one.image
    assert (one.image.version, one.there) == (b"1", b"3")
    journal.add(step, change(b"7", b"8"))
    [one] = step.changes.values()
    assert one.image
    assert (one.image.version, one.there) == (b"7", b"8")
    assert step.size == one.size


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "turn", "doubt", "settle", "bar", "new"]), st.integers(0, 3), st.integers(0, 5_000)),
        max_size=60,
    )
)
def test_bytes_are_counted_right_whatever_happens(events: list[tuple[str, int, int]]) -> None:
    journal = Journal()
    step = journal.begin(Mark("s", None), connection())
    for number, (event, key, size) in enumerate(events):
        image = record(bytes(size), b"%d" % number)
        change = step.changes.get(("c", f"{key}"))
        if event == "add" or change is None:
            journal.add(step, Change(operation="put", collection="c", key=f"{key}", image=image, there=Version(b"x")))
        elif event == "turn":
            journal.turn(step, change, image, Version(b"y"), None)
        elif event == "doubt":
            journal.doubt(step, change, image, record(bytes(2 * size)))
        elif event == "settle":
            journal.settle(step, change, Version(b"z"), None)
        elif event == "bar":
            journal.bar(step, change, "conflict", "it was so")
        else:
            written(journal, f"{number}", size)
        assert journal.size == sum(change.size for step in journal for change in step.changes.values())


# On the wire


def test_a_raw_client_reads_the_journal(server: Daemon, unique_name: str) -> None:
    with server.client() as raw:
        write = {"connection": C, "collection": unique_name, "key": b"\xff", "value": b"{}"}
        assert raw.reply(raw.ask("put", write, journal={"step": unique_name, "title": "t"})) == (None, None)
        [step] = raw.call("steps", step=unique_name)
        assert step["changes"] == [
            {
                "operation": "put",
                "collection": unique_name,
                "key": b"\xff",
                "ttl": None,
                "keeps_ttl": False,
                "value": b"{}",
                "done": True,
                "why": None,
            }
        ]
        assert _without_at(step) == {
            "step": unique_name,
            "title": "t",
            "connection": C,
            "state": "done",
            "count": 1,
            "can_undo": 1,
            "can_redo": 0,
            "undone_at": None,
            "why": None,
        }
        assert raw.call("undo", step=unique_name) == {
            "step": unique_name,
            "title": "t",
            "connection": C,
            "changed": 1,
            "left": 0,
            "problems": [],
        }
        assert raw.call("redo", step=unique_name)["changed"] == 1
        _overwrite(raw, unique_name)
        [problem] = raw.call("undo", step=unique_name)["problems"]
        assert problem == {
            "collection": unique_name,
            "key": b"\xff",
            "reason": "conflict",
            "message": "somebody else has written it since",
        }


def _without_at(step: dict[str, Any]) -> dict[str, Any]:
    assert type(step["at"]) is float
    return {name: value for name, value in step.items() if name not in {"at", "changes"}}


def _overwrite(raw: RawClient, collection: str) -> None:
    raw.call("put", connection=C, collection=collection, key=b"\xff", value=b"{}")


def test_what_a_newer_daemon_adds_is_left_alone() -> None:
    place = {"collection": [b"c"], "key": b"\xff", "more": 1}
    change = place | {"operation": "put", "ttl": 5.0}
    told = {"title": None, "connection": C, "at": 1.5, "state": "done", "count": 9, "can_undo": 9, "can_redo": 0}
    [step] = requests.steps().decode([told | {"step": "s", "changes": [change], "more": 1}])
    assert step.changes == [StepChange(operation="put", collection=Token(b"c"), key="\udcff", ttl=5.0)]
    assert (step.step, step.undone_at, step.why) == ("s", None, None)
    problem = place | {"reason": "odd", "message": "why"}
    answer = {"step": "s", "title": None, "connection": C, "changed": 1, "left": 0, "problems": [problem], "more": 1}
    undone = requests.undo().decode(answer)
    assert undone == Undone(
        step="s",
        title=None,
        connection=C,
        changed=1,
        left=0,
        problems=[Problem(collection=Token(b"c"), key="\udcff", reason="odd", message="why")],
    )
    assert requests.redo().decode(None) is None
