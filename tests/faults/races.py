"""Programs that all want the daemon at the same moment, when none runs, or when the one that ran was just killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tests.daemonkit import Daemon, eventually

PROGRAM = """
import json, sys
from kvd import requests
from kvd.blocking import BlockingClient
print("ready", flush=True)
sys.stdin.readline()  # all begin together
with BlockingClient.open() as client:
    print(json.dumps([client.server.pid, client.call(requests.status())["pid"]]))
"""


@dataclass(frozen=True)
class Raced:
    """What became of the races."""

    times: int
    programs: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.programs} programs at once, {self.times} times, every second time over the socket of a killed daemon, in "
            f"{self.seconds:.0f} s: one daemon each time, which all of them reached"
        )


def race(daemon: Daemon, times: int, programs: int) -> Raced:
    """Let programs race in the folders of a daemon, which must be stopped.

    Raises:
        AssertionError: there was more than one daemon, or a program reached none.
    """
    began = time.monotonic()
    try:
        for turn in range(times):
            pid = _once(daemon, programs)
            os.kill(pid, signal.SIGKILL if turn % 2 else signal.SIGTERM)
            eventually(partial(is_gone, pid))
    finally:
        with suppress(OSError), daemon.client(greet=False) as client:
            client.call("stop")  # one that a failure left behind is nobody's child
    return Raced(times, programs, time.monotonic() - began)


def _once(daemon: Daemon, programs: int) -> int:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(programs)
    ]
    try:
        for program in started:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        for program in started:
            assert program.stdin is not None
            program.stdin.write("\n")
            program.stdin.flush()
        ended = [(*program.communicate(timeout=150), program.returncode) for program in started]
    finally:
        for program in started:
            program.kill()
            program.communicate()
    assert {status for _, _, status in ended} == {0}, ended
    pids: set[int] = {pid for said, _, _ in ended for pid in json.loads(said)}
    assert len(pids) == 1, pids
    return pids.pop()


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123 - gone between two looks, it is one error
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
