"""What Redis and Valkey are sent, and how their replies are read: commands, scripts, deadlines.

Lua never reads JSON: it would turn `[]` into `{}` and round big integers.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Any

from stores.entry import ManagedEntry, utc_now
from stores.errors import DeserializationError
from stores.lifecycle import Scope
from stores.names import Key, shown

__all__ = [
    "BATCH",
    "CONCURRENT_BATCHES",
    "GONE",
    "MAX_VALUE_BYTES",
    "SWAP",
    "VERSION",
    "Command",
    "bounded",
    "checked",
    "earlier",
    "foreign",
    "is_denied",
    "milliseconds",
    "set_command",
    "text_of",
    "value_of",
]

Command = tuple[bytes | str | int, ...]

MAX_VALUE_BYTES = 512 * 1024 * 1024
"""The server's limit on a string (`proto-max-bulk-len`)."""

GONE = -2
"""What PTTL says of a name that is not there; -1 is one that lives for ever."""

JITTER = timedelta(milliseconds=50)
"""How far apart two deadlines may look that are one: the server counts whole milliseconds from another moment."""

_DENIED = re.compile("NOPERM|PermissionDenied|no permissions")
"""In the server's words, GLIDE's and redis-py's."""

BATCH = 500
CONCURRENT_BATCHES = 4

SWAP = """
local held = redis.call('TYPE', KEYS[1]).ok
local version = ''
if held == 'string' then version = redis.sha1hex(redis.call('GET', KEYS[1]))
elseif held ~= 'none' then version = redis.sha1hex(redis.call('DUMP', KEYS[1])) end
if ARGV[1] ~= 'any' and ARGV[1] ~= version then return false end
local px = tonumber(ARGV[3])
if ARGV[2] == 'delete' then redis.call('DEL', KEYS[1]) return ''
elseif ARGV[2] == 'expire' then
  if px > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) else redis.call('PERSIST', KEYS[1]) end
elseif ARGV[2] == 'set' then
  if px > 0 then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3]) else redis.call('SET', KEYS[1], ARGV[4]) end
  version = redis.sha1hex(ARGV[4])
elseif ARGV[2] == 'restore' then
  redis.call('RESTORE', KEYS[1], ARGV[3], ARGV[4], 'REPLACE')
  version = redis.sha1hex(redis.call('DUMP', KEYS[1]))
end
return version
"""
"""Compare and act. ARGV: expected version in hex ('' for absent) or 'any'; the act; milliseconds to live or 0; the body."""

VERSION = """
if redis.call('TYPE', KEYS[1]).ok == 'string' then return redis.sha1hex(redis.call('GET', KEYS[1])) end
local dump = redis.call('DUMP', KEYS[1])
return dump and redis.sha1hex(dump)
"""
"""What SWAP compares: the SHA-1 of a string's value, or of any other type's DUMP, in hex; false where nothing is."""


def checked(reply: Any) -> Any:
    """The reply, unless it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def is_denied(reply: Any) -> bool:
    """Whether the server's ACL denies it."""
    return isinstance(reply, Exception) and _DENIED.search(str(reply)) is not None


def value_of(reply: Any, collection: Scope, key: Key) -> bytes | None:
    """What GET answered."""
    if isinstance(reply, Exception) and "WRONGTYPE" in str(reply):
        raise foreign("value of another type", collection, key, "It is no string.") from reply
    value: bytes | None = checked(reply)
    return value


def text_of(reply: bytes | str) -> str:
    """A word of the server's, whichever version of the protocol it came by."""
    return reply if isinstance(reply, str) else reply.decode()


def foreign(kind: str, collection: Scope, key: Key, why: str) -> DeserializationError:
    """What is told of a key that holds no entry."""
    return DeserializationError(f"Key {shown(key)} in collection {shown(collection)} holds a {kind}, not an entry. {why}")


def milliseconds(expires_at: datetime | None) -> int:
    """What is left until a deadline, rounded up, at least 1; 0 without a deadline."""
    return 0 if expires_at is None else max(1, math.ceil((expires_at - utc_now()).total_seconds() * 1000))


def set_command(name: bytes, body: bytes, expires_at: datetime | None) -> Command:
    """Write a string with its TTL."""
    return ("SET", name, body) if expires_at is None else ("SET", name, body, "PX", milliseconds(expires_at))


def earlier(envelope: datetime | None, left: int) -> datetime | None:
    """The effective deadline: the envelope's, or the server's where that is clearly earlier."""
    if left < 0:
        return envelope
    try:
        native = utc_now() + timedelta(milliseconds=left)
    except OverflowError:
        return envelope
    return native if envelope is None or native < envelope - JITTER else envelope


def bounded(entry: ManagedEntry, left: int) -> ManagedEntry:
    """The entry with its effective deadline."""
    if left >= 0:
        entry.expires_at = earlier(entry.expires_at, left)
    return entry
