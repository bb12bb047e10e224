"""What was done, as commands that do the same from a shell. Pure.

Each change is one command of `kvd`, quoted for the shell. A value is printed where it is short and nothing in it sounds like a
secret; else the command reads it from a file. What has no address on the command line is a comment.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from kvd.addresses import encode_part
from kvd.durations import format_ttl, parse_ttl
from kvd.model import Collection, Key, Step, StepChange, Token
from kvtui.codecs import printable

__all__ = ["address_of", "commands"]

SHORT = 120
"""Bytes of a value that is printed."""
_SECRET = re.compile(
    r"pass|secret|token|credential|private|api.?key|auth|cookie|csrf|session|bearer|__encrypted", re.IGNORECASE
)
"""What sounds like a secret, in names and texts of a value."""


def address_of(connection: str, collection: Collection, key: Key) -> str | None:
    """What names a key on the command line; None where nothing does: not what is only known by a token, nor odd bytes."""
    if isinstance(collection, Token) or isinstance(key, Token) or not key.isprintable():
        return None
    return f"{encode_part(connection)}/{encode_part(collection or '')}/{key}"


def commands(step: Step) -> list[str]:
    """The commands of the changes that are told of a step, in their order."""
    return [" ".join(_command(step.connection, change)) for change in step.changes]


def _command(connection: str, change: StepChange) -> Iterator[str]:
    if change.key is None:
        yield from _destruction(connection, change.collection)
        return
    address = address_of(connection, change.collection, change.key)
    if address is None:
        name = change.key.value.decode("utf-8", "surrogateescape") if isinstance(change.key, Token) else change.key
        yield f"# {change.operation} {printable(name)}, which has no address in a shell"
        return
    quoted = shlex.quote(address)
    if change.operation == "delete":
        yield f"kvd rm {quoted}"
    elif change.operation == "expire":
        yield f"kvd ttl {quoted} {_ttl(change.ttl)}"
    else:
        yield f"kvd put {quoted}"
        shown = _shown(change.value)
        if shown is not None:
            yield shown
        if change.keeps_ttl:
            yield "--keep-ttl"
        elif change.ttl is not None:
            yield f"--ttl {_ttl(change.ttl)}"
        if shown is None:
            yield "< value.json"


def _destruction(connection: str, collection: Collection) -> Iterator[str]:
    if isinstance(collection, str):
        yield f"kvd rm --collection {shlex.quote(f'{encode_part(connection)}/{encode_part(collection)}')}"
    else:
        yield "# everything was deleted, for which there is no command"


def _shown(value: bytes | None) -> str | None:
    """A value as an argument; None where it is read from a file."""
    if value is None or len(value) > SHORT:
        return None
    text = value.decode("utf-8", "surrogateescape")
    return None if _SECRET.search(text) or not text.isprintable() else shlex.quote(text)


def _ttl(seconds: float | None) -> str:
    """A TTL that is read as just so many seconds."""
    text = format_ttl(seconds)
    return text if seconds is None or parse_ttl(text) == seconds else f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
