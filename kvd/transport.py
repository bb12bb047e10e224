"""What both ends of the socket ask of their event loop's transport."""

from __future__ import annotations

import asyncio
from typing import Final, cast

__all__ = ["receive_in_pieces"]

RECEIVE: Final = 64 << 10
"""Bytes received in one go."""


def receive_in_pieces(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """Let a stream transport receive at most `RECEIVE` bytes in one go.

    asyncio's own allocates 256 KB for each little message otherwise, more than the C library keeps at hand, and that costs more
    than all the rest of an answer. Other loops have a buffer of their own.
    """
    if hasattr(transport, "max_size"):
        transport.max_size = RECEIVE
    return cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
