"""MemcachedStore: entries as items `collection::key` that hold the long form.

The store speaks the meta commands over pipelined connections of its own (`pipelined`), at most two however many callers there
are: aiomcache knows neither versions with deadlines nor the client's flags, and a call that is cancelled leaves its connection
where the next one reads the wrong answer. Of an aiomcache client that is passed in, the address is taken; it stays untouched.

Memcached cannot list its items page by page: a walk is made of one dump of all names (`memcached_walk`), about as they were
when it started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypedDict, Unpack, overload

from aiomcache import Client

from stores.arguments import Secret
from stores.backends import memcached_protocol as protocol
from stores.backends.envelope import open_text
from stores.backends.memcached_errors import ERRORS, WORDS, AnswerError, advised
from stores.backends.memcached_items import Items, earlier, exptime, flags_of, foreign
from stores.backends.memcached_protocol import Answer
from stores.backends.memcached_server import BATCH, CONCURRENT_BATCHES, DEFAULT_ITEM_LIMIT, Server
from stores.backends.memcached_walk import Pick, Walk, keys_in, one_of_each_collection
from stores.base import BaseContextManagerStore, BaseDestroyStore, BaseStore
from stores.batches import made_in_turns, run_batched
from stores.cursors import HeldCursors
from stores.entry import ManagedEntry
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    DeserializationError,
    ValueTooLargeError,
)
from stores.joined import JOINT, collection_of, compound, written_names
from stores.lifecycle import Scope
from stores.names import OUTSIDE, Key, Name, Page, Token, decode_name, encode_name, shown
from stores.records import ABSENT, ANY, DatedText, Description, Expected, Record, Version
from stores.sanitization import HashExcessLengthStrategy, SanitizationStrategy
from stores.traits import Traits

__all__ = ["MemcachedStore", "MemcachedV1KeySanitizationStrategy"]

ITEM_OVERHEAD = 128
"""Bytes that the server keeps beside an item's name and value, generously."""

DATED, UNDATED = b"v t f", b"v f"
"""What is asked of an item: its value and the client's flags, with or without the seconds that it has to live."""

SMALL = 4096
"""Items up to this size are looked into when they are described."""


class MemcachedV1KeySanitizationStrategy(HashExcessLengthStrategy):
    """Names (collection and key together) over 240 characters as `H_` and their hash."""

    def __init__(self) -> None:
        """Nothing to choose."""
        super().__init__(max_length=240)


class _More(TypedDict, total=False):
    default_collection: str | None
    username: str | None
    password: str | None
    tls: bool
    tls_ca_certs: str | None
    tls_check_hostname: bool
    timeout: float


