import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kvd import paths, requests, spawn
from kvd.blocking import BlockingClient
from kvd.errors import DaemonError, UnreachableDaemonError
from kvd.paths import UnsafePathError

ROOT = Path(__file__).parents[2]
ASK_PID = "from kvd.blocking import BlockingClient\nwith BlockingClient.open() as client: print(client.server.pid)"


def daemon_pid(path: Path) -> int:
    with BlockingClient.open(path, spawn=False) as client:
        assert client.server is not None
        return client.server.pid


def test_without_a_daemon_there_is_nothing_to_connect_to(home: Path) -> None:
    assert spawn.connect(paths.socket_path()) is None
    with pytest.raises(UnreachableDaemonError, match=r"no daemon listens at .*kvd serve"):
        BlockingClient.open(spawn=False)


def test_twenty_programs_at_once_start_one_daemon(home: Path) -> None:
    programs = [
        subprocess.Popen([sys.executable, "-c", ASK_PID], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(20)
    ]
    answers = [program.communicate(timeout=150)[0].strip() for program in programs]
    assert {program.returncode for program in programs} == {0}
    assert len(set(answers)) == 1


def test_twenty_threads_at_once_start_one_daemon(home: Path) -> None:
    pids: list[int] = []

    def ask() -> None:
        with BlockingClient.open() as client:
            assert client.server is not None
            pids.append(client.server.pid)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 20
    assert len(set(pids)) == 1


def test_the_daemon_is_nobodys_child_and_holds_nothing_of_its_starter(home: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    spawn.find_or_start(paths.socket_path()).close()
    os.close(writing)
    assert os.read(reading, 1) == b"", "somebody else still holds the pipe"
    os.close(reading)
    with pytest.raises(ChildProcessError):
        os.waitpid(daemon_pid(paths.socket_path()), os.WNOHANG)


def test_a_program_without_standard_streams_starts_a_daemon(home: Path) -> None:
    command = f"exec {sys.executable} -c 'from kvd.blocking import BlockingClient; BlockingClient.open()' 0<&- 1>&- 2>&-"
    subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, check=True, timeout=60)
    assert daemon_pid(paths.socket_path()) > 1


def test_a_killed_daemon_is_replaced(home: Path) -> None:
    path = paths.socket_path()
    spawn.find_or_start(path).close()
    first = daemon_pid(path)
    os.kill(first, signal.SIGKILL)
    assert spawn.wait_until_gone(path, 60)
    assert path.exists(), "the socket of a killed daemon stays behind"
    spawn.find_or_start(path).close()
    assert daemon_pid(path) != first


def test_why_a_daemon_does_not_start_is_said(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(UnreachableDaemonError, match=r"cannot be started: .*No such file"):
        spawn.find_or_start(paths.socket_path())
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho a clear reason >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(UnreachableDaemonError, match="does not start: a clear reason"):
        spawn.find_or_start(paths.socket_path())
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(UnreachableDaemonError, match="kvd serve"):
        spawn.find_or_start(paths.socket_path())


def test_a_folder_that_cannot_be_trusted_is_refused(home: Path) -> None:
    folder = paths.runtime_dir()
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(UnsafePathError, match="open to others"):
        spawn.find_or_start(paths.socket_path())
    assert list(folder.iterdir()) == []


def test_a_path_that_is_too_long_is_refused(home: Path) -> None:
    with pytest.raises(UnsafePathError, match="bytes long"):
        BlockingClient.open(home / ("x" * 120) / "socket")


def test_what_is_no_socket_is_no_daemon(home: Path) -> None:
    folder = paths.private_dir(paths.runtime_dir())
    (folder / "socket").write_text("")
    with BlockingClient.open() as client:  # a stale file is replaced like a stale socket
        client.call(requests.status())


def test_a_listener_that_accepts_nobody_is_waited_for_and_then_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "_BUSY_TIMEOUT", 0.2)
    path = paths.private_dir(paths.runtime_dir()) / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        first = spawn.connect(path)
        assert first is not None
        with first, pytest.raises(UnreachableDaemonError, match="accepts nobody"):
            spawn.connect(path)


def test_who_starts_for_ever_is_not_waited_for_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "_OTHERS_TIMEOUT", 0.2)
    path = paths.private_dir(paths.runtime_dir()) / "socket"
    with (
        spawn._locked(paths.start_lock(path)),
        pytest.raises(UnreachableDaemonError, match="another program has been starting the daemon"),
    ):
        spawn.find_or_start(path)


def test_a_daemon_that_listens_is_found_while_its_starter_still_holds_the_lock(home: Path) -> None:
    path = paths.private_dir(paths.runtime_dir()) / "socket"
    with spawn._locked(paths.start_lock(path)):
        starting = threading.Timer(0.3, spawn.start, [path])
        starting.start()
        with BlockingClient.open(path):
            starting.join()


def test_a_slow_daemon_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It holds its lock long before it listens, and a second one, started meanwhile, gives way to it."""
    slow = tmp_path / "python"
    slow.write_text(f"""#!{sys.executable}
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from kvd import place
bind = place.Place._bind
def late(self):
    time.sleep(1.5)
    bind(self)
place.Place._bind = late
from kvd.cli import main
sys.exit(main(sys.argv[4:]))
""")
    slow.chmod(0o755)
    path = paths.socket_path()
    pids = []

    def ask() -> None:
        with BlockingClient.open(path) as client:
            assert client.server is not None
            pids.append(client.server.pid)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(slow))
        first = threading.Thread(target=ask)
        first.start()
        while not paths.daemon_lock(path).exists():
            time.sleep(0.01)
    # around the start lock, as systemd or a person would
    serve = [sys.executable, "-P", "-m", "kvd", "serve", "--socket", str(path)]
    second = subprocess.run(
        serve, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=150, check=False
    )
    assert second.returncode == 1
    assert "serves" in second.stderr
    first.join()
    ask()
    assert len(pids) == 2
    assert len(set(pids)) == 1


def test_a_lock_that_is_a_link_is_refused(home: Path, tmp_path: Path) -> None:
    path = paths.private_dir(paths.runtime_dir()) / "socket"
    paths.start_lock(path).symlink_to(tmp_path / "target")
    with pytest.raises(DaemonError, match=r"lock .* cannot be opened"):
        spawn.find_or_start(path)
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_socket_that_somebody_else_serves_is_refused(home: Path) -> None:
    path = home / "socket"
    home.chmod(0o777)
    serve = f"""
import os, socket, time
os.setuid(12345)
listener = socket.socket(socket.AF_UNIX)
listener.bind({str(path)!r})
listener.listen()
print("ready", flush=True)
time.sleep(30)
"""
    with subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "ready\n"
        try:
            with pytest.raises(UnreachableDaemonError, match="served by the user with id 12345"):
                spawn.connect(path)
        finally:
            stranger.kill()
