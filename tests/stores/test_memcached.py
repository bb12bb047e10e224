"""MemcachedStore's own ways: limits, foreign items with flags, the dump of names, users, and a server that goes."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomcache.exceptions
import pytest
from aiomcache import Client

from stores import ABSENT, OUTSIDE, MemcachedStore, MemcachedV1KeySanitizationStrategy, Token
from stores.backends.memcached_errors import AnswerError, LostError
from stores.backends.memcached_protocol import LONGEST_LINE, Answer, Answers
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    InvalidKeyError,
    StoreConnectionError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)
from stores.names import Key
from tests.conftest import endpoint as endpoint_of
from tests.faults.clock import time_flies
from tests.faults.proxy import Proxy
from tests.servers.lease import Server, private_server

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this file's own: destroying flushes all of it."""
    endpoint_of("memcached")  # skips, or fails, where there is none
    with private_server("memcached") as running:
        yield running


@pytest.fixture
async def store(server: Server) -> AsyncIterator[MemcachedStore]:
    host, port = server.address
    async with MemcachedStore(host=host, port=port, default_collection="c") as opened:
        yield opened
        await opened.destroy()


@pytest.fixture
async def say(server: Server) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """Send one command by hand and read one line."""
    reader, writer = await asyncio.open_connection(*server.address)

    async def said(command: bytes) -> bytes:
        writer.write(command + b"\r\n")
        return (await reader.readline()).rstrip()

    yield said
    writer.close()


async def connections(server: Server) -> int:
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"stats\r\n")
    text = await reader.readuntil(b"END\r\n")
    writer.close()
    return int(text.split(b"curr_connections ")[1].split()[0])


async def test_200_concurrent_gets_open_no_connections(server: Server, store: MemcachedStore) -> None:
    await store.put_many([f"k{n}" for n in range(200)], [{"n": n} for n in range(200)])
    before = await connections(server)
    assert await asyncio.gather(*(store.get(f"k{n}") for n in range(200))) == [{"n": n} for n in range(200)]
    async with asyncio.timeout(60):
        while await connections(server) > before:  # noqa: ASYNC110 - the server counts for a while who has left
            await asyncio.sleep(0.05)


async def test_cancelled_callers_leave_no_answer_for_others(store: MemcachedStore) -> None:
    keys = [f"k{n}" for n in range(200)]
    await store.put_many(keys, [{"key": key} for key in keys])
    tasks = [asyncio.create_task(store.get(key)) for key in keys]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    for key, value in zip(keys, got, strict=True):
        assert value == {"key": key} or isinstance(value, asyncio.CancelledError)
    assert await store.get("k7") == {"key": "k7"}


async def test_foreign_items_are_shown_with_their_flags_and_kept_with_them(
    store: MemcachedStore, say: Callable[[bytes], Awaitable[bytes]]
) -> None:
    await say(b"set c::plain 0 0 5\r\n\x00\xffxyz")
    await say(b"set c::flagged 16 0 3\r\n123")
    await say(b"set lone 0 0 1\r\nx")
    await store.put("entry", {"n": 1}, ttl=1000)
    assert {name.text for name in (await store.scan_keys("c")).items} == {"plain", "flagged", "entry"}
    assert [name.text for name in (await store.scan_keys(OUTSIDE)).items] == ["lone"]
    assert {name.token for name in (await store.scan_collections()).items} >= {OUTSIDE}
    described = await store.describe(["plain", "flagged", "entry", "absent"])
    assert [one and (one.kind, one.size) for one in described[:2]] == [("item", 5), ("item, flags 16", 3)]
    assert described[2] is not None
    assert (described[2].kind, described[3]) == ("entry", None)
    for key in ("plain", "flagged"):
        for asked in (store.get(key), store.get_many(["absent", key]), store.texts([key])):
            with pytest.raises(DeserializationError, match=f"'{key}' in collection 'c'"):
                await asked
    record = await store.read("plain", limit=2)
    assert record is not None
    assert (record.kind, record.body, record.length) == ("item", b"\x00\xff", 5)
    snapshot = await store.snapshot("flagged")
    assert snapshot is not None
    assert await store.expire("flagged", 100)
    left, *rest = (await say(b"mg c::flagged t f s")).removeprefix(b"HD t").split()
    assert (70 < int(left) <= 101, rest) == (True, [b"f16", b"s3"])
    await store.delete("flagged")
    await store.restore("flagged", snapshot, expected=ABSENT)
    assert await say(b"mg c::flagged t f s") == b"HD t-1 f16 s3"
    with pytest.raises(ConflictError):
        await store.delete("flagged", expected=snapshot.version)
    await store.restore("flagged", replace(snapshot, kind=f"item, flags {2**32 - 1}"))
    assert await say(b"mg c::flagged f") == b"HD f4294967295"
    for flags in ("4294967296", "9" * 5000):
        with pytest.raises(UnsupportedError):
            await store.restore("flagged", replace(snapshot, kind=f"item, flags {flags}"))


