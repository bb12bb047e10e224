"""Finding bytes in a value that is too large to be had whole. Pure: what has to be read is asked for by the byte range."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

__all__ = ["PART", "find_bytes"]

PART = 1_048_576
"""Bytes that are looked through at once."""


async def find_bytes(
    read: Callable[[int, int], Awaitable[bytes]], length: int, wanted: bytes, start: int, *, backwards: bool = False
) -> int | None:
    """Where the bytes stand next, going round at the end; None when they stand nowhere.

    Args:
        read: Gives the bytes from an offset, as many as are asked for.
        length: How many bytes there are.
        wanted: What is looked for; capitals count only when it has some.
        start: The first offset to look at; backwards, the first one not to.
        backwards: Look for what comes before.
    """
    any_case = wanted == wanted.lower()
    for first, last in _windows(length, start, backwards=backwards):
        body = await read(first, min(last + len(wanted) - 1, length) - first)
        if any_case:
            body = body.lower()
        at = body.rfind(wanted) if backwards else body.find(wanted)
        if at >= 0:
            return first + at
    return None


def _windows(length: int, start: int, *, backwards: bool) -> Iterator[tuple[int, int]]:
    """The ranges in which a match may begin, in the order in which they are looked through."""
    start = max(0, min(start, length))
    if not backwards:
        for low, high in ((start, length), (0, start)):
            for first in range(low, high, PART):
                yield first, min(first + PART, high)
        return
    for low, high in ((0, start), (start, length)):
        for last in range(high, low, -PART):
            yield max(low, last - PART), last
