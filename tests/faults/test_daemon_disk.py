"""A disk that is full, for the store, the log, the lock and the socket: refused clearly, nothing lost, and it goes on."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvd.doctor import _files
from tests.daemonkit import Daemon, RawClient, eventually, running

CONFIG = """
[connections.scratch]
store = "memory"

[connections.disk]
store = "disk"
[connections.disk.args]
directory = "${KVD_TEST_DIR}/disk"

[connections.filetree]
store = "filetree"
[connections.filetree.args]
data_directory = "${KVD_TEST_DIR}/filetree"
"""
VALUE = b'{"fill": "' + b"x" * 20_000 + b'"}'
SMALL = "size=2m,nr_inodes=200"


@contextlib.contextmanager
def small_disk(place: Path, options: str = SMALL) -> Iterator[Path]:
    """A file system of two megabytes.

    Skips the test where nobody may mount one.
    """
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{options},mode=700", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(folder: Path) -> Path:
    """Use up what is left on the disk."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with small_disk(tmp_path / "small") as place, running(CONFIG) as daemon:
        daemon.stop()
        daemon.environment["KVD_TEST_DIR"] = str(place)
        daemon.start()
        yield daemon
        daemon.stop()
        assert "Traceback" not in daemon.said()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("store", ["disk", "filetree"])
def test_a_full_store_refuses_and_keeps_what_it_acknowledged(daemon: Daemon, store: str) -> None:
    folder = Path(daemon.environment["KVD_TEST_DIR"])
    with daemon.client() as client:
        client.call("put", connection=store, key="k", value=b"{}")  # makes what the store needs
        (folder / "ballast").write_bytes(b"x" * 300_000)
        kept: list[str] = []
        for number in range(200):
            error, _ = client.reply(client.ask("put", {"connection": store, "key": f"k{number}", "value": VALUE}))
            if error is not None:
                break
            kept.append(f"k{number}")
        assert error is not None, "it never was full"
        assert error["code"] in {"store_error", "setup_failed", "unreachable"}, error
        assert "full" in error["message"] or "space" in error["message"], error
        client.call("put", connection="scratch", key="k", value=b"{}")
        assert client.call("get_many", connection=store, keys=kept) == [VALUE] * len(kept)
        (folder / "ballast").unlink()
        eventually(lambda: client.reply(client.ask("put", {"connection": store, "key": "after", "value": VALUE}))[0] is None)
    daemon.stop()
    daemon.start()
    with daemon.client() as client:
        assert client.call("get_many", connection=store, keys=[*kept, "after"]) == [VALUE] * (len(kept) + 1)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_for_lock_and_socket_is_named_and_a_running_daemon_stays(tmp_path: Path) -> None:
    with running() as daemon:
        daemon.stop()
        with small_disk(daemon.home / "run", "size=64k,nr_inodes=6") as place:
            daemon.start()
            try:
                with daemon.client() as client:
                    full = [place / f"{number}" for number in range(10)]
                    with contextlib.suppress(OSError):
                        for path in full:
                            path.touch()
                    daemon.socket.unlink()
                    (place / "in the way").write_text("") if os.statvfs(place).f_ffree else None
                    client.call("put", connection="scratch", key="k", value=b"{}")
                    for path in full:
                        path.unlink(missing_ok=True)
                    eventually(lambda: reaches(daemon))
            finally:
                daemon.stop()
            for path in place.rglob("*"):
                if path.is_file():
                    path.unlink()
            with contextlib.suppress(OSError):
                for number in range(10):
                    (place / f"{number}").touch()
            refused = subprocess.run(
                [sys.executable, "-P", "-m", "kvd", "serve"],
                env=daemon.environment,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert refused.returncode != 0
            assert "No space left" in refused.stderr
            assert "Traceback" not in refused.stderr


def reaches(daemon: Daemon) -> bool:
    try:
        with RawClient(daemon.socket) as client:
            client.hello()
    except OSError:
        return False
    return True


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_log_on_a_full_disk_is_lost_and_comes_back() -> None:
    with running() as daemon:
        daemon.stop()
        with small_disk(daemon.home / "state", "size=64k") as place:
            ballast = fill(place)
            daemon.start()
            try:
                with daemon.client() as client:
                    client.call("open", url="memory:unseen")
                    ballast.unlink()
                    client.call("open", url="memory:seen")
                    eventually(lambda: "memory:seen" in daemon.said())
                    assert "memory:unseen" not in daemon.said()
            finally:
                daemon.stop()


def test_a_file_that_may_not_grow_is_a_full_disk() -> None:
    """What a limit of the process forbids, without a disk of one's own."""
    wrapper = ["sh", "-c", 'ulimit -f 256; exec "$@"', "sh"]
    with running(CONFIG) as daemon:
        daemon.stop()
        daemon.environment["KVD_TEST_DIR"] = str(daemon.home)
        daemon.start(wrapper=wrapper)
        with daemon.client() as client:
            kept: list[str] = []
            for number in range(60):
                value = {"connection": "disk", "key": f"k{number}", "value": VALUE}
                error, _ = client.reply(client.ask("put", value))
                if error is None:
                    kept.append(f"k{number}")
            assert len(kept) < 60, "it never was full"
            assert error is not None
            assert error["code"] in {"store_error", "setup_failed", "unreachable"}
            client.call("put", connection="scratch", key="k", value=b"{}")
        daemon.stop()
        daemon.start()
        with daemon.client() as client:
            assert client.call("get_many", connection="disk", keys=[*kept, "k"]) == [VALUE] * len(kept) + [None]
            client.call("put", connection="disk", key="after", value=VALUE)
        assert "Traceback" not in daemon.said()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_doctor_sees_that_the_log_has_no_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as place:

        def told() -> tuple[str, str]:
            found = next(_files(place / "kvd" / "kvd.log", tmp_path / "connections.toml"))
            return found.verdict, found.message

        assert told()[0] == "good"
        fill(place)
        assert told() == ("note", f"the disk of {place} is full")
