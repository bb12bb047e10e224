"""Plain reads that are answered at once and in few steps, because the store never waits and has all that is asked for.

Nearly all reads of a memory store are such. Whatever is unusual about one is left to the common way, which takes more steps and
tells what is wrong where something is.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, Final

from kvd.figures import TIMED
from kvd.protocol import MAX_ID, MAX_REPLY, REQUEST, encode_reply
from kvd.use import PIECE

if TYPE_CHECKING:
    from kvd.connections import Connection

__all__ = ["answer_at_hand"]

_PARAMETERS: Final = 3
"""Of `get` and `get_many`: connection, collection, and key or keys."""


def answer_at_hand(
    message: Any, client: object, connections: Mapping[str, Connection], in_flight: Container[int]
) -> bytes | None:
    """Return the body of the reply to an unpacked, unchecked message; None where it is no such request."""
    try:
        kind, id, name, params = message  # noqa: A001 - the wire's own word
        connection = connections[params["connection"]]
        store = connection.at_hand
        if (
            store is None
            or kind != REQUEST
            or type(id) is not int
            or not 0 <= id <= MAX_ID
            or id in in_flight
            or len(params) != _PARAMETERS
            or (connection.users and client not in connection.users)
        ):
            return None
        figures = connection.figures
        started = None if figures.operations & TIMED else time.monotonic()
        if name == "get":
            result: Any = store.text_at_hand(params["key"], collection=params["collection"])
        elif name == "get_many" and type(keys := params["keys"]) is list and len(keys) <= PIECE:
            result = store.texts_at_hand(keys, collection=params["collection"])
        else:
            return None
    except (KeyError, TypeError, ValueError):
        return None
    if result is None:
        return None
    body = encode_reply(id, None, result)
    if len(body) > MAX_REPLY:
        return None
    figures.operations += 1
    if started is not None:
        figures.add(started, time.monotonic())
    return body
