"""What the command says where it cannot do what was asked, or cannot show what is there."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kvd.protocol import MAX_FRAME
from tests.daemonkit import ROOT
from tests.kvd.command import ABSENT, REFUSED, SYSTEM, UNREACHABLE, USAGE, configure, kvd


def test_put_if_absent_says_that_something_is_there(daemon: Path, unique_name: str) -> None:
    del daemon
    address = f"scratch/{unique_name}/k"
    kvd("put", address, "{}", "--if-absent")
    assert kvd("put", address, "{}", "--if-absent", expect=REFUSED).err == f"kvd: {address}: there already\n"


def test_keys_outside_collections_are_no_line_of_the_list(home: Path) -> None:
    (home / "tree" / "c").mkdir(parents=True)
    url = f"file:%2F%2F{str(home / 'tree').replace('/', '%2F')}"
    kvd("put", f"{url}/c/k", "{}")
    (home / "tree" / "stray.txt").write_text("hello")
    listed = kvd("ls", url)
    assert listed.out == "c\n"
    assert "belong to no collection" in listed.err
    assert {"collection": None, "exact": False} in kvd("ls", url, "--json").rows


def test_a_listing_without_keys_says_so(daemon: Path, unique_name: str) -> None:
    del daemon
    for address in (f"scratch/{unique_name}", f"scratch/{unique_name}/prefix"):
        listed = kvd("ls", address)
        assert listed.out == ""
        assert listed.err == f"kvd: {address}: no keys\n"
    kvd("ls", "local")
    kvd("put", "local/c/k", "{}")
    kvd("rm", "local/c/k")
    assert kvd("ls", "local").err == "kvd: local: no collections\n"
    assert len(kvd("ls", "--limit", "1").out.splitlines()) == 1


def test_keys_that_have_no_address_are_counted(home: Path) -> None:
    (home / "tree" / "c").mkdir(parents=True)
    configure(
        home,
        f"""[connections.tree]
store = "filetree"
args = {{ data_directory = "{home}/tree", key_sanitization_strategy = "AlwaysHashStrategy" }}""",
    )
    for key in ("a", "b"):
        kvd("put", f"tree/c/{key}", "{}")
    listed = kvd("ls", "tree/c")
    assert len(listed.out.splitlines()) == 2
    assert listed.err == "kvd: tree/c: 2 of 2 stand under an id instead of a key; kvtui opens them\n"
    assert kvd("ls", "tree/c", "--json").err == ""


def test_bytes_that_are_no_text_are_shown_as_a_shell_writes_them(daemon: Path, unique_name: str) -> None:
    del daemon
    kvd("put", b"scratch/" + unique_name.encode() + b"/\xff\n", "{}")
    assert kvd("ls", f"scratch/{unique_name}").out == "\\xff\\n\n"


def test_what_cannot_be_done_names_connection_and_remedy(home: Path) -> None:
    (home / "tree" / "c").mkdir(parents=True)
    (home / "tree" / "c" / "k.json").write_text("hello")
    url = f"file:%2F%2F{str(home / 'tree').replace('/', '%2F')}"
    refused = kvd("get", f"{url}/c/k", expect=REFUSED).err
    assert refused.startswith(f"kvd: file://{home}/tree: ")
    assert "k.json holds no entry" in refused
    assert refused.endswith("`kvd get --raw` prints it.\n")
    assert kvd("get", f"{url}/c/k", "--raw").out == "hello"


def test_what_does_not_answer_is_named_with_its_address(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}"
        configure(home, f"[connections.mute]\nstore = 'redis'\nconnect_timeout = 0.3\nargs.url = '{url}'")
        told = f"kvd: mute: {url} did not open within 0.3 seconds; `kvd doctor` says what to do\n"
        assert kvd("ls", "mute", expect=UNREACHABLE).err == told


def test_a_production_connection_is_marked(home: Path) -> None:
    configure(
        home,
        """[connections.live]
store = "memory"
production = true
read_only = true""",
    )
    assert "(production, read-only)" in kvd("connections").out
    assert "(production, read-only)" in kvd("status").out
    assert ", 1 client, " in kvd("status").out


def test_doctor_advises_what_helps(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KV_NOT_THERE", raising=False)
    configure(
        home,
        """[connections.unset]
