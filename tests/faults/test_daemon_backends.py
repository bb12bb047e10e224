"""Backends that hang, die and come back: nobody else waits for them, and what was asked gets one answer each."""

import json
import signal
import time
from collections.abc import Iterator
from statistics import quantiles
from typing import Any

import pytest
from redis import Redis

from tests.daemonkit import Daemon, RawClient, eventually, running
from tests.servers.lease import Server


@pytest.fixture
def daemon(redis: Server) -> Iterator[Daemon]:
    config = f"""
[connections.scratch]
store = "memory"

[connections.remote]
store = "redis"
[connections.remote.args]
url = "{redis.url}"

[connections.hasty]
store = "redis"
timeout = 1
[connections.hasty.args]
url = "{redis.url}"

[connections.nowhere]
store = "redis"
[connections.nowhere.args]
url = "redis://somebody:sesame-secret@127.0.0.1:1/0"
"""
    with running(config) as daemon:
        with daemon.client() as client:  # what loading the driver takes is no part of the deadlines here
            for name in ("remote", "hasty"):
                assert client.reply(client.ask("connect", {"connection": name}, timeout=60))[0] is None
        yield daemon
        assert "Traceback" not in daemon.said()
        assert "sesame-secret" not in daemon.said()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[RawClient]:
    with daemon.client() as client:
        yield client


def test_a_name_that_a_strategy_refuses_is_refused_and_costs_nobody_the_connection(redis: Server) -> None:
    args = f'args = {{ url = "{redis.url}", key_sanitization_strategy = "HashExcessLengthStrategy" }}'
    with running(f'[connections.strict]\nstore = "redis"\n{args}') as daemon, daemon.client() as client:
        assert client.reply(client.ask("get", {"connection": "strict", "key": "k"}, timeout=60)) == (None, None)
        asked = [client.ask("get", {"connection": "strict", "collection": None, "key": key}) for key in ("H_k", "k", "H_k")]
        first, between, last = map(client.reply, asked)
        assert between == (None, None)
        assert first[0]["code"] == last[0]["code"] == "invalid_key"
        assert "Traceback" not in daemon.said()


def state(client: RawClient, name: str) -> dict[str, object]:
    found: dict[str, object] = next(one for one in client.call("connections") if one["name"] == name)
    return found


def at_backend(client: RawClient, name: str = "remote") -> int:
    """How many operations the store has."""
    found: int = next(one for one in client.call("status")["connections"] if one["name"] == name)["figures"]["at_backend"]
    return found


def test_pipelined_requests_are_merged_and_answered_right(client: RawClient) -> None:
    for round_ in range(3):
        writes = [
            client.ask("put", {"connection": "remote", "collection": "m", "key": f"k{n}", "value": b'{"n": %d}' % (n + round_)})
            for n in range(300)
        ]
        reads = [client.ask("get", {"connection": "remote", "collection": "m", "key": f"k{n}"}) for n in range(300)]
        assert [client.reply(number) for number in writes] == [(None, None)] * 300
        assert [client.reply(number)[1] for number in reads] == [b'{"n": %d}' % (n + round_) for n in range(300)]


def test_one_key_sees_its_writes_in_order(client: RawClient) -> None:
    expected: list[tuple[None, bytes | None]] = []
    reads: list[int] = []
    for number in range(300):
        one = {"connection": "remote", "key": "one"}
        value = b'{"n": %d}' % number
        if number % 7 == 3:
            client.ask("delete", one, timeout=60)
            expected.append((None, None))
        elif number % 5 == 1:
            client.ask("put_many", {"connection": "remote", "keys": ["one"], "values": [value]}, timeout=60)
            expected.append((None, value))
        else:
            client.ask("put", one | {"value": value, "ttl": 100 + number % 3}, timeout=60)
            expected.append((None, value))
        reads.append(client.ask("get", one, timeout=60))
    assert [client.reply(number) for number in reads] == expected


