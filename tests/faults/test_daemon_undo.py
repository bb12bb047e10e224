"""The journal when things go wrong: a store that hangs or dies, a client that leaves, a daemon that is killed."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.daemonkit import SPARE, Daemon, RawClient, eventually, running
from tests.servers.lease import Server, private_server


@pytest.fixture
def daemon(redis: Server) -> Iterator[Daemon]:
    with running(f'{SPARE}\n[connections.r]\nstore = "redis"\ntimeout = 20\nargs.url = "{redis.url}"\n') as daemon:
        with daemon.client() as client:
            assert client.reply(client.ask("connect", {"connection": "r"}, timeout=60))[0] is None
        yield daemon
        assert "Traceback" not in daemon.said()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[RawClient]:
    with daemon.client() as client:
        yield client


def write(client: RawClient, step: str, method: str, **params: Any) -> int:
    return client.ask(method, {"connection": "r", **params}, journal={"step": step, "title": step})


def done(client: RawClient, step: str, method: str, **params: Any) -> Any:
    error, result = client.reply(write(client, step, method, **params))
    assert error is None, error
    return result


def keys(count: int) -> list[str]:
    return [f"k{number}" for number in range(count)]


def filled(client: RawClient, name: str, count: int) -> list[str]:
    client.call("put_many", connection="r", collection=name, keys=keys(count), values=[b"{}"] * count)
    return keys(count)


def there(client: RawClient, name: str, count: int) -> int:
    found = client.call("get_many", connection="r", collection=name, keys=keys(count))
    return sum(text is not None for text in found)


def test_a_step_that_is_still_being_done_is_not_undone(
    daemon: Daemon, redis: Server, client: RawClient, unique_name: str
) -> None:
    filled(client, unique_name, 1)
    done(client, unique_name, "put", collection=unique_name, key="first", value=b"{}")
    redis.pause()
    number = write(client, unique_name, "delete", collection=unique_name, key="k0")
    with daemon.client() as other:
        eventually(lambda: other.refused("undo", step=unique_name)["code"] == "conflict", 10)
        error = other.refused("undo", step=unique_name)
        assert error["retry"]
        assert error["message"] == f"step {unique_name} of the journal is still being done"
        started = time.monotonic()
        assert other.call("put", connection="scratch", key="k", value=b"{}") is None
        assert time.monotonic() - started < 1
        redis.resume()
        assert client.reply(number) == (None, True)
        assert other.call("undo", step=unique_name)["changed"] == 2
    assert there(client, unique_name, 1) == 1


def test_what_a_client_began_and_left_can_be_undone_by_another(daemon: Daemon, client: RawClient, unique_name: str) -> None:
    filled(client, unique_name, 3_000)
    with daemon.client() as leaving:
        write(leaving, unique_name, "delete_many", collection=unique_name, keys=keys(3_000))
        eventually(lambda: there(client, unique_name, 3_000) < 3_000)
    eventually(lambda: there(client, unique_name, 3_000) == 0)  # a store that has the write completes it
    left = 1
    while left:
        left = client.call("undo", step=unique_name)["left"]
    assert there(client, unique_name, 3_000) == 3_000


def test_an_undo_that_hangs_goes_on_where_it_was(daemon: Daemon, redis: Server, client: RawClient, unique_name: str) -> None:
    filled(client, unique_name, 200)
    done(client, unique_name, "delete_many", collection=unique_name, keys=keys(200))
    redis.pause()
    error, _ = client.reply(client.ask("undo", {"step": unique_name, "limit": 100}, timeout=0.5))
    assert error["code"] == "deadline"
    with daemon.client() as other:
        assert other.call("put", connection="scratch", key="k", value=b"{}") is None
    redis.resume()
    changed = 0
    while True:
        found = client.call("undo", step=unique_name, limit=50)
        changed += found["changed"]
        assert found["problems"] == []
        if not found["left"]:
            break
    assert changed <= 200
    eventually(lambda: there(client, unique_name, 200) == 200)


def test_a_server_that_dies_in_the_middle_costs_no_entry(unique_name: str) -> None:
    with (
        private_server("redis") as server,
        running(f'{SPARE}\n[connections.r]\nstore = "redis"\nargs.url = "{server.url}"\n') as daemon,
        daemon.client() as client,
    ):
        filled(client, unique_name, 500)
        with Redis.from_url(server.url) as bare:
            number = write(client, unique_name, "delete_many", collection=unique_name, keys=keys(500))
            eventually(lambda: there_bare(bare, unique_name) < 500)
            bare.client_kill_filter(_type="normal", skipme=True)
            error, result = client.reply(number)
            assert error is not None or result == 500
            eventually(lambda: client.reply(client.ask("connect", {"connection": "r"}))[0] is None)
            gone = 500 - there_bare(bare, unique_name)
            [step] = client.call("steps", step=unique_name)
            assert gone <= step["can_undo"] == step["count"]  # of what was on its way it is not known whether it was done
            left = 1
            while left:
                answer = client.call("undo", step=unique_name)
                assert answer["problems"] == []
                left = answer["left"]
            assert there_bare(bare, unique_name) == 500
        assert "Traceback" not in daemon.said()


def there_bare(bare: Redis, name: str) -> int:
    return sum(1 for _ in bare.scan_iter(f"{name}::*", count=1000))


def test_a_killed_daemon_loses_its_journal_and_nothing_else(tmp_path: Path, unique_name: str) -> None:
    config = f'{SPARE}\n[connections.r]\nstore = "disk"\nargs.directory = "{tmp_path}/cache"\n'
    with running(config) as daemon:
        with daemon.client() as client:
            filled(client, unique_name, 5)
            done(client, unique_name, "delete_many", collection=unique_name, keys=["k0", "k1"])
            daemon.signal(signal.SIGKILL)
            daemon.wait()
        daemon.start()
        with daemon.client() as client:
            assert there(client, unique_name, 5) == 3
            assert client.call("steps") == []
            assert client.call("undo") is None
            error = client.refused("undo", step=unique_name)
            assert error["code"] == "unknown_step"
            assert (
                error["message"] == f"the journal has no step '{unique_name}': it is kept for a day, and ends with the daemon"
            )


def test_many_clients_write_and_undo_at_once_and_nothing_is_undone_to_what_was_not_there(
    daemon: Daemon, unique_name: str
) -> None:
    """Each writes its own steps on shared keys, and undoes them: what stands is always what somebody wrote, or nothing."""
    clients = [daemon.client() for _ in range(6)]
    try:
        written = set()
        for turn in range(30):
            asked = []
            for number, client in enumerate(clients):
                step = f"{unique_name}-{turn}-{number}"
                value = b'{"by": "%s"}' % step.encode()
                written.add(value)
                asked.append((client, write(client, step, "edit", collection=unique_name, key=f"k{turn % 3}", value=value)))
                if turn % 2:
                    asked.append((client, client.ask("undo", {"step": f"{unique_name}-{turn - 1}-{number}"})))
            for client, number in asked:
                error, result = client.reply(number)
                assert error is None or error["code"] in {"conflict", "unknown_step"}, error
                assert result is None or "version" in result or result["changed"] + len(result["problems"]) >= 1
            for text in clients[0].call("get_many", connection="r", collection=unique_name, keys=["k0", "k1", "k2"]):
                assert text is None or text in written
    finally:
        for client in clients:
            client.socket.close()


def test_what_could_be_undone_keeps_no_daemon_that_nobody_needs(tmp_path: Path, unique_name: str) -> None:
    config = f'[daemon]\nidle_exit = "1s"\n[connections.r]\nstore = "disk"\nargs.directory = "{tmp_path}/cache"\n'
    with running(config) as daemon:
        with daemon.client() as client:
            done(client, unique_name, "put", collection="c", key="k", value=b"{}")
            assert client.call("status")["journal"]["steps"] == 1
        assert daemon.wait() == 0
        assert "nobody needed it" in daemon.said()