async def test_two_deadlines(store: MemcachedStore, say: Callable[[bytes], Awaitable[bytes]]) -> None:
    async def native(key: str = "k") -> int:
        """What the server says is left, in seconds."""
        return int((await say(f"mg c::{key} t".encode())).removeprefix(b"HD t"))

    await store.put("k", {"n": 1}, ttl=1000)
    assert 970 < await native() <= 1001
    await say(b"touch c::k 100")
    for left in ((await store.ttl("k"))[1], (await store.ttl_many(["k"]))[0][1]):
        assert left is not None
        assert 70 < left <= 101
    await store.edit("k", {"n": 2})
    assert 70 < await native() <= 102
    await store.expire("k", None)
    assert await native() == -1
    await store.put("month", {}, ttl=40 * 24 * 3600)
    assert -30 < await native("month") - 40 * 24 * 3600 <= 3
    await store.put("age", {"n": 1}, ttl=10**10)  # beyond memcached's calendar: only the envelope ends it
    assert await native("age") == -1
    value, left = await store.ttl("age")
    assert value == {"n": 1}
    assert left is not None
    assert left > 9 * 10**9


async def test_names_that_fit_and_names_that_do_not(store: MemcachedStore) -> None:
    for key in ("k" * 247, "日" * 82, "sp ace\n\t\x00", " " * 183, "\udcff\udc80"):
        await store.put(key, {"n": 1})
        assert await store.get(key) == {"n": 1}
        assert [name.text for name in (await store.scan_keys("c")).items] == [key]
        assert (await store.describe([key]))[0] is not None
        assert await store.delete(key)
    names: list[Key] = ["k" * 248, "日" * 83, " " * 190, Token(b""), Token(b"k" * 251)]
    for name in names:
        for call in (store.put(name, {}), store.get(name), store.get_many([name]), store.delete(name), store.edit(name, {})):
            with pytest.raises(InvalidKeyError, match=r"The name '.*takes 1 to 250"):
                await call
    hashing = MemcachedStore(
        host=store._server.host, port=store._server.port, key_sanitization_strategy=MemcachedV1KeySanitizationStrategy()
    )
    async with hashing:
        await hashing.put("k" * 1000, {"n": 1}, collection="c" * 1000)
        assert await hashing.get("k" * 1000, collection="c" * 1000) == {"n": 1}
        [found] = (await hashing.scan_keys(OUTSIDE)).items
        assert not found.exact
        assert await hashing.get(found.token, collection=OUTSIDE) == {"n": 1}


async def test_a_value_over_the_limit_keeps_what_was_there(store: MemcachedStore) -> None:
    await store.put("k", {"n": 1})
    for call in (store.put("k", {"text": "x" * 1024 * 1024}), store.edit("k", {"text": "x" * 1024 * 1024})):
        with pytest.raises(ValueTooLargeError, match="1048576"):
            await call
    assert await store.get("k") == {"n": 1}
    await store.put("k", {"text": "x" * (1024 * 1024 - 700)})
    assert len((await store.get("k") or {})["text"]) == 1024 * 1024 - 700


async def test_a_walk_through_many_names(store: MemcachedStore) -> None:
    keys = [f"k{n}" for n in range(3000)]
    await store.put_many(keys, [{}] * 3000)
    found: list[str] = []
    cursor = None
    while True:
        page = await store.scan_keys("c", cursor=cursor, limit=500)
        assert len(page.items) <= 500
        found.extend(name.text for name in page.items)
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(found) == sorted(keys)
    pages = await asyncio.gather(*(store.scan_keys("c", limit=10) for _ in range(4)))
    assert [len(page.items) for page in pages] == [10] * 4
    assert await store.delete_many(keys) == 3000