def test_one_bad_key_spoils_nobody_else_s_answer(client: RawClient) -> None:
    client.call("put", connection="remote", key="good", value=b'{"a": 1}')
    good = [client.ask("get", {"connection": "remote", "key": "good"}) for _ in range(10)]
    bad = client.ask("put", {"connection": "remote", "collection": "x::y", "key": "k", "value": b"{}"})
    more = [client.ask("get", {"connection": "remote", "key": "good"}) for _ in range(10)]
    assert {client.reply(number)[1] for number in good + more} == {b'{"a": 1}'}
    assert client.reply(bad)[0]["code"] == "invalid_key"


def lone(key: str, collection: str = "lone") -> dict[str, Any]:
    """What the client of this project sends for a `get`, which the daemon need not queue."""
    return {"connection": "remote", "collection": collection, "key": key}


def test_lone_reads_keep_their_place_before_writes(client: RawClient, redis: Server) -> None:
    keys = [f"k{n}" for n in range(100)]  # so many go by a connection of their own, which could overtake
    for number in range(20):
        before, after = b'{"n": %d}' % number, b'{"n": %d}' % (number + 1)
        client.call("put", **lone("k7"), value=before)
        redis.pause()
        read = client.ask("get", lone("k7"))
        many = {"connection": "remote", "collection": "lone", "keys": keys, "values": [after] * 100}
        write = client.ask("delete", lone("k7")) if number % 2 else client.ask("put_many", many)
        behind = client.ask("get", lone("k7"))
        others = [client.ask("get", lone("never")) for _ in range(3)]
        redis.resume()
        assert client.reply(read) == (None, before)
        assert client.reply(write)[0] is None
        assert client.reply(behind) == (None, None if number % 2 else after)
        assert [client.reply(other) for other in others] == [(None, None)] * 3


def test_more_lone_reads_than_a_store_is_asked_at_once(client: RawClient) -> None:
    client.call(
        "put_many",
        connection="remote",
        collection="lone",
        keys=[f"m{n}" for n in range(2000)],
        values=[b'{"n": %d}' % n for n in range(2000)],
    )
    reads = [client.ask("get", lone(f"m{n}")) for n in range(2000)]
    assert [client.reply(number) for number in reads] == [(None, b'{"n": %d}' % n) for n in range(2000)]
    eventually(lambda: at_backend(client) == 0)


def test_lone_reads_of_what_is_no_plain_entry(client: RawClient, redis: Server) -> None:
    past = b'{"collection": "lone", "created_at": null, "expires_at": "2001-01-01T00:00:00+00:00", "key": "past", "value": {}, '
    with Redis.from_url(redis.url) as server:
        server.rpush("lone::list", "a")
        server.set("lone::text", "not JSON")
        server.set("lone::past", past + b'"version": 1}')
        server.set("lone::spaced", b'{ "value" : {"a":1}, "version": 1 }')
    for key in ("list", "text"):
        error = client.refused("get", **lone(key))
        assert (error["code"], error["connection"]) == ("foreign", "remote")
        assert error == client.refused("get_many", connection="remote", collection="lone", keys=[key])
    assert client.call("get", **lone("past")) is None
    assert json.loads(client.call("get", **lone("spaced"))) == {"a": 1}
    assert client.refused("get", **lone("k", "a" * 100_000))["code"] == "invalid_key"
    assert client.call("get", **lone("\u00e9 * \n", "\u00fc")) is None


def test_lone_reads_are_answered_though_the_backend_is_killed_under_them(client: RawClient, redis: Server) -> None:
    client.call("put", **lone("k"), value=b"{}")
    redis.pause()
    reads = [client.ask("get", lone("k"), **({} if n % 2 else {"timeout": 5})) for n in range(100)]
    assert client.call("cancel", id=reads[0]) is True
    redis.kill()
    redis.start()
    assert client.reply(reads[0])[0]["code"] == "cancelled"
    for error, value in map(client.reply, reads[1:]):
        assert (value is None and error is None) or error["code"] == "unreachable"  # this Redis keeps nothing
    eventually(lambda: client.reply(client.ask("put", lone("k") | {"value": b"{}"})) == (None, None))
    assert client.call("get", **lone("k")) == b"{}"
    eventually(lambda: at_backend(client) == 0)


