"""What the session tells the program, and the nouns that panes share. Messages of widgets stand in their widget's class."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from kvd.errors import DaemonError, RequestError
from kvd.model import OUTSIDE, Change, Collection, CollectionRow, ConnectionInfo, Key
from kvtui.codecs import name_text

__all__ = ["Changed", "Doing", "Entry", "Failed", "Folder", "Offline", "Online", "Place", "label_of", "sentence", "told_by"]


NO_COLLECTION = "(no collection)"
"""What the place is called of keys that belong to no collection."""


@dataclass(frozen=True, slots=True)
class Place:
    """A collection of a connection, addressed and named."""

    connection: str
    collection: Collection
    name: str

    @classmethod
    def of(cls, connection: str, row: CollectionRow) -> Place:
        """The place of a collection that a scan found."""
        if row.token == OUTSIDE:
            return cls(connection, OUTSIDE, NO_COLLECTION)
        return cls.named(connection, row.name) if row.exact else cls(connection, row.token, name_text(row.name))

    @classmethod
    def named(cls, connection: str, collection: str) -> Place:
        """The place of a collection whose name is known."""
        return cls(connection, collection, name_text(collection) or '""')

    @classmethod
    def typed(cls, connection: str, shown: str) -> Place:
        """The place that a person means who saw or knows a name."""
        return cls(connection, OUTSIDE, NO_COLLECTION) if shown == NO_COLLECTION else cls.named(connection, shown)

    @property
    def by_token(self) -> bool:
        """Whether its keys are addressed by their token because their names are none."""
        return self.collection == OUTSIDE

    @property
    def typable(self) -> str:
        """The name by which a person goes there: the collection's own, or how it is shown where it has none."""
        return self.collection if self.collection and isinstance(self.collection, str) else self.name

    @property
    def label(self) -> str:
        """As a person reads it."""
        return f"{self.connection} / {self.name}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A key at its place, addressed and named."""

    place: Place
    key: Key
    name: str

    @property
    def label(self) -> str:
        """As a person reads it, on one line and safe to draw."""
        return label_of(self.name)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a tree of keys: what their names begin with, and how many are known."""

    name: str
    size: int
    is_open: bool


def sentence(text: str) -> str:
    """A text as a sentence, if it is none yet."""
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def told_by(error: DaemonError) -> tuple[str, ...]:
    """What an error says, and what to do about it, each a line."""
    if not isinstance(error, RequestError):
        return (str(error),)
    message = error.message.removeprefix(f"{error.connection}: ")
    advice = error.detail.get("advice") if isinstance(error.detail, dict) else None
    return (message, sentence(advice)) if advice else (message,)


def label_of(name: str) -> str:
    """A key's name as a person reads it."""
    return name_text(name) if name else '"" (the empty key)'


@dataclass(frozen=True, slots=True)
class Doing:
    """What is being done to many keys, and to how many of them it is done."""

    what: str
    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.what} {self.done:,} of {self.total:,}"

    @property
    def brief(self) -> str:
        """In few cells, where there is more to say."""
        return f"{self.what} {self.done * 100 // self.total}%"


class Online(Message, bubble=False):
    """The daemon answers, for the first time or again."""

    def __init__(self, connections: list[ConnectionInfo], *, target: str | None, problem: str | None, again: bool) -> None:
        super().__init__()
        self.connections = connections
        self.target = target
        """The connection that the program was started for."""
        self.problem = problem
        """What is wrong with the configuration, in the daemon's words."""
        self.again = again


class Offline(Message, bubble=False):
    """The daemon went away; the session goes on trying."""

    def __init__(self, reason: str, retry_at: float) -> None:
        super().__init__()
        self.reason = reason
        self.retry_at = retry_at
        """When it is tried again, epoch seconds."""


class Failed(Message, bubble=False):
    """The daemon, or what the program was started for, cannot be had at all."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Changed(Message, bubble=False):
    """A write, delete or expiry went through the daemon."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change
