"""What people did lately, with what it replaced, so that it can be undone. Data only: the stores are `kvd.journalled`'s and
`kvd.undo`'s.

- A step is one action of a person on one connection: the changes of all writes that carried its id.
- A change holds an image: what stands on the other side of it. While the change is done that is what it replaced, once it is
  undone what it had written; and the version that it left behind, on which undo and redo are compare-and-set. Of a write to
  which there was no answer it holds both sides: what is there, when it is looked at next, tells on which of them it is.
- Images are kept in memory, never on disk: they may be secrets, and nobody gave a disk for them. The journal ends with the
  daemon, which does not stay for it: `idle_exit` counts clients and entries, not what could be undone.
- It is bounded in steps, bytes and age (`kvd.protocol`), and the oldest step leaves first.
- A connection's steps leave with its store. That of a URL that nobody has open any more may be opened again: they stay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from weakref import WeakValueDictionary

from kvd.answers import pack_name
from kvd.errors import Code, RequestError
from kvd.protocol import MAX_IMAGE, MAX_JOURNAL, MAX_JOURNAL_AGE, MAX_STEP_ID, MAX_STEPS, MAX_TITLE, MAX_TOLD
from stores.names import Collection, Key
from stores.records import ABSENT, Record, Version

if TYPE_CHECKING:
    from kvd.connections import Connection

__all__ = ["Change", "Journal", "Mark", "Reason", "Step", "read_mark"]

Reason = Literal["conflict", "expired", "impossible"]

OVERHEAD: Final = 600
"""Bytes that a change takes beside its image and its names."""
SHORT_VALUE: Final = 1 << 10
"""Bytes of a written value that is told with its change."""
MAX_TOLD_BYTES: Final = 64 << 10
"""Bytes of names and values that are told of one step."""
LARGE: Final = f"what it replaced has over {MAX_IMAGE >> 20} MiB"
FULL: Final = f"it replaced more than the {MAX_JOURNAL >> 20} MiB that the journal holds"
SPENT: Final = "something new was done since it was undone"


class Mark(NamedTuple):
    """What the option `journal` of a request says."""

    step: str
    title: str | None


def read_mark(option: Any) -> Mark:
    """Read the option.

    Raises:
        RequestError: bad_request.
    """
    step, title = (option.get("step"), option.get("title")) if type(option) is dict else (None, None)
    if type(step) is not str or not 1 <= len(step) <= MAX_STEP_ID or not (title is None or type(title) is str):
        wanted = f"a map with `step`, a text of 1 to {MAX_STEP_ID} characters, and perhaps `title`, a text"
        raise RequestError(Code.BAD_REQUEST, f"the option journal is {wanted}")
    return Mark(step, None if title is None else title[:MAX_TITLE])


@dataclass(slots=True, kw_only=True, eq=False)
class Change:
    """What a step did to one key."""

    operation: str
    collection: Collection
    key: Key | None
    """None: the whole collection, or with that None everything."""
    ttl: float | None = None
    keeps_ttl: bool = False
    value: bytes | None = None
    image: Record | None = None
    """What stands on the other side; None: nothing."""
    there: Version = ABSENT
    """What this side left in the store."""
    deadline: datetime | None = None
    """When that ends by itself."""
    done: bool = True
    in_doubt: bool = False
    """Whether it may be on its other side: there was no answer to the write that last went between the two."""
    own: Record | None = None
    """While it is in doubt: what stands on this side."""
    barrier: Reason | None = None
    """Why it stays on this side."""
    why: str | None = None
    """The same for a person."""

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        records = sum(len(record.body) for record in (self.image, self.own) if record is not None)
        return OVERHEAD + records + len(self.value or b"") + _length(self.collection) + _length(self.key)

    def bar(self, reason: Reason, why: str) -> None:
        """Leave it on this side, for good unless it is only expired."""
        self.barrier, self.why = reason, why
        if reason != "expired":
            self.image = self.own = None
            self.in_doubt = False

    def can_turn(self, *, done: bool, never_expire: bool = False) -> bool:
        """Whether it is on this side, and may be taken to the other."""
        return self.done is done and (self.barrier is None or (never_expire and self.barrier == "expired"))

    def pack(self) -> dict[str, Any]:
        """Pack it as `kvd.model.StepChange`."""
        return {
            "operation": self.operation,
            "collection": pack_name(self.collection),
            "key": pack_name(self.key),
            "ttl": self.ttl,
            "keeps_ttl": self.keeps_ttl,
            "value": self.value,
            "done": self.done,
            "why": self.why,
        }

    def pack_problem(self) -> dict[str, Any]:
        """Pack it as `kvd.model.Problem`."""
        place = {"collection": pack_name(self.collection), "key": pack_name(self.key)}
        return place | {"reason": self.barrier, "message": self.why}


def _length(name: Collection) -> int:
    return 0 if name is None else len(name if isinstance(name, str) else name.value)


class Step:
    """One action of a person."""

    __slots__ = (
        "at",
        "began",
        "changes",
        "connection",
        "id",
        "lost",
        "place",
        "size",
        "taken",
        "title",
        "told",
        "turned",
        "undone_at",
        "writing",
    )

    def __init__(self, mark: Mark, connection: Connection) -> None:
        self.id = mark.step
        self.title = mark.title
        self.connection = connection.name
        self.place = place_of(connection)
        """The store: another one may get the connection's name."""
        self.at = time.time()
        self.began = time.monotonic()
        self.changes: dict[tuple[Collection, Key | None], Change] = {}
        """By collection and key, in the order in which they were made."""
        self.lost = 0
        """Changes that there was no room for."""
        self.size = 0
        self.writing = 0
        """Writes that are still going on."""
        self.taken: set[asyncio.Task[None]] = set()
        """Those that undo or redo it, or are about to."""
        self.turned = 0
        """Counts up with each undo: redo begins with the last."""
        self.undone_at: float | None = None
        self.told = False
        """Whether anybody tried to undo it."""

    def can_turn(self, *, done: bool) -> bool:
        """Whether there is something to undo (`done`) or to redo, or to be told once that there is not."""
        return (done and not self.told) or any(change.can_turn(done=done) for change in self.changes.values())

    def count(self) -> None:
        """Count its bytes anew."""
        self.size = sum(change.size for change in self.changes.values())

    def pack(self, most: int) -> dict[str, Any]:
        """Pack it as `kvd.model.Step`, with as many changes at most."""
        changes = list(self.changes.values())
        sides = {change.done for change in changes}
        told: list[dict[str, Any]] = []
        room = MAX_TOLD_BYTES
        for change in changes[:most]:
            room -= _length(change.collection) + _length(change.key) + len(change.value or b"")
            if told and room < 0:
                break
            told.append(change.pack())
        return {
            "step": self.id,
            "title": self.title,
            "connection": self.connection,
            "at": self.at,
            "state": "partly" if len(sides) > 1 else "done" if True in sides else "undone",
            "count": len(changes) + self.lost,
            "can_undo": sum(change.can_turn(done=True) for change in changes),
            "can_redo": sum(change.can_turn(done=False) for change in changes),
            "undone_at": self.undone_at,
            "changes": told,
            "why": next((change.why for change in changes if change.why is not None), FULL if self.lost else None),
        }

    def pack_lost(self) -> list[dict[str, Any]]:
        """Pack a `kvd.model.Problem` for the changes that there was no room for."""
        if not self.lost:
            return []
        return [{"collection": None, "key": None, "reason": "impossible", "message": f"{self.lost:,} more keys: {FULL}"}]