class Dumping:
    """A server that answers what a walk asks for, name by name as the test says; `forms` of dump that it knows."""

    def __init__(self, *forms: bytes) -> None:
        self.forms = forms
        self.names: asyncio.Queue[list[str] | None] = asyncio.Queue()
        self.asked: list[bytes] = []
        self.open = 0

    async def only(self, count: int) -> None:
        """Wait until so many connections are open; a dump goes on meanwhile, or it would not be seen that nobody reads it."""
        async with asyncio.timeout(60):
            while self.open > count:
                self.names.put_nowait(["c%3A%3Amore"] * 100)
                await asyncio.sleep(0.005)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while line := (await reader.readline()).rstrip():
                self.asked.append(line)
                if line == b"stats settings":
                    writer.write(b"STAT item_size_max 1048576\r\nEND\r\n")
                elif line.rpartition(b" ")[2] not in self.forms:
                    writer.write(b"BADCLASS invalid class id\r\n")
                else:
                    while (names := await self.names.get()) is not None:
                        lines = "".join(f"key={name} exp=-1 la=1 cas=2 fetch=no cls=1 size=80\n" for name in names)
                        writer.write(lines.encode())  # Python 3.12.1's writelines fails on a lost connection
                        await writer.drain()
                    writer.write(b"END\r\n")
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def dumping(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Dumping, MemcachedStore]]:
    fake = Dumping(*getattr(request, "param", (b"hash", b"all")))
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with MemcachedStore(port=port, default_collection="c") as store:
            yield fake, store
        await fake.only(0)


async def test_the_first_page_does_not_wait_for_the_last_name(dumping: tuple[Dumping, MemcachedStore]) -> None:
    server, store = dumping
    server.names.put_nowait([f"c%3A%3Ak{n}" for n in range(600)] + ["d%3A%3Ak", "plain"])
    first = await store.scan_keys("c", limit=500)
    assert [name.text for name in first.items] == [f"k{n}" for n in range(500)]
    assert (first.cursor is None, first.scanned) == (False, 502)
    server.names.put_nowait(["c%3A%3Aan%0Aodd%20one"])
    server.names.put_nowait(None)
    second = await store.scan_keys("c", cursor=first.cursor, limit=500)
    assert [name.text for name in second.items] == [*(f"k{n}" for n in range(500, 600)), "an\nodd one"]
    assert second.cursor is None


async def test_a_dump_that_ends_early_is_told_after_the_names_before(dumping: tuple[Dumping, MemcachedStore]) -> None:
    server, store = dumping
    server.names.put_nowait(["c%3A%3Ak1", "c%3A%3Ak2"])
    page = await store.scan_keys("c", limit=1)
    assert [name.text for name in page.items] == ["k1"]
    page = await store.scan_keys("c", cursor=page.cursor, limit=1)
    assert [name.text for name in page.items] == ["k2"]
    with pytest.raises(StoreConnectionError, match="10 seconds"):
        async with time_flies():
            await store.scan_keys("c", cursor=page.cursor, limit=1)


async def test_a_walk_that_is_given_up_stops_the_dump(dumping: tuple[Dumping, MemcachedStore]) -> None:
    server, store = dumping
    server.names.put_nowait(["c%3A%3Ak1"])
    page = await store.scan_keys("c", limit=1)
    assert page.cursor is not None
    assert server.open == 2
    store._close_cursor(page.cursor)
    await server.only(1)  # the one for requests


@pytest.mark.parametrize("dumping", [(b"all",)], indirect=True)
async def test_an_old_server_lists_in_the_way_that_it_knows(dumping: tuple[Dumping, MemcachedStore]) -> None:
    server, store = dumping
    server.names.put_nowait(["c%3A%3Ak1", "plain"])
    server.names.put_nowait(None)
    assert [(name.text, name.token) for name in (await store.scan_collections()).items] == [("c", Token(b"c")), ("", OUTSIDE)]
    assert server.asked[-2:] == [b"lru_crawler metadump hash", b"lru_crawler metadump all"]


@pytest.mark.parametrize("dumping", [()], indirect=True)
async def test_a_server_that_cannot_list_says_so(dumping: tuple[Dumping, MemcachedStore]) -> None:
    with pytest.raises(UnsupportedError, match="cannot list its items"):
        await dumping[1].scan_keys("c")


async def test_a_client_that_was_passed_in_names_the_server_and_stays_open(server: Server) -> None:
    client = Client(*server.address)
    async with MemcachedStore(client=client) as store:
        await store.put("k", {"n": 1})
        raw = await client.get(b"default_collection::k")
        assert json.loads(raw or b"")["value"] == {"n": 1}
        await store.destroy()
    assert await client.get(b"default_collection::k") is None
    await client.close()


