"""How the daemon starts, keeps its place and ends, whatever is done to its files and its process."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.daemonkit import SPARE, Daemon, RawClient, eventually, running
from tests.faults.races import is_gone


def run(daemon: Daemon, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the daemon's environment."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "kvd", *args],
        env=daemon.environment | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_second_daemon_leaves_the_first_alone() -> None:
    with running() as daemon, daemon.client() as client:
        client.call("put", connection="scratch", key="k", value=b"{}")
        inode = daemon.socket.stat().st_ino
        second = run(daemon, "serve")
        assert second.returncode != 0
        assert "already" in second.stderr
        assert daemon.socket.stat().st_ino == inode
        assert client.call("get", connection="scratch", key="k") == b"{}"


def test_the_files_are_private() -> None:
    with running() as daemon:
        assert daemon.socket.parent.stat().st_mode & 0o777 == 0o700
        assert daemon.socket.stat().st_mode & 0o777 == 0o600
        assert daemon.log.stat().st_mode & 0o777 == 0o600


def test_a_killed_daemon_leaves_a_socket_that_the_next_one_takes_over() -> None:
    with running() as daemon:
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        assert daemon.socket.is_socket()
        daemon.start()
        with daemon.client() as client:
            assert client.call("status")["pid"] == daemon.pid
        daemon.stop()
        assert not daemon.socket.exists()
        assert [path.name for path in daemon.socket.parent.iterdir()] == ["socket.lock"]


def test_sigterm_says_so_finishes_what_is_in_flight_and_refuses_the_rest() -> None:
    with running() as daemon, daemon.client() as client, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hanging = client.ask("open", {"url": f"redis://127.0.0.1:{silent.getsockname()[1]}/0"})
        client.call("ping")
        daemon.signal(signal.SIGTERM)
        name, params = client.event()
        assert name == "closing"
        assert "SIGTERM" in params["reason"]
        assert client.refused("get", connection="scratch", key="k")["code"] == "shutting_down"
        assert client.call("status")["draining"] is True
        with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
            RawClient(daemon.socket)
        assert client.reply(hanging)[0]["code"] in {"shutting_down", "unreachable"}
        assert client.read() is None
        assert daemon.wait(30) == 0


def test_a_second_signal_ends_it_at_once() -> None:
    config = SPARE + '[daemon]\ndrain = 600\n[connections.silent]\nstore = "redis"\nconnect_timeout = 600\n'
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f'url = "redis://127.0.0.1:{silent.getsockname()[1]}/0"\ntimeout = 600.0\n'
        with running(f"{config}[connections.silent.args]\n{url}") as daemon, daemon.client() as client:
            client.ask("connect", {"connection": "silent"}, timeout=600)
            client.call("ping")
            daemon.signal(signal.SIGTERM)
            assert client.event()[0] == "closing"
            daemon.signal(signal.SIGTERM)
            assert daemon.wait(30) == 128 + signal.SIGTERM


FAILS_AT_ITS_END = """
import os, sys
from kvd.cli import main
from kvd.server import Server

told = int(sys.argv[-1])

async def drain(self, seconds):
    os.dup2(os.open(os.environ["KEPT"], os.O_RDWR), told)
    raise RuntimeError("it cannot drain")

