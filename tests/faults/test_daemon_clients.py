"""Clients that come in the wrong version, in too great a number, to a daemon that is stopped, and that leave in the middle."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest

from kvd import requests, spawn
from kvd.blocking import BlockingClient
from kvd.client import Client
from kvd.errors import Code, ConnectionLostError, RequestError
from kvd.protocol import MAX_CURSORS
from tests.daemonkit import ROOT, Daemon, RawClient, eventually, running

NO_DESCRIPTORS = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running() as daemon:
        yield daemon
        assert "Traceback" not in daemon.said()


def processor_time(pid: int) -> float:
    """The seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_without_descriptors_it_does_not_spin_and_recovers(loop: str) -> None:
    with running() as daemon:
        daemon.stop()
        daemon.environment["KVD_LOOP"] = loop
        daemon.start(wrapper=NO_DESCRIPTORS)
        with contextlib.ExitStack() as stack:
            for _ in range(120):
                client = stack.enter_context(RawClient(daemon.socket))
                with contextlib.suppress(OSError):
                    client.ask("ping", {})
            before = processor_time(daemon.pid)
            time.sleep(1.0)
            assert processor_time(daemon.pid) - before < 0.2
            assert daemon.descriptors() <= 64
        eventually(lambda: daemon.descriptors() < 20)
        with daemon.client() as client:
            client.call("put", connection="scratch", key="k", value=b"{}")
        assert len(daemon.said()) < 5_000


def test_a_store_that_finds_no_descriptor_is_refused_and_opens_later(tmp_path: Path) -> None:
    with running(wrapper=NO_DESCRIPTORS) as daemon, daemon.client() as client:
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                with contextlib.suppress(OSError, AssertionError):
                    stack.enter_context(RawClient(daemon.socket)).ask("ping", {})
            eventually(lambda: daemon.descriptors() >= 63)  # the last one it keeps, to turn callers away
            error = client.refused("open", url=f"disk://{tmp_path}/d")
            assert error["code"] in {"setup_failed", "unreachable", "config_error"}, error
            assert "Too many open files" in error["message"]
        eventually(lambda: daemon.descriptors() < 20)
        (tmp_path / "d").mkdir()
        name = client.call("open", url=f"disk://{tmp_path}/d")["connection"]
        client.call("put", connection=name, key="k", value=b"{}")


def test_a_full_backlog_is_waited_for() -> None:
    """A stopped daemon accepts nobody; its backlog is full, and who waits is served once it goes on."""
    with running() as busy, contextlib.ExitStack() as stack:
        busy.signal(signal.SIGSTOP)
        callers = 0
        while callers < 5_000:
            caller = stack.enter_context(socket.socket(socket.AF_UNIX))
            caller.setblocking(False)
            try:
                caller.connect(str(busy.socket))
            except BlockingIOError:
                break
            callers += 1
        assert callers < 5_000, "the backlog has no end"
        found: list[socket.socket | None] = []
        waiting = threading.Thread(target=lambda: found.append(spawn.connect(busy.socket)))
        waiting.start()
        time.sleep(0.2)
        assert not found
        busy.signal(signal.SIGCONT)
        waiting.join(60)
        assert found
        assert found[0] is not None
        found[0].close()
        stack.close()
        with busy.client() as client:
            eventually(lambda: client.call("status")["clients"] == 1)


def test_a_stopped_daemon_is_named_and_serves_again_when_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvd.client.GRACE", 0.2)
    monkeypatch.setattr("kvd.blocking.GRACE", 0.2)
    with running() as daemon, BlockingClient.open(daemon.socket, spawn=False) as blocking:
        ask = requests.put("scratch", None, "k", b"{}")
        blocking.call(ask)
        ask = replace(ask, timeout=0.1)

        async def ask_async() -> str:
            async with await Client.open(daemon.socket, spawn=False) as client:
                daemon.signal(signal.SIGSTOP)
                try:
                    await client.call(ask)
                except RequestError as error:
                    return error.code
                finally:
                    daemon.signal(signal.SIGCONT)
                return "it answered"

        assert asyncio.run(ask_async()) == Code.DEADLINE
        daemon.signal(signal.SIGSTOP)
        with pytest.raises(RequestError, match="it may be stopped"):
            blocking.call(ask)
        with pytest.raises(ConnectionLostError):  # the late answer must not be taken for that of the next request
            blocking.call(ask)
        daemon.signal(signal.SIGCONT)
        with BlockingClient.open(daemon.socket, spawn=False) as again:
            assert again.call(requests.get("scratch", None, "k")) == b"{}"


