"""Redis's answers are cut as hiredis cuts them, and an array that would hold everybody up is refused."""

import asyncio
import gc
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import hiredis
import pytest
from hypothesis import given, strategies as st

from stores import RedisStore
from stores.backends.resp_answers import INCOMPLETE, MAX_ELEMENTS, BoundedReader
from stores.errors import StoreConnectionError

pytestmark = pytest.mark.anyio

HUGE = b"*2147483647\r\n"


def string(content: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(content), content)


def array(*items: bytes) -> bytes:
    return b"*%d\r\n%s" % (len(items), b"".join(items))


GOOD = b"".join(
    [
        b"+OK\r\n:1843\r\n$-1\r\n*-1\r\n*0\r\n",
        string(b"a string with\n" + HUGE + b"in it\n>999999999\r\n*12"),
        string(HUGE),
        array(*[string(b"%d" % number) for number in range(250)]),
        array(string(b"0"), array(*[string(b"\n*123456789") for _ in range(120)])),
        b"+*2147483647 in a line\r\n",
        array(*[b":1\r\n"] * 1000),
    ]
)


def cut(reader: BoundedReader, parts: Sequence[bytes], into: list[Any]) -> None:
    for part in parts:
        into.extend(reader.cut(part))


def answers_of(reader: BoundedReader, parts: Sequence[bytes]) -> list[Any]:
    found: list[Any] = []
    cut(reader, parts, found)
    return found


def by_hiredis(sent: bytes) -> list[Any]:
    reader = hiredis.Reader(notEnoughData=INCOMPLETE)
    reader.feed(sent)
    found: list[Any] = []
    while (answer := reader.gets()) is not INCOMPLETE:
        found.append(answer)
    return found


@given(st.lists(st.integers(0, len(GOOD)), max_size=12))
def test_good_answers_are_cut_as_hiredis_cuts_them(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(GOOD)]
    parts = [GOOD[start:end] for start, end in pairwise(edges)]
    assert answers_of(BoundedReader(), parts) == by_hiredis(GOOD)


def test_good_answers_may_arrive_byte_by_byte() -> None:
    parts = [GOOD[at : at + 1] for at in range(len(GOOD))]
    assert answers_of(BoundedReader(), parts) == by_hiredis(GOOD)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 1000])
@pytest.mark.parametrize(
    "bad",
    [
        HUGE,
        b">2147483647\r\n",
        b"*%d\r\n" % (MAX_ELEMENTS + 1),
        b"*99999999999999999999999999999999\r\n",
        b"*2\r\n+OK\r\n" + HUGE,
        b"*9999\r\n" * (MAX_ELEMENTS // 9999 + 1),
        b"*9999\r\n:1\r\n" * (MAX_ELEMENTS // 9999 + 1),
    ],
    ids=["array", "push", "just over", "no number", "inside", "nested", "nested behind others"],
)
def test_long_arrays_are_refused_after_the_answers_before_them(bad: bytes, step: int) -> None:
    sent = GOOD + bad
    found: list[Any] = []
    with pytest.raises((ValueError, hiredis.ProtocolError), match=r"elements|nesting"):
        cut(BoundedReader(), [sent[at : at + step] for at in range(0, len(sent), step)], found)
    assert found == by_hiredis(GOOD)


def test_long_answers_one_after_another_are_not_counted_together() -> None:
    one = array(*[b":1\r\n"] * 2000)
    reader = BoundedReader()
    for _ in range(20):
        reader._announced = MAX_ELEMENTS - 3000  # as if so many had been announced: an answer that is whole ends the count
        assert len(answers_of(reader, [b"+OK\r\n", one, one])) == 3


async def test_a_server_that_announces_a_huge_array_holds_nobody_up() -> None:
    answers, left = [HUGE, b"$-1\r\n"], asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while asked := await reader.read(4096):
                writer.write(answers.pop(0) if b"GET\r\n" in asked else b"+OK\r\n")
        finally:
            writer.close()
            left.release()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        async with RedisStore(host="127.0.0.1", port=port, timeout=5.0) as store:
            gc.collect()  # garbage of earlier tests is not counted
            started = time.process_time()  # nor is what other processes take
            with pytest.raises(StoreConnectionError, match="elements"):
                await store.get("k", collection="c")
            gc.collect()  # walks such an array
            assert time.process_time() - started < 1
            assert await store.get("k", collection="c") is None
        for _ in range(2):
            await left.acquire()