class MemcachedStore(BaseDestroyStore, BaseContextManagerStore, BaseStore):
    """A key-value store in a memcached server (1.6 and later)."""

    traits: ClassVar[Traits] = Traits(
        name="memcached",
        pings=True,
        flat=True,
        persistent=True,
        ttl_granularity=1.0,
        foreign_ttl=True,
        scan="snapshot",
        resumable_cursors=False,
        exact_keys=False,
        max_value_bytes=DEFAULT_ITEM_LIMIT - ITEM_OVERHEAD - protocol.MAX_NAME,
        batch_size=BATCH,
        notes="A cache: it drops entries when it is full and forgets all when it restarts. Collection and key together have at "
        "most 250 bytes. A walk reads a dump of all names.",
    )

    _errors: ClassVar = ERRORS
    _fault_words: ClassVar = WORDS

    _joins_names = True

    @overload
    def __init__(
        self,
        *,
        client: Client,
        default_collection: str | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 11211,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        **more: Unpack[_More],
    ) -> None: ...

    def __init__(
        self,
        *,
        client: Client | None = None,
        host: str = "127.0.0.1",
        port: int = 11211,
        default_collection: str | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        username: str | None = None,
        password: Annotated[str | None, Secret] = None,
        tls: bool = False,
        tls_ca_certs: str | None = None,
        tls_check_hostname: bool = True,
        timeout: float = 10.0,
    ) -> None:
        """Name the server. Nothing is sent before the first use.

        Args:
            client: an aiomcache client whose server to use; it stays the caller's, who closes it.
            host: the server's name or address.
            port: its TCP port.
            default_collection: used where no collection is given; "default_collection" when None.
            key_sanitization_strategy: how collection and key, joined, are made to fit; as they are when None.
            username: a user of the server's own file of users (`-Y`).
            password: of that user.
            tls: speak TLS.
            tls_ca_certs: file with the certificates (PEM) to trust; the system's when None.
            tls_check_hostname: whether the certificate must be for this host.
            timeout: seconds to connect, and of silence while an answer is owed, after which the connection counts as lost.
        """
        super().__init__(
            default_collection=default_collection,
            key_sanitization_strategy=key_sanitization_strategy,
            client_provided_by_user=client is not None,
        )
        connect: dict[str, Any] = {}
        if client is not None:
            pool = client._pool  # noqa: SLF001 - a client tells its address in no other way
            host, port = pool._host, pool._port  # noqa: SLF001 - as above
            connect = dict(pool.conn_args)
        self._server = Server(
            host,
            port,
            login=None if username is None else (username, password or ""),
            authority=tls_ca_certs if tls else False,
            check_hostname=tls_check_hostname,
            timeout=timeout,
            connect=connect,
        )
        self._walks: HeldCursors[Walk] = HeldCursors()
        self._items = Items(self._adapter)

    @property
    def location(self) -> str:
        """The server."""
        return f"memcached://{self._server.host}:{self._server.port}"

    async def _setup(self) -> None:
        await self._server.open()

    async def _close(self) -> None:
        self._server.close()
        self._walks.clear()

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        ours = super()._translate(exc, scope, key)
        return None if ours is None else advised(ours, exc)

    # Names

    def _check_key(self, key: Key) -> None:
        """Whether it is a key; how long it may be depends on its collection (`_native`)."""
        if isinstance(key, str):
            encode_name(key)
        elif not isinstance(key, Token):
            raise TypeError(f"A key is a string, not {type(key).__name__} ({key!r}).")

    def _native(self, collection: Scope, key: Key) -> bytes:
        """The server's name of an entry: collection and key are joined, and then made to fit."""
        if isinstance(key, Token):
            return protocol.check_name(key.value)
        if collection == OUTSIDE:
            joined = key
        else:
            joined = compound(decode_name(collection.value) if isinstance(collection, Token) else collection, key)
        return protocol.check_name(encode_name(self._sanitize_key(joined)))

    def _dump(self, collection: Scope, key: Key, entry: ManagedEntry) -> bytes:
        """The stored form; an entry outside collections has the short one."""
        named, text = written_names(collection, key)
        return self._adapter.dump_json(entry, key=text, collection=named).encode()

    def _check_fits(self, name: bytes, body: bytes) -> None:
        """A value that is too large must not be sent: the server would refuse it and drop what was there."""
        size = len(body) + len(name) + ITEM_OVERHEAD
        if size > self._server.item_limit:
            raise ValueTooLargeError(
                f"The entry {decode_name(name)!r} has {len(body)} bytes; this memcached takes {self._server.item_limit} "
                "with name and overhead (its option -I)."
            )

    # Entries

    async def _fetch(self, collection: Scope, keys: Sequence[Key], asked: bytes) -> list[Answer | None]:
        found = await self._server.ask([protocol.get(self._native(collection, key), asked) for key in keys])
        for key, answer in zip(keys, found, strict=True):
            if answer.flags.get("f"):
                raise foreign(collection, key, f"Its flags are {answer.flags['f']}.")
        return [answer if answer.code == b"VA" else None for answer in found]

    def _load(self, answer: Answer, collection: Scope, key: Key) -> ManagedEntry:
        try:
            return self._items.entry(answer)
        except DeserializationError as exc:
            raise foreign(collection, key, str(exc)) from exc

    async def _entries(self, collection: Scope, keys: Sequence[Key], asked: bytes) -> list[ManagedEntry | None]:
        async def part(keys: Sequence[Key]) -> list[ManagedEntry | None]:
            found = await self._fetch(collection, keys, asked)
            return [
                None if answer is None else self._load(answer, collection, key) for key, answer in zip(keys, found, strict=True)
            ]

        return await run_batched(part, keys, size=BATCH, limit=CONCURRENT_BATCHES)

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        return (await self._entries(collection, [key], DATED))[0]

    async def _get_managed_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        return await self._entries(collection, keys, DATED)

    async def _get_undated_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        return (await self._entries(collection, [key], UNDATED))[0]

    async def _get_undated_entries(self, *, collection: Scope, keys: Sequence[Key]) -> list[ManagedEntry | None]:
        return await self._entries(collection, keys, UNDATED)

    async def _get_texts(self, *, collection: Scope, keys: Sequence[Key]) -> list[DatedText]:
        async def part(keys: Sequence[Key]) -> list[DatedText]:
            found = await self._fetch(collection, keys, DATED)
            return [
                None if answer is None else self._opened(answer, collection, key)
                for key, answer in zip(keys, found, strict=True)
            ]

        return await run_batched(part, keys, size=BATCH, limit=CONCURRENT_BATCHES)

    def _opened(self, answer: Answer, collection: Scope, key: Key) -> tuple[bytes, datetime | None]:
        opened = open_text(answer.value)
        if opened is not None:
            return opened[0], earlier(opened[1], answer)
        entry = self._load(answer, collection, key)
        return entry.value_as_json.encode(), entry.expires_at

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        await self._put_all(collection, [key], [managed_entry])

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
        await self._put_all(collection, keys, managed_entries)

    async def _put_all(self, collection: Scope, keys: Sequence[Key], entries: Sequence[ManagedEntry]) -> None:
        def request(key: Key, entry: ManagedEntry) -> bytes:
            name, body = self._native(collection, key), self._dump(collection, key, entry)
            self._check_fits(name, body)
            return protocol.store(name, body, exptime=exptime(entry.expires_at))

        requests = await made_in_turns(request, keys, entries)
        answers = await self._server.ask_all(requests)
        failed = [index for index, answer in enumerate(answers) if isinstance(answer, AnswerError) or answer.code != b"HD"]
        if failed:
            answer = answers[failed[0]]
            told = str(answer) if isinstance(answer, AnswerError) else answer.code.decode()
            raise AnswerError(
                told
                if len(keys) == 1
                else f"{len(failed)} of {len(keys)} entries were not stored, the first of them {shown(keys[failed[0]])}: {told}"
            )

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        return await self._delete_managed_entries(keys=[key], collection=collection) > 0

    async def _delete_managed_entries(self, *, keys: Sequence[Key], collection: Scope) -> int:
        answers = await self._server.ask([protocol.delete(self._native(collection, key)) for key in keys])
        return sum(answer.code == b"HD" for answer in answers)

    async def _delete_store(self) -> bool:
        await self._server.flush()
        return True

    # Browse

    async def _page(self, cursor: bytes | None, limit: int, pick: Pick, named: Callable[[bytes], Name]) -> Page[Name]:
        """The next names of a walk; its first page starts the dump."""
        walk = Walk(self._server.dump(), pick) if cursor is None else self._walks.take(cursor)
        try:
            found, looked_at = await walk.page(limit)
        except BaseException:
            walk.close()
            raise
        return Page(
            [named(protocol.read_dumped(name)) for name in found], None if walk.is_over else self._walks.hold(walk), looked_at
        )

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        outside = collection == OUTSIDE
        prefix = b"" if outside else (collection.value if isinstance(collection, Token) else encode_name(collection)) + JOINT

        def named(name: bytes) -> Name:
            return Name(decode_name(name[len(prefix) :]), Token(name), self._key_strategy.keeps(decode_name(name)))

        return await self._page(cursor, limit, keys_in(None if outside else prefix, match), named)

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        def named(name: bytes) -> Name:
            stored = collection_of(name)
            return Name("", OUTSIDE, exact=False) if stored is None else Name(decode_name(stored), Token(stored))

        return await self._page(cursor, limit, one_of_each_collection(), named)

    def _close_cursor(self, cursor: bytes) -> None:
        self._walks.drop(cursor)

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        names = [self._native(collection, key) for key in keys]
        found = await self._server.ask([protocol.get(name, b"t s c f") for name in names])
        small = [
            index
            for index, answer in enumerate(found)
            if answer.code == b"HD" and not answer.flags["f"] and answer.flags["s"] <= SMALL
        ]
        values = await self._server.ask([protocol.get(names[index], b"v") for index in small]) if small else []
        looked = {index: answer.value for index, answer in zip(small, values, strict=True) if answer.code == b"VA"}
        return [self._items.description(answer, looked.get(index)) for index, answer in enumerate(found)]

    # Read and edit

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        [answer] = await self._server.ask([protocol.get(self._native(collection, key), b"v t s c f")])
        return self._items.record(answer, limit)

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        name = self._native(collection, key)
        if new is None:
            only = b"" if expected is ANY else b" C" + expected
            [answer] = await self._server.ask([protocol.delete(name, only=only)])
            if answer.code == b"HD" or expected is ANY:
                return ABSENT
            raise ConflictError("Somebody else wrote first.")
        if isinstance(new, Record):
            return await self._swap(name, new.body, new.expires_at, flags_of(new.kind), expected)
        return await self._swap(name, self._dump(collection, key, new), new.expires_at, 0, expected)

    async def _expire_foreign(self, *, collection: Scope, key: Key, record: Record, expires_at: datetime | None) -> None:
        whole = await self._read(collection=collection, key=key, limit=None)
        if whole is None or whole.version != record.version:
            raise ConflictError("Somebody else wrote first.")
        await self._swap(self._native(collection, key), whole.body, expires_at, flags_of(whole.kind), whole.version)

    async def _swap(
        self, name: bytes, body: bytes, expires_at: datetime | None, client_flags: int, expected: Expected
    ) -> Version:
        self._check_fits(name, body)
        only = b"" if expected is ANY else b" ME" if expected == ABSENT else b" C" + expected
        request = protocol.store(name, body, exptime=exptime(expires_at), client_flags=client_flags, only=only)
        [answer] = await self._server.ask([request])
        if answer.code != b"HD":
            raise ConflictError("Somebody else wrote first.")
        return Version(b"%d" % answer.flags["c"])
