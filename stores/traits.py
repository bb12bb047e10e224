"""What a store can do, as facts that programs read: contract tests, the daemon, the UI and the README's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Traits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """A store's abilities and limits. What the capability protocols already say (destroy, cull, …) is not repeated here."""

    name: str
    """The backend's short name."""
    persistent: bool = True
    """Whether entries outlive the store object."""
    immediate: bool = False
    """Whether its coroutines never wait, so that a caller may drive them without a task."""
    stores_entries: bool = True
    """False for a store that forgets everything."""
    browses_collections: bool = True
    browses_keys: bool = True
    flat: bool = False
    """Whether collections are only beginnings of names, so that to find them is to look at every name: worth sharing."""
    pings: bool = False
    """Whether it is a server that may be asked now and then whether it still answers: one that charges nothing for it."""
    expiry: Literal["native", "on read", "none"] = "native"
    """Who removes expired entries: the backend by itself, or nobody until `cull` (they are only hidden)."""
    ttl_granularity: float = 0.000001
    """Seconds to which a deadline is rounded up by the backend's own clock."""
    foreign_ttl: bool = False
    """Whether what is no entry of this family can be given a TTL, too."""
    compare_and_set: Literal["atomic", "among clients", "none"] = "atomic"
    """"among clients": among the users of one store object (the daemon's clients), not against other programs."""
    atomic_batches: bool = False
    """Whether put_many and delete_many happen as a whole or not at all."""
    scan: Literal["snapshot", "live"] = "live"
    """Whether a walk sees the keys as they were at its start, or may see or miss what changes while it goes."""
    resumable_cursors: bool = True
    """Whether the cursor of a walk through keys works twice and outlives the store object; otherwise it is held, used once, and
    may expire, as the cursor of a search for collections in a flat keyspace always does."""
    exact_keys: bool = True
    """Whether browsing returns the keys themselves under every sanitization strategy."""
    binary_keys: bool = True
    """Whether keys that are not UTF-8 can be stored."""
    empty_key: bool = True
    big_integers: bool = True
    """Whether integers beyond 64 bits survive."""
    max_key_bytes: int | None = None
    max_collection_bytes: int | None = None
    max_value_bytes: int | None = None
    """Limit on the stored record, envelope included."""
    max_text_bytes: int | None = None
    """Limit on a text inside a value, with the names that lead to it."""
    batch_size: int | None = None
    """Keys that one round trip carries; None when there is no limit."""
    notes: str = ""
    """One sentence for the README's table where a fact needs one."""
