"""The daemon's connections: who opens, watches, re-opens and closes each named store.

A connection is one store with a state:

    idle        not opened yet; the first request opens it
    connecting  being opened, off the loop
    ready       works
    degraded    its last operation could not reach the backend or got no answer in time; the daemon looks whether it answers,
                and what is asked meanwhile does not wait long (`kvd.health`)
    down        could not be opened, or failed several times in a row; requests fail at once until `retry_at`, when the daemon
                tries again by itself, and while it does (`kvd.retries`)

A store that keeps nothing on its backend (memory) is never closed for a failure. A hung backend holds its own slots and no one
else's time: each connection has its own limit of operations at the backend, and each request its own deadline. A write that a
store has goes on after its deadline, when the client was told that its outcome is not known; but not for ever: what has been at
the backend several times as long as any request of the connection may take is cancelled (`kvd.overdue`), and a store that is
opened anew owes nothing to what hangs in the old one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kvd.advice import CONFIGURATION, advice
from kvd.answers import pack_traits
from kvd.coalesce import Coalescer
from kvd.errors import Code, ConfigError, RequestError
from kvd.figures import Figures
from kvd.health import Health, Trouble
from kvd.listing import Listing
from kvd.overdue import AtBackend
from kvd.retries import Retries
from kvd.threads import in_thread

if TYPE_CHECKING:
    from kvd.config import ConnectionConfig
    from stores.base import BaseStore

__all__ = ["Connection"]

T = TypeVar("T")

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that closing a store may take."""


