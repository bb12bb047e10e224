"""The methods that concern the daemon itself and the client's own session. See `kvd.methods` for the rules."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from kvd import __version__, undo  # noqa: F401 - undo adds its methods
from kvd.errors import Code, RequestError
from kvd.methods import method
from kvd.params import Flag, Id, Map, Text
from kvd.protocol import LIMITS, OLDEST_PROTOCOL, PROTOCOL

if TYPE_CHECKING:
    from kvd.session import Session

__all__ = ["BEFORE_HELLO", "WHILE_DRAINING"]

BEFORE_HELLO: Final = frozenset({"hello", "ping", "status", "stop"})
"""Methods that work across any two versions."""
WHILE_DRAINING: Final = frozenset({"cancel", "hello", "ping", "status", "stop", "unsubscribe"})

CAPABILITIES: Final = ["cancel", "events", "journal", "parts", "ranges"]

_PAIR: Final = 2


@method("daemon")
def hello(session: Session, *, protocol: Map, client: Text = "", version: Text = "") -> dict[str, Any]:
    """Settle the protocol's version."""
    if not (isinstance(protocol, list) and len(protocol) == _PAIR and all(type(number) is int for number in protocol)):
        raise RequestError(Code.BAD_REQUEST, "hello's protocol is [oldest, newest]")
    oldest, newest = protocol
    if newest < OLDEST_PROTOCOL or oldest > PROTOCOL:
        older, newer = ("daemon", "client") if oldest > PROTOCOL else ("client", "daemon")
        ours = str(PROTOCOL) if PROTOCOL == OLDEST_PROTOCOL else f"{OLDEST_PROTOCOL} to {PROTOCOL}"
        message = (
            f"the {older} is too old for the {newer}: this daemon is version {__version__} and speaks protocol {ours}, "
            f"the client is version {version or 'unknown'} and speaks {oldest} to {newest}"
        )
        detail = {"protocol": [OLDEST_PROTOCOL, PROTOCOL], "version": __version__, "pid": os.getpid()}
        raise RequestError(Code.VERSION_MISMATCH, message, detail=detail)
    session.greeted = True
    name = f"{client[:60]} {version[:20]}".strip()
    session.name = "".join(char if char.isprintable() else "?" for char in name)  # it is written to the log
    return {
        "protocol": min(newest, PROTOCOL),
        "version": __version__,
        "pid": os.getpid(),
        "capabilities": CAPABILITIES,
        "limits": LIMITS,
    }


@method("daemon")
def ping(session: Session) -> None:
    """Answer."""


@method("daemon")
def status(session: Session) -> dict[str, Any]:
    """What the daemon is and does."""
    return session.server.status(session)


@method("daemon")
def stop(session: Session) -> None:
    """Drain and leave."""
    session.server.stop(f"{session.name or 'a client'} asked for it")


@method("daemon")
async def reload(session: Session) -> list[str]:
    """Read the configuration again."""
    return await session.server.reload()


@method("daemon")
def cancel(session: Session, *, id: Id) -> bool:  # noqa: A002 - the wire's own word
    """Give up a request of this client; whether it was in flight."""
    return session.cancel(id)


@method("daemon")
def connections(session: Session) -> list[dict[str, Any]]:
    """The connections that the client may use."""
    return [connection.info() for connection in session.server.pool.visible(session)]


@method("daemon")
async def open_(session: Session, *, url: Text, read_only: Flag = False) -> dict[str, Any]:
    """Open the store that a URL names."""
    connection = await session.server.pool.open_url(url, session, read_only=read_only)
    return {"connection": connection.name}


@method("daemon")
async def demo(session: Session) -> dict[str, Any]:
    """Open a store with the demo's data."""
    connection = await session.server.pool.open_demo(session)
    return {"connection": connection.name}


@method("daemon")
def subscribe(session: Session, *, connection: Text | None = None) -> None:
    """Receive changes."""
    if connection is not None:
        session.server.pool.find(connection, session)
    session.hub.subscribe(session, connection)


@method("daemon")
def unsubscribe(session: Session, *, connection: Text | None = None) -> None:
    """Receive them no more."""
    session.hub.unsubscribe(session, connection)