Server.drain = drain
main(sys.argv[5:])
"""


def test_whoever_has_the_number_of_the_descriptor_of_its_starter_by_then_is_told_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "database"
    kept.write_bytes(b"what is kept")
    home = Path(tempfile.mkdtemp(prefix="kvd"))
    daemon = Daemon(home)
    daemon.environment["KEPT"] = str(kept)
    try:
        daemon.start(wrapper=[sys.executable, "-c", FAILS_AT_ITS_END])
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() != 0
        assert kept.read_bytes() == b"what is kept"
    finally:
        daemon.stop()
        shutil.rmtree(home)


def test_stop_by_a_client() -> None:
    with running() as daemon:
        with daemon.client(greet=False) as client:
            client.call("stop")
        assert daemon.wait() == 0
        assert "left" in daemon.said()


def test_sighup_reads_the_configuration_again_and_keeps_what_did_not_change() -> None:
    with running() as daemon, daemon.client() as client:
        client.call("put", connection="scratch", key="k", value=b"{}")
        client.call("put", connection="open", key="k", value=b"{}")
        client.call("subscribe")
        changed = SPARE.replace("allow_destroy = true", "read_only = true") + '\n[connections.new]\nstore = "memory"\n'
        daemon.config.write_text(changed)
        daemon.signal(signal.SIGHUP)
        assert {client.event()[1]["connection"] for _ in range(2)} == {"open", "new"}
        assert client.call("get", connection="scratch", key="k") == b"{}"
        assert client.call("get", connection="open", key="k") == b"{}"  # under its new options, with the entries that it had
        assert client.refused("put", connection="open", key="k", value=b"{}")["code"] == "read_only"
        assert client.call("get", connection="new", key="k") is None
        daemon.config.write_text("[connections")
        daemon.signal(signal.SIGHUP)
        eventually(lambda: client.call("status")["problems"])
        assert str(daemon.config) in client.call("status")["problems"][0]
        assert client.call("get", connection="scratch", key="k") == b"{}", "a missing bracket loses nothing"


def test_sighup_sets_the_log_level_too() -> None:
    with running('[daemon]\nlog_level = "error"') as daemon:
        assert "listening" not in daemon.said()
        daemon.config.write_text('[daemon]\nlog_level = "info"')
        daemon.signal(signal.SIGHUP)
        eventually(lambda: "configuration read again" in daemon.said())


def test_it_leaves_when_idle_but_not_while_memory_holds_entries() -> None:
    with running('[daemon]\nidle_exit = "1s"\n' + SPARE) as daemon:
        with daemon.client() as client:
            client.call("put", connection="scratch", key="k", value=b"{}", ttl=600)
        time.sleep(1.8)
        assert daemon.process is not None
        assert daemon.process.poll() is None
        with daemon.client() as client:
            client.call("expire", connection="scratch", key="k", ttl=0.5)
        assert daemon.wait() == 0
        assert "nobody needed it" in daemon.said()


def test_a_removed_runtime_folder_is_made_anew() -> None:
    with running() as daemon, daemon.client() as client:
        for path in daemon.socket.parent.iterdir():
            path.unlink()
        daemon.socket.parent.rmdir()
        eventually(daemon.socket.exists)
        with daemon.client() as other:
            assert other.call("status")["pid"] == daemon.pid
        client.call("ping")
        assert "already" in run(daemon, "serve").stderr


def test_it_gives_way_to_another_daemon_that_took_its_place() -> None:
    with running() as first:
        first.signal(signal.SIGSTOP)  # it would take its place back within a second, in which the second may not have started
        for path in first.socket.parent.iterdir():
            path.unlink()
        second = Daemon.__new__(Daemon)
        second.__dict__.update(first.__dict__)
        second.process = None
        try:
            second.start()
            first.signal(signal.SIGCONT)
            with second.client() as client:
                assert first.wait(timeout=60) == 0
                assert client.call("status")["pid"] == second.pid
            with second.client() as client:
                client.call("ping")
        finally:
            second.stop()


@pytest.mark.parametrize("what", ["link", "open", "file"])
def test_a_folder_that_cannot_be_trusted_is_refused(what: str, tmp_path: Path) -> None:
    with running() as daemon:
        daemon.stop()
        folder = daemon.socket.parent
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        if what == "link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            folder.symlink_to(tmp_path / "elsewhere")
        elif what == "open":
            folder.mkdir()
            folder.chmod(0o777)
        else:
            folder.write_text("")
        refused = run(daemon, "serve")
        assert refused.returncode != 0
        assert str(folder) in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_socket_path_that_is_too_long_is_refused() -> None:
    with running() as daemon:
        refused = run(daemon, "serve", "--socket", "/tmp/" + "x" * 120)
        assert refused.returncode != 0
        assert "bytes long" in refused.stderr


def test_systemd_hands_over_a_socket_and_keeps_it(tmp_path: Path) -> None:
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with running() as daemon, notify:
        daemon.stop()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(daemon.socket))
        listener.listen()
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(120)
        launch = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3, inheritable=True); os.environ['LISTEN_PID'] = str(os.getpid());"
            "os.environ['LISTEN_FDS'] = '1'; os.execv(sys.executable, [sys.executable, '-P', '-m', 'kvd', 'serve'])"
        )
        daemon.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        process = subprocess.Popen(
            [sys.executable, "-c", launch, str(listener.fileno())],
            env=daemon.environment,
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
        listener.close()
        try:
            assert notify.recv(100) == b"READY=1"
            with daemon.client() as client:
                assert client.call("status")["pid"] == process.pid
                process.terminate()
                assert notify.recv(100) == b"STOPPING=1"
            assert process.wait(60) == 0
            assert daemon.socket.is_socket()
        finally:
            process.kill()
            process.wait()


def test_inherited_descriptors_are_closed() -> None:
    reading, writing = os.pipe()
    with running() as daemon:
        daemon.stop()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kvd", "serve"], env=daemon.environment, pass_fds=[writing], stderr=subprocess.DEVNULL
        )
        os.close(writing)
        try:
            eventually(daemon.socket.exists, 120)
            assert os.read(reading, 1) == b""  # nobody holds the other end any more
        finally:
            process.terminate()
            process.wait()
            os.close(reading)


def test_without_descriptors_callers_are_told_and_the_log_stays_short() -> None:
    # a soft and hard limit that the daemon cannot raise
    with running(wrapper=["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]) as daemon, contextlib.ExitStack() as stack:
        refused = 0
        for _ in range(100):
            client = stack.enter_context(RawClient(daemon.socket))
            with contextlib.suppress(OSError):  # it may be turned away before it has asked
                client.ask("ping", {})
            message = client.read()
            if message is None or message[1] is None:
                refused += 1
                assert message is None or message[2]["code"] == "too_many"
        assert refused > 30
        stack.pop_all().close()
        eventually(lambda: daemon.descriptors() < 20)
        with daemon.client() as client:
            client.call("put", connection="scratch", key="k", value=b"{}")
        assert len(daemon.said()) < 20_000


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    with running() as daemon, daemon.client() as client:
        daemon.log.unlink()
        daemon.log.parent.rmdir()
        daemon.log.parent.write_text("in the way")
        client.call("open", url="memory:logged")
        client.call("ping")


def test_a_full_disk_for_the_log_stops_nothing() -> None:
    with running() as daemon:
        daemon.stop()
        daemon.log.unlink()
        daemon.log.symlink_to("/dev/full")
        daemon.start()
        with daemon.client() as client:
            client.call("put", connection="scratch", key="k", value=b"{}")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused() -> None:
    with running() as daemon:
        # even where the folder lets them through
        daemon.home.chmod(0o711)
        (daemon.home / "run").chmod(0o711)
        daemon.socket.parent.chmod(0o711)
        daemon.socket.chmod(0o666)
        other = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
            "s.connect(sys.argv[1]); s.sendall(b'\\x00\\x00\\x00\\x08\\x94\\x00\\x01\\xa4ping\\x80'[:12]); print(s.recv(100))"
        )
        done = subprocess.run(
            [sys.executable, "-c", other, str(daemon.socket)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout.strip() == "b''" or "Reset" in done.stderr or "Broken" in done.stderr, done
        with daemon.client() as client:
            client.call("ping")


def test_root_and_a_background_daemon_leave_no_child(tmp_path: Path) -> None:
    with running() as daemon:
        daemon.stop()
        done = run(daemon, "serve", "--background")
        assert done.returncode == 0
        eventually(daemon.socket.exists, 120)
        with daemon.client() as client:
            pid = client.call("status")["pid"]
            assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
            client.call("stop")
        eventually(lambda: is_gone(pid))


def test_a_terminal_that_takes_nothing_holds_nobody_up() -> None:
    with running() as daemon, daemon.client() as client:
        assert daemon.process is not None
        assert daemon.process.stderr is not None
        fcntl.fcntl(daemon.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        for _ in range(200):  # each writes a line
            client.call("reload")
        assert daemon.said().count("configuration read again") == 200
        assert b"listening on" in daemon.process.stderr.read1(4096)  # type: ignore[attr-defined]  # it is buffered
