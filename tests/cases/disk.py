"""DiskStore for the contract suite."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "disk"
STORE = "DiskStore"
SERVER = None


def arguments(endpoint: Any, tag: str, folder: Path) -> dict[str, Any]:
    return {"directory": str(folder / tag)}


@asynccontextmanager
async def reference(endpoint: Any, tag: str, folder: Path) -> AsyncIterator[Any]:
    from key_value.aio.stores.disk import DiskStore

    with warnings.catch_warnings(action="ignore"):
        store = DiskStore(directory=folder / tag)
    async with store:
        yield store


async def clean(endpoint: Any, tag: str, folder: Path) -> None:
    """The folder is the test's own."""
