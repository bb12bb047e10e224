"""NullStore for the contract suite."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "null"
STORE = "NullStore"
SERVER = None


def arguments(endpoint: Any, tag: str, folder: Path) -> dict[str, Any]:
    return {}


@asynccontextmanager
async def reference(endpoint: Any, tag: str, folder: Path) -> AsyncIterator[None]:
    """There is nothing to share."""
    yield None


async def clean(endpoint: Any, tag: str, folder: Path) -> None:
    """It kept nothing."""
