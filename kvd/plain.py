"""Plain reads in few steps: answered at once where the store has what is asked for at hand, else asked for directly.

Nearly all reads are such. Whatever is unusual about one is left to the common way, which takes more steps and tells what is
wrong where something is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from kvd.figures import TIMED
from kvd.large import LargeReply
from kvd.methods import METHODS
from kvd.protocol import MAX_ID, MAX_IN_FLIGHT, MAX_REPLY, PART_SIZE, PLAIN_KEYS, PLAIN_NAME, REQUEST, encode_reply
from kvd.reads import DirectRead
from kvd.use import PIECE

if TYPE_CHECKING:
    from kvd.connections import Connection
    from kvd.work import Work

__all__ = ["LATER", "read_plainly"]

LATER: Final = object()
"""In place of an answer that comes later."""

_PARAMETERS: Final = 3
"""Of `get` and `get_many`: connection, collection, and key or keys."""
MAX_DIRECT: Final = 512
"""Reads that one connection's store is asked for directly at the same time; more of them go in batches."""


def read_plainly(message: Any, work: Work) -> Any:
    """Return the body of the reply to an unpacked, unchecked message, or `LATER`; None where it is no such request."""
    try:
        kind, id, name, params = message  # noqa: A001 - the wire's own word
        connection = work.server.pool.connections[params["connection"]]
        if (
            kind != REQUEST
            or type(id) is not int
            or not 0 <= id <= MAX_ID
            or id in work.requests
            or len(params) != _PARAMETERS
            or (connection.users and work.session not in connection.users)
        ):
            return None
        order = work.orders.get(connection)
        if order is not None and order.writes:
            return None
        body = None if connection.at_hand is None else _answer(id, name, params, connection)
        return _ask(id, name, params, connection, work) if body is None else body
    except (KeyError, TypeError, ValueError):
        return None


def _answer(id: int, name: Any, params: dict[str, Any], connection: Connection) -> bytes | LargeReply | None:  # noqa: A002 - as above
    """Answer with what the store has at hand."""
    store, figures = connection.at_hand, connection.figures
    started = None if figures.operations & TIMED else time.monotonic()
    result: Any
    if store is None:
        return None
    if name == "get":
        result = store.text_at_hand(params["key"], collection=params["collection"])
    elif name == "get_many" and type(keys := params["keys"]) is list and len(keys) <= PIECE:
        result = store.texts_at_hand(keys, collection=params["collection"])
    else:
        return None
    if result is None:
        return None
    body = encode_reply(id, None, result) if len(result) <= PART_SIZE else LargeReply(id, result)
    if len(body) > MAX_REPLY:
        return None
    figures.operations += 1
    if started is not None:
        figures.add(started, time.monotonic())
    return body


def _ask(id: int, name: Any, params: dict[str, Any], connection: Connection, work: Work) -> object | None:  # noqa: A002 - as above
    """Ask a store that waits for its answers."""
    if (
        connection.coalescer is None
        or connection.state != "ready"
        or connection.direct >= MAX_DIRECT
        or len(work.requests) >= MAX_IN_FLIGHT
    ):
        return None
    if name == "get":
        keys: Any = (params["key"],)
    elif name != "get_many" or type(keys := params["keys"]) is not list or not 0 < len(keys) <= PLAIN_KEYS:
        return None
    collection = params["collection"]
    for key in keys:
        if type(key) is not str or len(key) > PLAIN_NAME:
            return None
    if not (collection is None or (type(collection) is str and len(collection) <= PLAIN_NAME)):
        return None
    read = DirectRead(id, work, connection, connection.coalescer, METHODS[name], collection=collection, keys=keys)
    if not read.begin():
        return None
    work.add(read)
    return LATER