def test_a_large_value_is_read_in_its_turn_and_holds_nobody_else_up(daemon: Daemon) -> None:
    items = b", ".join(b'{"id": %d, "name": "somebody", "tags": ["a", "b"]}' % number for number in range(100_000))
    put = {"connection": "scratch", "collection": None, "key": "large", "value": b'{"items": [' + items + b"]}"}
    get = {"connection": "scratch", "collection": None, "key": "large"}
    looked = 0
    with daemon.client() as heavy, daemon.client() as light:
        light.call("put", connection="scratch", collection=None, key="light", value=b"{}")
        done = threading.Event()

        def look() -> None:
            nonlocal looked
            while not done.is_set():
                light.call("get", connection="scratch", collection=None, key="light")
                looked += 1

        looking = threading.Thread(target=look)
        looking.start()
        # one write: what follows the large request is there while it is read
        number = heavy._id + 1
        heavy._id += 3
        sent = [[0, number, "put", put], [0, number + 1, "get", get], [0, number + 2, "put", {**put, "value": b"[" * 70_000}]]
        heavy.socket.sendall(b"".join(heavy.frame(message) for message in sent))
        before = looked
        assert heavy.reply(number) == (None, None)
        meanwhile = looked - before
        _, found = heavy.reply(number + 1)
        assert found == put["value"]
        error, _ = heavy.reply(number + 2)
        assert error["code"] == Code.INVALID_VALUE
        done.set()
        looking.join()
    assert meanwhile > 5  # who is held up is answered once, in the end


def test_who_leaves_while_a_large_value_is_read_leaves_nothing_behind(daemon: Daemon) -> None:
    value = b'{"items": [' + b"{}, " * 200_000 + b"{}]}"
    for _ in range(3):
        with daemon.client() as client:
            client.ask("put", {"connection": "scratch", "key": "left", "value": value})
    with daemon.client() as client:
        eventually(lambda: client.call("status")["clients"] == 1)
        client.call("put", connection="scratch", key="left", value=b"{}")
        assert client.call("get", connection="scratch", key="left") == b"{}"


def test_a_disconnect_in_the_middle_of_scans_leaves_nothing_open(daemon: Daemon) -> None:
    keys = [f"k{number}" for number in range(300)]
    with daemon.client() as client:
        client.call("put_many", connection="scratch", collection="scanned", keys=keys, values=[b"{}"] * len(keys))
        memory = 0
        for turn in range(8):
            with daemon.client() as leaving:
                for _ in range(MAX_CURSORS + 2):
                    page = leaving.call("scan_keys", connection="scratch", collection="scanned", limit=10)
                    assert page["cursor"] is not None
                leaving.ask("scan_keys", {"connection": "scratch", "collection": "scanned", "cursor": page["cursor"]})
            if turn == 2:
                memory = daemon.memory()
        eventually(lambda: client.call("status")["clients"] == 1)
        assert daemon.memory() - memory < 2 << 20
        error = client.refused("scan_keys", connection="scratch", collection="scanned", cursor=page["cursor"])
        assert error["code"] == "cursor_expired"
        client.call("destroy_collection", connection="scratch", collection="scanned")


def test_cancel_of_what_is_finished_unknown_or_cancelled_twice(daemon: Daemon) -> None:
    with daemon.client() as client, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        waiting = client.ask("open", {"url": f"redis://127.0.0.1:{silent.getsockname()[1]}/0"})
        assert client.call("cancel", id=waiting) is True
        assert client.call("cancel", id=waiting) is False
        assert client.reply(waiting)[0]["code"] == "cancelled"
        assert client.call("cancel", id=waiting) is False
        assert client.call("cancel", id=4_000_000_000) is False
        assert client.refused("cancel", id=-1)["code"] == "bad_request"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (msgpack.packb([0, 1, "ping", {"x": msgpack.ExtType(5, b"x")}]), "bad_request"),
        (b"\x94\x00\x01\xa4ping\x81\x90\x01", "bad_request"),  # a list for a key
        (b"\x94\x00\x01\xa4ping\x81\xa1\xff\x01", "bad_request"),  # not UTF-8
        (b"\x94\x00\xcf" + b"\xff" * 8 + b"\xa4ping\x80", "bad_request"),  # an id of 64 bits
        (b"\x94\x00\xcb" + struct.pack(">d", float("nan")) + b"\xa4ping\x80", "bad_request"),  # NaN for an id
        (msgpack.packb([0, 1, "ping"]), "bad_request"),
        (msgpack.packb([7, 1, "ping", {}]), "bad_request"),
        (msgpack.packb([0, 1, "ping", {}]) + b"\xc0", "bad_request"),  # something behind it
        (b"\xc6\xff\xff\xff\xff", "bad_request"),  # four gigabytes announced in five bytes
        (b"\xdd\xff\xff\xff\xff", "bad_request"),
        (b"\xdf\xff\xff\xff\xff", "bad_request"),
        (b"\x81" * 100_000, "too_deep"),
    ],
)
def test_a_body_that_is_no_request_costs_nothing_and_ends_only_its_own_stream(daemon: Daemon, body: bytes, code: str) -> None:
    with daemon.client() as good, daemon.client() as bad:
        before = daemon.memory()
        bad.socket.sendall(struct.pack(">I", len(body)) + body)
        error, _ = bad.reply(None)
        assert error["code"] == code
        assert bad.read() is None
        assert daemon.memory() - before < 4 << 20
        good.call("ping")


