"""Writes, undos and redos whose answers are lost on the way from the store: what took effect is found again."""

from collections.abc import Iterator
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from tests.daemonkit import SPARE, Daemon, RawClient, eventually, running
from tests.faults.proxy import Proxy, proxied
from tests.servers.lease import Server

COUNT = 100
KEYS = [f"k{number}" for number in range(COUNT)]
OLD, NEW = b'{"n": 1}', b'{"more": [1.5, "\\u00e9"], "n": 2}'
FAR = 10_000_000
Write = tuple[str, dict[str, Any], bytes | None, bytes | None]
WRITES: list[Write] = [
    ("delete_many", {}, OLD, None),
    ("put_many", {"values": [NEW] * COUNT, "ttl": 5_000.0}, OLD, NEW),
    ("put_many", {"values": [NEW] * COUNT}, None, NEW),
]
"""The method, its parameters beside the keys, what stands before, and what it leaves."""


@pytest.fixture(scope="module")
def proxy(redis: Server, portal: BlockingPortal) -> Iterator[Proxy]:
    with proxied(portal, *redis.address) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def daemon(proxy: Proxy) -> Iterator[Daemon]:
    url = f"redis://127.0.0.1:{proxy.port}"
    with running(f'{SPARE}\n[connections.r]\nstore = "redis"\nargs.url = "{url}"\n') as daemon:
        yield daemon
        assert "Traceback" not in daemon.said()


class Place:
    """A collection of which each write can be cut off."""

    def __init__(self, client: RawClient, portal: BlockingPortal, proxy: Proxy, name: str) -> None:
        self.client, self.portal, self.proxy = client, portal, proxy
        self.at = {"connection": "r", "collection": name}
        self.step = name
        self.connect()

    def connect(self) -> None:
        eventually(lambda: self.client.reply(self.client.ask("connect", {"connection": "r"}))[0] is None)

    def cut(self, after: int, method: str, **params: Any) -> Any:
        """Ask for something of which the store's answers are lost from that many bytes on; the error, if that came first."""
        options = {} if method in {"undo", "redo"} else {"journal": {"step": self.step}}
        self.portal.call(self.proxy.cut_after, after)
        error, _ = self.client.reply(self.client.ask(method, params, timeout=60.0, **options))
        self.portal.call(self.proxy.cut_after, FAR)
        assert error is None or error["code"] == "unreachable", error
        self.connect()
        return error

    def turn(self, method: str) -> None:
        """Undo or redo what is left of the step."""
        left = 1
        while left:
            done = self.client.call(method, step=self.step)
            assert done["problems"] == []
            left = done["left"]

    def values(self) -> list[Any]:
        found: list[Any] = self.client.call("get_many", keys=KEYS, **self.at)
        return found


@pytest.fixture
def place(daemon: Daemon, proxy: Proxy, portal: BlockingPortal, unique_name: str) -> Iterator[Place]:
    with daemon.client() as client:
        yield Place(client, portal, proxy, unique_name)


@pytest.mark.parametrize("after", [0, 2_000, 6_000])
@pytest.mark.parametrize("write", WRITES, ids=["delete", "overwrite", "create"])
def test_a_write_that_is_cut_off_is_undone_wherever_it_took_effect(place: Place, write: Write, after: int) -> None:
    method, more, before, written = write
    if before is not None:
        place.client.call("put_many", keys=KEYS, values=[before] * COUNT, **place.at)
    place.cut(after, method, keys=KEYS, **more, **place.at)
    assert set(place.values()) <= {before, written}
    if place.client.call("steps", step=place.step):  # else it was cut off before anything was written
        place.turn("undo")
    assert place.values() == [before] * COUNT


@pytest.mark.parametrize("after", [0, 2_000, 6_000, 12_000])
@pytest.mark.parametrize("write", WRITES, ids=["delete", "overwrite", "create"])
def test_an_undo_that_is_cut_off_goes_on_where_it_was_and_is_redone(place: Place, write: Write, after: int) -> None:
    method, more, before, written = write
    if before is not None:
        place.client.call("put_many", keys=KEYS, values=[before] * COUNT, ttl=4_000.0, **place.at)
    journal = {"step": place.step}
    asked = place.client.ask(method, {"keys": KEYS, **more, **place.at}, journal=journal)
    assert place.client.reply(asked)[0] is None
    for way, stands in (("undo", before), ("redo", written), ("undo", before)):
        place.cut(after, way, step=place.step, limit=COUNT)
        place.turn(way)
        assert place.values() == [stands] * COUNT
        [step] = place.client.call("steps", step=place.step)
        assert (step["state"], step["count"]) == ("undone" if way == "undo" else "done", COUNT)


@pytest.mark.parametrize("after", [2_000, 6_000])
@pytest.mark.parametrize("write", WRITES, ids=["delete", "overwrite", "create"])
def test_an_undo_that_is_cut_off_is_taken_back_wherever_it_took_effect(place: Place, write: Write, after: int) -> None:
    method, more, before, written = write
    if before is not None:
        place.client.call("put_many", keys=KEYS, values=[before] * COUNT, **place.at)
    asked = place.client.ask(method, {"keys": KEYS, **more, **place.at}, journal={"step": place.step})
    assert place.client.reply(asked)[0] is None
    assert place.cut(after, "undo", step=place.step, limit=COUNT)
    place.turn("redo")
    assert place.values() == [written] * COUNT
    assert place.cut(after, "undo", step=place.step, limit=COUNT)
    place.turn("undo")
    assert place.cut(after, "redo", step=place.step, limit=COUNT)
    place.turn("undo")
    assert place.values() == [before] * COUNT


def test_what_somebody_else_wrote_after_the_cut_is_left(place: Place) -> None:
    place.client.call("put_many", keys=KEYS, values=[OLD] * COUNT, **place.at)
    step = {"journal": {"step": place.step}}
    assert place.client.reply(place.client.ask("delete_many", {"keys": KEYS, **place.at}, **step))[1] == COUNT
    assert place.cut(6_000, "undo", step=place.step, limit=COUNT)
    theirs = [index for index in range(COUNT) if index % 2]
    place.client.call("put_many", keys=[KEYS[index] for index in theirs], values=[NEW] * len(theirs), **place.at)
    done = place.client.call("undo", step=place.step)
    assert all(problem["reason"] == "conflict" for problem in done["problems"])
    assert {problem["key"] for problem in done["problems"]} <= {KEYS[index] for index in theirs}
    assert place.values() == [NEW if index % 2 else OLD for index in range(COUNT)]