def test_a_hung_backend_slows_nobody_else_and_its_requests_meet_their_deadline(
    daemon: Daemon, client: RawClient, redis: Server
) -> None:
    for name in ("remote", "scratch"):
        client.call("put", connection=name, key="k", value=b"{}")

    def latency() -> float:
        took = []
        for _ in range(500):
            began = time.perf_counter()
            client.call("get", connection="scratch", key="k")
            took.append(time.perf_counter() - began)
        return quantiles(took, n=100)[98]

    before = latency()
    redis.pause()
    try:
        with daemon.client() as stuck:
            waiting = [stuck.ask("get", {"connection": "hasty", "key": f"k{n}"}) for n in range(500)]
            during = latency()
            for number in waiting:
                assert stuck.reply(number)[0]["code"] in {"deadline", "unreachable"}
    finally:
        redis.resume()
    assert during < max(before * 5, 0.2)  # far below the deadline for which the others waited
    eventually(lambda: client.reply(client.ask("get", {"connection": "hasty", "key": "k"})) == (None, b"{}"))
    eventually(lambda: state(client, "hasty")["state"] == "ready")


def test_cancel_answers_once_and_the_next_call_reads_its_own_answer(client: RawClient, redis: Server) -> None:
    for number in range(20):
        client.call("put", connection="remote", collection="c", key=f"k{number}", value=b'{"n": %d}' % number)
    redis.pause()
    try:
        reads = [client.ask("get", {"connection": "remote", "collection": "c", "key": f"k{n}"}) for n in range(10)]
        for number in reads:
            assert client.call("cancel", id=number) is True
            assert client.reply(number)[0]["code"] == "cancelled"
            assert client.call("cancel", id=number) is False
    finally:
        redis.resume()
    for number in range(20):
        assert client.call("get", connection="remote", collection="c", key=f"k{number}") == b'{"n": %d}' % number


def test_a_write_that_the_store_has_is_completed_though_cancelled(client: RawClient, redis: Server) -> None:
    client.call("put", connection="remote", collection="w", key="k", value=b'{"n": 0}')
    redis.pause()
    try:
        write = client.ask("put", {"connection": "remote", "collection": "w", "key": "k", "value": b'{"n": 1}'})
        eventually(lambda: at_backend(client) == 1)
        client.call("cancel", id=write)
        assert client.reply(write)[0]["detail"] == {"sent": True}
    finally:
        redis.resume()
    assert client.call("get", connection="remote", collection="w", key="k") == b'{"n": 1}'


HANGING = """
[connections.remote]
store = "redis"
timeout = 0.4
max_in_flight = 4
[connections.remote.args]
url = "{url}"
timeout = 600.0  # the store itself would wait for ever

[connections.other]
store = "redis"
"""


def test_a_write_to_a_store_that_hangs_holds_nothing_for_ever(redis: Server) -> None:
    with running(HANGING.format(url=redis.url)) as daemon, daemon.client() as client:
        where = {"connection": "remote", "collection": "hung"}
        client.reply(client.ask("connect", {"connection": "other"}, timeout=60))  # loads the driver, however long that takes
        # of the longest deadline depends how long the store may have a write
        eventually(lambda: client.reply(client.ask("put", where | {"key": "k", "value": b"{}"}, timeout=1)) == (None, None))
        redis.pause()
        try:
            begun = time.monotonic()
            with daemon.client() as leaving, daemon.client() as other:
                leaving.ask("delete", where | {"key": "gone"})
                writes = [
                    (client, client.ask("put", where | {"key": "k", "value": b'{"n": 1}'})),
                    (client, client.ask("restore", where | {"key": "third", "record": {"kind": "entry", "body": b"{}"}})),
                    (other, other.ask("delete_many", where | {"keys": ["other"]})),
                ]
                for writer, number in writes:
                    error, _ = writer.reply(number)
                    assert (error["code"], error["detail"]) == ("deadline", {"sent": True})
                    assert "whether it took effect is not known" in error["message"]
            held = at_backend(client)
            assert held == 4 or time.monotonic() - begun >= 4, "what the store has goes on, though nobody waits for it"
            eventually(lambda: at_backend(client) == 0)
            assert time.monotonic() - begun >= 4
        finally:
            redis.resume()
        eventually(lambda: client.reply(client.ask("put", where | {"key": "k", "value": b'{"n": 2}'}))[0] is None)
        assert client.reply(client.ask("get", where | {"key": "k"}, timeout=60)) == (None, b'{"n": 2}')
        assert client.reply(client.ask("delete_many", where | {"keys": ["k", "third"]}, timeout=60))[0] is None
        eventually(lambda: at_backend(client) == 0)
        assert "Traceback" not in daemon.said()


