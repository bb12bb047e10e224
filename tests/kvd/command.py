"""The command `kvd` in a process of its own, as a script runs it, and its exit statuses."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.daemonkit import ROOT

OK, ABSENT, USAGE, REFUSED, UNREACHABLE, SYSTEM = 0, 1, 2, 3, 4, 5


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
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, timeout=150, check=False)
    found = Done(done.returncode, done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape"))
    assert found.status == expect, f"{arguments}: {found}"
    assert "Traceback" not in found.err
    return found


def configure(home: Path, text: str) -> Path:
    """Write connections.toml, of the home that the fixture is; returns its path."""
    path = home / "config" / "kvd" / "connections.toml"
    path.parent.mkdir()
    path.write_text(text)
    return path