async def test_users_and_passwords(tmp_path: Path, server: Server) -> None:
    users = tmp_path / "users"
    users.write_text("ada:word\n")
    with private_server("memcached", ["-Y", str(users)]) as guarded:
        host, port = guarded.address
        knowing = MemcachedStore(host=host, port=port, username="ada", password="word")
        await asyncio.to_thread(guarded.stop)
        with pytest.raises(StoreSetupError):
            await knowing.setup()
        await asyncio.to_thread(guarded.start)
        async with knowing as store:
            await store.put("k", {"n": 1})
            assert await store.get("k") == {"n": 1}
            assert len((await store.scan_keys()).items) == 1
            assert "word" not in store.location
        refused: list[dict[str, Any]] = [{"username": "ada", "password": "wrong"}, {}]
        for options in refused:
            with pytest.raises(StoreSetupError, match="authent"):
                await MemcachedStore(host=host, port=port, **options).get("k")
    host, port = server.address
    async with MemcachedStore(host=host, port=port, username="ada", password="word") as open_to_all:
        assert await open_to_all.get("auth", collection=OUTSIDE) is None  # the password was not stored as an item
        assert (await open_to_all.scan_collections()).items == []


async def test_cuts_hangs_and_restarts() -> None:
    endpoint_of("memcached")
    with private_server("memcached") as server:
        async with Proxy(*server.address) as proxy, MemcachedStore(port=proxy.port) as store:
            keys = [f"k{n}" for n in range(1000)]
            calls: list[Callable[[], Awaitable[Any]]] = [
                lambda: store.get("k1"),
                lambda: store.put_many(keys, [{"text": "x" * 500}] * 1000),
                lambda: store.get_many(keys),
                store.scan_keys,
            ]
            for call in calls:
                await store.put("k1", {"n": 1})
                proxy.cut_after(3)
                with pytest.raises(StoreConnectionError):
                    await call()
                assert await store.get("absent") is None
            proxy.black_hole()
            for call in (calls[0], calls[3]):
                with pytest.raises(StoreConnectionError, match="no answer for 10 seconds"):
                    async with time_flies():
                        await call()
            await proxy.mend()
            assert await store.get("absent") is None
            proxy.garbage(b"\x00what\r\n")
            with pytest.raises(StoreConnectionError):
                await store.get("k1")
            await proxy.mend()
            await asyncio.to_thread(server.kill)
            with pytest.raises(StoreConnectionError):
                await store.get("k1")
            await asyncio.to_thread(server.start)
            assert await store.get("k1") is None


async def test_a_server_that_is_not_there() -> None:
    store = MemcachedStore(port=1)
    for _ in range(2):
        with pytest.raises(StoreSetupError):
            await store.get("k")
    await store.close()


async def test_every_exception_of_the_driver_is_translated() -> None:
    store = MemcachedStore()
    classes = [found for _, found in inspect.getmembers(aiomcache.exceptions, inspect.isclass) if issubclass(found, Exception)]
    assert len(classes) == 2
    for cls in (*classes, AnswerError):
        with pytest.raises(BaseKeyValueError), store._edge("c", "k"):
            raise cls("trouble")
    for trouble in (LostError("down"), OSError("down"), asyncio.IncompleteReadError(b"", 1)):
        with pytest.raises(StoreConnectionError), store._edge("c", "k"):
            raise trouble


def test_answers_are_cut_the_same_however_they_arrive() -> None:
    stream = b"HD t-1 s1 c7 f5\r\nVA 4 t10 f0\r\na\r\nb\r\nEN\r\nSERVER_ERROR out of memory\r\nNF c0\r\nVA 0\r\n\r\n"

    def cut(size: int) -> list[Any]:
        answers, found = Answers(), []
        for at in range(0, len(stream), size):
            found += [answer if isinstance(answer, Answer) else str(answer) for answer in answers.cut(stream[at : at + size])]
        return found

    whole = [
        Answer(b"HD", {"t": -1, "s": 1, "c": 7, "f": 5}),
        Answer(b"VA", {"t": 10, "f": 0}, b"a\r\nb"),
        Answer(b"EN", {}),
        "SERVER_ERROR out of memory",
        Answer(b"NF", {"c": 0}),
        Answer(b"VA", {}),
    ]
    for size in (1, 2, 3, 7, len(stream)):
        assert cut(size) == whole
    for nonsense in (
        b"CLIENT_ERROR bad data chunk\r\n",
        b"ERROR\r\n",
        b"\r\n",
        b"hello\r\n",
        b"VA x\r\n",
        b"VA\r\n",
        b"XX\r\n",
        b"END\r\n",
        b"HD" * LONGEST_LINE,
    ):
        with pytest.raises((ValueError, IndexError)):
            list(Answers().cut(nonsense))
