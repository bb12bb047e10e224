"""What travels between the daemon and its clients, as frozen nouns. No I/O, and nothing of `stores`.

Rules of the shapes on the wire:

- A key or a collection is a msgpack `str`; `bin` where its bytes are not UTF-8; and a one-element array `[bin]` where it is
  the opaque token that browsing returned for a stored name. In Python those are `str` (with surrogateescape) and `Token`.
- A collection may also be nil: the connection's default collection.
- Times are absolute: seconds since the epoch as a float, UTC.
- Values are JSON text in UTF-8 as `bin`, never msgpack maps, so that big integers and odd strings survive.
- Records are maps, and maps only grow: a reader ignores fields that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, NewType, TypeVar

__all__ = [
    "ABSENT",
    "OUTSIDE",
    "Change",
    "Collection",
    "CollectionRow",
    "ConnectionInfo",
    "Description",
    "Key",
    "KeyRow",
    "Opened",
    "Page",
    "Problem",
    "Record",
    "Step",
    "StepChange",
    "Token",
    "Undone",
    "Version",
    "pack_name",
    "unpack_name",
]

T = TypeVar("T")

Version = NewType("Version", bytes)
"""What compare-and-set compares. Opaque; comes with a read."""

ABSENT = Version(b"")
"""The version of what is not there: an edit that expects it succeeds only where nothing lives."""


@dataclass(frozen=True, slots=True)
class Token:
    """The opaque address of a stored name, as browsing returned it."""

    value: bytes


OUTSIDE = Token(b"")
"""As a collection: the names of a store that belong to no collection."""

Key = str | Token
Collection = str | Token | None


def pack_name(name: Collection) -> str | bytes | list[bytes] | None:
    """Turn a key or collection into its form on the wire.

    Raises:
        ValueError: the text holds a surrogate that stands for no byte.
    """
    if name is None or (type(name) is str and name.isascii()):
        return name
    if isinstance(name, Token):
        return [name.value]
    try:
        name.encode()
    except UnicodeEncodeError:
        try:
            return name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            msg = f"{name!r} holds a lone surrogate, which no store can keep"
            raise ValueError(msg) from None
    return name


def unpack_name(packed: object) -> Collection:
    """Turn the form on the wire into a key or collection.

    Raises:
        ValueError: it is none of str, bin, `[bin]` and nil.
    """
    if packed is None or isinstance(packed, str):
        return packed
    if isinstance(packed, bytes):
        return packed.decode("utf-8", "surrogateescape")
    if isinstance(packed, list) and len(packed) == 1 and isinstance(packed[0], bytes):
        return Token(packed[0])
    msg = f"a name is a string, bytes or a token, not {type(packed).__name__}"
    raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """One connection of the daemon as its clients see it. Holds no secret."""

    name: str
    store: str
    """The backend's name: "memory", "redis", …"""
    location: str
    """Where the data is, for a person: a path, or a URL without its secrets."""
    state: str
    """"idle" (not opened yet), "connecting", "ready", "degraded", "down"."""
    reason: str | None = None
    """Why it is degraded or down."""
    advice: str | None = None
    """What to do about that, where the reason does not tell."""
    retry_at: float | None = None
    """When the daemon tries again, epoch seconds."""
    read_only: bool = False
    production: bool = False
    allow_destroy: bool = False
    group: str | None = None
    """A heading under which it is shown."""
    colour: str | None = None
    """What it is marked with where it is shown: red, orange, yellow, green, cyan, blue, purple, pink or grey."""
    separators: str = ":"
    """Characters at which a key is cut when it is shown as a tree."""
    default_collection: str = "default_collection"
    missing: str | None = None
    """What holds all entries and is not there, for a person: "bucket 'x'". The first write makes it. Only `connect` tells."""
    traits: dict[str, Any] = field(default_factory=dict)
    """`stores.traits.Traits` as a map plus `capabilities`, a list of "keys", "collections", "destroy",
    "destroy_collection", "cull". Empty until the connection was opened once."""

    @property
    def absence(self) -> str | None:
        """That what holds the entries is missing, in half a sentence; None where it is not."""
        if self.missing is None:
            return None
        return f"{self.missing} does not exist" + ("" if self.read_only else " yet: the first write makes it")


