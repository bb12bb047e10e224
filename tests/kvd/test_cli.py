"""The command as a script uses it: real processes against a real daemon."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kvd import __version__, cli, paths, requests
from kvd.blocking import BlockingClient
from kvd.errors import Code, RequestError
from tests.daemonkit import eventually

ROOT = Path(__file__).parents[2]

OK, ABSENT, USAGE, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4


@dataclass
class Done:
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def kvd(*arguments: str | bytes, stdin: bytes = b"", expect: int = OK) -> Done:
    command = [sys.executable, "-m", "kvd", *arguments]
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, timeout=60, check=False)
    found = Done(done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape"))
    assert found.status == expect, f"{arguments}: {found}"
    assert "Traceback" not in found.err
    return found


@pytest.fixture
def collection(daemon: Path, unique_name: str) -> str:
    return f"scratch/{unique_name}"


def test_a_value_goes_in_and_comes_out(collection: str) -> None:
    kvd("put", f"{collection}/k", '{"b": [1, 2], "a": "é"}', "--ttl", "2h")
    assert json.loads(kvd("get", f"{collection}/k").out) == {"a": "é", "b": [1, 2]}
    (row,) = kvd("get", f"{collection}/k", "--json").rows
    assert row["value"] == {"a": "é", "b": [1, 2]}
    assert 7100 < row["ttl"] <= 7200
    assert kvd("get", f"{collection}/k", "--raw").out == '{"a": "\\u00e9", "b": [1, 2]}'
    kvd("rm", f"{collection}/k")
    kvd("get", f"{collection}/k", expect=ABSENT)


def test_a_value_comes_from_standard_input(collection: str) -> None:
    kvd("put", f"{collection}/k", stdin=b'{"n": 1}\n')
    kvd("put", f"{collection}/l", "-", stdin='{"n": "é"}'.encode())
    assert kvd("get", f"{collection}/l", "--json").rows[0]["value"] == {"n": "é"}


def test_ttls_are_shown_and_set(collection: str) -> None:
    kvd("put", f"{collection}/k", "{}")
    assert kvd("ttl", f"{collection}/k").out == "never\n"
    assert kvd("ttl", f"{collection}/k", "--json").rows == [{"key": "k", "ttl": None, "expires_at": None}]
    kvd("ttl", f"{collection}/k", "90s")
    assert kvd("ttl", f"{collection}/k").out in {"1m30s\n", "1m29s\n"}
    kvd("put", f"{collection}/k", '{"n": 2}', "--keep-ttl")
    assert kvd("ttl", f"{collection}/k").out != "never\n"
    kvd("put", f"{collection}/k", '{"n": 3}')
    assert kvd("ttl", f"{collection}/k").out == "never\n"
    kvd("ttl", f"{collection}/k", "2d")
    kvd("ttl", f"{collection}/k", "never")
    assert kvd("ttl", f"{collection}/k").out == "never\n"


def test_keys_and_collections_are_listed(collection: str) -> None:
    for key in ("user:1", "user:2", "[x]", "line\nbreak", "a/b"):
        kvd("put", f"{collection}/{key}", "{}")
    assert "scratch" in kvd("ls").out.splitlines()
    assert {"connection": "local"} in kvd("ls", "--json").rows
    name = collection.partition("/")[2]
    assert name in kvd("ls", "scratch").out.splitlines()
    assert {"collection": name, "exact": True} in kvd("ls", "scratch", "--json").rows
    assert sorted(kvd("ls", collection).out.splitlines()) == ["[x]", "a/b", "line\\nbreak", "user:1", "user:2"]
    assert {row["key"] for row in kvd("ls", collection, "--json").rows} == {"user:1", "user:2", "[x]", "line\nbreak", "a/b"}
    assert sorted(kvd("ls", f"{collection}/user:").out.split()) == ["user:1", "user:2"]
    assert kvd("ls", f"{collection}/[").out.split() == ["[x]"]
    assert kvd("ls", collection, "--match", "*2").out.split() == ["user:2"]
    assert len(kvd("ls", collection, "--limit", "2").out.split()) == 2
    assert kvd("ls", collection, "--limit", "0").out == ""
    long = kvd("ls", collection, "-l", "--match", "user:1").out.splitlines()
    assert long[0].split() == ["TTL", "SIZE", "TYPE", "KEY"]
    assert long[1].split()[0] == "never"
    assert long[1].split()[-1] == "user:1"
    assert kvd("ls", f"{collection}xyz").out == ""


def test_odd_names_can_be_addressed(daemon: Path, unique_name: str) -> None:
    odd = b"\xff\n" + "💥".encode()
    kvd("put", b"scratch/" + unique_name.encode() + b"%2F%FF/" + odd, "{}")
    (row,) = kvd("ls", f"scratch/{unique_name}%2F%FF", "--json").rows
    assert row["key"] == os.fsdecode(odd)
    assert f"{unique_name}%2F%FF" in kvd("ls", "scratch").out.splitlines()
    kvd("rm", b"scratch/" + unique_name.encode() + b"%2F%FF/" + odd)


def test_the_default_collection_is_the_empty_one(daemon: Path) -> None:
    kvd("put", "scratch//cli-default", "{}")
    assert "cli-default" in kvd("ls", "scratch/default_collection").out.split()
    kvd("rm", "scratch//cli-default")


def test_keys_and_collections_are_deleted(collection: str) -> None:
    for key in "abc":
        kvd("put", f"{collection}/{key}", "{}")
    done = kvd("rm", f"{collection}/a", f"{collection}/nope", f"{collection}/b", expect=ABSENT)
    assert "nope: not there" in done.err
    assert kvd("ls", collection).out.split() == ["c"]
    kvd("rm", collection, expect=USAGE)
    kvd("rm", "--collection", "scratch", expect=USAGE)
    kvd("rm", "--collection", f"{collection}/c", expect=USAGE)
    assert kvd("ls", collection).out.split() == ["c"]
    kvd("rm", "--collection", collection)
    kvd("rm", "--collection", collection, expect=ABSENT)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["put", "scratch/c/k", "{bad"], "not JSON: .* (line 1, column 2)"),
        (["put", "scratch/c/k", "[1]"], "must be a JSON object"),
        (["put", "scratch/c/k", "[" * 100_000], "nests too deep"),
        (["put", "scratch/c/k", "{}", "--ttl", "-1"], "negative"),
        (["put", "scratch/c/k", "{}", "--ttl", "abc"], "not a TTL"),
        (["put", "scratch/c/k", "{}", "--ttl", "1e999"], "too large"),
        (["put", "scratch/c/k", "{}", "--ttl", "5s", "--keep-ttl"], "exclude each other"),
        (["put", "scratch/c/k", "{}", "--if-absent", "--keep-ttl"], "not allowed with"),
        (["put", "scratch/c", "{}"], "names no key"),
        (["get", "/c/k"], "is no address"),
        (["get", "nowhere/c/k"], "no connection 'nowhere'"),
        (["ls", "scratch/c/k", "--match", "x"], "not both"),
        (["ls", "--limit", "-1"], "must not be negative"),
        (["ls", "nope:x"], "a URL starts with"),
        (["frobnicate"], "invalid choice"),
        ([], "required"),
    ],
)
def test_a_wrong_command_is_status_2(daemon: Path, arguments: list[str], complaint: str) -> None:
    pattern = complaint.replace("(", r"\(").replace(")", r"\)")
    expect = UNREACHABLE if arguments == ["ls", "nope:x"] else USAGE
    assert re.search(pattern, kvd(*arguments, expect=expect).err)


def test_a_value_that_is_not_text_is_status_2(collection: str) -> None:
    assert "not UTF-8" in kvd("put", f"{collection}/k", stdin=b"\xff", expect=USAGE).err


def test_what_is_refused_is_status_3(collection: str) -> None:
    kvd("put", f"{collection}/k", "{}", "--if-absent", "--ttl", "90s")
    kvd("put", f"{collection}/k", "{}", "--if-absent", expect=REFUSED)
    assert kvd("ttl", f"{collection}/k").out != "never\n"
    kvd("get", f"{collection}/{'x' * 70_000}", expect=REFUSED)


def test_read_only_is_status_3(home: Path) -> None:
    folder = home / "config" / "kvd"
    folder.mkdir()
    (folder / "connections.toml").write_text(
        "[connections.ro]\nstore = 'memory'\nread_only = true\n[connections.bad]\nstore = 'x'"
    )
    for arguments in (["put", "ro/c/k", "{}"], ["rm", "ro/c/k"], ["ttl", "ro/c/k", "5s"], ["rm", "--collection", "ro/c"]):
        assert "read-only" in kvd(*arguments, expect=REFUSED).err
    kvd("get", "ro/c/k", expect=ABSENT)
    done = kvd("get", "bad/c/k", expect=UNREACHABLE)
    assert f"{folder}/connections.toml:5: connections.bad.store: there is no store 'x'" in done.err
    assert "ro " in kvd("connections").out
    assert f"{folder}/connections.toml:5: " in kvd("connections").err


def test_doctor_says_what_to_do(home: Path) -> None:
    rows = kvd("doctor", "--json").rows
    assert ("note", "daemon") in {(row["verdict"], row["subject"]) for row in rows}
    assert not (home / "runtime" / "kvd").exists(), "looking starts and makes nothing"
    kvd("put", "scratch/c/k", "{}")
    rows = kvd("doctor", "--json").rows
    assert {row["verdict"] for row in rows} == {"good"}
    assert {"connection scratch", "connection local"} <= {row["subject"] for row in rows}
    folder = home / "config" / "kvd"
    folder.mkdir()
    (folder / "connections.toml").write_text("[connections.bad]\nstore = 'memory'\nred_only = true\n")
    kvd("reload", expect=1)
    done = subprocess.run([sys.executable, "-m", "kvd", "doctor"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "connections.toml:3: connections.bad.red_only: unknown option; did you mean 'read_only'?" in done.stdout
    assert "kvd reload" in done.stdout


def test_doctor_sees_a_daemon_that_is_stopped_and_a_lock_without_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kvd import doctor

    monkeypatch.setattr(doctor, "_STEP_TIMEOUT", 0.3)
    monkeypatch.setattr("kvd.blocking._GRACE", 0.1)
    path = paths.socket_path()
    with BlockingClient.open() as client:
        assert client.server is not None
        pid = client.server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        findings = {finding.subject: finding for finding in doctor.examine(path)}
        assert findings["daemon"].verdict == "bad"
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
    assert "did you mean 'memory'?" in kvd("connections", "add", "bad", "memroy", expect=1).err
    kvd("connections", "rm", "bad")
    kvd("connections", "rm", "small")
    assert kvd("ls").out.split() == ["scratch", "local"]
    kvd("get", "scratch/c/k")


def test_the_files_are_those_of_the_daemon_that_runs(home: Path) -> None:
    config, state = home / "elsewhere.toml", home / "other-state"
    config.write_text("[connections.odd]\nstore = 'memory'\n")
    serve = [sys.executable, "-m", "kvd", "serve", "--config", str(config)]
    environment = os.environ | {"XDG_STATE_HOME": str(state)}
    with subprocess.Popen(serve, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as serving:
        try:
            eventually(lambda: paths.socket_path().exists(), 20)
            assert f"pid {serving.pid}" in kvd("logs").out
            assert not paths.log_file().exists()
            said = kvd("doctor").out
            assert str(config) in said
            assert str(state / "kvd" / "kvd.log") in said
            assert kvd("connections", "add", "more", "null").out.splitlines() == [f"wrote {config}", "changed: more"]
            assert not paths.config_file().exists()
        finally:
            serving.terminate()
            serving.wait(20)
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
        deadline = time.monotonic() + 20
        while not paths.socket_path().exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with BlockingClient.open(spawn=False) as client:
            assert client.server is not None
            assert client.server.pid == serving.pid
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(20) == 0
    assert not paths.socket_path().exists()


def test_a_socket_of_ones_own(home: Path) -> None:
    own = str(home / "own")
    kvd("put", "scratch//k", "{}", "--socket", own)
    kvd("get", "scratch//k", "--socket", own)
    assert not paths.socket_path().exists()
    kvd("stop", "--socket", own)


def test_a_reader_that_has_enough_is_no_error(collection: str) -> None:
    with BlockingClient.open() as client:
        keys = [f"key-{number:06}" for number in range(9000)]
        client.call(requests.put_many("scratch", collection.partition("/")[2], keys, [b"{}"] * len(keys)))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m kvd ls {collection} | head -n 1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("key-")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("redirection", "status"), [("1>/dev/full", 5), ("1>&-", 0), ("0<&-", 0), ("0<&- 1>&- 2>&-", 0), ("2>&-", 0)]
)
def test_whatever_the_standard_streams_are_there_is_no_traceback(collection: str, redirection: str, status: int) -> None:
    kvd("put", f"{collection}/k", "{}")
    for command in (f"get {collection}/k", f"ls {collection}", "status"):
        done = subprocess.run(
            ["/bin/sh", "-c", f"exec {sys.executable} -m kvd {command} {redirection}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


def test_a_value_from_a_closed_standard_input_is_status_2(collection: str) -> None:
    command = f"exec {sys.executable} -m kvd put {collection}/k <&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == USAGE
    assert "standard input is closed" in done.stderr


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


def test_a_url_is_a_connection(home: Path) -> None:
    (home / "my data").mkdir()
    url = f"disk:%2F%2F{str(home).replace('/', '%2F')}%2Fmy%2520data"
    kvd("put", f"{url}/c/k", "{}")
    assert kvd("ls", f"{url}/c").out == "k\n"
    assert (home / "my data" / "cache.db").exists()


def test_every_code_has_an_exit_status() -> None:
    known: dict[int, set[str]] = {}
    for code in Code:
        known.setdefault(cli._status_of(RequestError(code, "")), set()).add(code)
    assert known.keys() == {USAGE, REFUSED, UNREACHABLE}
    assert known[REFUSED] == {
        "conflict",
        "cursor_expired",
        "destroy_refused",
        "foreign",
        "invalid_key",
        "invalid_ttl",
        "invalid_value",
        "path_refused",
        "read_only",
        "too_deep",
        "too_large",
        "unsupported",
        "value_too_large",
        "version_mismatch",
    }


def test_help_states_the_exit_statuses(daemon: Path) -> None:
    text = kvd("--help").out
    for part in ("CONNECTION/COLLECTION/KEY", "/ and % are percent-encoded", "exit status", "2h30m", "connections.toml"):
        assert part in text
    assert kvd("--version").out == f"kvd {__version__}\n"
    for command in (
        "ls",
        "get",
        "put",
        "ttl",
        "rm",
        "status",
        "stop",
        "restart",
        "reload",
        "logs",
        "doctor",
        "serve",
        "connections",
    ):
        assert command in text
        kvd(command, "--help")