@pytest.mark.parametrize(("versions", "speaks"), [([0, 1], 1), ([1, 2], 1), ([1, 1_000_000], 1)])
def test_a_client_a_version_older_or_newer_is_served_in_what_both_speak(
    daemon: Daemon, versions: list[int], speaks: int
) -> None:
    with daemon.client(greet=False) as client:
        answer = client.call("hello", protocol=versions, client="skewed", version="99.0")
        assert answer["protocol"] == speaks
        client.send(
            [0, 77, "put", {"connection": "scratch", "key": "k", "value": b"{}"}, {"timeout": 5, "newer": True}, "more"]
        )
        assert client.reply(77) == (None, None)
        assert client.refused("put", connection="scratch", key="k", value=b"{}", newer=1)["code"] == "bad_request"
        assert client.refused("method_of_the_next_version")["code"] == "unknown_method"


def test_stop_from_a_version_that_shares_nothing() -> None:
    with running() as daemon, daemon.client(greet=False) as client:
        assert client.refused("hello", protocol=[7, 9])["code"] == "version_mismatch"
        assert client.call("status")["pid"] == daemon.pid
        client.call("stop")
        assert daemon.wait() == 0


def test_a_package_upgraded_under_a_running_daemon_costs_only_what_was_not_yet_imported(tmp_path: Path) -> None:
    with running() as daemon:
        daemon.stop()
        for package in ("kvd", "stores"):
            shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        daemon.environment["PYTHONPATH"] = str(tmp_path)
        daemon.environment["PYTHONDONTWRITEBYTECODE"] = "1"
        daemon.start()
        with daemon.client() as client:
            client.call("put", connection="scratch", key="k", value=b"{}")
            # the next version's modules need what the running one does not have
            for module in (tmp_path / "stores" / "backends").glob("*.py"):
                module.write_text(module.read_text() + "\n\nfrom stores.base import OfTheNextVersion\n")
            (tmp_path / "stores" / "base.py").write_text("OfTheNextVersion = None\n")
            error = client.refused("open", url="redis://127.0.0.1:1/0")
            assert error["code"] in {"setup_failed", "config_error"}, (error, daemon.said())
            assert "OfTheNextVersion" in error["message"]
            assert client.call("get", connection="scratch", key="k") == b"{}"
            assert client.call("status")["version"]
        assert "Traceback" not in daemon.said()
        done = subprocess.run(
            [sys.executable, "-P", "-m", "kvd", "stop"],
            env=daemon.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert daemon.wait() == 0


def test_a_client_taken_across_a_fork_does_not_disturb_its_parent(daemon: Daemon) -> None:
    with BlockingClient.open(daemon.socket, spawn=False) as client:
        client.call(requests.put("scratch", None, "forked", b"{}"))
        child = os.fork()
        if not child:
            try:
                client.call(requests.get("scratch", None, "forked"))
            except ConnectionLostError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.call(requests.get("scratch", None, "forked")) == b"{}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused() -> None:
    with running() as daemon:
        daemon.stop()
        os.chown(daemon.socket.parent, 65534, 65534)
        for command in ("serve", "status", "ls"):
            done = subprocess.run(
                [sys.executable, "-P", "-m", "kvd", command],
                env=daemon.environment,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode != 0
            assert "Traceback" not in done.stderr
            if command != "status":
                assert "65534" in done.stderr
        assert not daemon.socket.exists()
