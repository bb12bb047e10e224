"""XDG folders of a test's own, and no daemon left behind in them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kvd import paths, requests, spawn
from kvd.blocking import BlockingClient
from kvd.errors import DaemonError


@contextmanager
def own_folders() -> Iterator[Path]:
    """XDG folders that nobody else uses, with a path short enough for a socket's."""
    root = Path(tempfile.mkdtemp(prefix="kvd"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("runtime", "config", "state", "data"):
                (root / name).mkdir(mode=0o700)
            patch.setenv("XDG_RUNTIME_DIR", str(root / "runtime"))
            for name in ("config", "state", "data"):
                patch.setenv(f"XDG_{name.upper()}_HOME", str(root / name))
            yield root
            _stop_daemon(paths.socket_path())
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _stop_daemon(path: Path) -> None:
    with suppress(DaemonError), BlockingClient.open(path, spawn=False, greet=False) as client:
        client.call(requests.stop())
    assert spawn.wait_until_gone(path, 60.0), "the daemon does not leave"