store = "redis"
args = { password = "${KV_NOT_THERE}" }
[connections.away]
store = "redis"
args = { port = 1 }""",
    )
    kvd("ls")
    said = {row["subject"]: row for row in kvd("doctor", "--json", expect=1).rows}
    assert said["connection unset"]["message"].startswith("password: ${KV_NOT_THERE} is not in the environment")
    assert said["connection unset"]["message"].endswith("`kvd restart`")
    assert said["connection unset"]["advice"] == ""
    assert said["connection away"]["message"].startswith("The redis store at ")
    assert said["connection away"]["advice"].startswith("start its server")


def test_doctor_gives_each_mistake_of_a_connection_a_line(home: Path) -> None:
    path = home / "config" / "kvd" / "connections.toml"
    path.parent.mkdir()
    path.write_text('[connections.c]\nstor = "redis"\n')
    kvd("ls")
    lines = kvd("doctor", expect=1).out.splitlines()
    found = next(number for number, line in enumerate(lines) if line.startswith("BAD   connection c: "))
    assert lines[found].endswith("did you mean 'store'?")
    assert lines[found + 1].startswith(f"      {path}:1: connections.c: has no store")


def test_doctor_praises_no_file_that_is_not_there(home: Path) -> None:
    kvd("ls")
    said = [row["message"] for row in kvd("doctor", "--json").rows if row["subject"] == "configuration"]
    assert said == [f"{home}/config/kvd/connections.toml is not there: `scratch` and `local` are offered"]


def test_a_count_that_is_none_is_named() -> None:
    for count in ("-1", "x", "1.5"):
        assert f"{count!r} is not a whole number from 0 on" in kvd("ls", "--limit", count, expect=USAGE).err


def test_a_count_beyond_all_counts_is_all(home: Path) -> None:
    kvd("ls", "--limit", "9" * 30)
    assert "listening" in kvd("logs", "-n", "9" * 30).out


def test_no_folder_of_others_is_to_be_closed(home: Path) -> None:
    (home / "shared").mkdir(mode=0o755)
    refused = kvd("ls", "--socket", str(home / "shared" / "socket"), expect=UNREACHABLE).err
    assert refused == f"kvd: {home}/shared is open to others (mode 0755): the socket needs a folder of its own\n"
    assert "is a folder, and the socket is a file in one" in kvd("ls", "--socket", "", expect=USAGE).err


def test_a_value_that_no_request_can_hold_is_refused(daemon: Path, unique_name: str) -> None:
    del daemon
    address = f"scratch/{unique_name}/long"
    whole = b'{"a": "%s"}' % (b"x" * (MAX_FRAME - 20))
    refused = kvd("put", address, stdin=whole, expect=REFUSED).err
    assert re.fullmatch(
        r"kvd: scratch: edit of key 'long' takes 16,777,\d\d\d bytes, and 16,777,216 is the most a request may have\n", refused
    )
    with Path("/dev/zero").open("rb") as endless:
        command = [sys.executable, "-m", "kvd", "put", address]
        done = subprocess.run(command, cwd=ROOT, stdin=endless, capture_output=True, text=True, timeout=150, check=False)
    told = "standard input has over 16,777,216 bytes, which is the most a request may have; nothing was stored"
    assert (done.returncode, done.stderr) == (REFUSED, f"kvd: {told}\n")


def test_names_that_the_terminal_cannot_show_are_escaped(
    daemon: Path, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del daemon
    kvd("put", f"scratch/{unique_name}/caf\u00e9 \u65e5", "{}")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    assert kvd("ls", f"scratch/{unique_name}").out.encode(errors="surrogateescape") == b"caf\xe9 \\u65e5\n"


def test_a_value_may_begin_with_a_mark_of_its_encoding(daemon: Path, unique_name: str) -> None:
    del daemon
    kvd("put", f"scratch/{unique_name}/k", stdin=b'\xef\xbb\xbf{"n": 1}')
    assert kvd("get", f"scratch/{unique_name}/k").out == '{"n": 1}\n'


def test_help_is_a_word_too(daemon: Path) -> None:
    del daemon
    assert kvd("help").out == kvd("--help").out
    assert kvd("help", "put").out == kvd("put", "--help").out


def test_a_file_that_cannot_be_read_is_why_a_connection_is_missing(home: Path) -> None:
    folder = home / "config" / "kvd"
    folder.mkdir()
    path = folder / "connections.toml"
    path.write_text("[connections.mine\n")
    mistake = f"{path}:1: expected ']' at the end of a table declaration"
    assert kvd("ls").err == f"kvd: {mistake}\n"
    missing = "kvd: there is no connection 'mine'; those configured are: "
    assert kvd("get", "mine/c/k", expect=USAGE).err == f"{missing}none ({mistake})\n"
    path.write_text("[connections.other]\nstore = 'memory'\n")
    kvd("reload")
    assert kvd("get", "mine/c/k", expect=USAGE).err == f"{missing}other\n"
    path.write_text("[connections.mine\n")
    kvd("reload", expect=1)
    assert kvd("get", "mine/c/k", expect=USAGE).err == f"{missing}other ({mistake})\n"
    kvd("get", "other/c/k", expect=ABSENT)


def test_doctor_goes_on_where_it_cannot_look(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / "file"))
    rows = kvd("doctor", "--json", expect=1).rows
    assert {"configuration", "log", "daemon"} <= {row["subject"] for row in rows}
    (bad,) = [row["message"] for row in rows if row["verdict"] == "bad"]
    assert bad == f"{home}/file/kvd/connections.toml cannot be looked at: Not a directory"
    assert kvd("logs", expect=SYSTEM).err == f"kvd: {home}/file/kvd/kvd.log: Not a directory\n"
