"""The installed program in a real terminal: bytes in, bytes out, read from the screen as a person reads it."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from kvd import paths, requests
from kvd.blocking import BlockingClient
from tests.tuikit.terminal import CTRL_S, DOWN, KVTUI, RIGHT, Terminal, bytes_of


@pytest.fixture
def open_terminal(home: Path) -> Iterator[Callable[..., Terminal]]:
    del home
    opened: list[Terminal] = []

    def start(*arguments: str, columns: int = 120, rows: int = 36) -> Terminal:
        opened.append(Terminal(*arguments, columns=columns, rows=rows))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.process.close(force=True)


def test_from_nothing_to_a_key_that_counts_down_and_leaves(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.sees("scratch", "local", "a adds keys")
    terminal.type("abrief\t9s" + CTRL_S)  # as fast as it goes: no key overtakes another
    shown: set[str] = set()

    def counts_down() -> bool:
        shown.update(re.findall(r"brief +(\d\.\d)s", terminal.text))
        return len(shown) > 2  # a busy machine skips many

    terminal.until(counts_down, "tenths of seconds that grow fewer")
    terminal.misses(r"brief +[\de]")
    terminal.sees("No keys here|0 keys")
    assert terminal.quit() == 0


def test_an_edit_in_one_terminal_shows_in_a_second_one(open_terminal: Callable[..., Terminal]) -> None:
    with BlockingClient.open() as client:
        client.call(requests.put("scratch", "shared", "greeting", b'{"hello": "world"}', ttl=3000))
    first, second = open_terminal(), open_terminal()
    for terminal in (first, second):
        terminal.sees('"hello": "world"')
    first.type("2e")
    first.sees("value · editing")
    first.type(DOWN + RIGHT * 12 + "brave new ")
    first.sees("brave new world")
    first.type(CTRL_S)
    first.sees("Saved")
    second.sees('"hello": "brave new world"', r"4\dm \d\ds")
    assert first.quit() == second.quit() == 0


def test_a_watched_value_shows_what_changes_and_is_searched(home: Path, open_terminal: Callable[..., Terminal]) -> None:
    folder = home / "tree"
    (folder / "shared").mkdir(parents=True)
    with BlockingClient.open() as client:
        connection = client.call(requests.open_url(f"file://{folder}")).connection
        client.call(requests.put(connection, "shared", "counter", b'{"count": 1, "name": "visits"}'))
    terminal = open_terminal(f"file://{folder}")
    terminal.sees('"count": 1')
    terminal.type("3w")
    terminal.sees("value · watching")
    (stored,) = (file for file in folder.rglob("*") if file.is_file() and b"visits" in file.read_bytes())
    changed = folder / "changed"
    changed.write_bytes(stored.read_bytes().replace(b'"count": 1', b'"count": 2').replace(b'"count":1', b'"count":2'))
    changed.replace(stored)  # past the daemon, as another program does
    terminal.sees('▎ +"count": 2', r"changed \d\d:\d\d:\d\d")
    terminal.type("/vis")
    terminal.sees("1 of 1")
    terminal.type("\rn")
    terminal.sees("1 of 1")
    assert terminal.quit() == 0


def test_a_filter_finds_a_key_that_was_not_read(home: Path, open_terminal: Callable[..., Terminal]) -> None:
    folder = home / "config" / "kvd"
    folder.mkdir(mode=0o700)
    directory = home / "cache"
    (folder / "connections.toml").write_text(
        f'[connections.prod]\nstore = "disk"\nproduction = true\n[connections.prod.args]\ndirectory = "{directory}"\n'
    )
    names = [f"key:{number:05}" for number in range(8_000)]
    with BlockingClient.open() as client:
        client.call(requests.put_many("prod", "many", names, [b"{}"] * len(names)))
    terminal = open_terminal()
    terminal.sees("prod")
    terminal.type(":")
    terminal.sees("Go to")
    terminal.type("prod/many\r")
    terminal.sees("more follow, p goes on")
    terminal.type("/:07999")
    terminal.sees("No key matches :07999", "p +search the rest")
    terminal.type("\rp")
    terminal.sees("all searched", "prod / many / key:07999")
    assert terminal.quit() == 0


def test_a_killed_daemon_comes_back_with_the_place_and_the_edit_kept(open_terminal: Callable[..., Terminal]) -> None:
    with BlockingClient.open() as client:
        pid = client.call(requests.status())["pid"]
        for name in ("one", "two"):
            client.call(requests.put("local", "kept", name, b'{"name": "%s"}' % name.encode()))
    terminal = open_terminal()
    terminal.sees("kept")
    terminal.type(":")
    terminal.sees("Go to")
    terminal.type("local/kept/two\r")
    terminal.sees('"name": "two"')
    terminal.type("e")
    terminal.sees("value · editing")
    terminal.type(DOWN + RIGHT * 11 + "more ")
    terminal.sees("value · changed")
    os.kill(pid, signal.SIGKILL)
    terminal.sees("daemon away|The daemon is back")
    terminal.sees("daemon ready")
    terminal.type(CTRL_S)
    terminal.sees("Saved", '"name": "more two"', "local / kept / two")
    assert terminal.quit() == 0


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 12), (200, 60)])
def test_the_demo_fits_the_terminal(open_terminal: Callable[..., Terminal], columns: int, rows: int) -> None:
    terminal = open_terminal("--demo", columns=columns, rows=rows)
    terminal.sees("demo", "kvtui")
    terminal.sees("carts")
    assert terminal.quit() == 0


def test_bytes_that_are_no_text_end_nothing(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.sees("a adds keys")
    terminal.type("a")
    terminal.sees("New key")
    terminal.process.send(b"one\xff\xfe")
    terminal.press("two")
    terminal.sees("one\ufffd\ufffdtwo")
    terminal.press("\x1b")
    terminal.misses("New key")
    assert terminal.quit() == 0


def test_the_terminal_is_left_as_it_was(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.sees("daemon ready")
    terminal.type("q")
    output = b""
    with contextlib.suppress(pexpect.TIMEOUT):
        terminal.process.expect(pexpect.EOF, timeout=60)
        output = bytes_of(terminal.process.before or b"")
    assert b"\x1b[?1049l" in output
    assert b"\x1b[?25h" in output


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_questions_are_answered_without_a_terminal_or_a_daemon(argument: str) -> None:
    done = subprocess.run([*KVTUI, argument], capture_output=True, text=True, check=True, timeout=90)
    assert "kvtui" in done.stdout
    assert not paths.socket_path().exists()


@pytest.mark.usefixtures("home")
def test_without_a_terminal_it_says_so() -> None:
    done = subprocess.run(KVTUI, capture_output=True, text=True, check=False, timeout=90, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "needs a terminal" in done.stderr


@pytest.mark.usefixtures("home")
def test_what_is_neither_path_nor_url_is_said_so() -> None:
    done = subprocess.run([*KVTUI, "sessions"], capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 1
    assert "there is no file or folder 'sessions'" in done.stderr
    assert not paths.socket_path().exists()


def test_no_daemon_is_a_clear_message_and_a_failure(
    home: Path, monkeypatch: pytest.MonkeyPatch, open_terminal: Callable[..., Terminal]
) -> None:
    folder = home / ("deep" * 30)
    folder.mkdir(mode=0o700)
    with monkeypatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        process = open_terminal().process
        process.expect(pexpect.EOF, timeout=60)
        process.close()
    assert process.exitstatus == 1
    assert b"kvtui: " in bytes_of(process.before or b"")


def test_a_path_from_here_is_a_store(home: Path, open_terminal: Callable[..., Terminal]) -> None:
    (home / "tree" / "shelf").mkdir(parents=True)
    (home / "tree" / "shelf" / "greeting.json").write_text('{"hello": "world"}')
    terminal = open_terminal(os.path.relpath(home / "tree"))
    terminal.sees(f"file://{home}/tree / shelf", "hello")
    assert terminal.quit() == 0


def test_a_store_that_cannot_be_had_is_a_clear_message_and_a_failure(open_terminal: Callable[..., Terminal]) -> None:
    process = open_terminal("disk:///nowhere/at/all").process
    process.expect(pexpect.EOF, timeout=60)
    process.close()
    assert process.exitstatus == 1
    assert b"kvtui: " in bytes_of(process.before or b"")
