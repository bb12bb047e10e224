"""A store that accepts everything and keeps nothing. Arguments are checked as everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from stores.base import BaseStore
from stores.entry import ManagedEntry
from stores.errors import ConflictError
from stores.lifecycle import Scope
from stores.names import Key, Name, Page
from stores.records import ABSENT, ANY, Description, Expected, Record, Version
from stores.traits import Traits

__all__ = ["NullStore"]


class NullStore(BaseStore):
    """A key-value store that forgets at once."""

    traits: ClassVar[Traits] = Traits(
        name="null", persistent=False, immediate=True, stores_entries=False, expiry="none", compare_and_set="none"
    )
    _any_loop = True

    def __init__(self, *, default_collection: str | None = None) -> None:
        """Make a store that keeps nothing.

        Args:
            default_collection: used where no collection is given; "default_collection" when None.
        """
        super().__init__(default_collection=default_collection)

    @property
    def location(self) -> str:
        """Nowhere."""
        return "nowhere"

    async def _get_managed_entry(self, *, collection: Scope, key: Key) -> ManagedEntry | None:
        return None

    async def _put_managed_entry(self, *, collection: Scope, key: Key, managed_entry: ManagedEntry) -> None:
        _ = managed_entry.value_as_json

    async def _delete_managed_entry(self, *, key: Key, collection: Scope) -> bool:
        return False

    async def _scan_collections(self, *, cursor: bytes | None, limit: int) -> Page[Name]:
        return Page([], None, 0)

    async def _scan_keys(self, *, collection: Scope, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        return Page([], None, 0)

    async def _describe(self, *, collection: Scope, keys: Sequence[Key]) -> list[Description | None]:
        return [None] * len(keys)

    async def _read(self, *, collection: Scope, key: Key, limit: int | None) -> Record | None:
        return None

    async def _commit(self, *, collection: Scope, key: Key, new: ManagedEntry | Record | None, expected: Expected) -> Version:
        if expected is not ANY and expected != ABSENT:
            raise ConflictError
        return ABSENT