def test_a_store_that_hangs_does_not_keep_a_daemon_that_is_told_to_leave(redis: Server) -> None:
    config = "[daemon]\ndrain = 0.5\n" + HANGING.format(url=redis.url).replace("timeout = 0.4", "timeout = 60")
    with running(config) as daemon, daemon.client() as client:
        assert client.call("status")["drain"] == 0.5
        client.call("put", connection="remote", collection="hung", key="k", value=b"{}")
        redis.pause()
        try:
            write = client.ask("put", {"connection": "remote", "collection": "hung", "key": "k", "value": b'{"n": 1}'})
            eventually(lambda: at_backend(client) == 1)
            daemon.signal(signal.SIGTERM)
            error, _ = client.reply(write)
            assert (error["code"], error["detail"]) == ("shutting_down", {"sent": True})
            assert daemon.wait(30) == 0
        finally:
            redis.resume()


def test_a_long_deadline_is_waited_for(redis: Server) -> None:
    with running(HANGING.format(url=redis.url)) as daemon, daemon.client() as client:
        where = {"connection": "remote", "collection": "hung"}
        assert client.reply(client.ask("put", where | {"key": "k", "value": b"{}"}, timeout=30)) == (None, None)
        redis.pause()
        try:
            write = client.ask("put", where | {"key": "k", "value": b'{"n": 1}'}, timeout=30)
            time.sleep(2.0)  # far longer than four times the connection's own deadline
        finally:
            redis.resume()
        assert client.reply(write) == (None, None)
        assert client.reply(client.ask("delete", where | {"key": "k"}, timeout=60))[0] is None


def test_a_disconnect_gives_up_reads_and_completes_writes(daemon: Daemon, client: RawClient, redis: Server) -> None:
    client.call("get", connection="remote", key="k")
    redis.pause()
    try:
        with daemon.client() as leaving:
            leaving.ask("put", {"connection": "remote", "collection": "d", "key": "k", "value": b'{"left": true}'})
            for number in range(1000):
                leaving.ask("get", {"connection": "remote", "collection": "d", "key": f"{number}"})
            eventually(lambda: at_backend(client) > 0)
        eventually(lambda: client.call("status")["clients"] == 1)
    finally:
        redis.resume()
    eventually(lambda: client.call("get", connection="remote", collection="d", key="k") == b'{"left": true}')


def test_a_dead_backend_is_down_with_a_reason_and_comes_back_by_itself(client: RawClient, redis: Server) -> None:
    client.call("put", connection="remote", key="k", value=b"{}")
    client.call("subscribe", connection="remote")
    redis.stop()
    try:
        eventually(lambda: (client.refused("get", connection="remote", key="k"), state(client, "remote")["state"])[1] == "down")
        told = client.refused("get", connection="remote", key="k")
        assert told["code"] == "unreachable"
        assert told["retry"] is True
        assert told["detail"]["retry_at"] > time.time() - 60
        assert state(client, "remote")["reason"]
    finally:
        redis.start()
    eventually(lambda: state(client, "remote")["state"] == "ready")
    assert client.call("get", connection="remote", key="gone") is None
    assert {"connection"} == {change["operation"] for _, change in client.events}


def test_an_unreachable_backend_says_why_without_its_secrets(client: RawClient) -> None:
    error = client.refused("connect", connection="nowhere")
    assert error["code"] in {"unreachable", "setup_failed"}
    shown = json.dumps([error, client.call("status"), client.call("connections")])
    assert "127.0.0.1" in shown
    assert "sesame-secret" not in shown
