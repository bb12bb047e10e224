"""Opening and closing a store, and the names that it takes.

A store opens itself at its first use. `_setup` connects and never changes anything; `_setup_collection` runs before the first
write to a collection and may create what the write needs, so that looking changes nothing. Both may be tried again after a
failure.

Whoever opens or closes a store may be cancelled, and goes at once: what is half open is then closed without him, and who enters
the store next waits for that.

A store works on one event loop at a time. What it opened ends with its loop, and on the next one it opens itself anew. So it
does in a process that was forked from the one in which it was opened.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, ClassVar, Self

from stores.arguments import check_name
from stores.edges import Edges
from stores.errors import InvalidKeyError, StoreClosedError, StoreConnectionError, StoreSetupError
from stores.joined import SEPARATOR
from stores.locks import LoopLock
from stores.names import Collection, Key, Scope, Token, encode_name
from stores.sanitization import PassthroughStrategy, SanitizationStrategy
from stores.serialization import BasicSerializationAdapter, SerializationAdapter

__all__ = ["DEFAULT_COLLECTION", "Lifecycle", "Scope"]

DEFAULT_COLLECTION = "default_collection"

MAX_SET_UP = 10_000
"""Collections that are remembered as set up: names may be made up without an end."""


class Lifecycle(Edges):
    """A store's life. Backends give `traits`, `location`, the tables of driver errors, and the setup hooks."""

    _joins_names: ClassVar[bool] = False
    """Whether the backend keeps `collection::key`, so that `::` in a collection would be ambiguous."""

    _any_loop: ClassVar[bool] = False
    """Whether what `_setup` opens belongs to no event loop."""

    def __init__(
        self,
        *,
        default_collection: str | None = None,
        serialization_adapter: SerializationAdapter | None = None,
        key_sanitization_strategy: SanitizationStrategy | None = None,
        collection_sanitization_strategy: SanitizationStrategy | None = None,
    ) -> None:
        """Common options of all stores.

        Args:
            default_collection: used where no collection is given; "default_collection" when None.
            serialization_adapter: the form of entries.
            key_sanitization_strategy: how keys are made to fit; as they are when None.
            collection_sanitization_strategy: how collections are made to fit; as they are when None.
        """
        super().__init__()
        if default_collection is not None and not isinstance(default_collection, str):
            raise TypeError(
                f"default_collection is a string, not {type(default_collection).__name__} ({default_collection!r})."
            )
        self.default_collection = default_collection or DEFAULT_COLLECTION
        self._adapter = serialization_adapter or BasicSerializationAdapter()
        self._key_strategy = key_sanitization_strategy or PassthroughStrategy()
        self._collection_strategy = collection_sanitization_strategy or PassthroughStrategy()
        self._loop: asyncio.AbstractEventLoop | None = None
        """On which the store was opened; None while it is closed."""
        self._process = 0
        self._entered = 0
        """Blocks that the store is in: the last to end closes it."""
        self._setup_lock = LoopLock()
        self._close_lock = LoopLock()
        self._ending: asyncio.Task[None] | None = None
        """The event loop itself keeps no task alive."""
        self._set_up_collections: set[str] = set()

    # Hooks

    async def _setup(self) -> None:
        """Open or connect. Must change nothing in the backend."""

    async def _setup_collection(self, *, collection: str) -> None:
        """Create what a first write to the collection needs."""

    async def _missing(self) -> str | None:
        """As `missing`."""
        return None

    async def _close(self) -> None:
        """Release what `_setup` opened, which may have failed on the way."""

    def _forget(self) -> None:
        """Let go, untouched, of what was opened in the process from which this one was forked, where it is in use."""

    # Life

    async def setup(self) -> None:
        """Open the store, if it is not open.

        Raises:
            StoreSetupError: with the cause; it may be tried again.
            StoreClosedError: the store was closed.
        """
        loop = asyncio.get_running_loop()
        if self._is_open_on(loop):
            return
        self._refuse_closed()
        async with self._setup_lock, AsyncExitStack() as closing:
            await closing.enter_async_context(self._close_lock)
            await self._come_to(loop)
            if self._loop is not None:
                return
            try:
                await self._setup()
                await self._seed_store()
                self._refuse_closed()  # meanwhile
            except BaseException as exc:
                closing.pop_all()
                ending = self._to_its_end(self._close())
                if isinstance(exc, asyncio.CancelledError):
                    raise  # at once: what hung, or waits for another program, may do so for long yet
                await asyncio.shield(ending)
                ours = self._ours(exc, None, None)
                if not isinstance(exc, Exception) or isinstance(exc, (StoreSetupError, StoreClosedError)):
                    raise
                why = self._told(ours or exc).removeprefix(f"{self._where()}: ")  # what is translated says where, too
                failed = StoreSetupError(f"The {self.traits.name} store at {self.location} could not be opened: {why}")
                failed.fault = ours.fault if ours is not None else self._fault(exc)
                raise failed from exc
            self._loop, self._process = loop, os.getpid()

    def _to_its_end(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Release what was opened, whether or not somebody waits, and with it the close lock: who enters the store waits."""

        def ended(task: asyncio.Task[None]) -> None:
            self._close_lock.release()
            if not task.cancelled():
                task.exception()  # perhaps nobody else asks

        self._ending = asyncio.create_task(work)
        self._ending.add_done_callback(ended)
        return self._ending

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreClosedError(f"This {self.traits.name} store was closed. Enter it again to use it.")

    def _is_open_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        if self._any_loop:
            return self._loop is not None and self._process == os.getpid()
        return self._loop is loop

    async def _come_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be open on this event loop, or on none. StoreSetupError where it is open on another, which has not ended."""
        if self._loop is None or self._is_open_on(loop):
            return
        if not self._any_loop and not self._loop.is_closed():
            raise StoreSetupError(
                f"This {self.traits.name} store is open on another event loop, and works on one at a time. Close it there."
            )
        self._loop = None
        self._set_up_collections.clear()
        if self._any_loop:
            self._forget()
            return
        with suppress(Exception):  # what is left cannot say farewell
            await self._close()

    async def _seed_store(self) -> None:
        """Fill the store when it opens."""

    async def missing(self) -> str | None:
        """What all entries would lie in and is not there, for a person: "bucket 'x'", which the first write makes.

        None where it is there, or where nobody makes or could mistype one. One that was there is not asked for again.
        """
        with self._edge():
            await self.setup()
            return await self._missing()

    async def setup_collection(self, *, collection: str) -> None:
        """Create what writes to the collection need, once.

        Raises:
            StoreSetupError: with the cause; it may be tried again.
        """
        await self.setup()
        if collection in self._set_up_collections:
            return
        async with self._setup_lock:
            if collection in self._set_up_collections:
                return
            try:
                await self._setup_collection(collection=collection)
            except (StoreConnectionError, InvalidKeyError, StoreSetupError):
                raise
            except Exception as exc:
                self._refuse_closed()  # meanwhile
                ours = self._ours(exc, collection, None)
                if isinstance(ours, StoreConnectionError):
                    raise ours from exc
                raise StoreSetupError(f"Collection {collection!r} at {self.location} could not be set up: {exc}") from exc
            if len(self._set_up_collections) >= MAX_SET_UP:
                self._set_up_collections.clear()
            self._set_up_collections.add(collection)

    async def close(self) -> None:
        """Release what the store opened itself. A client that was passed in stays open."""
        await self._come_to(asyncio.get_running_loop())
        was_open, self._loop, self._closed, self._entered = self._loop is not None, None, True, 0
        self._set_up_collections.clear()
        if was_open and self.traits.immediate:
            async with self._close_lock:
                await self._close()
        elif was_open:
            await self._close_lock.acquire()
            await asyncio.shield(self._to_its_end(self._close()))

    async def __aenter__(self) -> Self:
        self._closed = False
        await self.setup()
        self._entered += 1
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._entered -= 1
        if self._entered <= 0:
            await self.close()

    # Names

    def _scope(self, collection: Collection) -> Scope:
        """The collection, its default resolved and its name checked."""
        if collection is None or collection == "":
            collection = self.default_collection
        if isinstance(collection, str):
            if not collection.isascii() or self.traits.max_collection_bytes is not None:
                self._check_size(self._sanitize_collection(collection), self.traits.max_collection_bytes, "collection")
        else:
            check_name(collection)
        return collection

    def _check_new_collection(self, scope: Scope) -> None:
        """Refuse a collection that may be read but not written."""
        # with a colon at its end, the separator would be found one character earlier
        if self._joins_names and isinstance(scope, str) and SEPARATOR in self._sanitize_collection(scope) + SEPARATOR[:1]:
            raise InvalidKeyError(
                f"In {self.traits.name} {SEPARATOR!r} joins collection and key, so {scope!r} is no name for a collection; "
                "choose another name or a sanitization strategy."
            )

    def _check_key(self, key: Key) -> None:
        """Refuse what cannot be a key here, before anything is sent."""
        if isinstance(key, Token):
            return
        if not isinstance(key, str):
            raise TypeError(f"A key is a string, not {type(key).__name__} ({key!r}).")
        traits = self.traits
        if not key and not traits.empty_key:
            raise InvalidKeyError(f"The empty key cannot be stored in {traits.name}.")
        if not key.isascii() or traits.max_key_bytes is not None:
            self._check_size(self._sanitize_key(key), traits.max_key_bytes, "key")

    def _check_keys(self, keys: Sequence[Key]) -> None:
        """As `_check_key` for each; quick where every ASCII text is a key."""
        quick = self.traits.max_key_bytes is None
        for key in keys:
            if not (quick and type(key) is str and key and key.isascii()):
                self._check_key(key)

    def _check_size(self, name: str, limit: int | None, what: str) -> None:
        raw = encode_name(name)
        if not self.traits.binary_keys and not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InvalidKeyError(f"The {what} {name!r} is not UTF-8, which {self.traits.name} needs.") from None
        if limit is not None and len(raw) > limit:
            raise InvalidKeyError(
                f"The {what} {name[:40]!r}… has {len(raw)} bytes; {self.traits.name} takes {limit} at most. "
                "A sanitization strategy can shorten it."
            )

    def _sanitize_collection(self, collection: str) -> str:
        self._collection_strategy.validate(collection)
        return self._collection_strategy.sanitize(collection)

    def _sanitize_key(self, key: str) -> str:
        self._key_strategy.validate(key)
        return self._key_strategy.sanitize(key)