@dataclass(frozen=True, slots=True)
class Opened:
    """A store that was opened by URL, or for a demo."""

    connection: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a scan. It may be empty though more follows: only `cursor is None` ends a scan."""

    items: list[T]
    cursor: bytes | None
    scanned: int
    """Names looked at for this page, those that did not match included."""
    age: float | None = None
    """Of collections that were not looked up for this page alone: seconds since the search began that all clients share. What
    changed since then may be missing. `max_age` of `scan_collections` asks for a newer one."""


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection that a scan found."""

    name: str
    """As a person reads it."""
    token: Token
    """Accepted wherever a collection is."""
    exact: bool = True
    """Whether `name` is the collection's own name, not its sanitized form."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of an entry without its value."""

    kind: str
    """"entry", or the type of what is not one of ours: "string", "hash", "file", "object", "document", …"""
    size: int | None
    """Stored bytes; None where the backend cannot say cheaply."""
    created_at: float | None
    expires_at: float | None
    stamp: bytes
    """Changes when the entry (probably) changed."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key that a scan found."""

    key: str
    token: Token
    exact: bool = True
    description: Description | None = None
    """None when it was not asked for, or the key left meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry as it is stored. What `restore` is given is such a map too: it reads `kind`, the whole `body`, `created_at`,
    `expires_at`, and of foreign data `version`.
    """

    kind: str
    body: bytes
    """For kind "entry" the value's JSON text; else the stored bytes, or a JSON rendering of a structure.
    Shorter than `length` when only a part was asked for."""
    offset: int = 0
    length: int
    """The whole body's length in bytes."""
    size: int
    """Stored bytes."""
    created_at: float | None
    expires_at: float | None
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A write, delete or expiry that went through the daemon, as its subscribers learn it."""

    sequence: int
    """Counts up by one per subscriber; a gap means: read again what you show ("resync")."""
    connection: str
    collection: str | Token | None
    """None: everything in the connection may have changed."""
    keys: list[Key]
    """Empty: anything in the collection may have changed."""
    operation: str
    """"put", "expire", "delete", "expired", "destroy", "resync", "connection" (its state changed)."""
    own: bool = False
    """Whether this client asked for the change itself."""


# The journal


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChange:
    """What a step did to one key."""

    operation: str
    """"put" (an edit, too), "expire", "delete", "restore"; "destroy" of a collection, or with that None of everything."""
    collection: Collection
    key: Key | None
    """None for "destroy"."""
    ttl: float | None = None
    """Of "put" and "expire", the seconds that were asked for; None: it lives for ever."""
    keeps_ttl: bool = False
    """Whether a "put" left the deadline as it was."""
    value: bytes | None = None
    """The JSON text that a "put" wrote, where it is short."""
    done: bool = True
    """False once it is undone."""
    why: str | None = None
    """Why it cannot be undone (or, when it is undone, done again), for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action of a person in the journal."""

    step: str
    """Its id."""
    title: str | None
    connection: str
    at: float
    """When it began."""
    state: str
    """"done", "undone", or "partly" undone."""
    count: int
    """How many keys it changed."""
    can_undo: int
    """How many of them `undo` would try."""
    can_redo: int
    """How many of them `redo` would try."""
    undone_at: float | None = None
    """When some of it was undone last."""
    changes: list[StepChange]
    """The first of them."""
    why: str | None = None
    """Why some cannot be undone or redone: the reason of the first such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A key that undo or redo left as it is."""

    collection: Collection
    key: Key | None
    """None: the whole collection, or with that None everything."""
    reason: str
    """"conflict": somebody else has written since; "expired": its deadline has passed, and `never_expire` brings it back;
    "impossible": the journal or the store cannot."""
    message: str
    """The same for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What one request to undo or redo did."""

    step: str
    title: str | None
    connection: str
    changed: int
    """Keys that this request brought back."""
    left: int
    """Keys still to do: ask again."""
    problems: list[Problem]
    """Those that were left alone: of what this request tried, and with the last one also of what nobody could undo (at most
    `MAX_TOLD` of `kvd.protocol`)."""
