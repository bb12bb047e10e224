"""The marked keys, in the order of marking, and how many of them a folder has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvd.model import Key
from kvtui.ordered import Ordered

__all__ = ["Marks"]


class Marks:
    """Marked keys with their names."""

    def __init__(self) -> None:
        self._names: dict[Key, str] = {}
        self._ordered: Ordered[Key] = Ordered([], self._names.__getitem__)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, address: object) -> bool:
        return address in self._names

    def __iter__(self) -> Iterator[Key]:
        return iter(self._names)

    @property
    def last(self) -> Key | None:
        """The key that was marked last."""
        return next(reversed(self._names), None)

    def below(self, folder: str) -> int:
        """How many marked keys have a name that begins with the folder's."""
        names, length = self._names, len(folder)
        start = self._ordered.first(lambda key: names[key] >= folder)
        return self._ordered.first(lambda key: names[key][:length] > folder, start) - start

    def add(self, named: Iterable[tuple[Key, str]]) -> None:
        """Mark keys."""
        new = {address: name for address, name in named if address not in self._names}
        self._names.update(new)
        self._ordered.insert(new)

    def discard(self, addresses: Iterable[Key]) -> None:
        """Take marks away, where there are some."""
        gone = [address for address in addresses if address in self._names]
        self._ordered.remove(gone)
        for address in gone:
            self._names.pop(address, None)

    def clear(self) -> None:
        """Take all marks away."""
        self._names.clear()
        self._ordered = Ordered([], self._names.__getitem__)
