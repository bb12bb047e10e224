"""The client that blocks: threads, forks, interruptions, and how it ends."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from kvd import paths, requests, spawn
from kvd.blocking import BlockingClient
from kvd.errors import ConnectionLostError


def ask_in_a_child(client: BlockingClient) -> int:
    """Fork; the child's process id, which exits with 0 when the client refuses to be used there."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            client.call(requests.status())
        except ConnectionLostError as error:
            os._exit(0 if "fork" in str(error) else 2)
        os._exit(1)
    return child


def test_threads_share_a_blocking_client(daemon: Path, unique_name: str) -> None:
    with BlockingClient.open(daemon) as client:
        found: list[bytes | None] = []

        def work(number: int) -> None:
            for _ in range(20):
                client.call(requests.put("scratch", unique_name, f"k{number}", b'{"n": %d}' % number))
                found.append(client.call(requests.get("scratch", unique_name, f"k{number}")))

        threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == sorted(b'{"n": %d}' % number for number in range(8) for _ in range(20))  # type: ignore[type-var] # none is missing


def test_a_blocking_client_is_not_shared_across_a_fork(daemon: Path) -> None:
    with BlockingClient.open(daemon) as client:
        child = ask_in_a_child(client)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.call(requests.status())["clients"] >= 1


def test_a_fork_in_the_middle_of_a_request_leaves_no_lock_behind(daemon: Path) -> None:
    with BlockingClient.open(daemon) as client:
        with client._lock:  # as another thread would while it asks
            child = ask_in_a_child(client)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.call(requests.status())["clients"] >= 1


def test_an_interrupted_request_ends_the_blocking_client(daemon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = BlockingClient.open(daemon)

    def interrupt() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.call(requests.status())
    with pytest.raises(ConnectionLostError, match="interrupted"):
        client.call(requests.status())


def test_a_closed_blocking_client_says_so(daemon: Path) -> None:
    client = BlockingClient.open(daemon)
    client.close()
    client.close()
    with pytest.raises(ConnectionLostError, match="was closed"):
        client.call(requests.status())


def test_a_blocking_client_whose_daemon_left_says_so(home: Path) -> None:
    client = BlockingClient.open()
    client.call(requests.stop())
    assert spawn.wait_until_gone(paths.socket_path(), 60)
    with pytest.raises(ConnectionLostError):
        client.call(requests.status())
