"""Values that are asked for at the same moment: what goes out for them, and that each is answered as if it were alone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kvd import link, requests
from kvd.client import Client
from kvd.errors import Code, ConnectionLostError, RequestError
from kvd.frames import frame
from kvd.merging import LARGE
from kvd.protocol import PLAIN_KEYS, encode_reply
from kvd.requests import Request
from tests.folders import own_folders
from tests.kvd.command import configure
from tests.kvd.scripted import answer, greet, scripted

pytestmark = pytest.mark.anyio

C = "scratch"

Asked = list[tuple[str, Any]]
"""The methods that a scripted server saw, each with its parameters."""


@pytest.fixture
async def client(daemon: Path) -> AsyncIterator[Client]:
    async with await Client.open(daemon) as opened:
        yield opened


def refuse(sock: socket.socket, number: int, code: str) -> None:
    sock.sendall(frame(encode_reply(number, {"code": code, "message": "no", "retry": False})))


@contextmanager
def echoing(home: Path, instead: Callable[[socket.socket, int, str, Any], bool] | None = None) -> Iterator[tuple[Path, Asked]]:
    """Serves each key as its value, and notes what is asked. `instead` may answer in its place."""
    asked: Asked = []

    def script(sock: socket.socket, number: int, method: str, params: Any) -> None:
        if method == "hello":
            greet(sock, number)
            return
        asked.append((method, params))
        if instead is not None and instead(sock, number, method, params):
            return
        if method == "get_many":
            answer(sock, number, [key.encode() for key in params["keys"]])
        else:
            answer(sock, number, params["key"].encode() if method == "get" else None)

    with scripted(home, script) as path:
        yield path, asked


def keys_of(asked: Asked) -> list[tuple[str, Any]]:
    return [(method, params.get("keys", params.get("key"))) for method, params in asked]


def is_idle(client: Client) -> bool:
    """Whether nothing is remembered of what was asked."""
    link = client._link
    return not (link._waiters or link._merged or link._unsent)


async def gather(client: Client, *keys: str, collection: str | None = "c") -> list[Any]:
    """Ask at the same moment; what is raised comes in its place."""
    calls = (client.call(requests.get(C, collection, key)) for key in keys)
    return await asyncio.gather(*calls, return_exceptions=True)


# what goes out


async def test_what_nobody_is_there_to_share_with_goes_out_alone(home: Path) -> None:
    with echoing(home) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            assert await client.call(requests.get(C, None, "a")) == b"a"
            assert await gather(client, "a", "b") == [b"a", b"b"]
            assert keys_of(asked) == [("get", "a"), ("get", "a"), ("get", "b")]


async def test_gathered_gets_share_one_request(home: Path) -> None:
    with echoing(home) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            assert await gather(client, "a", "b", "c", "b", "a") == [b"a", b"b", b"c", b"b", b"a"]
            assert keys_of(asked) == [("get", "a"), ("get_many", ["b", "c", "b", "a"])]
            assert asked[1][1]["collection"] == "c"
            assert is_idle(client)


async def test_no_request_is_for_more_than_the_daemon_takes_at_a_time(home: Path) -> None:
    with echoing(home) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            client._link.limit = 1000
            keys = [f"k{number}" for number in range(2 * PLAIN_KEYS + 2)]
            assert await gather(client, *keys) == [key.encode() for key in keys]
            assert keys_of(asked) == [
                ("get", keys[0]),
                ("get_many", keys[1 : PLAIN_KEYS + 1]),
                ("get_many", keys[PLAIN_KEYS + 1 : -1]),
                ("get", keys[-1]),
            ]


async def test_only_values_of_one_collection_share_a_request(home: Path) -> None:
    with echoing(home) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            places = [("c", "a"), ("c", "b"), (None, "c"), ("c", "d"), (None, "e"), ("d", "f")]
            found = await asyncio.gather(*(client.call(requests.get(C, collection, key)) for collection, key in places))
            assert found == [key.encode() for _, key in places]
            assert keys_of(asked) == [("get", "a"), ("get_many", ["b", "d"]), ("get_many", ["c", "e"]), ("get", "f")]
            assert [params["collection"] for _, params in asked] == ["c", "c", None, "d"]


async def test_what_has_something_of_its_own_goes_alone(home: Path) -> None:
    with echoing(home) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            long = "k" * 2000
            params = {"connection": C, "collection": "c", "key": "t"}
            limited: Request[bytes | None] = Request("get", params, bytes, timeout=20)
            calls = [*(requests.get(C, "c", key) for key in ("a", "b", long, "c")), limited]
            assert await asyncio.gather(*map(client.call, calls)) == [b"a", b"b", long.encode(), b"c", b"t"]
            assert keys_of(asked) == [("get", "a"), ("get", "b"), ("get", long), ("get", "c"), ("get", "t")]


async def test_no_get_overtakes_a_write_nor_is_overtaken_by_one(home: Path) -> None:
    with echoing(home) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            calls: list[Request[Any]] = [
                requests.get(C, None, "a"),
                requests.get(C, None, "b"),
                requests.get(C, None, "c"),
                requests.put(C, None, "w", b"{}"),
                requests.get(C, None, "d"),
                requests.get(C, None, "e"),
            ]
            await asyncio.gather(*map(client.call, calls))
            assert keys_of(asked) == [("get", "a"), ("get_many", ["b", "c"]), ("put", "w"), ("get_many", ["d", "e"])]


async def test_a_write_between_gets_is_seen_by_the_later_ones_only(client: Client, unique_name: str) -> None:
    await client.call(requests.put(C, unique_name, "k", b'{"n": 0}'))
    calls: list[Request[Any]] = []
    for number in range(1, 30):
        calls += [requests.get(C, unique_name, "k")] * 3 + [requests.put(C, unique_name, "k", b'{"n": %d}' % number)]
    answers = await asyncio.gather(*map(client.call, calls))
    assert answers == [b'{"n": %d}' % (place // 4) if place % 4 < 3 else None for place in range(len(calls))]


async def test_those_that_wait_for_room_share_a_request_when_it_comes(client: Client, unique_name: str) -> None:
    await client.call(requests.put(C, unique_name, "k", b'{"n": 1}'))
    client._link.limit = 3
    assert await gather(client, *["k", "hole"] * 100, collection=unique_name) == [b'{"n": 1}', None] * 100
    assert is_idle(client)


async def test_who_waits_for_nothing_leaves_the_others_in_peace(home: Path) -> None:
    with echoing(home) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            first = asyncio.create_task(client.call(requests.get(C, None, "a")))
            await asyncio.sleep(0)
            client.tell(requests.get(C, None, "b"))
            assert await client.call(requests.get(C, None, "c")) == b"c"
            assert await first == b"a"
            assert keys_of(asked) == [("get", "a"), ("get_many", ["b", "c"])]
            assert is_idle(client)


# what is refused


async def test_what_one_is_refused_the_others_are_not() -> None:
    with own_folders() as root:
        tree = root / "tree"
        configure(root, f'[connections.tree]\nstore = "filetree"\nargs.data_directory = "{tree}"\n')
        async with await Client.open() as client:
            await client.call(requests.put("tree", "c", "k", b'{"n": 1}'))
            (tree / "c" / "stray.json").write_text("hello")
            keys = ("k", "k", "stray", "k", "hole")
            calls = [requests.get("tree", "c", key) for key in keys]
            first, before, stray, after, hole = await asyncio.gather(*map(client.call, calls), return_exceptions=True)
            assert first == before == after == b'{"n": 1}'
            assert hole is None
            assert isinstance(stray, RequestError)
            assert stray.code == Code.FOREIGN
            assert "stray" in stray.message
            assert is_idle(client)


async def test_what_is_refused_together_is_asked_alone_behind_what_came_meanwhile(home: Path) -> None:
    def instead(sock: socket.socket, number: int, method: str, params: Any) -> bool:
        if method == "get_many" or params["key"] == "b":
            refuse(sock, number, Code.FOREIGN)
            return True
        return False

    with echoing(home, instead) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            a, b, c = await gather(client, "a", "b", "c")
            assert (a, c) == (b"a", b"c")
            assert isinstance(b, RequestError)
            assert b.code == Code.FOREIGN
            assert keys_of(asked) == [("get", "a"), ("get_many", ["b", "c"]), ("get", "b"), ("get", "c")]
            assert is_idle(client)


@pytest.mark.parametrize("code", [Code.UNKNOWN_CONNECTION, Code.UNREACHABLE, Code.SHUTTING_DOWN, Code.DEADLINE])
async def test_what_all_would_be_refused_is_not_asked_again(home: Path, code: Code) -> None:
    def instead(sock: socket.socket, number: int, _method: str, _params: Any) -> bool:
        refuse(sock, number, code)
        return True

    with echoing(home, instead) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            found = await gather(client, "a", "b", "c")
            assert [error.code for error in found] == [code] * 3
            assert len({id(error) for error in found}) == 3, "what is raised takes up where it was, so none is raised twice"
            assert keys_of(asked) == [("get", "a"), ("get_many", ["b", "c"])]


async def test_an_unknown_connection_is_named_to_each(client: Client) -> None:
    found = await asyncio.gather(*(client.call(requests.get("nowhere", None, key)) for key in "abc"), return_exceptions=True)
    for error in found:
        assert isinstance(error, RequestError)
        assert error.code == Code.UNKNOWN_CONNECTION
        assert "nowhere" in error.message


# who gives up


@contextmanager
def silent(home: Path) -> Iterator[tuple[Path, Asked, list[tuple[socket.socket, int]]]]:
    """Leaves gets unanswered, and lists to whom which answer is due. A `ping` it answers."""
    due: list[tuple[socket.socket, int]] = []

    def instead(sock: socket.socket, number: int, method: str, params: Any) -> bool:
        if method == "cancel":
            refuse(sock, params["id"], Code.CANCELLED)
            answer(sock, number, True)
        elif method == "ping":
            answer(sock, number, None)
        else:
            due.append((sock, number))
        return True

    with echoing(home, instead) as (path, asked):
        yield path, asked, due


PING: Request[Any] = Request("ping", {}, lambda _: None)


async def ask_four(client: Client) -> list[asyncio.Task[bytes | None]]:
    """Have one get in flight alone, and three together."""
    tasks = [asyncio.create_task(client.call(requests.get(C, None, key))) for key in "abcd"]
    await asyncio.sleep(0)
    await client.call(PING)
    return tasks


async def test_one_that_gives_up_leaves_the_others_and_the_last_cancels_the_request(home: Path) -> None:
    with silent(home) as (path, asked, due):
        async with await Client.open(path, spawn=False) as client:
            first, *shared = await ask_four(client)
            assert [method for method, _ in asked] == ["get", "get_many", "ping"]
            for task in shared[:2]:
                task.cancel()
            await asyncio.wait(shared[:2])
            await client.call(PING)
            assert "cancel" not in {method for method, _ in asked}, "one still waits"
            shared[2].cancel()
            await asyncio.wait(shared)
            await client.call(PING)
            assert [params["id"] for method, params in asked if method == "cancel"] == [due[1][1]]
            answer(*due[0], b"1")
            assert await first == b"1"
            assert is_idle(client)


async def test_one_that_gave_up_is_passed_over_when_the_answer_comes(home: Path) -> None:
    with silent(home) as (path, asked, due):
        async with await Client.open(path, spawn=False) as client:
            first, *shared = await ask_four(client)
            shared[0].cancel()
            await asyncio.wait(shared[:1])
            answer(*due[1], [b"2", b"3", b"4"])
            answer(*due[0], b"1")
            assert await asyncio.gather(first, *shared[1:]) == [b"1", b"3", b"4"]
            assert "cancel" not in {method for method, _ in asked}
            assert is_idle(client)


async def test_one_that_gave_up_is_not_asked_for_again(home: Path) -> None:
    with silent(home) as (path, asked, due):
        async with await Client.open(path, spawn=False) as client:
            first, *shared = await ask_four(client)
            shared[0].cancel()
            await asyncio.wait(shared[:1])
            refuse(*due[1], Code.STORE_ERROR)
            await asyncio.sleep(0)
            while len(due) < 4:
                await client.call(PING)
            shared[1].cancel()
            await asyncio.wait(shared[:2])
            for place, text in ((0, b"1"), (3, b"4")):
                answer(*due[place], text)
            assert (await first, await shared[2]) == (b"1", b"4")
            await client.call(PING)
            gets = [(method, keys) for method, keys in keys_of(asked) if method.startswith("get")]
            assert gets == [("get", "a"), ("get_many", ["b", "c", "d"]), ("get", "c"), ("get", "d")]
            assert [params["id"] for method, params in asked if method == "cancel"] == [due[2][1]]
            assert is_idle(client)


async def test_who_gives_up_before_it_went_out_is_not_asked_for(home: Path) -> None:
    with echoing(home) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            tasks = [asyncio.create_task(client.call(requests.get(C, None, key))) for key in "abcd"]
            asyncio.get_running_loop().call_soon(tasks[2].cancel)
            await asyncio.wait(tasks)
            assert tasks[2].cancelled()
            assert "cancel" not in {method for method, _ in asked}
            assert [tasks[place].result() for place in (0, 1, 3)] == [b"a", b"b", b"d"]
            assert is_idle(client)


async def test_each_learns_that_the_connection_broke(home: Path) -> None:
    def instead(sock: socket.socket, _number: int, method: str, _params: Any) -> bool:
        if method == "get_many":
            sock.shutdown(socket.SHUT_RDWR)
        return True

    with echoing(home, instead) as (path, _):
        async with await Client.open(path, spawn=False) as client:
            found = await gather(client, "a", "b", "c")
            assert [type(error) for error in found] == [ConnectionLostError] * 3
            assert len({str(error) for error in found}) == 1
            assert len({id(error) for error in found}) == 3
            assert is_idle(client)


# large values


async def test_after_a_large_answer_values_go_alone_for_a_while(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = b" " * (LARGE // 2 + 1)

    def instead(sock: socket.socket, number: int, method: str, params: Any) -> bool:
        answer(sock, number, [large for _ in params["keys"]] if method == "get_many" else large)
        return True

    with echoing(home, instead) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            for expected in (["get", "get_many"], ["get", "get", "get"]):
                asked.clear()
                assert await gather(client, "a", "b", "c") == [large] * 3
                assert [method for method, _ in asked] == expected
            monkeypatch.setattr(link, "REST", 0.0)
            client._link._rest()
            asked.clear()
            assert await gather(client, "a", "b", "c") == [large] * 3
            assert [method for method, _ in asked] == ["get", "get_many"]


async def test_after_an_answer_that_was_too_large_values_go_alone_for_a_while(home: Path) -> None:
    def instead(sock: socket.socket, number: int, method: str, _params: Any) -> bool:
        if method == "get_many":
            refuse(sock, number, Code.TOO_LARGE)
        return method == "get_many"

    with echoing(home, instead) as (path, asked):
        async with await Client.open(path, spawn=False) as client:
            for expected in (["get", "get_many", "get", "get"], ["get", "get", "get"]):
                asked.clear()
                assert await gather(client, "a", "b", "c") == [b"a", b"b", b"c"]
                assert [method for method, _ in asked] == expected


async def test_values_that_do_not_fit_into_one_answer_come_all_the_same(client: Client, unique_name: str) -> None:
    text = b'{"x": "%s"}'
    large = {f"k{number}": text % (b"%d" % number * (6 << 20)) for number in range(6)}
    for key, value in large.items():
        await client.call(requests.put(C, unique_name, key, value))
    assert await gather(client, *large, *large, collection=unique_name) == [*large.values()] * 2
    assert is_idle(client)
    for key in large:
        await client.call(requests.delete(C, unique_name, key))
