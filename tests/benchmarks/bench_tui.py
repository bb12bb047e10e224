"""The terminal UI against the clock and the scales, in a real terminal, through a real daemon.

    python -m tests.benchmarks.bench_tui [--keys 100000] [--rounds 5]

Prints the time from `kvtui --demo` to its first full screen (connections, keys and a value), cold (no daemon runs) and warm,
and with many keys in one collection: the time until all are known, of each of 200 steps down, until the last key is shown,
until a filter, an order and a tree are on screen, and the memory of both processes. A screen is read every 5 ms. Bytecode is
kept, as it is of an installed program.
"""

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kvd import paths, requests, spawn
from kvd.blocking import BlockingClient
from kvd.errors import DaemonError
from tests.tuikit.terminal import Terminal

BYTECODE = str(Path(tempfile.gettempdir(), f"kvtui-bench-{os.getuid()}"))


@contextmanager
def home() -> Iterator[None]:
    """Folders of our own, and no daemon left behind."""
    with tempfile.TemporaryDirectory(prefix="kvd") as folder:
        for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "DATA_HOME"):
            path = Path(folder, name)
            path.mkdir(mode=0o700)
            os.environ[f"XDG_{name}"] = str(path)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = BYTECODE
        try:
            yield
        finally:
            stop()


def stop() -> None:
    with suppress(DaemonError), BlockingClient.open(spawn=False, greet=False) as client:
        client.call(requests.stop())
    spawn.wait_until_gone(paths.socket_path(), 10.0)


def first_screen() -> float:
    """Seconds from the command to connections, keys and a value on screen."""
    started = time.perf_counter()
    terminal = Terminal("--demo")
    terminal.until(lambda: "keys ─" in terminal.text and "created" in terminal.text, "the first screen")
    took = time.perf_counter() - started
    terminal.quit()
    return took


def timed(terminal: Terminal, keys: str, condition: Callable[[], object], what: str) -> float:
    """Seconds from keys to what they bring."""
    started = time.perf_counter()
    terminal.type(keys)
    terminal.until(condition, what)
    return time.perf_counter() - started


def memory(pid: int) -> float:
    """Resident megabytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def starts(rounds: int) -> None:
    with home():
        first_screen()  # compiles
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(rounds):
        with home():
            cold.append(first_screen())
            warm.append(first_screen())
    for name, took in (("cold", cold), ("warm", warm)):
        print(f"first full screen, {name:<4}  {statistics.median(took) * 1000:7.0f} ms  (best {min(took) * 1000:.0f})")


def many(keys: int) -> None:
    with home(), BlockingClient.open() as client:
        value = b'{"n": 1, "text": "%s"}' % (b"x" * 40)
        for start in range(0, keys, 10_000):
            names = [f"key:{number:07}" for number in range(start, min(keys, start + 10_000))]
            client.call(requests.put_many("scratch", "many", names, [value] * len(names), ttl=86_400.0))
        daemon = client.call(requests.status())["pid"]
        started = time.perf_counter()
        terminal = Terminal()
        pid = terminal.process.pid
        assert isinstance(pid, int)
        terminal.until(lambda: "key:0000000" in terminal.text, "the first keys")
        first = time.perf_counter() - started
        empty = memory(pid)
        terminal.until(lambda: f"{keys:,} keys ─" in terminal.text, "all keys")
        print(f"with {keys:,} keys: the first are shown after {first * 1000:.0f} ms, all known after", end=" ")
        print(f"{(time.perf_counter() - started) * 1000:.0f} ms")
        terminal.press("2")
        last = f"key:{keys - 1:07}"
        found = f"{len([n for n in range(keys) if '77' in f'{n:07}']):,} of"
        rows = [
            ("down, each of 200 keys", timed(terminal, "j" * 200, lambda: "/ key:0000200" in terminal.text, "down") / 200),
            ("to the last key", timed(terminal, "G", lambda: f"/ {last}" in terminal.text, "the last key")),
            ("a page", timed(terminal, "\x15", lambda: f"/ {last}" not in terminal.text, "a page up")),
            ("filter, each character", timed(terminal, "/77", lambda: found in terminal.text, "the filter") / 3),
        ]
        terminal.press("\r")
        rows += [
            ("order by TTL", timed(terminal, "s", lambda: "↑ TTL" in terminal.text, "the order")),
        ]
        terminal.press("\x1b")
        terminal.until(lambda: f"{keys:,} keys ─" in terminal.text, "all keys again")
        rows += [
            ("as a tree", timed(terminal, "`", lambda: "▸ key:" in terminal.text, "the tree")),
            ("open a folder of all", timed(terminal, "gl", lambda: "▾ key:" in terminal.text, "the folder")),
            ("to its last key", timed(terminal, "G", lambda: f"/ key:{last[4:]}" in terminal.text, "its last key")),
            ("close it", timed(terminal, "hh", lambda: "▸ key:" in terminal.text, "the closed folder")),
        ]
        for name, took in rows:
            print(f"  {name:<24}{took * 1000:7.0f} ms")
        print(f"memory: UI {memory(pid):.0f} MB ({empty:.0f} MB at its first keys), daemon {memory(daemon):.0f} MB")
        terminal.quit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    starts(options.rounds)
    many(options.keys)


if __name__ == "__main__":
    main()
