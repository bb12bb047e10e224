"""A daemon of a test's own, in folders of its own: started and stopped as everywhere else."""

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
            stop_daemon(paths.socket_path())
    finally:
        shutil.rmtree(root, ignore_errors=True)


def stop_daemon(path: Path) -> None:
    with suppress(DaemonError), BlockingClient.open(path, spawn=False, greet=False) as client:
        client.call(requests.stop())
    assert spawn.wait_until_gone(path, 60.0), "the daemon does not leave"


@pytest.fixture
def home() -> Iterator[Path]:
    """Folders without a daemon; one that a test starts there is stopped."""
    with own_folders() as root:
        yield root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Path]:
    """The socket of a daemon that the module's tests share, with the connections of a first run."""
    with own_folders():
        path = paths.socket_path()
        spawn.find_or_start(path).close()
        yield path
