"""Describing, reading and editing what Redis and Valkey store, whatever its type.

A version is the SHA-1 of a string's value, or of any other type's DUMP; a script compares it and writes in one step. A bare
EXPIRE or PERSIST writes neither value nor envelope, so the version stays; the stamp of a description tells of it, and an edit
that keeps the deadline keeps the one that it read just before.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from datetime import datetime
from hashlib import sha1
from typing import Any

from stores.backends.envelope import HEAD_BYTES, peek
from stores.backends.resp_commands import (
    CONCURRENT_BATCHES,
    MAX_VALUE_BYTES,
    SWAP,
    VERSION,
    Command,
    bounded,
    checked,
    earlier,
    is_denied,
    milliseconds,
    text_of,
)
from stores.backends.resp_scans import ScannedStore
from stores.backends.resp_structures import elements, listing
from stores.batches import run_batched
from stores.entry import ManagedEntry
from stores.errors import ConflictError, DeserializationError, InvalidKeyError, ValueTooLargeError
from stores.joined import written_names
from stores.lifecycle import Scope
from stores.names import Collection, Key, Token, encode_name
from stores.records import ABSENT, ANY, ENTRY, Description, Expected, Record, Version

__all__ = ["RecordedStore"]

DESCRIBED_AT_ONCE = 200
PEEKED_BYTES = 65536
"""A string up to this size is read with its description, in one round trip."""


class RecordedStore(ScannedStore, ABC):
    """Records over one way to send commands."""

    @abstractmethod
    def _ask(self, commands: Sequence[Command]) -> Awaitable[list[Any]]:
        """Send commands in one round trip; their replies in order, an error reply as its exception, in place."""

    async def _scan(self, position: Any, match: bytes | None, count: int) -> tuple[Any, list[bytes]]:
        """One SCAN from a position (None: the start): the next one (None: the end), and names."""
        pattern: Command = () if match is None else ("MATCH", match)
        after, names = await self._run("SCAN", position or 0, *pattern, "COUNT", count)
        return int(after) or None, names

    async def _run(self, *command: bytes | str | int) -> Any:
        [reply] = await self._ask([command])
        return checked(reply)

    # Names

    def _native(self, collection: Scope, key: Key) -> bytes:
        """The server's name of an entry."""
        return key.value if isinstance(key, Token) else self._prefix(collection) + encode_name(self._sanitize_key(key))

    def _plain_names(self, keys: Sequence[Key], collection: Collection) -> list[bytes] | None:
        """The names in a plain case; None where the store is to be opened first, or what is wrong is to be told."""
        prefix = self._prefixes.get(collection or self.default_collection)
        if prefix is not None and self._keeps_keys and self._loop is not None:
            names = [prefix + key.encode() for key in keys if type(key) is str and key and key.isascii()]
            if len(names) == len(keys):
                return names
        scope = self._plain(keys, collection)
        try:
            return None if scope is None else self._natives(scope, keys)
        except InvalidKeyError:
            return None

    def _natives(self, collection: Scope, keys: Sequence[Key]) -> list[bytes]:
        """As `_native` for each."""
        prefix = self._prefix(collection)
        if self._keeps_keys:
            return [key.value if isinstance(key, Token) else prefix + encode_name(key) for key in keys]
        return [key.value if isinstance(key, Token) else prefix + encode_name(self._sanitize_key(key)) for key in keys]

    def _dump(self, collection: Scope, key: Key, entry: ManagedEntry) -> bytes:
        """The stored form; an entry outside collections has the short one."""
        named, text = written_names(collection, key)
        body = self._adapter.dump_json(entry, key=text, collection=named).encode()
        if len(body) > MAX_VALUE_BYTES:
            raise ValueTooLargeError(f"The entry {text!r} has {len(body)} bytes; {self.traits.name} takes {MAX_VALUE_BYTES}.")
        return body

    # Describe

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

        return await run_batched(part, names, size=DESCRIBED_AT_ONCE, limit=CONCURRENT_BATCHES)

    def _described(self, replies: list[Any]) -> Description | None:
        if is_denied(replies[0]):  # the name is shown all the same: SCAN tells everybody all names
            return Description("unreadable", None, None, None, b"")
        kind = text_of(checked(replies[0]))
        left = checked(replies[1])
        if kind == "none":
            return None
        until = replies[2] if isinstance(replies[2], int) else left >= 0
        if kind != "string":
            return Description(kind, None, None, earlier(None, left), b"%s %d " % (kind.encode(), until))
        size, head = checked(replies[3]), checked(replies[4])
        stamp = sha1(b"%d %d %s" % (size, until, head), usedforsecurity=False).digest()
        times = peek(head)
        if times is not None:
            return Description(ENTRY, size, times.created_at, earlier(times.expires_at, left), stamp)
        if head.startswith(b"{") and size > len(head):
            kind = "unknown"
        elif head.startswith(b"{"):
            try:
                entry = self._adapter.load_json(head)
                return Description(ENTRY, size, entry.created_at, earlier(entry.expires_at, left), stamp)
            except DeserializationError:
                pass
        return Description(kind, size, None, earlier(None, left), stamp)

    # Read and edit

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        name = self._native(collection, key)
        kind, left, size, value = await self._ask(
            [("TYPE", name), ("PTTL", name), ("STRLEN", name), ("GETRANGE", name, 0, PEEKED_BYTES - 1)]
        )
        kind, left = text_of(checked(kind)), checked(left)
        if kind == "none":
            return None
        if kind != "string":
            return await self._read_structure(name, kind, left, limit)
        size, value = checked(size), checked(value)
        version = None
        if len(value) == PEEKED_BYTES:
            if limit is None or value.startswith(b"{"):
                value = await self._run("GET", name) or b""
                size = len(value)
            else:
                version = await self._version(name)
        version = version or Version(sha1(value, usedforsecurity=False).digest())
        try:
            entry = bounded(self._adapter.load_json(value), left)
        except DeserializationError:
            return Record(
                kind=kind,
                body=value[:limit],
                length=size,
                size=size,
                expires_at=earlier(None, left),
                version=version,
            )
        return Record.of(entry, size=size, version=version)

    async def _version(self, name: bytes) -> Version | None:
        found = await self._run("EVAL", VERSION, 1, name)
        return None if not found else Version(bytes.fromhex(text_of(found)))

    async def _read_structure(self, name: bytes, kind: str, left: int, limit: int | None) -> Record | None:
        """Foreign data that is no string: what it holds as JSON, at most so many elements as can be wanted."""
        version = await self._version(name)
        if version is None:
            return None
        most = -1 if limit is None else max(limit // 4, 10)  # an element's JSON has no fewer bytes
        usage, total, held = await self._ask([("MEMORY", "USAGE", name), *listing(kind, name, most)])
        shown = elements(kind, checked(held))
        body = json.dumps(shown).encode()
        length = len(body)
        if isinstance(total, int) and len(shown) < total:
            length = length * total // max(len(shown), 1)
        return Record(
            kind=kind,
            body=body[:limit],
            length=length,
            size=usage if isinstance(usage, int) else length,
            expires_at=earlier(None, left),
            version=version,
        )

    async def _snapshot(self, *, collection: Scope, key: Key) -> Record | None:
        name = self._native(collection, key)
        kind = text_of(await self._run("TYPE", name))
        if kind in ("none", "string"):
            return await self._read(collection=collection, key=key, limit=None)
        dump, left = map(checked, await self._ask([("DUMP", name), ("PTTL", name)]))
        if dump is None:
            return None
        version = Version(sha1(dump, usedforsecurity=False).digest())
        size = len(dump)
        return Record(kind=kind, body=dump, length=size, size=size, expires_at=earlier(None, left), version=version)

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
        version = await self._run("EVAL", SWAP, 1, name, known, act, milliseconds(expires_at), body)
        if version is None:
            raise ConflictError("Somebody else wrote first.")
        return Version(bytes.fromhex(text_of(version))) if version else ABSENT
