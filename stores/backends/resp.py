"""What Redis and Valkey share: names, records, scans and scripts, over one way to send commands.

An entry is the string `collection::key` that holds the long form, with a native TTL in milliseconds, rounded up. A version is
the SHA-1 of a string's value, or of any other type's DUMP; a Lua script compares it and writes in one step. Lua never reads
JSON: it would turn `[]` into `{}` and round big integers.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha1
from typing import Any, TypedDict

from stores.backends.envelope import HEAD_BYTES, open_text, peek
from stores.backends.resp_scans import JOINT, ScannedStore
from stores.backends.resp_structures import elements, listing
from stores.batches import batched, run_bounded
from stores.entry import ManagedEntry, utc_now
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    KeyValueOperationError,
    KeyValueStoreError,
    ReadOnlyError,
    StoreConnectionError,
    ValueTooLargeError,
)
from stores.lifecycle import Scope
from stores.names import OUTSIDE, Key, Token, decode_name, encode_name
from stores.records import ABSENT, ANY, ENTRY, Description, Expected, Record, Version
from stores.sanitization import SanitizationStrategy

__all__ = ["MAX_VALUE_BYTES", "Command", "RespStore", "Strategies"]

Command = tuple[bytes | str | int, ...]

MAX_VALUE_BYTES = 512 * 1024 * 1024
"""The server's limit on a string (`proto-max-bulk-len`)."""

GONE = -2
"""What PTTL says of a name that is not there; -1 is one that lives for ever."""

JITTER = timedelta(milliseconds=50)
"""How far apart two deadlines may look that are one: the server counts whole milliseconds from another moment."""

BATCH = 500
CONCURRENT_BATCHES = 4
DESCRIBED_AT_ONCE = 200
PEEKED_BYTES = 65536
"""A string up to this size is read with its description, in one round trip."""

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

DENIED = (KeyValueOperationError, "The server's ACL denies this user that command or key.")
REPLICA = (ReadOnlyError, "This server is a replica; write to its primary.")
PASSWORD = (StoreConnectionError, "Check the username and the password.")
UNREADY = (StoreConnectionError, "The server cannot answer that at the moment.")
TROUBLE: dict[str, tuple[type[BaseKeyValueError], str]] = {
    "OOM": (KeyValueStoreError, "The server is full: raise its maxmemory, or delete something."),
    **dict.fromkeys(("NOPERM", "PermissionDenied"), DENIED),
    **dict.fromkeys(("READONLY", "ReadOnly"), REPLICA),
    **dict.fromkeys(("NOAUTH", "WRONGPASS", "AuthenticationFailed"), PASSWORD),
    **dict.fromkeys(("LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS", "MOVED"), UNREADY),
    **dict.fromkeys(("BusyLoadingError", "ClusterDown", "MasterDown", "TryAgain", "Moved", "Ask"), UNREADY),
}
"""The server's error codes, and GLIDE's words for some of them."""

_TROUBLE = re.compile(rf"(?:^|: - )(?:ResponseError: )?({'|'.join(TROUBLE)})\b")


class Strategies(TypedDict, total=False):
    """How names are made to fit, for the overloads of constructors."""

    key_sanitization_strategy: SanitizationStrategy | None
    collection_sanitization_strategy: SanitizationStrategy | None


