"""One running server: its folder, its ports, its processes.

Rules: used by the supervisor only, from its event loop's thread, because a process dies with the thread that started it.
What blocks (fetching, probing) runs in other threads.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.servers import tether
from tests.servers.kind import Kind, NotReadyError, Plan, UnavailableError

SLOWEST_START = 120.0  # seconds until a server must answer
SLOWEST_STOP = 5.0  # seconds between SIGTERM and SIGKILL
SLOWEST_END = 0.3  # the same when its data is thrown away: Memcached takes a second to notice
POLL = 0.01  # seconds


def reserve_port() -> socket.socket:
    """Bind a free port of loopback without listening.

    As long as this socket is open the kernel gives the port to no one who asks for any free one, while a server, which
    sets SO_REUSEADDR as this socket does, may still bind and listen on it.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


class Instance:
    """A server of one kind, from its start to its last stop; in between it may be stopped and started again."""

    def __init__(self, kind: Kind, folder: Path, args: Sequence[str]) -> None:
        self.kind = kind
        self.folder = folder
        self._args = args
        self._held = [reserve_port() for _ in range(kind.ports)]
        self._plan: Plan | None = None
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._closed = False

    @property
    def endpoint(self) -> str:
        return self._plan.endpoint if self._plan else ""

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    async def start(self) -> None:
        """Start what is not running and return when all of it answers; raises UnavailableError."""
        if self._plan is None:
            await asyncio.to_thread(self.kind.fetch)
            self.folder.mkdir(parents=True, exist_ok=True)
            ports = [held.getsockname()[1] for held in self._held]
            self._plan = self.kind.plan(self.folder, ports, self._args)
        if self._closed:
            raise UnavailableError("the test run is ending")
        for member, command in enumerate(self._plan.commands):
            if not self._runs(member):
                self._processes[member] = self._spawn(member, command, self._plan)
        await self._ready(self._plan)

    def send_signal(self, member: int, number: int) -> None:
        """Send a signal to one process that runs."""
        if self._runs(member):
            self._processes[member].send_signal(number)

    async def stop(self, member: int, number: int, patience: float = SLOWEST_STOP) -> None:
        """End one process by a signal and wait until it is gone, with SIGKILL when `patience` (seconds) is over."""
        if not self._runs(member):
            return
        process = self._processes[member]
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a stopped process acts on SIGTERM only once it continues
        deadline = time.monotonic() + patience
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
            await asyncio.sleep(POLL)

    async def close(self) -> None:
        """End every process and give the ports back."""
        self._closed = True
        await asyncio.gather(*(self.stop(member, signal.SIGTERM, SLOWEST_END) for member in self._processes))
        for held in self._held:
            held.close()

    def _runs(self, member: int) -> bool:
        process = self._processes.get(member)
        return process is not None and process.poll() is None

    def _log(self, member: int) -> Path:
        return self.folder / f"log{member}"

    def _spawn(self, member: int, command: Sequence[str], plan: Plan) -> subprocess.Popen[bytes]:
        with self._log(member).open("ab") as log:
            return subprocess.Popen(
                (sys.executable, "-IS", tether.__file__, str(os.getpid()), str(int(signal.SIGKILL)), *command),
                cwd=self.folder,
                env=os.environ | plan.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal is for the tests, which end their servers themselves
            )

    async def _ready(self, plan: Plan) -> None:
        deadline = time.monotonic() + SLOWEST_START
        while True:
            try:
                await asyncio.to_thread(plan.probe)
                break
            except (NotReadyError, OSError) as exc:
                for member, process in self._processes.items():
                    if process.poll() is not None:
                        raise UnavailableError(f"{self.kind.name} ended at once: {self._last_words(member)}") from exc
                if time.monotonic() > deadline:
                    raise UnavailableError(f"{self.kind.name} does not answer: {exc}") from exc
            await asyncio.sleep(POLL)
        if plan.form is not None:
            await asyncio.to_thread(plan.form)

    def _last_words(self, member: int) -> str:
        lines = self._log(member).read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or f"exit code {self._processes[member].returncode}, and it said nothing"
