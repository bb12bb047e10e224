"""FileTreeStore for the contract suite."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "filetree"
STORE = "FileTreeStore"
SERVER = None


def arguments(endpoint: Any, tag: str, folder: Path) -> dict[str, Any]:
    return {"data_directory": str(folder / tag)}


@asynccontextmanager
async def reference(endpoint: Any, tag: str, folder: Path) -> AsyncIterator[Any]:
    from key_value.aio.stores.filetree import FileTreeStore

    with warnings.catch_warnings(action="ignore"):
        store = FileTreeStore(data_directory=folder / tag)
    yield store


async def clean(endpoint: Any, tag: str, folder: Path) -> None:
    """The folder is the test's own."""