def place_of(connection: Connection) -> Any:
    """What tells one store from another."""
    return connection.config.store, connection.config.args


class Journal:
    """The steps, oldest first."""

    def __init__(self) -> None:
        """Begin empty."""
        self._steps: dict[str, Step] = {}
        self._turns = 0
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __iter__(self) -> Iterator[Step]:
        return iter([step for step in self._steps.values() if step.changes])

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return sum(step.size for step in self._steps.values())

    def status(self) -> dict[str, int]:
        """How much it holds."""
        self.trim()
        return {"steps": len(list(self)), "bytes": self.size}

    def pack(self, sees: Callable[[str], bool], connection: str | None, wanted: str | None, limit: int) -> list[dict[str, Any]]:
        """Pack the newest steps of the connections that somebody `sees`."""
        self.trim()
        found = [step for step in self if sees(step.connection) and connection in {None, step.connection}]
        if wanted is not None:
            return [step.pack(MAX_TOLD * 10) for step in found if step.id == wanted]
        return [step.pack(MAX_TOLD) for step in found[::-1][:limit]]

    # Writing

    def begin(self, mark: Mark, connection: Connection) -> Step:
        """Return the step, to which a write is about to add; `end` must follow.

        Raises:
            RequestError: bad_request, for a step of another connection.
        """
        step = self._steps.get(mark.step)
        if step is not None and step.connection == connection.name and step.place != place_of(connection):
            self._drop(step)
            step = None
        if step is None:
            step = self._steps[mark.step] = Step(mark, connection)
        elif step.connection != connection.name:
            raise RequestError(Code.BAD_REQUEST, f"step {mark.step} of the journal is one of connection {step.connection}")
        if step.title is None:
            step.title = mark.title
        step.writing += 1
        return step

    def end(self, step: Step) -> None:
        """Note that a write is over; a step to which none added anything leaves."""
        step.writing -= 1
        if not step.changes and not step.writing:
            self._drop(step)

    def add(self, step: Step, change: Change) -> None:
        """Note a change that was made."""
        if not step.changes:
            self._forget_undone()
        place = (change.collection, change.key)
        before = step.changes.pop(place, None)
        if before is not None:
            step.size -= before.size
            first = ABSENT if change.image is None else change.image.version
            if before.can_turn(done=True) and change.barrier is None and before.there == first:
                change.image = before.image  # both are undone at once
        step.changes[place] = change
        step.size += change.size
        self._fit(step, change)
        if step.size > MAX_JOURNAL:  # without its image, too
            del step.changes[place]
            step.size -= change.size
            step.lost += 1

    def _forget_undone(self) -> None:
        """What is new takes the place of all that could be redone."""
        for step in self._steps.values():
            waiting = [change for change in step.changes.values() if change.can_turn(done=False, never_expire=True)]
            for change in waiting:
                change.bar("impossible", SPENT)
            if waiting:
                step.count()

    # Undoing

    def find(self, wanted: str | None, *, undo: bool, connection: str | None, usable: Callable[[str], bool]) -> Step | None:
        """Return the step that is meant, or the next one to be undone or redone; None where there is none.

        Args:
            wanted: its id.
            undo: whether it is to be undone; else to be redone.
            connection: of which the next one is to be.
            usable: tells which connections it may be of.

        Raises:
            RequestError: unknown_step; conflict, while it is still being done.
        """
        self.trim()
        if wanted is None:
            able = [step for step in self if not step.taken and not step.writing and step.can_turn(done=undo)]
            able = [step for step in able if usable(step.connection) and connection in {None, step.connection}]
            return max(able, key=lambda step: step.began if undo else step.turned, default=None)
        step = self._steps.get(wanted)
        if step is None or not step.changes:
            message = f"the journal has no step {wanted[:MAX_STEP_ID]!r}: it is kept for a day, and ends with the daemon"
            raise RequestError(Code.UNKNOWN_STEP, message)
        if step.writing:
            message = f"step {wanted} of the journal is still being done"
            raise RequestError(Code.CONFLICT, message, retry=True, connection=step.connection)
        return step

    def lock(self, connection: str) -> asyncio.Lock:
        """The lock under which the connection's steps are undone, one after the other."""
        return self._locks.setdefault(connection, asyncio.Lock())

    def turn(self, step: Step, change: Change, image: Record | None, there: Version, deadline: datetime | None) -> None:
        """Note that a change was taken to its other side.

        Args:
            step: whose change it is.
            change: which has the image that was put there.
            image: what it replaced.
            there: the version that it got; where other steps left the same, they have that version, too.
            deadline: when that ends by itself.
        """
        before, size = ABSENT if change.image is None else change.image.version, change.size
        change.image, change.there, change.deadline = image, there, deadline
        change.done = not change.done
        change.in_doubt, change.own = False, None
        change.barrier = change.why = None
        if not change.done:
            self._turns += 1
            step.turned = self._turns
            step.undone_at = time.time()
        place = (change.collection, change.key)
        for other in self._steps.values():
            same = other.changes.get(place) if other.connection == step.connection else None
            if same is not None and same is not change and same.there == before != ABSENT:
                same.there, same.deadline = there, deadline
        step.size += change.size - size
        self._fit(step, change)

    def doubt(self, step: Step, change: Change, image: Record | None, own: Record | None) -> None:
        """Note that it is not known whether a change was taken to its other side.

        Args:
            step: whose change it is.
            change: which was about to be turned.
            image: what was being put there.
            own: what it was to replace.
        """
        size = change.size
        change.image, change.own, change.in_doubt = image, own, True
        step.size += change.size - size
        self._fit(step, change)

    def settle(self, step: Step, change: Change, there: Version, deadline: datetime | None) -> None:
        """Note that a change that was in doubt is on its side, where it left that version, which ends then by itself."""
        size = change.size
        change.in_doubt, change.own = False, None
        change.there, change.deadline = there, deadline
        step.size += change.size - size

    def bar(self, step: Step, change: Change, reason: Reason, why: str) -> None:
        """Leave a change on the side on which it is."""
        size = change.size
        change.bar(reason, why)
        step.size += change.size - size

    # Bounds

    def forget(self, connection: Connection, successor: Connection | None = None) -> None:
        """Let go of the steps of a connection, unless its successor has the same store."""
        lasting = successor is not None and place_of(successor) == place_of(connection)
        for step in list(self._steps.values()):
            if step.connection == connection.name and not lasting:
                self._drop(step)

    def trim(self, keeping: Step | None = None) -> None:
        """Let go of what is too old or too much."""
        oldest = time.monotonic() - MAX_JOURNAL_AGE
        size = self.size
        for step in list(self._steps.values()):
            if step is keeping or step.writing:
                continue
            if step.began >= oldest and len(self._steps) <= MAX_STEPS and size <= MAX_JOURNAL:
                break
            size -= step.size
            self._drop(step)

    def _fit(self, step: Step, change: Change) -> None:
        """Make room for a change, or be without its image."""
        self.trim(step)
        if step.size > MAX_JOURNAL and change.image is not None:
            self.bar(step, change, "impossible", FULL)

    def _drop(self, step: Step) -> None:
        if self._steps.get(step.id) is step:
            del self._steps[step.id]
