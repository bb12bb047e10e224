"""What collections and keys are called in Elasticsearch, and back. Nothing here speaks to a server.

A collection's index is `lower(prefix-collection)`: two collections whose names differ only in case would share it, so of every
document it is asked whose it is. A key's document has the sanitized key as its `_id`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from stores.errors import InvalidKeyError
from stores.lifecycle import Scope
from stores.names import Key, Name, Token, decode_name, encode_name
from stores.sanitization import ALPHANUMERIC_UNDERSCORE, AlwaysHashStrategy, HashFragmentMode, HybridSanitizationStrategy

__all__ = [
    "MAX_ID",
    "MAX_INDEX",
    "ElasticsearchV1CollectionSanitizationStrategy",
    "ElasticsearchV1KeySanitizationStrategy",
    "Names",
]

MAX_ID: Final = 512
MAX_INDEX: Final = 255
REFUSED_IN_INDEX: Final = '\\/*?"<>| ,#:'
UNFIT: Final = re.compile(f"[\0-\x1f{re.escape(REFUSED_IN_INDEX)}]")


class ElasticsearchV1KeySanitizationStrategy(AlwaysHashStrategy):
    """Every key as its whole hash."""

    def __init__(self) -> None:
        """The form has no options."""
        super().__init__(hash_length=64)


class ElasticsearchV1CollectionSanitizationStrategy(HybridSanitizationStrategy):
    """Every collection with a piece of its hash, so that names that differ only in case stay apart."""

    def __init__(self) -> None:
        """The form has no options."""
        super().__init__(
            max_length=200,
            allowed_characters=ALPHANUMERIC_UNDERSCORE + "-.",
            hash_fragment_mode=HashFragmentMode.ALWAYS,
        )


class Names:
    """The names of one store."""

    def __init__(self, index_prefix: str, collection: Callable[[str], str], key: Callable[[str], str]) -> None:
        """Keep the rules. ValueError when the prefix cannot begin an index's name.

        Args:
            index_prefix: what the names of the store's indices start with.
            collection: makes a collection's name fit.
            key: makes a key fit.
        """
        if not index_prefix or index_prefix[0] in "-_+" or UNFIT.search(index_prefix):
            raise ValueError(f"index_prefix {index_prefix!r} cannot begin the name of an index.")
        self._prefix = f"{index_prefix.lower()}-"
        self._collection = collection
        self._key = key

    @property
    def pattern(self) -> str:
        """What all indices of the store match."""
        return f"{self._prefix}*"

    def index(self, scope: Scope) -> str:
        """The index of a collection. The only place that names one."""
        if isinstance(scope, Token):
            index = decode_name(scope.value)
            if not index.startswith(self._prefix):
                raise InvalidKeyError(f"{index!r} is not an index of this store.")
            return index
        index = (self._prefix + self._collection(scope)).lower()  # as `compound` does
        if len(encode_name(index)) > MAX_INDEX or UNFIT.search(index):
            raise InvalidKeyError(
                f"{scope[:40]!r} cannot be a collection in Elasticsearch: an index's name has {MAX_INDEX} bytes at most and "
                f"none of {''.join(sorted(REFUSED_IN_INDEX))!r}. A sanitization strategy can make it fit."
            )
        return index

    def _index_of(self, name: str) -> str | None:
        """As `index`; None for a name that has none."""
        try:
            return self.index(name)
        except InvalidKeyError:
            return None

    def collection(self, index: str, named: str | None) -> Name:
        """The collection of an index of which an entry names a collection; without one, what is left of the index's name."""
        token = Token(encode_name(index))
        if named is not None and self._index_of(named) == index:
            return Name(named, token)
        text = index.removeprefix(self._prefix)
        return Name(text, token, exact=self._index_of(text) == index)

    def is_rivals(self, source: Mapping[str, Any], scope: Scope) -> bool:
        """Whether a document belongs to a collection whose name differs from the asked one only in case."""
        name = source.get("collection")
        return isinstance(scope, str) and isinstance(name, str) and name != scope and self._index_of(name) == self.index(scope)

    def own_id(self, key: Key) -> str:
        """The `_id` of a key's document."""
        return decode_name(key.value) if isinstance(key, Token) else self._key(key)

    def key(self, found: Mapping[str, Any]) -> tuple[str, bool]:
        """The caller's key of a document, and whether it is that for sure."""
        for name in (found["_source"].get("key"), found["_id"]):
            try:
                if isinstance(name, str) and self._key(name) == found["_id"]:
                    return name, True
            except InvalidKeyError:
                continue
        return found["_id"], False
