"""What a store takes of a value, said while it is typed: sizes and integers, from the connection's traits; and what the journal
takes of what is deleted. Pure.

The store itself has the last word: its limits may have been raised where it runs, so nothing is refused here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kvd.model import ConnectionInfo
from kvd.protocol import MAX_IMAGE, MAX_JOURNAL
from kvtui import jsontext
from kvtui.codecs import elide, printable, size_text

__all__ = ["Limits", "undo_complaint"]

NEAR = 1_100_000
"""Bytes up to which a limit is worth saying before it is reached."""
KEPT = 700
"""Bytes that the journal takes for each key, about, beside what it held."""
LARGEST, SMALLEST = 2**63 - 1, -(2**63)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a store; None is no limit."""

    store: str = ""
    value_bytes: int | None = None
    """The stored record, with what the store adds to the value."""
    text_bytes: int | None = None
    """A text inside a value, with the names that lead to it."""
    big_integers: bool = True

    @classmethod
    def of(cls, info: ConnectionInfo | None) -> Limits:
        """The limits of a connection's store, as far as they are known."""
        if info is None:
            return cls()
        traits = info.traits
        return cls(
            info.store,
            traits.get("max_value_bytes"),
            traits.get("max_text_bytes"),
            traits.get("big_integers", True),
        )

    def room(self, value: str) -> str | None:
        """How much of the limit a value takes: "2.1 KB of 400 KB"; None where no limit is near."""
        if self.value_bytes is None or self.value_bytes > NEAR:
            return None
        return f"{size_text(_bytes(jsontext.compact(value)))} of {size_text(self.value_bytes)}"

    def complaint(self, value: str) -> str | None:
        """What the store will not take about a value (JSON text); None when nothing is known to be wrong."""
        most = self.value_bytes
        if most is not None and _bytes(value) > most and (size := _bytes(jsontext.compact(value))) > most:
            return f"the value has {size_text(size)}; {self.store} takes {size_text(most)}"
        if self.text_bytes is None and self.big_integers:
            return None
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return None
        return next(filter(None, (self._leaf_complaint(path, leaf) for path, leaf in _leaves(parsed))), None)

    def _leaf_complaint(self, path: str, leaf: object) -> str | None:
        where = elide(printable(path), 40)
        if isinstance(leaf, str) and self.text_bytes is not None and (size := _bytes(leaf) + _bytes(path)) > self.text_bytes:
            return f"the text at {where} has {size_text(size)}; {self.store} takes {size_text(self.text_bytes)}"
        if isinstance(leaf, int) and not self.big_integers and not SMALLEST <= leaf <= LARGEST:
            return f"the integer at {where} has more than 64 bits, which {self.store} cannot keep"
        return None


def undo_complaint(info: ConnectionInfo | None, sizes: Sequence[int]) -> str | None:
    """Why the deletion of entries of these sizes (bytes; -1 is unknown) could not be undone; None where it can."""
    if info is not None and info.traits.get("compare_and_set") == "none":
        return f"This cannot be undone in {info.store}."
    if large := sum(size > MAX_IMAGE for size in sizes):
        of_them = "This is" if len(sizes) == 1 else f"{large:,} of them {'is' if large == 1 else 'are'}"
        return f"{of_them} too large to be undone."
    if sum(sizes) + KEPT * len(sizes) > MAX_JOURNAL:
        return "They are more than the journal holds: not all of them can be undone."
    return None


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """What is no object and no array in a value, with the names that lead to it."""
    stack = [(path, node)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            stack += [(f"{path}.{name}" if path else name, child) for name, child in node.items()]
        elif isinstance(node, list):
            stack += [(path, child) for child in node]
        else:
            yield path, node
