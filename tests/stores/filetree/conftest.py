"""A tree of the test's own, and the means to plant and look at files behind the store's back."""

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stores import FileTreeStore


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(data: Path) -> AsyncIterator[FileTreeStore]:
    async with FileTreeStore(data_directory=data) as opened:
        yield opened


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside, which must stay what it is."""
    path = tmp_path / "outside" / "k.json"
    path.parent.mkdir()
    path.write_text('{"value": {"secret": 1}}')
    return path


def plant(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def read(path: Path) -> bytes:
    return path.read_bytes()


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def descriptors() -> int:
    gc.collect()  # what earlier tests left to the collector must not leave between two counts
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
