import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from kvd import paths, remote, requests, spawn
from kvd.answers import refusal
from kvd.client import Client
from kvd.config import ConnectionConfig
from kvd.errors import RequestError
from kvd.remote import RemoteStore
from kvd.remote_edge import from_daemon
from stores import (
    ABSENT,
    AsyncCullProtocol,
    AsyncDestroyCollectionProtocol,
    AsyncDestroyStoreProtocol,
    AsyncEnumerateCollectionsProtocol,
    AsyncEnumerateKeysProtocol,
    AsyncKeyValue,
    Token,
    errors,
)
from stores.errors import (
    ConflictError,
    InvalidKeyError,
    InvalidTTLError,
    SerializationError,
    StoreClosedError,
    StoreConnectionError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def store(daemon: Path) -> AsyncIterator[Any]:
    async with await RemoteStore.open("scratch") as opened:
        yield opened


async def test_two_programs_share_a_memory_store(store: Any, unique_name: str) -> None:
    program = f"""
import asyncio
from kvd.remote import RemoteStore

async def main() -> None:
    async with await RemoteStore.open("scratch") as store:
        await store.put("greeting", {{"hello": "world"}}, collection={unique_name!r}, ttl=90)

asyncio.run(main())
"""
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=ROOT)
    assert await other.wait() == 0
    value, ttl = await store.ttl("greeting", collection=unique_name)
    assert value == {"hello": "world"}
    assert 80 < ttl <= 90


async def test_it_has_what_the_store_behind_it_has(store: Any) -> None:
    assert store.traits.name == "memory"
    assert type(store).__name__ == "RemoteStore"
    assert isinstance(store, AsyncKeyValue)
    for protocol in (
        AsyncEnumerateKeysProtocol,
        AsyncEnumerateCollectionsProtocol,
        AsyncDestroyStoreProtocol,
        AsyncDestroyCollectionProtocol,
    ):
        assert isinstance(store, protocol)
    assert not isinstance(store, AsyncCullProtocol)
    async with await RemoteStore.open("null:") as null:
        assert isinstance(null, AsyncKeyValue)
        assert not isinstance(null, AsyncEnumerateKeysProtocol)


async def test_a_store_is_opened_by_url(tmp_path: Path, daemon: Path) -> None:
    with pytest.raises(StoreSetupError, match=str(tmp_path)):
        await RemoteStore.open(f"disk://{tmp_path}/missing")
    (tmp_path / "there").mkdir()
    async with await RemoteStore.open(f"disk://{tmp_path}/there") as store:
        await store.put("k", {"a": 1})
        assert await store.get("k") == {"a": 1}
        assert store.location == f"{tmp_path}/there"


async def test_wrong_arguments_are_refused_before_anything_is_sent(store: Any) -> None:
    for bad, error in [
        (store.put("k", ["no mapping"]), TypeError),
        (store.put("k", {1: "no string"}), TypeError),
        (store.put("k", {"a": object()}), SerializationError),
        (store.put("k", {}, ttl=0), InvalidTTLError),
        (store.put("k", {}, ttl=True), InvalidTTLError),
        (store.get(5), TypeError),
        (store.get("\ud800"), InvalidKeyError),
        (store.get_many("abc"), TypeError),
        (store.put_many(["a"], []), ValueError),
        (store.edit("k", {}, ttl=-1), InvalidTTLError),
        (store.expire("k", float("nan")), InvalidTTLError),
    ]:
        with pytest.raises(error):
            await bad


async def test_what_the_daemon_refuses_is_the_stores_own_error(store: Any, unique_name: str) -> None:
    version = await store.edit("k", {"n": 1}, collection=unique_name, expected=ABSENT)
    with pytest.raises(ConflictError) as caught:
        await store.edit("k", {"n": 2}, collection=unique_name, expected=ABSENT)
    assert caught.value.current is not None
    assert caught.value.current.version == version
    assert caught.value.current.entry is not None
    assert caught.value.current.entry.value == {"n": 1}
    with pytest.raises(UnsupportedError, match="allow_destroy"):
        await store.destroy()
    with pytest.raises(StoreSetupError, match="no connection 'nope'"):
        await RemoteStore.open("nope")
    with pytest.raises(ValueTooLargeError):
        await store.put("k", {"a": "x" * (17 << 20)}, collection=unique_name)


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name.endswith("Error")])
def test_a_stores_error_comes_as_the_same_error(name: str) -> None:
    raised = getattr(errors, name)("It went wrong.", {"key": "k"})
    refused = refusal(raised, ConnectionConfig(name="scratch", store="memory"))
    assert refused is not None
    came = from_daemon(RequestError.unpack(refused.pack()))
    other_words = {"StoreClosedError": "scratch was closed meanwhile: its configuration changed, or the daemon is leaving"}
    assert str(came) == other_words.get(name, str(raised))
    without_code: dict[str, object] = {
        "BaseKeyValueError": errors.KeyValueStoreError,
        "EntryTooLargeError": errors.ValueTooLargeError,
        "EntryTooSmallError": errors.KeyValueOperationError,
        "MissingKeyError": errors.KeyValueOperationError,
        "StoreClosedError": errors.StoreConnectionError,
    }
    assert type(came) is without_code.get(name, type(raised))