class Connection:
    """One named store with its state."""

    def __init__(
        self,
        config: ConnectionConfig,
        *,
        changed: Callable[[Connection], None],
        learn: Callable[[str], None],
        redact: Callable[[str], str],
    ) -> None:
        """Take what is written down; nothing is opened.

        Args:
            config: what is written down.
            changed: called after each change of state.
            learn: gets the secrets that are looked up.
            redact: takes them out of why it is down, which every client may know.
        """
        self.config = config
        self.name = config.name
        self.state = "idle"
        self.reason: str | None = None
        self._trouble: Trouble | None = None
        self.store: BaseStore | None = None
        self.immediate = False
        """Whether the store is open and never waits, so that its coroutines can be driven to their end at once."""
        self.at_hand: BaseStore | None = None
        """The store, if it may have what is asked for at hand."""
        self.coalescer: Coalescer | None = None
        self.listing: Listing | None = None
        """The search for the collections of a flat keyspace, which all clients share."""
        self.figures = Figures()
        self.direct = 0
        """Reads that the store was asked for directly, and not yet answered."""
        self.backend = AtBackend(config.timeout)
        self.health = Health(config.name, self._fare)
        self.users: set[object] = set()
        """Clients that hold a store opened by URL open."""
        self._changed = changed
        self._learn = learn
        self._redact = redact
        self._traits: dict[str, Any] = {}
        self._slots = asyncio.Semaphore(config.max_in_flight)
        self._opening: asyncio.Task[BaseStore] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._retries = Retries(self._begin_to_open)
        self._closed = False
        self._looked_at = 0.0

    # What others see

    @property
    def retry_at(self) -> float | None:
        """When the daemon tries again by itself to open it, in seconds since the epoch."""
        return self._retries.at

    def info(self) -> dict[str, Any]:
        """Return the fields of `kvd.model.ConnectionInfo` as a map."""
        config, store = self.config, self.store
        return {
            "name": self.name,
            "store": config.store,
            "location": config.location if store is None else store.location,
            "state": self.state,
            "reason": self.reason,
            "advice": self._advice,
            "retry_at": self.retry_at,
            "read_only": config.read_only,
            "production": config.production,
            "allow_destroy": config.allow_destroy,
            "group": config.group,
            "colour": config.colour,
            "separators": config.separators,
            "default_collection": self.default_collection,
            "traits": self._traits,
        }

    @property
    def _advice(self) -> str | None:
        """What to do about it where it is degraded or down."""
        if self._trouble is None or self.state not in {"degraded", "down"}:
            return None
        return advice(self.config.store, self._trouble.fault, self._trouble.reason) or None

    def status(self) -> dict[str, Any]:
        """Return the same with what it does."""
        figures = self.figures.pack() | {"at_backend": self.at_backend}
        return self.info() | {"figures": figures, "looking": self.health.looking}

    @property
    def at_backend(self) -> int:
        """Operations that the store has."""
        return len(self.backend) + self.direct

    @property
    def default_collection(self) -> str:
        """The collection that is meant where none is given."""
        if self.store is not None:
            return self.store.default_collection
        written = self.config.args.get("default_collection")
        return written if isinstance(written, str) and written else "default_collection"

    async def holds_entries(self) -> bool:
        """Tell whether it has entries that would be lost with the daemon."""
        if self.store is None or self.store.traits.persistent or not self.store.traits.browses_collections:
            return False
        page = await self.store.scan_collections(limit=1)
        if page.cursor is not None:
            self.store.close_cursor(page.cursor)
        return bool(page.items)

    # Life

    async def open(self, *, now: bool = False) -> BaseStore:
        """Return the open store, opening it where that is needed.

        Args:
            now: try even when the next attempt is not due yet.

        Raises:
            RequestError: config_error, setup_failed, unreachable or unknown_connection.
        """
        if self.store is not None:
            return self.store
        if self._closed:
            raise RequestError(Code.UNKNOWN_CONNECTION, f"connection {self.name} was closed", connection=self.name)
        if self._opening is None:
            if self.config.problems:
                detail = {"fault": CONFIGURATION}
                raise RequestError(Code.CONFIG_ERROR, "\n".join(self.config.problems), connection=self.name, detail=detail)
            if self.retry_at is not None and self.retry_at > time.time() and not now:
                raise self._down()
            self._opening = self._begin()
        elif self._retries.failing and not now:
            raise self._down()
        return await asyncio.shield(self._opening)

    def _begin(self) -> asyncio.Task[BaseStore]:
        opening = asyncio.get_running_loop().create_task(self._open())
        opening.add_done_callback(_look)
        return opening

    def _begin_to_open(self) -> None:
        if not (self._closed or self.store is not None or self._opening is not None or self.config.problems):
            self._opening = self._begin()

    async def _open(self) -> BaseStore:
        self._retries.stop()
        self._become("connecting", self._trouble)
        store: BaseStore | None = None
        try:
            if self._closing is not None:
                await asyncio.wait({self._closing}, timeout=CLOSE_TIMEOUT)
            await in_thread(_load_driver, self.config.store)  # what that takes tells nothing of the backend
            async with asyncio.timeout(self.config.connect_timeout):
                store = await in_thread(_build, self.config, self._learn)
                await store.setup()
        except BaseException as error:
            self._opening = None
            if store is not None:
                self._close(store)
            raise self._failed_to_open(error) from error
        self._opening = None
        self._accept(store)
        return store

    def hand_over(self, settings: ConnectionConfig) -> Connection:
        """Return a connection with other settings that goes on with this one's open store; this one is closed without it."""
        heir = Connection(settings, changed=self._changed, learn=self._learn, redact=self._redact)
        if self.store is not None:
            heir._accept(self._let_go(self.store))
        self._closed = True
        return heir

    def stay(self, reason: str | None) -> None:
        """Go on as it is, and where that is not what is written down, tell why. Of one that works."""
        if self.state == "ready":
            self._become("ready", None if reason is None else Trouble(reason))

    def _accept(self, store: BaseStore) -> None:
        if self._closed:
            self._close(store)
            raise RequestError(Code.UNKNOWN_CONNECTION, f"connection {self.name} was closed", connection=self.name)
        self.store = store
        self.coalescer = None if store.traits.immediate else Coalescer(store, self.guard)
        self.listing = Listing(store, self.guard) if store.traits.flat else None
        self.immediate = store.traits.immediate
        self.at_hand = store if store.keeps_at_hand else None
        self._traits = pack_traits(store)
        self._slots = asyncio.Semaphore(self.config.max_in_flight)
        self._retries.worked()
        self.health.renew()
        self._become("ready", None)

    def _failed_to_open(self, error: BaseException) -> RequestError:
        from stores.errors import StoreConnectionError  # noqa: PLC0415 - the daemon starts without stores

        fault = getattr(error, "fault", None)
        if isinstance(error, TimeoutError):
            which = "it" if self.config.location == self.name else self.config.location
            reason, code = f"{which} did not open within {self.config.connect_timeout:g} seconds", Code.UNREACHABLE
            fault = "silent"
        elif isinstance(error, asyncio.CancelledError):
            reason, code = "opening it was given up", Code.UNREACHABLE
        else:
            reason = str(error) or type(error).__name__
            unreachable = isinstance(error, StoreConnectionError) or isinstance(error.__cause__, StoreConnectionError)
            code = Code.UNREACHABLE if unreachable else Code.SETUP_FAILED
            if isinstance(error, ConfigError):
                code, fault = Code.CONFIG_ERROR, CONFIGURATION
        reason = reason.removeprefix(f"{self.name}: ")  # what is wrong with the configuration begins with the name, too
        if not self._closed:
            self._go_down(Trouble(reason, fault))
        detail = {"retry_at": self.retry_at, "fault": fault}
        return RequestError(code, f"{self.name}: {reason}", retry=True, connection=self.name, detail=detail)

    def _down(self) -> RequestError:
        message = f"{self.name} is down: {self.reason}"
        detail = {"retry_at": self.retry_at, "fault": None if self._trouble is None else self._trouble.fault}
        return RequestError(Code.UNREACHABLE, message, retry=True, connection=self.name, detail=detail)

    def _go_down(self, trouble: Trouble) -> None:
        self._retries.failed(trouble.fault)
        self._become("down", trouble)

    def _become(self, state: str, trouble: Trouble | None) -> None:
        reason = None if trouble is None else self._redact(trouble.reason)
        self._trouble = trouble
        if (state, reason) == (self.state, self.reason) and self.retry_at is None:
            return
        self.state, self.reason = state, reason
        self._changed(self)

    def trouble(self, trouble: Trouble) -> None:
        """Note that the backend failed or did not answer."""
        if self.store is not None and self.store.traits.persistent:
            self.health.trouble(self.store, trouble)

    def look(self, apart: float) -> None:
        """Find out in the background whether the server of an open store still answers, unless somebody is about to learn it.

        One that is down, and that nobody would open again, is tried.

        Args:
            apart: seconds after the last look within which there is no other.
        """
        if self.state == "down":
            self._retries.look()
        now = time.monotonic()
        if self.store is not None and self.store.traits.pings and not self.at_backend and now - self._looked_at >= apart:
            self._looked_at = now
            self.health.look(self.store)

    def _fare(self, state: str, trouble: Trouble | None) -> None:
        """Be in the state that the store's health says."""
        if self.store is None:
            return
        if state == "down":
            assert trouble is not None, "what is down has failed"  # noqa: S101 - tells the type
            self._close(self._let_go(self.store))
            self._go_down(trouble)
        else:
            self._become(state, trouble)

    def _let_go(self, store: BaseStore) -> BaseStore:
        """Be without the store, which is to be closed."""
        self.health.end()
        if self.listing is not None:
            self.listing.close()
        self.store = self.at_hand = self.coalescer = self.listing = None
        self.immediate = False
        return store

    def _close(self, store: BaseStore) -> None:
        async def close() -> None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await store.close()
            except Exception:  # noqa: BLE001, S110 - it is closed because it failed, and there is nobody to tell
                pass

        self._closing = asyncio.get_running_loop().create_task(close())

    async def close(self) -> None:
        """Close the store for good."""
        self._closed = True
        self._retries.stop()
        if self._opening is not None:
            self._opening.cancel()
        if self.store is not None:
            self._close(self._let_go(self.store))
        if self._closing is not None:
            await self._closing

    # Work

    async def guard(self, work: Callable[[], Awaitable[T]], *, begun: Callable[[], None] | None = None) -> T:
        """Run one operation on the store, as soon as it has a slot.

        Args:
            work: starts the operation.
            begun: called when the operation is handed to the store.

        Raises:
            RequestError: unreachable, for a degraded store; deadline, long after the request's own: the store still has it.
        """
        task = asyncio.current_task()
        assert task is not None, "a coroutine that waits runs in a task"  # noqa: S101 - tells the type
        if self.health.failures:
            await self.health.until_looked()
        async with self._slots:
            if begun is not None:
                begun()
            self.backend.enter(task)
            try:
                result = await work()
            except Exception as error:
                self._note(error)
                raise
            except asyncio.CancelledError:
                if task in self.backend:
                    raise
                task.uncancel()
                raise self._given_up() from None
            finally:
                self.backend.leave(task)
        if self.health.failures:
            self.health.worked()
        return result

    def _given_up(self) -> RequestError:
        reason = f"the store did not end an operation within {self.backend.longest:g} seconds"
        self.trouble(Trouble(reason, "silent"))
        message = f"{self.name}: {reason}; whether it took effect is not known"
        return RequestError(Code.DEADLINE, message, retry=True, connection=self.name, detail={"sent": True})

    def _note(self, error: Exception) -> None:
        from stores.errors import KeyValueOperationError, StoreClosedError, StoreConnectionError  # noqa: PLC0415 - as above

        if isinstance(error, (StoreConnectionError, StoreClosedError, TimeoutError)):
            self.trouble(Trouble.told_by(error))
        elif isinstance(error, KeyValueOperationError):
            self.health.worked()


def _load_driver(store: str) -> None:
    from kvd.config_fields import store_class  # noqa: PLC0415 - imports stores and drivers, in a thread and only when asked for

    store_class(store)


def _build(config: ConnectionConfig, learn: Callable[[str], None]) -> BaseStore:
    from kvd.opening import open_store  # noqa: PLC0415 - as above

    return open_store(config, learn=learn)


def _look(task: asyncio.Task[Any]) -> None:
    """Look at a task's error, which went to those who waited, so that nobody complains that none did."""
    if not task.cancelled():
        task.exception()
