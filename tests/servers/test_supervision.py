"""Nothing outlives a test run, nothing listens outside this machine, and what is missing is said."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.servers.catalogue import KINDS
from tests.servers.fetch import cached
from tests.servers.kind import UnavailableError
from tests.servers.lease import ROOT, lease

STARTER = """
import json, os, signal
from tests.servers.lease import Supervision, lease, private_server
supervision = Supervision()
pids = lease().ask("share", kind="redis")["pids"] + lease().ask("share", kind="memcached")["pids"]
with private_server("valkey") as server:
    folder = server.folder.parent
    server.pause()
    print(json.dumps([supervision._process.pid, [*pids, *server.pids], str(folder)]), flush=True)
    signal.pause()
"""
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or stands on Linux's parent-death signal")


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_gone(pid: int) -> bool:
    """Whether a process has ended; that its new parent has yet to notice does not count."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # it ended between the two calls, or there is no /proc
        return sys.platform == "linux"
    return state == "Z"


def environment(**changes: str) -> dict[str, str]:
    """That of a run of its own, which shares no server with this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KV_TEST_", "PYTEST_", "CI"))}
    return kept | changes


@pytest.mark.parametrize("victim", ["starter", "starter, with Ctrl-C", pytest.param("supervisor", marks=linux_only)])
def test_nothing_is_left_when_one_dies(victim: str) -> None:
    starter = subprocess.Popen(
        (sys.executable, "-c", STARTER), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with starter:
        assert starter.stdout is not None
        supervisor, servers, folder = json.loads(starter.stdout.readline())
        assert len(servers) == 3
        assert not any(map(is_gone, [supervisor, *servers]))
        match victim:
            case "starter":
                starter.kill()
            case "starter, with Ctrl-C":
                starter.send_signal(signal.SIGINT)
            case _:
                os.kill(supervisor, signal.SIGKILL)
                servers_died = eventually(lambda: all(map(is_gone, servers)))
                starter.kill()
                shutil.rmtree(folder)
                assert servers_died
                return
        starter.wait(60)
    assert eventually(lambda: all(map(is_gone, [supervisor, *servers])))
    assert eventually(lambda: not Path(folder).exists())


def run_test(folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run one test that asks for DynamoDB, as a run of its own for which no program can be found."""
    test = folder / "test_it.py"
    test.write_text("def test_it(dynamodb_url: str) -> None:\n    assert dynamodb_url == 'http://somewhere'\n")
    return subprocess.run(
        (sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "no:cacheprovider", "-p", "tests.conftest", test),
        cwd=ROOT,
        env=environment(PATH=os.devnull, KV_TEST_CACHE=str(folder / "cache"), **changes),
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_cannot_be_had_is_skipped_in_one_line(tmp_path: Path) -> None:
    done = run_test(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "dynamodb: DynamoDB Local needs a JDK" in done.stdout
    assert "1 skipped" in done.stdout


def test_what_cannot_be_had_fails_continuous_integration(tmp_path: Path) -> None:
    done = run_test(tmp_path, CI="true")
    assert done.returncode == 1, done.stdout
    assert "dynamodb: DynamoDB Local needs a JDK" in done.stdout


def test_an_endpoint_of_the_environment_is_used_instead(tmp_path: Path) -> None:
    done = run_test(tmp_path, CI="true", KV_TEST_DYNAMODB_URL="http://somewhere")
    assert done.returncode == 0, done.stdout


def listening(pids: list[int]) -> Mapping[str, str]:
    """The hexadecimal addresses on which processes listen for TCP, by socket."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(str(descriptor.readlink()))
            except FileNotFoundError:
                continue  # closed while we looked
    found = {}
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = row.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                found[inode] = local.partition(":")[0]
    return found


@linux_only
@pytest.mark.parametrize("kind", KINDS)
def test_listens_on_loopback_only(kind: str) -> None:
    if KINDS[kind].variable in os.environ:
        pytest.skip(f"{KINDS[kind].variable} is a server that somebody else started")
    try:
        pids = lease().ask("share", kind=kind)["pids"]
    except UnavailableError as exc:
        pytest.skip(f"{kind}: {exc}")
    addresses = listening(pids)
    assert addresses
    assert set(addresses.values()) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_the_cache_holds_a_folder_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KV_TEST_CACHE", str(tmp_path))

    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise UnavailableError("the network is gone")

    with pytest.raises(UnavailableError):
        cached("program", fails)
    assert not [path for path in tmp_path.rglob("program*") if path.is_dir()]
    whole = cached("program", lambda folder: (folder / "whole").touch())
    assert [path.name for path in whole.iterdir()] == ["whole"]
    assert cached("program", fails) == whole
