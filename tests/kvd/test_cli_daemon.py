"""The command as it looks after the daemon: its life, configuration, log and socket, and what `doctor` says of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kvd import __version__, paths, requests
from kvd.blocking import BlockingClient
from tests.daemonkit import ROOT, eventually
from tests.kvd.command import ABSENT, REFUSED, UNREACHABLE, USAGE, configure, kvd


def test_read_only_is_status_3(home: Path) -> None:
    path = configure(home, "[connections.ro]\nstore = 'memory'\nread_only = true\n[connections.bad]\nstore = 'x'")
    for arguments in (["put", "ro/c/k", "{}"], ["rm", "ro/c/k"], ["ttl", "ro/c/k", "5s"], ["rm", "--collection", "ro/c"]):
        assert "read-only" in kvd(*arguments, expect=REFUSED).err
    kvd("get", "ro/c/k", expect=ABSENT)
    done = kvd("get", "bad/c/k", expect=UNREACHABLE)
    assert f"{path}:5: connections.bad.store: there is no store 'x'" in done.err
    assert "ro " in kvd("connections").out
    assert f"{path}:5: " in kvd("connections").err


def test_doctor_says_what_to_do(home: Path) -> None:
    rows = kvd("doctor", "--json").rows
    assert ("note", "daemon") in {(row["verdict"], row["subject"]) for row in rows}
    assert not (home / "runtime" / "kvd").exists(), "looking starts and makes nothing"
    kvd("put", "scratch/c/k", "{}")
    kvd("put", "local/c/k", "{}")
    rows = kvd("doctor", "--json").rows
    assert {row["verdict"] for row in rows} == {"good"}
    assert {"connection scratch", "connection local"} <= {row["subject"] for row in rows}
    configure(home, "[connections.bad]\nstore = 'memory'\nred_only = true\n")
    kvd("reload", expect=1)
    done = subprocess.run([sys.executable, "-m", "kvd", "doctor"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "connections.toml:3: connections.bad.red_only: unknown option; did you mean 'read_only'?" in done.stdout
    assert "kvd reload" in done.stdout


def test_doctor_sees_a_daemon_that_is_stopped_and_a_lock_without_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kvd import doctor

    monkeypatch.setattr(doctor, "_STEP_TIMEOUT", 0.3)
    monkeypatch.setattr("kvd.blocking.GRACE", 0.1)
    path = paths.socket_path()
    with BlockingClient.open() as client:
        assert client.server is not None
        pid = client.server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        findings = {finding.subject: finding for finding in doctor.examine(path)}
        assert findings["daemon"].verdict == "bad"
        assert f"(`kill -9 {pid}`)" in findings["daemon"].advice
        path.rename(path.with_name("gone"))
        findings = {finding.subject: finding for finding in doctor.examine(path)}
        assert findings["lock"].verdict == "bad"
        assert "fuser" in findings["lock"].advice
        path.with_name("gone").rename(path)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_daemons_life_from_the_command_line(home: Path) -> None:
    assert "no daemon" in kvd("status", expect=UNREACHABLE).err
    assert kvd("stop").out == "no daemon runs\n"
    kvd("put", "local/c/k", "{}")
    before = kvd("status", "--json").rows[0]
    assert before["version"] == __version__
    shown = kvd("status").out
    assert f"pid {before['pid']}" in shown
    assert "scratch" in shown
    assert kvd("reload").out == "nothing changed\n"
    kvd("restart")
    after = kvd("status", "--json").rows[0]
    assert after["pid"] != before["pid"]
    assert json.loads(kvd("get", "local/c/k").out) == {}
    assert "listening" in kvd("logs").out
    assert len(kvd("logs", "-n", "2").out.splitlines()) == 2
    assert kvd("stop").out == f"the daemon (pid {after['pid']}) left\n"
    kvd("status", expect=UNREACHABLE)


def test_connections_are_added_and_removed(home: Path) -> None:
    kvd("put", "scratch/c/k", "{}")
    done = kvd("connections", "add", "small", "memory", "max_entries_per_collection=2", "default_collection=d", "--read-only")
    assert done.out.splitlines()[-1] == "changed: small"
    kvd("get", "scratch/c/k")
    kvd("put", "small//k", "{}", expect=REFUSED)
    kvd("connections", "add", "small", "memory", expect=REFUSED)
    assert "did you mean 'memory'?" in kvd("connections", "add", "bad", "memroy", expect=USAGE).err
    kvd("connections", "add", "dated", "redis", "--production", "password=2024", "port=6379", "username=2024-01-01")
    text = (home / "config" / "kvd" / "connections.toml").read_text()
    assert 'password = "2024"\nport = 6379\nusername = "2024-01-01"\n' in text
    assert "it takes default_collection, url, host, port" in kvd("connections", "add", "x", "redis", "foo=1", expect=USAGE).err
    assert "  disk: directory!, max_size," in kvd("connections", "add", "--help").out
    kvd("connections", "rm", "dated")
    kvd("connections", "rm", "small")
    assert "no connection 'small'" in kvd("connections", "rm", "small", expect=USAGE).err
    assert kvd("ls").out.split() == ["scratch", "local"]
    kvd("get", "scratch/c/k")
    kvd("rm", "scratch/c/k")
    for name in ("scratch", "local"):
        kvd("connections", "rm", name)
    assert kvd("ls").err == "kvd: no connections: `kvd connections add` writes one down\n"


def test_the_files_are_those_of_the_daemon_that_runs(home: Path) -> None:
    config, state = home / "elsewhere.toml", home / "other-state"
    config.write_text("[connections.odd]\nstore = 'memory'\n")
    serve = [sys.executable, "-m", "kvd", "serve", "--config", str(config)]
    environment = os.environ | {"XDG_STATE_HOME": str(state)}
    with subprocess.Popen(serve, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as serving:
        try:
            eventually(lambda: paths.socket_path().exists())
            assert f"pid {serving.pid}" in kvd("logs").out
            assert not paths.log_file().exists()
            said = kvd("doctor").out
            assert str(config) in said
            assert str(state / "kvd" / "kvd.log") in said
            assert kvd("connections", "add", "more", "null").out.splitlines() == [f"wrote {config}", "changed: more"]
            assert not paths.config_file().exists()
        finally:
            serving.terminate()
            serving.wait(60)
    assert kvd("logs", expect=1).err == f"kvd: there is no log yet: {paths.log_file()}\n"


def test_a_daemon_that_is_stopped_does_not_hide_its_log(home: Path) -> None:
    kvd("put", "scratch/c/k", "{}")
    pid = kvd("status", "--json").rows[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "listening" in kvd("logs").out
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_second_daemon_is_refused(daemon: Path) -> None:
    assert "serves" in kvd("serve", expect=1).err


def test_serve_in_the_foreground_ends_with_sigterm(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "kvd", "serve"], cwd=ROOT, stderr=subprocess.DEVNULL) as serving:
        deadline = time.monotonic() + 120
        while not paths.socket_path().exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with BlockingClient.open(spawn=False) as client:
            assert client.server is not None
            assert client.server.pid == serving.pid
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
    assert not paths.socket_path().exists()


def test_a_socket_of_ones_own(home: Path) -> None:
    own = str(home / "own")
    kvd("put", "scratch//k", "{}", "--socket", own)
    kvd("get", "scratch//k", "--socket", own)
    assert not paths.socket_path().exists()
    kvd("stop", "--socket", own)


def test_a_daemon_that_is_not_there_is_status_4(home: Path) -> None:
    paths.private_dir(paths.runtime_dir())
    path = paths.socket_path()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.close()
    (home / "runtime" / "kvd").chmod(0o755)
    assert "open to others" in kvd("get", "scratch//k", expect=UNREACHABLE).err
    (home / "runtime" / "kvd").chmod(0o700)
    kvd("get", "scratch//k", expect=ABSENT)


def test_a_reload_keeps_what_is_only_in_memory(home: Path) -> None:
    folder = home / "config" / "kvd"
    folder.mkdir()
    path = folder / "connections.toml"
    kvd("put", "scratch/c/k", '{"n": 1}')
    path.write_text("[connections.mine]\nstore = 'memory'\n")
    done = kvd("reload")
    assert done.out == "changed: mine\nremoved: local\n"
    told = f"{path} names it no more, but its entries are only in memory: it stays as it was until they or the daemon are gone"
    assert done.err == f"kvd: scratch: {told}\n"
    assert kvd("get", "scratch/c/k").out == '{"n": 1}\n'
    assert f"scratch is ready: {told}" in kvd("status").out
    assert kvd("reload").err == done.err
    kvd("rm", "scratch/c/k")
    assert kvd("reload").out == "removed: scratch\n"
    kvd("get", "scratch/c/k", expect=USAGE)


def test_new_options_apply_to_what_is_in_memory_and_new_arguments_do_not(home: Path) -> None:
    folder = home / "config" / "kvd"
    folder.mkdir()
    path = folder / "connections.toml"
    path.write_text("[connections.mine]\nstore = 'memory'\n")
    kvd("put", "mine/c/k", '{"n": 1}')
    path.write_text("[connections.mine]\nstore = 'memory'\nread_only = true\n")
    assert kvd("reload").out == "changed: mine\n"
    assert kvd("get", "mine/c/k").out == '{"n": 1}\n'
    kvd("put", "mine/c/k", "{}", expect=REFUSED)
    path.write_text("[connections.mine]\nstore = 'disk'\nargs.directory = '/nowhere'\n")
    done = kvd("reload")
    assert (done.out, done.err.partition(" but ")[0]) == ("nothing changed\n", f"kvd: mine: {path} says something else of it,")
    assert kvd("get", "mine/c/k").out == '{"n": 1}\n'
    path.write_text("[connections.mine]\nstore = 'memory'\nread_only = true\n")
    assert kvd("reload").err == ""
    assert "mine is ready" not in kvd("status").out


def test_a_configuration_that_is_not_there_is_told(home: Path) -> None:
    serve = [sys.executable, "-m", "kvd", "serve", "--config", str(home / "mistyped.toml")]
    with subprocess.Popen(serve, cwd=ROOT, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stderr is not None
        assert f"WARNING {home}/mistyped.toml is not there" in serving.stderr.readline()
        serving.terminate()
        serving.wait(60)


def test_a_log_is_followed_across_rotations(home: Path) -> None:
    log = paths.log_file()
    log.parent.mkdir(parents=True)
    log.write_text("before\nfirst\n")
    command = [sys.executable, "-m", "kvd", "logs", "-f", "-n", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "first\n"
        for number in range(3):
            with log.open("a") as added:
                added.write(f"old {number}\n")
            log.rename(log.with_name(f"kvd.log.{number}"))
            log.write_text(f"new {number}\n")
            assert [following.stdout.readline() for _ in range(2)] == [f"old {number}\n", f"new {number}\n"]
        following.send_signal(signal.SIGINT)
        assert following.wait(60) == 130


def test_who_adds_at_the_same_time_is_not_written_over(home: Path) -> None:
    kvd("connections")
    command = [sys.executable, "-m", "kvd", "connections", "add"]
    adding = [subprocess.Popen([*command, f"n{number}", "null"], cwd=ROOT, stdout=subprocess.DEVNULL) for number in range(8)]
    assert [one.wait(120) for one in adding] == [0] * 8
    assert set(kvd("ls").out.split()) == {"scratch", "local", *(f"n{number}" for number in range(8))}


def test_what_goes_with_the_daemon_is_told(home: Path) -> None:
    kvd("put", "scratch/c/k", "{}")
    kvd("put", "local/c/k", "{}")
    entries = "kvd: what was only in memory is gone: scratch\n"
    assert kvd("restart").err == f"{entries}kvd: 2 steps can no longer be undone\n"
    assert kvd("restart").err == ""
    kvd("put", "local/c/k", "{}")
    kvd("put", "scratch/c/k", "{}")
    kvd("undo")
    assert kvd("restart").err == "kvd: 1 step can no longer be undone\n"
    with BlockingClient.open() as program:
        program.call(requests.put("scratch", "c", "k", b"{}"))
    assert kvd("stop").err == entries
    assert kvd("stop").err == ""
    kvd("get", "local/c/k")
