"""The daemon's log: a file that is rotated, that shows no secrets, and whose failure never stops the daemon.

A log that cannot be written (disk full, folder gone) is lost line by line until it can be written again.
"""

from __future__ import annotations

import logging
import os
import re
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

__all__ = ["Redactor", "open_log"]

MAX_BYTES: Final = 1 << 20
"""Size at which a log file is put aside."""
KEPT: Final = 3
"""Files put aside that are kept, as `.1` to `.3`."""

_SHORTEST_SECRET: Final = 4
_USERINFO: Final = re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^\s/@]+@")


class Redactor:
    """Takes secrets out of texts: those that it was told of, and the userinfo of every URL."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def learn(self, secret: str) -> None:
        """Remember a secret. What is shorter than four characters cannot be told from ordinary text."""
        if len(secret) >= _SHORTEST_SECRET and secret not in self._secrets:
            # the longest first, so that a secret inside another leaves no trace of it
            self._secrets = sorted([*self._secrets, secret], key=len, reverse=True)

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
        return _USERINFO.sub(r"\1***@", text) if "://" in text else text


class _Formatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.redact(super().format(record))


class _RotatingFile(logging.Handler):
    """Appends to a file, and opens it anew after any trouble."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._descriptor: int | None = None
        self._size = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            if self._size + len(line) > MAX_BYTES and self._size:
                self._rotate()
            if self._descriptor is None:
                self._open()
            assert self._descriptor is not None  # noqa: S101 - it was just opened
            self._size += os.write(self._descriptor, line)
        except Exception:  # noqa: BLE001 - whatever is wrong with the log, the daemon goes on
            self._shut()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self._shut()
        for number in range(KEPT, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            with suppress(FileNotFoundError):
                newer.replace(older)

    def _shut(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = None
        self._size = 0

    def close(self) -> None:
        self._shut()
        super().close()


class _Terminal(logging.Handler):
    """Writes to stderr what that takes at once: a terminal that is held, or a pipe nobody reads, holds up no client."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._room = select.poll()
        self._room.register(self._descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):  # a terminal that is gone is no reason to stop
            left = (self.format(record) + "\n").encode(self._encoding, "backslashreplace")
            while left and self._room.poll(0):
                left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]


def open_log(path: Path | None, redactor: Redactor, *, terminal: bool) -> logging.Logger:
    """Make the daemon's logger. asyncio's own complaints go there too.

    Args:
        path: the file; None for none.
        redactor: takes the secrets out.
        terminal: whether to write to stderr as well.
    """
    log = logging.getLogger("kvd")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [] if path is None else [_RotatingFile(path)]
    if terminal and sys.stderr is not None:
        handlers.append(_Terminal(sys.stderr))
    loop_log = logging.getLogger("asyncio")
    loop_log.handlers.clear()
    loop_log.propagate = False
    for handler in handlers or [logging.NullHandler()]:
        handler.setFormatter(_Formatter(redactor))
        log.addHandler(handler)
        loop_log.addHandler(handler)
    return log
