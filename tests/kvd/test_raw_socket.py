"""The daemon as a client in another language meets it: nothing here but `socket` and `msgpack`."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemonkit import Daemon, RawClient, eventually, running


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running() as daemon:
        with daemon.client() as client:
            client.call("connect", connection="scratch")  # which is an event, whichever test is the first
        yield daemon
        assert "Traceback" not in daemon.said()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[RawClient]:
    with daemon.client() as client:
        yield client


def test_hello_settles_the_version(daemon: Daemon) -> None:
    with daemon.client(greet=False) as client:
        answer = client.call("hello", protocol=[1, 9], client="other", version="9")
    assert answer["protocol"] == 1
    assert answer["pid"] == daemon.pid
    assert answer["limits"]["max_frame"] == 16 << 20


@pytest.mark.parametrize("versions", [[2, 3], [0, 0]])
def test_versions_that_do_not_meet_are_refused_but_status_and_stop_work(daemon: Daemon, versions: list[int]) -> None:
    with daemon.client(greet=False) as client:
        error = client.refused("hello", protocol=versions)
        assert error["code"] == "version_mismatch"
        assert error["detail"]["protocol"] == [1, 1]
        assert client.call("status")["pid"] == daemon.pid
        assert client.refused("get", connection="scratch", key="k")["code"] == "bad_request"


def test_put_get_delete(client: RawClient) -> None:
    assert client.call("put", connection="scratch", key="k", value=b'{"b": 1, "a": [2.5, null]}') is None
    assert client.call("get", connection="scratch", key="k") == b'{"a": [2.5, null], "b": 1}'
    assert client.call("delete", connection="scratch", key="k") is True
    assert client.call("delete", connection="scratch", key="k") is False
    assert client.call("get", connection="scratch", key="k") is None


def test_many(client: RawClient) -> None:
    keys = [f"k{i}" for i in range(300)]
    client.call(
        "put_many", connection="scratch", collection="many", keys=keys, values=[b'{"n": %d}' % i for i in range(300)], ttl=60
    )
    assert client.call("get_many", connection="scratch", collection="many", keys=["k7", "none", "k7"]) == [
        b'{"n": 7}',
        None,
        b'{"n": 7}',
    ]
    assert client.call("get_many", connection="scratch", collection="many", keys=keys)[299] == b'{"n": 299}'
    ((text, seconds), hole) = client.call("ttl_many", connection="scratch", collection="many", keys=["k1", "none"])
    assert (text, hole) == (b'{"n": 1}', None)
    assert 50 < seconds <= 60
    assert client.call("delete_many", connection="scratch", collection="many", keys=[*keys, "none"]) == 300


def test_names_of_any_bytes(client: RawClient) -> None:
    for key in ("", "emoji 🦊", "line\nbreak", "a" * 2000, b"\xff\x00"):
        client.call("put", connection="scratch", collection="names", key=key, value=b"{}")
        assert client.call("get", connection="scratch", collection="names", key=key) == b"{}"
    rows = client.call("scan_keys", connection="scratch", collection="names")["items"]
    assert b"\xff\x00" in [row[0] for row in rows]
    for _, token, *_ in rows:
        assert client.call("read", connection="scratch", collection="names", key=token)["body"] == b"{}"


def test_scan_walks_all_pages_and_describes(client: RawClient) -> None:
    keys = [f"p{i:04}" for i in range(1000)]
    client.call("put_many", connection="scratch", collection="pages", keys=keys, values=[b"{}"] * 1000, ttl=100)
    found: list[str] = []
    cursor = None
    while True:
        params: dict[str, Any] = {"connection": "scratch", "collection": "pages", "limit": 300}
        page = client.call("scan_keys", **params, **({"cursor": cursor} if cursor else {}))
        found += [row[0] for row in page["items"]]
        assert all(row[3]["kind"] == "entry" and row[3]["expires_at"] > time.time() for row in page["items"])
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(found) == keys
    assert "pages" in [row[0] for row in client.call("scan_collections", connection="scratch")["items"]]
    matched = client.call("scan_keys", connection="scratch", collection="pages", match="p000?", describe=False)
    assert [row[3] for row in matched["items"]] == [None] * 10


def test_a_closed_cursor_has_expired(client: RawClient) -> None:
    keys = [f"c{i}" for i in range(10)]
    client.call("put_many", connection="scratch", collection="cursors", keys=keys, values=[b"{}"] * 10)
    cursor = client.call("scan_keys", connection="scratch", collection="cursors", limit=2)["cursor"]
    client.call("close_cursor", connection="scratch", cursor=cursor)
    error = client.refused("scan_keys", connection="scratch", collection="cursors", cursor=cursor)
    assert error["code"] == "cursor_expired"


def test_edit_keeps_the_ttl_and_refuses_a_lost_race(client: RawClient) -> None:
    client.call("put", connection="scratch", key="e", value=b'{"v": 1}', ttl=100)
    seen = client.call("read", connection="scratch", key="e")
    version = client.call("edit", connection="scratch", key="e", value=b'{"v": 2}', expected=seen["version"])["version"]
    now = client.call("read", connection="scratch", key="e")
    assert (now["body"], now["version"], now["expires_at"]) == (b'{"v": 2}', version, seen["expires_at"])
    error = client.refused("edit", connection="scratch", key="e", value=b'{"v": 3}', expected=seen["version"])
    assert error["code"] == "conflict"
    assert error["detail"]["record"]["body"] == b'{"v": 2}'
    client.call("delete", connection="scratch", key="e", expected=version)
    gone = client.refused("edit", connection="scratch", key="e", value=b'{"v": 3}', expected=version)
    assert (gone["code"], gone["detail"]) == ("conflict", {"record": None})
    client.call("edit", connection="scratch", key="e", value=b"{}", expected=b"", ttl=None)
    assert client.refused("edit", connection="scratch", key="e", value=b"{}", expected=b"")["code"] == "conflict"


def test_expire_changes_the_ttl_only(client: RawClient) -> None:
    client.call("put", connection="scratch", key="x", value=b'{"v": 1}')
    assert client.call("expire", connection="scratch", key="x", ttl=50) is True
    record = client.call("read", connection="scratch", key="x")
    assert record["body"] == b'{"v": 1}'
    assert 40 < record["expires_at"] - time.time() <= 50
    assert client.call("expire", connection="scratch", key="x", ttl=None) is True
    assert client.call("read", connection="scratch", key="x")["expires_at"] is None
    assert client.call("expire", connection="scratch", key="nothing", ttl=1) is False


def test_read_gives_a_range(client: RawClient) -> None:
    client.call("put", connection="scratch", key="r", value=b'{"text": "0123456789"}')
    record = client.call("read", connection="scratch", key="r", offset=10, length=4)
    assert (record["body"], record["offset"], record["length"]) == (b"0123", 10, 22)


def test_a_snapshot_is_restored_under_any_key(client: RawClient) -> None:
    assert client.call("snapshot", connection="scratch", collection="s", key="k") is None
    client.call("put", connection="scratch", collection="s", key="k", value=b'{"v": 1}', ttl=50)
    record = client.call("snapshot", connection="scratch", collection="s", key="k")
    assert (record["kind"], record["body"], record["length"]) == ("entry", b'{"v": 1}', 8)
    where = {"connection": "scratch", "collection": "s", "key": "k"}
    conflict = client.refused("restore", **where, record=record, expected=b"")
    assert (conflict["code"], conflict["detail"]["record"]["version"]) == ("conflict", record["version"])
    client.call("edit", **where, value=b'{"v": 2}', ttl=None)
    done = client.call("restore", **where, record=record)
    now = client.call("read", **where)
    assert done == {"version": now["version"]}
    assert {**now, "version": b""} == {**record, "version": b""}
    # a snapshot that somebody made: the times and what is unknown may be missing
    client.call("restore", **where | {"key": "made"}, record={"kind": "entry", "body": b'{"w": 3}', "new": 1})
    assert client.call("ttl_many", connection="scratch", collection="s", keys=["made", "k"])[0] == [b'{"w": 3}', None]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": 5}, "record.kind must be text"),
        ({"body": "{}"}, "record.body must be bin"),
        ({"body": b"[]"}, "record.body must be a JSON object"),
        ({"length": 9}, "record has only a part"),
        ({"expires_at": "soon"}, "record.expires_at must be seconds"),
        ({"created_at": float("nan")}, "record.created_at must be seconds"),
        ({"expires_at": True}, "record.expires_at must be seconds"),
        ({"version": 7}, "record.version must be bin"),
        ({"kind": "hash"}, "Memory holds entries only"),
    ],
)
def test_what_is_no_snapshot_is_refused(client: RawClient, change: dict[str, Any], complaint: str) -> None:
    record: dict[str, Any] = {"kind": "entry", "body": b"{}", "length": 2, "expires_at": 1e300, "version": b""}
    error = client.refused("restore", connection="scratch", key="refused", record=record | change)
    assert complaint in error["message"]
    assert client.call("get", connection="scratch", key="refused") is None


def test_a_large_reply_comes_in_parts_with_others_between(client: RawClient) -> None:
    text = os.urandom(2 << 20).hex()
    client.call("put", connection="scratch", key="large", value=b'{"t": "%s"}' % text.encode())
    large = client.ask("get", {"connection": "scratch", "key": "large"})
    small = client.ask("ping", {})
    order: list[int] = []
    while len(order) < 2:
        message = client.read()
        order.append(message[1])
        if message[1] == large:
            assert message[3] == b'{"t": "%s"}' % text.encode()
    assert order == [small, large]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"key": "k", "value": b"[1]"}, "invalid_value"),
        ({"key": "k", "value": b"{"}, "invalid_value"),
        ({"key": "k", "value": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"}, "invalid_value"),
        ({"key": "k", "value": b"\xff"}, "invalid_value"),
        ({"key": "k", "value": "{}"}, "bad_request"),
        ({"key": 5, "value": b"{}"}, "bad_request"),
        ({"key": "k"}, "bad_request"),
        ({"key": "k", "value": b"{}", "more": 1}, "bad_request"),
        ({"key": "k" * 70_000, "value": b"{}"}, "invalid_key"),
        ({"key": "k", "value": b"{}", "ttl": -1}, "invalid_ttl"),
        ({"key": "k", "value": b"{}", "ttl": float("nan")}, "invalid_ttl"),
        ({"key": "k", "value": b"{}", "ttl": float("inf")}, "invalid_ttl"),
        ({"key": "k", "value": b"{}", "ttl": True}, "invalid_ttl"),
        ({"key": "k", "value": b"{}", "ttl": "5"}, "invalid_ttl"),
    ],
)
def test_bad_parameters_have_their_own_codes(client: RawClient, params: dict[str, Any], code: str) -> None:
    assert client.refused("put", connection="scratch", collection="bad", **params)["code"] == code
    assert client.call("scan_keys", connection="scratch", collection="bad")["items"] == []


def test_a_request_over_a_limit_is_refused_and_the_connection_goes_on(daemon: Daemon) -> None:
    with daemon.client(greet=False) as client:
        limits = client.hello()["limits"]
        keys = [f"k{number}" for number in range(limits["max_keys"])]
        assert client.call("get_many", connection="scratch", collection="none", keys=keys) == [None] * len(keys)
        assert client.refused("get_many", connection="scratch", collection="none", keys=[*keys, "k"])["code"] == "too_many"
        first = client.ask("ping", {})
        deep = b"\x94\x00\x05\xa4ping\x81\xa1a" + b"\x91" * (limits["max_depth"] + 1) + b"\xc0"
        client.socket.sendall(len(deep).to_bytes(4) + deep)
        assert client.read()[1] == first
        assert client.read()[2]["code"] == "too_deep"
        assert client.call("get", connection="scratch", key="k") is None


def test_what_is_too_much_and_has_the_id_of_another_ends_the_connection(client: RawClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        first = client.ask("open", {"url": f"redis://127.0.0.1:{silent.getsockname()[1]}"})
        client.send([0, first, "get_many", {"keys": ["k"] * 20_000}])
        _, number, error, _ = client.read()
        assert (number, error["code"]) == (None, "too_many")
        assert client.read() is None


def test_unknown_method_and_connection(client: RawClient) -> None:
    assert client.refused("nothing")["code"] == "unknown_method"
    error = client.refused("get", connection="nowhere", key="k")
    assert error["code"] == "unknown_connection"
    assert "scratch" in error["message"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("put", {"key": "k", "value": b"{}"}),
        ("put_many", {"keys": ["k"], "values": [b"{}"]}),
        ("edit", {"key": "k", "value": b"{}"}),
        ("expire", {"key": "k", "ttl": 5}),
        ("restore", {"key": "k", "record": {"kind": "entry", "body": b"{}"}}),
        ("delete", {"key": "k"}),
        ("delete_many", {"keys": ["k"]}),
        ("destroy", {}),
        ("destroy_collection", {"collection": "c"}),
        ("cull", {}),
    ],
)
def test_read_only_refuses_every_write(client: RawClient, method: str, params: dict[str, Any]) -> None:
    error = client.refused(method, connection="frozen", **params)
    assert (error["code"], error["connection"]) == ("read_only", "frozen")


def test_destroy_needs_permission(client: RawClient) -> None:
    assert client.refused("destroy", connection="scratch")["code"] == "destroy_refused"
    client.call("put", connection="open", key="k", value=b"{}")
    assert client.call("destroy", connection="open") is True
    assert client.call("get", connection="open", key="k") is None
    client.call("put", connection="open", collection="c", key="k", value=b"{}")
    assert client.call("destroy_collection", connection="open", collection="c") is True
    assert client.call("destroy_collection", connection="open", collection="c") is False


def test_what_a_store_cannot_do_is_unsupported(client: RawClient) -> None:
    assert client.refused("cull", connection="scratch")["code"] == "unsupported"


def test_events_reach_subscribers_in_sequence(daemon: Daemon, client: RawClient) -> None:
    with daemon.client() as watcher:
        watcher.call("subscribe", connection="scratch")
        client.call("put", connection="scratch", collection="ev", key="k", value=b"{}", ttl=300)
        client.call("expire", connection="scratch", collection="ev", key="k", ttl=0.3)
        changes = [watcher.event()[1] for _ in range(3)]
    assert [change["operation"] for change in changes] == ["put", "expire", "expired"]
    assert [change["sequence"] for change in changes] == [1, 2, 3]
    assert {change["collection"] for change in changes} == {"ev"}
    assert changes[0]["keys"] == ["k"]
    assert not changes[0]["own"]


def test_a_put_that_renews_the_ttl_brings_no_expiry(daemon: Daemon, client: RawClient) -> None:
    with daemon.client() as watcher:
        watcher.call("subscribe", connection="scratch")
        put = {"connection": "scratch", "key": "renewed", "value": b"{}"}
        # one write, so that the TTL is not over before it is renewed, however slow this machine is
        asked = [[0, 901, "put", put | {"ttl": 0.2}], [0, 902, "put", put], [0, 903, "put", put | {"key": "short", "ttl": 0.4}]]
        client.socket.sendall(b"".join(map(client.frame, asked)))
        assert [client.reply(number) for number in (901, 902, 903)] == [(None, None)] * 3
        change = watcher.event()[1]
        while change["operation"] == "put":
            change = watcher.event()[1]
    assert (change["operation"], change["keys"]) == ("expired", ["short"])


def test_own_changes_are_marked_and_unsubscribing_ends_them(client: RawClient) -> None:
    client.call("subscribe", connection="scratch")
    client.call("put", connection="scratch", key="own", value=b"{}")
    assert client.event()[1]["own"] is True
    client.call("unsubscribe", connection="scratch")
    client.call("put", connection="scratch", key="own", value=b"{}")
    client.call("ping")
    assert client.events == []


def test_a_store_opened_by_url_is_shared_and_leaves_with_its_clients(daemon: Daemon) -> None:
    with daemon.client() as first:
        name = first.call("open", url="memory:shared")["connection"]
        with daemon.client() as second:
            assert second.refused("get", connection=name, key="k")["code"] == "unknown_connection"
            assert second.call("open", url="memory:shared")["connection"] == name
            first.call("put", connection=name, key="k", value=b"{}")
            assert second.call("get", connection=name, key="k") == b"{}"
        assert first.call("get", connection=name, key="k") == b"{}"
    with daemon.client() as third:
        eventually(lambda: name not in [one["name"] for one in third.call("status")["connections"]])
        assert third.call("open", url="memory:shared")["connection"] == name
        assert third.call("get", connection=name, key="k") is None
        assert third.refused("open", url="nothing:there")["code"] == "config_error"


def test_a_demo_belongs_to_its_client(daemon: Daemon, client: RawClient) -> None:
    name = client.call("demo")["connection"]
    collections = {row[0] for row in client.call("scan_collections", connection=name)["items"]}
    assert {"sessions", "users", "odds & ends"} <= collections
    rows = client.call("scan_keys", connection=name, collection="sessions")["items"]
    ends = sorted(row[3]["expires_at"] - time.time() for row in rows)
    assert 0 < ends[0] < 60
    assert ends[-1] > 600
    with daemon.client() as other:
        assert name not in [one["name"] for one in other.call("connections")]
        assert other.refused("scan_collections", connection=name)["code"] == "unknown_connection"


def test_cancel_of_unknown_and_finished_requests(client: RawClient) -> None:
    done = client.ask("ping", {})
    client.reply(done)
    assert client.call("cancel", id=done) is False
    assert client.call("cancel", id=4_000_000_000) is False


def test_status_has_figures(client: RawClient) -> None:
    client.call("get", connection="scratch", key="k")
    status = client.call("status")
    scratch = next(one for one in status["connections"] if one["name"] == "scratch")
    assert scratch["state"] == "ready"
    assert scratch["figures"]["operations"] > 0
    assert scratch["figures"]["p99"] >= scratch["figures"]["p50"] > 0
    assert status["clients"] >= 1
    assert status["memory"] > 1 << 20


def test_pipelined_requests_on_one_key_take_effect_in_order(client: RawClient) -> None:
    ids = []
    for number in range(200):
        client.ask("put", {"connection": "scratch", "key": "seq", "value": b'{"n": %d}' % number})
        ids.append(client.ask("get", {"connection": "scratch", "key": "seq"}))
    assert [client.reply(number)[1] for number in ids] == [b'{"n": %d}' % number for number in range(200)]


def test_many_clients_at_once(daemon: Daemon) -> None:
    def work(number: int) -> None:
        with daemon.client() as client:
            for turn in range(50):
                client.call("put", connection="scratch", collection="crowd", key=f"{number}", value=b'{"n": %d}' % turn)
                assert client.call("get", connection="scratch", collection="crowd", key=f"{number}") == b'{"n": %d}' % turn

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with daemon.client() as client:
        assert len(client.call("scan_keys", connection="scratch", collection="crowd")["items"]) == 20


def test_leaving_clients_leave_nothing_behind(daemon: Daemon, client: RawClient) -> None:
    client.call("status")
    before = daemon.descriptors()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(daemon.client())
        assert client.call("status")["clients"] >= 101
    eventually(lambda: daemon.descriptors() <= before)
