"""MemoryStore for the contract suite."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

NAME = "memory"
STORE = "MemoryStore"
SERVER = None


def arguments(endpoint: Any, tag: str, folder: Path) -> dict[str, Any]:
    return {}


@asynccontextmanager
async def reference(endpoint: Any, tag: str, folder: Path) -> AsyncIterator[None]:
    """Two processes cannot share a memory; its format is compared in test_serialization."""
    yield None


async def clean(endpoint: Any, tag: str, folder: Path) -> None:
    """It leaves with the test."""
