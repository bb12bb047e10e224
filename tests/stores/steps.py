"""Work that is done in steps."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def finished(work: Generator[None, None, T]) -> T:
    """Take all steps; the result."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
