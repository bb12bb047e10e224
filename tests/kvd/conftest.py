"""A daemon of a test's own, in folders of its own: started and stopped as everywhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvd import paths, spawn
from tests.folders import own_folders


@pytest.fixture(scope="module")
def daemon() -> Iterator[Path]:
    """The socket of a daemon that the module's tests share, with the connections of a first run."""
    with own_folders():
        path = paths.socket_path()
        spawn.find_or_start(path).close()
        yield path
