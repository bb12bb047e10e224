"""The edge of a store: every exception of a driver becomes one of `stores.errors` there, and carries what is at fault."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar

from stores.errors import BaseKeyValueError, Fault, StoreClosedError, StoreConnectionError
from stores.faults import Faults, Words, fault_of
from stores.names import Key, Scope, shown
from stores.traits import Traits

__all__ = ["Edges"]


class Edges:
    """A store's translation of errors. Backends give `traits`, `location` and the tables."""

    traits: ClassVar[Traits]

    _errors: ClassVar[Mapping[type[BaseException], type[BaseKeyValueError]]] = {}
    """The driver's exceptions and what they become; the most derived class wins."""

    _faults: ClassVar[Faults] = {}
    """What the driver's exceptions tell of the connection, beside Python's own."""

    _fault_words: ClassVar[Words] = {}
    """What their messages tell where the class does not."""

    _closed = False

    @property
    def location(self) -> str:
        """Where the data is, for a person: a path or a URL without its secrets."""
        return self.traits.name

    def _edge(self, scope: Scope | None = None, key: Key | None = None) -> _Edge:
        """A context that translates what the driver raises."""
        return _Edge(self, scope, key)

    def _ours(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        """The error that an exception becomes, with what is at fault; None for what is not the driver's."""
        ours = exc if isinstance(exc, BaseKeyValueError) else self._translate(self._cause(exc), scope, key)
        if ours is not None and ours.fault is None:
            ours.fault = self._fault(exc)
        return ours

    def _cause(self, exc: BaseException) -> BaseException:
        """What the tables know. A backend whose driver tells by codes what went wrong has its own."""
        return exc

    def _fault(self, exc: BaseException) -> Fault | None:
        """What is wrong with the connection."""
        return fault_of(self._cause(exc), self._faults, self._fault_words)

    def _translate(self, exc: BaseException, scope: Scope | None, key: Key | None) -> BaseKeyValueError | None:
        """Ours for a driver's exception; None for what is not the driver's."""
        for cls in type(exc).__mro__:
            ours = self._errors.get(cls)
            if ours is not None:
                break
        else:
            return None
        where = "" if scope is None else f", collection {shown(scope)}"
        where += "" if key is None else f", key {shown(key)}"
        return ours(f"{self._where()}{where}: {self._told(exc)}")

    def _told(self, exc: BaseException) -> str:
        """What a driver's exception says, for a person. A backend whose driver says too much has its own."""
        return str(exc).strip() or type(exc).__name__

    def _where(self) -> str:
        return f"{self.traits.name} at {self.location}"


class _Edge:
    """Translates exceptions that leave its block."""

    __slots__ = ("_key", "_scope", "_store")

    def __init__(self, store: Edges, scope: Scope | None, key: Key | None) -> None:
        self._store = store
        self._scope = scope
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if exc is None:
            return
        store = self._store
        ours = store._ours(exc, self._scope, self._key)  # noqa: SLF001 - the edge is part of the store
        if (
            store._closed  # noqa: SLF001 - as above
            and (ours is None or isinstance(ours, StoreConnectionError))
            and (isinstance(exc, Exception) or _cancelled_by_driver(exc))
        ):
            raise StoreClosedError(f"This {store.traits.name} store was closed during the call.") from exc
        if ours is None and _cancelled_by_driver(exc):  # a client that was passed in, when its owner closes it
            raise StoreConnectionError(f"{store._where()}: the client was closed during the call.") from exc  # noqa: SLF001 - as above
        if ours is not None and ours is not exc:
            raise ours from exc


def _cancelled_by_driver(exc: BaseException) -> bool:
    """Whether nobody cancelled the task: some drivers cancel what waits on them when they are closed."""
    task = asyncio.current_task() if isinstance(exc, asyncio.CancelledError) else None
    return task is not None and not task.cancelling()
