"""What Redis and Valkey share: entries, over one way to send commands.

An entry is the string `collection::key` that holds the long form, with a native TTL in milliseconds, rounded up.
"""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import ClassVar, TypedDict

from stores.backends.envelope import open_text
from stores.backends.resp_commands import (
    BATCH,
    CONCURRENT_BATCHES,
    GONE,
    MAX_VALUE_BYTES,
    Command,
    bounded,
    checked,
    earlier,
    foreign,
    set_command,
    value_of,
)
from stores.backends.resp_records import RecordedStore
from stores.batches import batched, made_in_turns, run_batched, run_bounded
from stores.entry import ManagedEntry
from stores.errors import (
    BaseKeyValueError,
    DeserializationError,
    Fault,
    KeyValueOperationError,
    KeyValueStoreError,
    ReadOnlyError,
    StoreConnectionError,
    StoreSetupError,
    UnsupportedError,
    ValueTooLargeError,
)
from stores.faults import Words
from stores.lifecycle import Scope
from stores.names import Key
from stores.records import DatedText
from stores.sanitization import SanitizationStrategy

__all__ = ["BATCH", "MAX_VALUE_BYTES", "WORDS", "Command", "RespStore", "Strategies"]

DENIED = (KeyValueOperationError, "The server's ACL denies this user that command or key.")
REPLICA = (ReadOnlyError, "This server is a replica; write to its primary.")
PASSWORD = (StoreConnectionError, "Check the username and the password.")
OF_ANOTHER = (UnsupportedError, "Only what was taken from such a server can be put back there.")
UNREADY = (StoreConnectionError, "The server cannot answer that at the moment.")
CROWDED = (StoreConnectionError, "The server takes no more connections: raise its maxclients, or close some.")
PROTECTED = (StoreConnectionError, "The server answers its own machine only, until it has a password.")
TOO_LONG = (ValueTooLargeError, "The server's proto-max-bulk-len is the limit.")
ONE_OF_MANY = (KeyValueStoreError, "This server is one node of a cluster: use ValkeyStore with its cluster_nodes.")
TROUBLE: dict[str, tuple[type[BaseKeyValueError], str]] = {
    "OOM": (KeyValueStoreError, "The server is full: raise its maxmemory, or delete something."),
    "DUMP payload": OF_ANOTHER,
    "max number of clients reached": CROWDED,
    "DENIED": PROTECTED,
    "Protocol error: invalid bulk length": TOO_LONG,
    **dict.fromkeys(("NOPERM", "PermissionDenied", "The user executing the script can't run"), DENIED),
    **dict.fromkeys(("READONLY", "ReadOnly"), REPLICA),
    **dict.fromkeys(("NOAUTH", "WRONGPASS", "AuthenticationFailed"), PASSWORD),
    **dict.fromkeys(("LOADING", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS"), UNREADY),
    **dict.fromkeys(("BusyLoadingError", "ClusterDown", "MasterDown", "TryAgain"), UNREADY),
    **dict.fromkeys(("MOVED", "ASK", "CROSSSLOT", "Moved", "Ask", "CrossSlot"), ONE_OF_MANY),
}
"""The server's error codes and words, and GLIDE's for some of them."""

WORDS: Words = {
    **dict.fromkeys(("NOPERM", "PermissionDenied", "The user executing the script can't run"), Fault.RIGHT),
    **dict.fromkeys(("NOAUTH", "WRONGPASS", "AuthenticationFailed", "without any password configured"), Fault.PASSWORD),
    **dict.fromkeys(("DB index is out of range", "invalid DB index", "switch database"), Fault.DATABASE),
}
"""What the server's words, and GLIDE's, tell of a connection."""

_TROUBLE = re.compile(rf"(?:^|: -?\s?)(?:ResponseError: |ERR )?({'|'.join(TROUBLE)})\b")
"""Servers before 7.0 put an error inside a script behind where it happened."""
_CLUSTER_SIZE = re.compile(rb"cluster_size:(\d+)")


class Strategies(TypedDict, total=False):
    """How names are made to fit, for the overloads of constructors."""

    key_sanitization_strategy: SanitizationStrategy | None
    collection_sanitization_strategy: SanitizationStrategy | None


class RespStore(RecordedStore, ABC):
    """Everything but the connection."""

    _fault_words: ClassVar[Words] = WORDS

    _clustered = False
    """Whether all nodes of a cluster are asked."""

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        ours = super()._translate(exc, scope, key)
        found = None if ours is None else _TROUBLE.search(str(exc))
        if ours is None or found is None:
            return ours
        trouble = TROUBLE[found[1]]
        if trouble is REPLICA:
            self._leave_replica()
        elif trouble is ONE_OF_MANY and self._clustered:
            trouble = UNREADY  # it is being resharded
        kind, advice = trouble
        told = (ours.message or "").rstrip(". ")
        return kind(f"{told}. {advice}")

    def _leave_replica(self) -> None:
        """Look for the primary, which had this address perhaps until just now, before the next request."""

    async def _check_alone(self) -> None:
        """Refuse a node that holds only a part of a cluster's entries: the others would seem to be missing."""
        if self._clustered:
            return
        [told] = await self._ask([("CLUSTER", "INFO")])
        size = _CLUSTER_SIZE.search(told) if isinstance(told, bytes) else None  # else an error: no cluster, or no right to ask
        if size is not None and int(size[1]) > 1:
            raise StoreSetupError(f"{self._where()}: {ONE_OF_MANY[1]}")

    def _load(self, raw: bytes, collection: Scope, key: Key) -> ManagedEntry:
        try:
            return self._adapter.load_json(raw)
        except DeserializationError as exc:
            raise foreign("string", collection, key, str(exc)) from exc

    # Entries

    async def _fetch(self, collection: Scope, keys: Sequence[Key]) -> list[tuple[bytes | None, int]]:
        """Values of a batch with what the server's clock leaves them, in milliseconds."""
        if len(keys) == 1:
            return [await self._fetch_one(collection, keys[0])]
        names = self._natives(collection, keys)
        replies = await self._ask([("MGET", *names), *(("PTTL", name) for name in names)])
        found = list(zip(checked(replies[0]), map(checked, replies[1:]), strict=True))
        for index, (value, left) in enumerate(found):
            if value is None and left != GONE:  # MGET says nothing about another type
                found[index] = await self._fetch_one(collection, keys[index])
        return found

    async def _fetch_one(self, collection: Scope, key: Key) -> tuple[bytes | None, int]:
        name = self._native(collection, key)
        value, left = await self._ask([("GET", name), ("PTTL", name)])
        return value_of(value, collection, key), checked(left)

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        value, left = await self._fetch_one(collection, key)
        return None if value is None else bounded(self._load(value, collection, key), left)

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        async def part(keys: Sequence[Key]) -> list[ManagedEntry | None]:
            found = await self._fetch(collection, keys)
            return [
                None if value is None else bounded(self._load(value, collection, key), left)
                for key, (value, left) in zip(keys, found, strict=True)
            ]

        return await run_batched(part, keys, size=BATCH, limit=CONCURRENT_BATCHES)

    async def _get_undated_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        [reply] = await self._ask([("GET", self._native(collection, key))])
        value = value_of(reply, collection, key)
        return None if value is None else self._load(value, collection, key)

    async def _get_undated_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        async def part(keys: Sequence[Key]) -> list[ManagedEntry | None]:
            values = await self._run("MGET", *self._natives(collection, keys))
            missing = [index for index, value in enumerate(values) if value is None]  # or of another type: MGET does not say
            if missing:
                found = await self._fetch(collection, [keys[index] for index in missing])
                for index, (value, _) in zip(missing, found, strict=True):
                    values[index] = value
            return [
                None if value is None else self._load(value, collection, key) for key, value in zip(keys, values, strict=True)
            ]

        return await run_batched(part, keys, size=BATCH, limit=CONCURRENT_BATCHES)

    async def _get_texts(self, *, collection: Scope, keys: Sequence[Key]) -> list[DatedText]:
        async def part(keys: Sequence[Key]) -> list[DatedText]:
            found = await self._fetch(collection, keys)
            return [
                None if value is None else self._opened(value, left, collection, key)
                for key, (value, left) in zip(keys, found, strict=True)
            ]

        return await part(keys) if len(keys) == 1 else await run_batched(part, keys, size=BATCH, limit=CONCURRENT_BATCHES)

    def _opened(self, value: bytes, left: int, collection: Scope, key: Key) -> tuple[bytes, datetime | None]:
        opened = open_text(value)
        if opened is not None:
            return opened[0], earlier(opened[1], left)
        entry = self._load(value, collection, key)
        return entry.value_as_json.encode(), earlier(entry.expires_at, left)

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        body = self._dump(collection, key, managed_entry)
        await self._run(*set_command(self._native(collection, key), body, managed_entry.expires_at))

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
        bodies = await made_in_turns(partial(self._dump, collection), keys, managed_entries)
        pairs = list(zip(self._natives(collection, keys), bodies, strict=True))

        async def part(pairs: Sequence[tuple[bytes, bytes]]) -> None:
            if expires_at is None:  # one command, and one reply; with a TTL there is none for many
                await self._run("MSET", *chain.from_iterable(pairs))
                return
            for reply in await self._ask([set_command(name, body, expires_at) for name, body in pairs]):
                checked(reply)

        await run_bounded(part, batched(pairs, BATCH), limit=CONCURRENT_BATCHES)

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        return bool(await self._run("UNLINK", self._native(collection, key)))

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        names = self._natives(collection, keys)

        async def part(names: Sequence[bytes]) -> int:
            return int(await self._run("UNLINK", *names))

        return sum(await run_bounded(part, batched(names, BATCH), limit=CONCURRENT_BATCHES))