class RespStore(ScannedStore, ABC):
    """Everything but the connection."""

    @abstractmethod
    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip; their replies in order, an error reply as its exception, in place."""

    async def _scan(self, position: Any, match: bytes | None, count: int) -> tuple[Any, list[bytes]]:
        """One SCAN from a position (None: the start): the next one (None: the end), and names."""
        pattern: Command = () if match is None else ("MATCH", match)
        after, names = await self._run("SCAN", position or 0, *pattern, "COUNT", count)
        return int(after) or None, names

    async def _run(self, *command: bytes | str | int) -> Any:
        [reply] = await self._ask([command])
        return _checked(reply)

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        ours = super()._translate(exc, scope, key)
        found = None if ours is None else _TROUBLE.search(str(exc))
        if ours is None or found is None:
            return ours
        kind, advice = TROUBLE[found[1]]
        return kind(f"{ours.message} {advice}")

    # Names

    def _native(self, collection: Scope, key: Key) -> bytes:
        """The server's name of an entry."""
        return key.value if isinstance(key, Token) else self._prefix(collection) + encode_name(self._sanitize_key(key))

    def _natives(self, collection: Scope, keys: Sequence[Key]) -> list[bytes]:
        """As `_native` for each."""
        prefix, fit = self._prefix(collection), self._sanitize_key
        return [key.value if isinstance(key, Token) else prefix + encode_name(fit(key)) for key in keys]

    def _dump(self, collection: Scope, key: Key, entry: ManagedEntry) -> bytes:
        """The stored form; an entry outside collections has the short one."""
        text = key if isinstance(key, str) else decode_name(key.value.partition(JOINT)[2])
        if isinstance(collection, str):
            named: str | None = collection
        else:
            named = None if collection == OUTSIDE else decode_name(collection.value)
        body = self._adapter.dump_json(entry, key=None if named is None else text, collection=named).encode()
        if len(body) > MAX_VALUE_BYTES:
            raise ValueTooLargeError(f"The entry {text!r} has {len(body)} bytes; {self.traits.name} takes {MAX_VALUE_BYTES}.")
        return body

    def _load(self, raw: bytes, collection: Scope, key: Key) -> ManagedEntry:
        try:
            return self._adapter.load_json(raw)
        except DeserializationError as exc:
            raise _foreign("string", collection, key, str(exc)) from exc

    # Entries

    async def _fetch(self, collection: Scope, keys: Sequence[Key]) -> list[tuple[bytes | None, int]]:
        """Values with what the server's clock leaves them, in milliseconds."""
        names = self._natives(collection, keys)

        async def part(names: Sequence[bytes]) -> list[tuple[bytes | None, int]]:
            replies = await self._ask([("MGET", *names), *(("PTTL", name) for name in names)])
            return list(zip(_checked(replies[0]), map(_checked, replies[1:]), strict=True))

        parts = await run_bounded(part, batched(names, BATCH), limit=CONCURRENT_BATCHES)
        found = [pair for part in parts for pair in part]
        for index, (value, left) in enumerate(found):
            if value is None and left != GONE:  # MGET says nothing about another type
                found[index] = await self._fetch_one(collection, keys[index])
        return found

    async def _fetch_one(self, collection: Scope, key: Key) -> tuple[bytes | None, int]:
        name = self._native(collection, key)
        value, left = await self._ask([("GET", name), ("PTTL", name)])
        return _value(value, collection, key), _checked(left)

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        value, left = await self._fetch_one(collection, key)
        return None if value is None else _bounded(self._load(value, collection, key), left)

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        found = await self._fetch(collection, keys)
        return [
            None if value is None else _bounded(self._load(value, collection, key), left)
            for key, (value, left) in zip(keys, found, strict=True)
        ]

    async def _get_undated_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        [value] = await self._ask([("GET", self._native(collection, key))])
        value = _value(value, collection, key)
        return None if value is None else self._load(value, collection, key)

    async def _get_undated_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        names = self._natives(collection, keys)
        parts = await run_bounded(lambda part: self._run("MGET", *part), batched(names, BATCH), limit=CONCURRENT_BATCHES)
        values = [value for part in parts for value in part]
        missing = [index for index, value in enumerate(values) if value is None]  # or of another type: MGET does not say
        if missing:
            found = await self._fetch(collection, [keys[index] for index in missing])
            for index, (value, _) in zip(missing, found, strict=True):
                values[index] = value
        return [None if value is None else self._load(value, collection, key) for key, value in zip(keys, values, strict=True)]

    async def _get_texts(self, *, collection: Scope, keys: Sequence[Key]) -> list[tuple[bytes, datetime | None] | None]:
        found = [await self._fetch_one(collection, keys[0])] if len(keys) == 1 else await self._fetch(collection, keys)
        texts: list[tuple[bytes, datetime | None] | None] = []
        for key, (value, left) in zip(keys, found, strict=True):
            opened = None if value is None else open_text(value)
            if opened is not None:
                texts.append((opened[0], _earlier(opened[1].expires_at, left)))
            elif value is not None:
                entry = self._load(value, collection, key)
                texts.append((entry.value_as_json.encode(), _earlier(entry.expires_at, left)))
            else:
                texts.append(None)
        return texts

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        body = self._dump(collection, key, managed_entry)
        await self._run(*_set(self._native(collection, key), body, managed_entry.expires_at))

    async def _put_managed_entries(
        self,
        *,
        collection: Scope,
        keys: Sequence[Key],
        managed_entries: Sequence[ManagedEntry],
        ttl: float | None,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> None:
        bodies = [self._dump(collection, key, entry) for key, entry in zip(keys, managed_entries, strict=True)]
        pairs = list(zip(self._natives(collection, keys), bodies, strict=True))

        async def part(pairs: Sequence[tuple[bytes, bytes]]) -> None:
            for reply in await self._ask([_set(name, body, expires_at) for name, body in pairs]):
                _checked(reply)

        await run_bounded(part, batched(pairs, BATCH), limit=CONCURRENT_BATCHES)

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        return bool(await self._run("UNLINK", self._native(collection, key)))

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        names = self._natives(collection, keys)

        async def part(names: Sequence[bytes]) -> int:
            return int(await self._run("UNLINK", *names))

        return sum(await run_bounded(part, batched(names, BATCH), limit=CONCURRENT_BATCHES))

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        names = self._natives(collection, keys)
        head = HEAD_BYTES + 6 * len(self._prefix(collection))  # a character may be written as \uXXXX

        async def part(names: Sequence[bytes]) -> list[Description | None]:
            replies = await self._ask(
                [
                    command
                    for name in names
                    for command in (
                        ("TYPE", name),
                        ("PTTL", name),
                        ("PEXPIRETIME", name),  # before 7.0 an error, and the stamp misses a bare EXPIRE
                        ("STRLEN", name),
                        ("GETRANGE", name, 0, head),
                    )
                ]
            )
            described = [self._described(replies[at : at + 5]) for at in range(0, len(replies), 5)]
            sizeless = [index for index, one in enumerate(described) if one is not None and one.size is None]
            if sizeless:
                sizes = await self._ask([("MEMORY", "USAGE", names[index]) for index in sizeless])
                for index, size in zip(sizeless, sizes, strict=True):
                    one = described[index]
                    if one is not None and isinstance(size, int):
                        described[index] = Description(one.kind, size, None, one.expires_at, one.stamp + b"%d" % size)
            return described

        parts = await run_bounded(part, batched(names, DESCRIBED_AT_ONCE), limit=CONCURRENT_BATCHES)
        return [one for part in parts for one in part]

    def _described(self, replies: list[Any]) -> Description | None:
        kind = _text(_checked(replies[0]))
        left = _checked(replies[1])
        if kind == "none":
            return None
        until = replies[2] if isinstance(replies[2], int) else left >= 0
        if kind != "string":
            return Description(kind, None, None, _earlier(None, left), b"%s %d " % (kind.encode(), until))
        size, head = _checked(replies[3]), _checked(replies[4])
        stamp = sha1(b"%d %d %s" % (size, until, head), usedforsecurity=False).digest()
        times = peek(head)
        if times is not None:
            return Description(ENTRY, size, times.created_at, _earlier(times.expires_at, left), stamp)
        if head.startswith(b"{") and size > len(head):
            kind = "unknown"
        elif head.startswith(b"{"):
            try:
                entry = self._adapter.load_json(head)
                return Description(ENTRY, size, entry.created_at, _earlier(entry.expires_at, left), stamp)
            except DeserializationError:
                pass
        return Description(kind, size, None, _earlier(None, left), stamp)

    # Read and edit

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        name = self._native(collection, key)
        kind, left, size, value = await self._ask(
            [("TYPE", name), ("PTTL", name), ("STRLEN", name), ("GETRANGE", name, 0, PEEKED_BYTES - 1)]
        )
        kind, left = _text(_checked(kind)), _checked(left)
        if kind == "none":
            return None
        if kind != "string":
            return await self._read_structure(name, kind, left, limit)
        size, value = _checked(size), _checked(value)
        version = None
        if len(value) == PEEKED_BYTES:
            if limit is None or value.startswith(b"{"):
                value = await self._run("GET", name) or b""
                size = len(value)
            else:
                version = await self._version(name)
        version = version or Version(sha1(value, usedforsecurity=False).digest())
        try:
            entry = _bounded(self._adapter.load_json(value), left)
        except DeserializationError:
            return Record(
                kind=kind,
                body=value[:limit],
                length=size,
                size=size,
                expires_at=_earlier(None, left),
                version=version,
            )
        body = entry.value_as_json.encode()
        return Record(
            kind=ENTRY,
            body=body,
            length=len(body),
            size=size,
            created_at=entry.created_at,
            expires_at=entry.expires_at,
            version=version,
            entry=entry,
        )

    async def _version(self, name: bytes) -> Version | None:
        found = await self._run("EVAL", VERSION, 1, name)
        return None if not found else Version(bytes.fromhex(_text(found)))

    async def _read_structure(self, name: bytes, kind: str, left: int, limit: int | None) -> Record | None:
        """Foreign data that is no string: what it holds as JSON, at most so many elements as can be wanted."""
        version = await self._version(name)
        if version is None:
            return None
        most = -1 if limit is None else max(limit // 4, 10)  # an element's JSON has no fewer bytes
        usage, total, held = await self._ask([("MEMORY", "USAGE", name), *listing(kind, name, most)])
        shown = elements(kind, _checked(held))
        body = json.dumps(shown).encode()
        length = len(body)
        if isinstance(total, int) and len(shown) < total:
            length = length * total // max(len(shown), 1)
        return Record(
            kind=kind,
            body=body[:limit],
            length=length,
            size=usage if isinstance(usage, int) else length,
            expires_at=_earlier(None, left),
            version=version,
        )

    async def _snapshot(self, *, collection: Scope, key: Key) -> Record | None:
        name = self._native(collection, key)
        kind = _text(await self._run("TYPE", name))
        if kind in ("none", "string"):
            return await self._read(collection=collection, key=key, limit=None)
        dump, left = map(_checked, await self._ask([("DUMP", name), ("PTTL", name)]))
        if dump is None:
            return None
        version = Version(sha1(dump, usedforsecurity=False).digest())
        size = len(dump)
        return Record(kind=kind, body=dump, length=size, size=size, expires_at=_earlier(None, left), version=version)

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        name = self._native(collection, key)
        if new is None:
            return await self._swap(name, expected, "delete", None, b"")
        if isinstance(new, ManagedEntry):
            return await self._swap(name, expected, "set", new.expires_at, self._dump(collection, key, new))
        act = "set" if new.kind == "string" else "restore"
        return await self._swap(name, expected, act, new.expires_at, new.body)

    async def _expire_foreign(self, *, collection: Scope, key: Key, record: Record, expires_at: datetime | None) -> None:
        await self._swap(self._native(collection, key), record.version, "expire", expires_at, b"")

    async def _swap(self, name: bytes, expected: Expected, act: str, expires_at: datetime | None, body: bytes) -> Version:
        known = "any" if expected is ANY else expected.hex()
        version = await self._run("EVAL", SWAP, 1, name, known, act, _milliseconds(expires_at), body)
        if version is None:
            raise ConflictError("Somebody else wrote first.")
        return Version(bytes.fromhex(_text(version))) if version else ABSENT


def _checked(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _value(reply: Any, collection: Scope, key: Key) -> bytes | None:
    """What GET answered."""
    if isinstance(reply, Exception) and "WRONGTYPE" in str(reply):
        raise _foreign("value of another type", collection, key, str(reply)) from reply
    value: bytes | None = _checked(reply)
    return value


def _text(reply: bytes | str) -> str:
    return reply if isinstance(reply, str) else reply.decode()


def _foreign(kind: str, collection: Scope, key: Key, why: str) -> DeserializationError:
    shown = [repr(name if isinstance(name, str) else name.value) for name in (key, collection)]
    return DeserializationError(f"Key {shown[0]} in collection {shown[1]} holds a {kind}, not an entry. {why}")


def _milliseconds(expires_at: datetime | None) -> int:
    """What is left until a deadline, rounded up, at least 1; 0 without a deadline."""
    return 0 if expires_at is None else max(1, math.ceil((expires_at - utc_now()).total_seconds() * 1000))


def _set(name: bytes, body: bytes, expires_at: datetime | None) -> Command:
    return ("SET", name, body) if expires_at is None else ("SET", name, body, "PX", _milliseconds(expires_at))


def _earlier(envelope: datetime | None, left: int) -> datetime | None:
    """The effective deadline: the envelope's, or the server's where that is clearly earlier."""
    if left < 0:
        return envelope
    try:
        native = utc_now() + timedelta(milliseconds=left)
    except OverflowError:
        return envelope
    return native if envelope is None or native < envelope - JITTER else envelope


def _bounded(entry: ManagedEntry, left: int) -> ManagedEntry:
    if left >= 0:
        entry.expires_at = _earlier(entry.expires_at, left)
    return entry