async def test_batches_over_the_limits_are_cut(store: Any, unique_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_BATCH_BYTES", 10_000)
    monkeypatch.setattr(remote, "MAX_KEYS", 100)
    keys = [f"k{number}" for number in range(250)] + ["k0"]
    values = [{"n": number, "x": "y" * (number % 3 * 500)} for number in range(251)]
    await store.put_many(keys, values, collection=unique_name, ttl=60)
    assert await store.get_many([*keys[1:], "nope"], collection=unique_name) == [*values[1:], None]
    assert sorted(await store.keys(unique_name)) == sorted(set(keys))
    assert len(await store.keys(unique_name, limit=7)) == 7
    assert await store.delete_many([*keys, "nope"], collection=unique_name) == 250
    assert await store.get_many([], collection=unique_name) == []
    assert await store.delete_many([], collection=unique_name) == 0


async def test_an_answer_that_is_too_large_is_asked_for_in_pieces(store: Any, unique_name: str) -> None:
    values = [{"x": f"{number}" * (12 << 20)} for number in range(7)]
    keys = [f"k{number}" for number in range(7)]
    await store.put_many(keys, values, collection=unique_name)
    assert await store.get_many(keys, collection=unique_name) == values
    await store.delete_many(keys, collection=unique_name)


async def test_odd_names_survive(store: Any, unique_name: str) -> None:
    names = ["", " ", "a/b", "é\n", "\udcff\udc80", "💥", "x" * 5000]
    await store.put_many(names, [{"name": ascii(name)} for name in names], collection=unique_name)
    assert set(await store.keys(unique_name)) == set(names)
    page = await store.scan_keys(unique_name)
    assert all(isinstance(name.token, Token) for name in page.items)
    for name in page.items:
        assert await store.get(name.token, collection=unique_name) == {"name": ascii(name.text)}
    assert await store.delete_many([name.token for name in page.items], collection=unique_name) == len(names)


async def test_a_killed_daemon_fails_the_call_and_serves_the_next(home: Path) -> None:
    async with await RemoteStore.open("local") as store:
        await store.put("k", {"a": 1})
        pid = (await store._link.opened()).server.pid
        os.kill(pid, signal.SIGSTOP)
        asked = asyncio.create_task(store.get("k"))
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(StoreConnectionError):
            await asked
        assert await store.get("k") == {"a": 1}


async def test_a_daemon_that_leaves_fails_nothing_that_it_did_not_begin(home: Path) -> None:
    """Each restart in the midst of calls; none of them fails."""
    async with await RemoteStore.open("local") as store:
        ended = False
        counts = dict.fromkeys(range(4), 0)

        async def write(number: int) -> None:
            while not ended:
                counts[number] += 1
                await store.put(f"k{number}", {"n": counts[number]})
                assert await store.get(f"k{number}") == {"n": counts[number]}

        writers = [asyncio.create_task(write(number)) for number in range(4)]
        pids = set()
        for _ in range(5):
            client = await store._link.opened()
            pids.add(client.server.pid)
            await asyncio.sleep(0.1)
            os.kill(client.server.pid, signal.SIGTERM)
            await client.closed()
            await store.get("k0")
        ended = True
        await asyncio.gather(*writers)
        assert len(pids) == 5


async def test_a_closed_store_says_so_and_can_be_entered_again(daemon: Path) -> None:
    store = await RemoteStore.open("scratch")
    await store.close()
    await store.close()
    with pytest.raises(StoreClosedError):
        await store.get("k")
    async with store:
        assert await store.get("nope") is None


async def test_closing_while_it_opens_leaves_nothing_open(daemon: Path) -> None:
    store = await RemoteStore.open("scratch")
    await store.close()
    for turns in range(1, 9):
        entering = asyncio.create_task(store.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(entering, return_exceptions=True)
        with pytest.raises(StoreClosedError):
            await store.get("k")
        assert store._link._client is None


async def test_what_is_asked_while_it_is_closed_fails_as_closed(daemon: Path) -> None:
    store = await RemoteStore.open("scratch")
    asked = [asyncio.create_task(store.get("k")) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert {type(answer) for answer in await asyncio.gather(*asked, return_exceptions=True)} == {StoreClosedError}


async def test_the_last_block_to_end_closes_it(daemon: Path) -> None:
    async with await RemoteStore.open("scratch") as store:
        async with store:
            pass
        assert await store.get("nope") is None
    with pytest.raises(StoreClosedError):
        await store.get("nope")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_it_goes_on_when_its_event_loop_is_gone(daemon: Path) -> None:
    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(asyncio.wait_for(work, 60))

    store: RemoteStore = await asyncio.to_thread(run, RemoteStore.open("scratch"))

    async def use(number: int) -> None:
        await asyncio.gather(*(store.put(f"k{other}", {"n": number}) for other in range(5)))
        assert await store.get_many(["k0", "k4"]) == [{"n": number}] * 2

    await use(1)
    for call in (store.get("k0"), store.close()):
        with pytest.raises(StoreSetupError, match="another event loop"):
            await asyncio.to_thread(run, call)
    await use(2)
    await store.close()
    await asyncio.to_thread(run, store.__aenter__())
    await asyncio.to_thread(run, use(3))
    await asyncio.to_thread(run, store.close())
    gc.collect()  # the clients whose loops are gone say that nobody closed them


async def test_a_client_that_was_given_stays_open(daemon: Path) -> None:
    async with await Client.open(daemon) as client:
        async with await RemoteStore.open("scratch", client=client) as store:
            assert await store.get("nope") is None
        assert client.is_open


async def test_a_given_client_that_ended_is_not_replaced(daemon: Path) -> None:
    client = await Client.open(daemon)
    store = await RemoteStore.open("scratch", client=client)
    await client.aclose()
    with pytest.raises(StoreConnectionError):
        await store.get("k")


async def test_many_users_of_one_store_open_one_connection(home: Path) -> None:
    store = await RemoteStore.open("scratch")
    await store.close()
    store._link._closed = False
    await asyncio.gather(*(store.get(f"k{number}") for number in range(50)))
    async with await Client.open() as client:
        assert (await client.call(requests.status()))["clients"] == 2
    await store.close()


async def test_without_descriptors_it_says_so(home: Path) -> None:
    async with await RemoteStore.open("scratch") as store:
        await store.put("k", {"n": 1})
        os.close(free := os.dup(0))
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            with pytest.raises(StoreConnectionError, match="Too many open files"):
                await RemoteStore.open("scratch")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert await store.get("k") == {"n": 1}


async def test_without_a_daemon_it_says_so(home: Path) -> None:
    with pytest.raises(StoreConnectionError, match="no daemon listens"):
        await RemoteStore.open("scratch", spawn=False)
    assert spawn.connect(paths.socket_path()) is None


async def test_foreign_data_is_restored_through_the_daemon(daemon: Path, redis_url: str, unique_name: str) -> None:
    with Redis.from_url(redis_url) as redis:
        name = f"{unique_name}::h"
        redis.hset(name, mapping={"a": "1", "b": b"\xff"})
        redis.pexpire(name, 400_000)
        async with await RemoteStore.open(redis_url) as store:
            record = await store.snapshot("h", collection=unique_name)
            assert record is not None
            assert record.kind == "hash"
            redis.delete(name)
            await store.restore("h", record, collection=unique_name, expected=ABSENT)
            assert redis.hgetall(name) == {b"a": b"1", b"b": b"\xff"}
            assert 390_000 < redis.pttl(name) <= 400_000
        redis.delete(name)


async def test_a_snapshot_that_does_not_fit_says_so(daemon: Path, redis_url: str, unique_name: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.set(f"{unique_name}::huge", b"x" * (65 << 20))
        redis.set(f"{unique_name}::large", b"x" * (20 << 20))
        async with await RemoteStore.open(redis_url) as store:
            with pytest.raises(ValueTooLargeError, match="snapshot has 68,157,440 bytes, and 67,108,864 is the most"):
                await store.snapshot("huge", collection=unique_name)
            record = await store.snapshot("large", collection=unique_name)
            assert record is not None
            assert record.length == 20 << 20
            with pytest.raises(ValueTooLargeError, match=r"restore of key 'large' takes .* bytes, and 16,777,216 is the most"):
                await store.restore("large", record, collection=unique_name)
        redis.delete(f"{unique_name}::huge", f"{unique_name}::large")


async def test_a_deadline_at_the_end_of_the_calendar_survives(store: Any, unique_name: str) -> None:
    await store.put("k", {}, collection=unique_name, ttl=1e15)
    record = await store.snapshot("k", collection=unique_name)
    assert record.expires_at.year == 9999
    await store.restore("k", record, collection=unique_name)
    assert (await store.read("k", collection=unique_name)).expires_at == record.expires_at


async def test_an_expired_entry_is_gone(store: Any, unique_name: str) -> None:
    await store.put("k", {}, collection=unique_name, ttl=0.2)
    async with asyncio.timeout(60):
        while await store.get("k", collection=unique_name) is not None:  # noqa: ASYNC110 - it leaves by itself
            await asyncio.sleep(0.02)
    assert await store.ttl("k", collection=unique_name) == (None, None)
    assert not await store.delete("k", collection=unique_name)
