"""A diskcache directory of the test's own, as the store, diskcache and SQLite each see it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diskcache import Cache

LARGE = "x" * 40_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> Iterator[Cache]:
    with Cache(str(folder)) as opened:
        yield opened


def settings(folder: Path) -> dict[str, Any]:
    with sqlite3.connect(folder / "cache.db") as connection:
        rows = dict(connection.execute("SELECT key, value FROM Settings"))
    connection.close()
    return rows


def execute(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def database_of(folder: Path) -> bytes:
    return (folder / "cache.db").read_bytes()


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.val"))
