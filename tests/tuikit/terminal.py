"""A real terminal with the real program in it, and its screen as a person reads it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable

import pexpect
import pyte

PATIENCE = 60.0
KVTUI = [sys.executable, "-m", "kvtui"]
DOWN, RIGHT, CTRL_S = "\x1b[B", "\x1b[C", "\x13"


def bytes_of(output: str | bytes) -> bytes:
    assert isinstance(output, bytes)
    return output


class Terminal:
    """A terminal with the program in it."""

    def __init__(self, *arguments: str, columns: int = 120, rows: int = 36) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._text: str | None = None
        environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}} | {
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }
        self.process = pexpect.spawn(KVTUI[0], [*KVTUI[1:], *arguments], dimensions=(rows, columns), env=environment, timeout=5)

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = "\n".join(self.screen.display)  # once for each output, not for each look at it
        return self._text

    def read(self) -> None:
        with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF):
            self._stream.feed(bytes_of(self.process.read_nonblocking(65536, timeout=0.005)))
            self._text = None

    def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen; the screen:\n{self.text}"
            self.read()

    def sees(self, *patterns: str) -> None:
        for pattern in patterns:
            self.until(lambda pattern=pattern: re.search(pattern, self.text), repr(pattern))  # type: ignore[misc] # a lambda's default

    def misses(self, pattern: str) -> None:
        self.until(lambda: not re.search(pattern, self.text), f"{pattern!r} leaving")

    def type(self, text: str) -> None:
        self.process.send(text)

    def press(self, *keys: str) -> None:
        """Press keys as fast as a person does, each after the one before took effect."""
        for key in keys:
            self.type(key)
            end = time.monotonic() + 0.15
            while time.monotonic() < end:
                self.read()

    def quit(self) -> int:
        self.type("q")
        with contextlib.suppress(pexpect.TIMEOUT):
            self.process.expect(pexpect.EOF, timeout=60)
        self.process.close()
        return int(self.process.exitstatus if self.process.exitstatus is not None else -1)
