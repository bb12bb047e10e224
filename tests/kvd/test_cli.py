"""The command as a script uses it: real processes against a real daemon."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kvd import __version__, cli, requests
from kvd.blocking import BlockingClient
from kvd.errors import Code, RequestError
from tests.daemonkit import ROOT
from tests.kvd.command import ABSENT, REFUSED, UNREACHABLE, USAGE, kvd


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


def test_options_stand_anywhere(collection: str) -> None:
    kvd("put", f"{collection}/k", "--ttl", "2h", '{"n": 1}')
    assert kvd("get", "--json", f"{collection}/k").rows[0]["value"] == {"n": 1}
    kvd("put", "--if-absent", f"{collection}/l", "--ttl", "2h", "-", stdin=b'{"n": 2}')
    assert kvd("ttl", f"{collection}/l", "--json", "never").out == ""
    assert kvd("ls", "-l", collection, "--limit", "2").out.splitlines()[-1].split() == ["never", "8", "B", "entry", "l"]
    kvd("put", f"{collection}/k", "--", "-5", expect=USAGE)
    kvd("rm", "--", f"{collection}/k", f"{collection}/l")


def test_ttls_are_shown_and_set(collection: str) -> None:
    kvd("put", f"{collection}/k", "{}")
    assert kvd("ttl", f"{collection}/k").out == "never\n"
    assert kvd("ttl", f"{collection}/k", "--json").rows == [{"key": "k", "ttl": None, "expires_at": None}]
    kvd("ttl", f"{collection}/k", "90s")
    assert re.fullmatch(r"1m(30|[12]?\d)s\n", kvd("ttl", f"{collection}/k").out)
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
        (["ls", "--limit", "-1"], "not a whole number"),
        (["ls", "nope:x"], "a URL starts with"),
        (["frobnicate"], "invalid choice"),
        (["ls", "redis://h:6379/0"], "percent-encoded, as in redis:%2F%2Fh:6379%2F0/COLLECTION/KEY"),
        (["ls", "redis:"], "names no server"),
        (["ls", "scratch", "--match", "x"], "--match is for keys"),
        (["put", "scratch/c/k", '{"a": NaN}'], "NaN is no number"),
        (["put", "scratch/c/k", '{"a": [-1e400]}'], "a number that is too large: -1e400"),
        (["put", "scratch/c/k"], "standard input is empty"),
        ([], "list connections"),
    ],
)
def test_a_wrong_command_is_status_2(daemon: Path, arguments: list[str], complaint: str) -> None:
    pattern = complaint.replace("(", r"\(").replace(")", r"\)")
    assert re.search(pattern, kvd(*arguments, expect=USAGE).err)


def test_a_value_that_is_not_text_is_status_2(collection: str) -> None:
    assert "not UTF-8" in kvd("put", f"{collection}/k", stdin=b"\xff", expect=USAGE).err
    assert "not UTF-8" in kvd("put", f"{collection}/k", b'{"a": "\xff"}', expect=USAGE).err


def test_what_is_refused_is_status_3(collection: str) -> None:
    kvd("put", f"{collection}/k", "{}", "--if-absent", "--ttl", "90s")
    kvd("put", f"{collection}/k", "{}", "--if-absent", expect=REFUSED)
    assert kvd("ttl", f"{collection}/k").out != "never\n"
    kvd("get", f"{collection}/{'x' * 70_000}", expect=REFUSED)


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


def test_a_path_is_a_connection(home: Path) -> None:
    (home / "tree" / "c").mkdir(parents=True)
    path = str(home / "tree").replace("/", "%2F")
    assert f"as in {path}/COLLECTION/KEY" in kvd("ls", str(home / "tree"), expect=USAGE).err
    kvd("put", f"{path}/c/k", '{"n": 1}')
    assert kvd("get", f"{path}/c/k").out == '{"n": 1}\n'
    assert kvd("ls", path).out == "c\n"


def test_a_store_that_ends_with_the_command_is_told_of(home: Path) -> None:
    assert "memory:x is kept only while a program has it open" in kvd("put", "memory:x/c/k", "{}").err
    kvd("get", "memory:x/c/k", expect=ABSENT)


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
    assert known.keys() == {ABSENT, USAGE, REFUSED, UNREACHABLE}
    assert known[ABSENT] == {"unknown_step"}
    assert known[REFUSED] == {
        "conflict",
        "cursor_expired",
        "destroy_refused",
        "foreign",
        "invalid_key",
        "invalid_ttl",
        "invalid_value",
        "operation_failed",
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


@pytest.mark.parametrize("moment", ["import kvd.__main__", "import kvd.cli; kvd.cli.main(['ls'])"])
def test_an_interrupt_while_it_loads_or_ends_leaves_no_traceback(daemon: Path, moment: str) -> None:
    code = f"import kvd.__main__, os, signal; {moment}; os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=150, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_a_pattern_of_odd_bytes_is_refused_in_a_sentence(daemon: Path) -> None:
    for arguments in ((b"scratch/c/\xff",), (b"scratch/c", b"--match", b"\xff*")):
        told = kvd("ls", *arguments, expect=USAGE).err
        assert told == "kvd: a pattern, or a key's beginning, is text, and this is not UTF-8\n"
