"""Values as JSON text, for who passes them on unread.

There are three ways to one, by what the store is. `texts` works everywhere. What a store has at hand, `text_at_hand` returns
without a coroutine. What a store asks its server for, `texts_soon` hands to a callback, without a coroutine or a task. The last
two answer the plain cases only and leave all others, and the errors, to `texts`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar

from stores.arguments import check_keys
from stores.browsing import BrowsableStore
from stores.entry import utc_now
from stores.errors import BaseKeyValueError
from stores.lifecycle import Scope
from stores.names import Collection, Key
from stores.records import Ask, DatedText

__all__ = ["TextStore", "spread"]


T = TypeVar("T")


class TextStore(BrowsableStore, ABC):
    """A store that reads values without their meaning."""

    keeps_at_hand: ClassVar[bool] = False
    """Whether `text_at_hand` and `texts_at_hand` ever answer."""

    @abstractmethod
    async def _get_texts(self, *, collection: Scope, keys: Sequence[Key]) -> list[DatedText]:
        """The texts in the order of the keys, which are all different; expired ones included."""

    async def texts(self, keys: Sequence[Key], *, collection: Collection = None) -> list[DatedText]:
        """The texts in the order of the keys."""
        listed, unique, found = await self._find(keys, collection, self._get_texts)
        now = utc_now()
        live = [None if one is None or (one[1] is not None and one[1] <= now) else one for one in found]
        return live if len(unique) == len(listed) else spread(listed, unique, live)

    def text_at_hand(self, key: Key, *, collection: Collection = None) -> bytes | None:
        """The text without its deadline, if the store has it at hand; None where `texts` is to be asked, whatever for.

        Raises:
            TypeError: the key, or the collection, is of no type that names are.
        """
        return None

    def texts_at_hand(self, keys: Sequence[Key], *, collection: Collection = None) -> list[bytes] | None:
        """As `text_at_hand`, of all the keys or of none."""
        return None

    def texts_soon(
        self, keys: Sequence[Key], *, collection: Collection = None, answer: Callable[[list[bytes | None] | Ask], None]
    ) -> bool:
        """Ask for the texts without their deadlines.

        Args:
            keys: a few keys, which may repeat.
            collection: their collection.
            answer: is called once from the event loop, with the texts in the order of the keys, None for what is missing or
                expired, or with `ASK`. Must not raise.

        Returns:
            Whether it will be called.
        """
        return False

    def _plain(self, keys: Sequence[Key], collection: Collection) -> str | None:
        """The scope of the names of a plain case; None where `texts` is to open the store first, or to tell what is wrong."""
        if self._loop is None or not (collection is None or isinstance(collection, str)):
            return None
        try:
            scope = self._scope(collection)
            self._check_keys(keys)
        except (BaseKeyValueError, TypeError):
            return None
        return scope if isinstance(scope, str) else None

    async def _find(
        self, keys: Sequence[Key], collection: Collection, hook: Callable[..., Awaitable[list[T | None]]]
    ) -> tuple[list[Key], list[Key], list[T | None]]:
        """The keys as they were listed, each of them once, and what the hook finds for the latter."""
        listed, unique, scope = self._many(keys, collection)
        with self._edge(scope):
            if self._loop is not get_running_loop():
                await self.setup()
            return listed, unique, await hook(collection=scope, keys=unique) if unique else []

    def _many(self, keys: Sequence[Key], collection: Collection) -> tuple[list[Key], list[Key], Scope]:
        listed = check_keys(keys)
        scope = self._scope(collection)
        self._check_keys(listed)
        return listed, list(dict.fromkeys(listed)), scope


def spread(listed: Sequence[Key], unique: Sequence[Key], found: Sequence[Any]) -> list[Any]:
    """What was found for unique keys, for each key that was listed."""
    by_key = dict(zip(unique, found, strict=True))
    return [by_key[key] for key in listed]
