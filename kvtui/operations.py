"""What a person does to entries, as the daemon's requests. No screen, no widget: the outcome is returned or raised.

Nothing here loses what it did not see: a write names the version it stands on, a creation that nothing is there, a deletion
what was looked at where that is known. All that one of these functions writes is one step of the journal.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from kvd import requests
from kvd.durations import format_ttl
from kvd.errors import DaemonError, RequestError
from kvd.model import ABSENT, Collection, Key, Problem, Record, Step, Version
from kvtui import jsontext
from kvtui.codecs import elide
from kvtui.commandline import address_of
from kvtui.history import Action, Outcome, Way, reason_of
from kvtui.messages import Entry, label_of
from kvtui.session import Session

__all__ = [
    "Conflict",
    "Done",
    "NewEntry",
    "Taken",
    "copies",
    "create",
    "delete",
    "delete_many",
    "rename",
    "save",
    "set_ttl",
    "travel",
    "whole",
]

TOGETHER = 100
"""Requests in flight at once where many keys are changed one by one."""
MANY = 1_000
"""Keys that one request names: the daemon takes some more, but then tells nobody which keys have changed."""
NAMED = 60
"""Cells of a name in the title of a step."""
PART = 4 * 1_048_576
"""Bytes read at once of a value that is wanted whole."""


class Conflict(Exception):  # noqa: N818 - an outcome
    """Someone else changed the entry; `current` is what is there now, None when it is gone."""

    def __init__(self, current: Record | None) -> None:
        super().__init__("someone else changed this entry")
        self.current = current


class Taken(Exception):  # noqa: N818 - an outcome
    """Something lives under this name already."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be created. `value` is JSON text, `ttl` seconds or None for never, `collection` None for the default."""

    connection: str
    collection: str | None
    key: str
    value: str
    ttl: float | None


class Done(NamedTuple):
    """How many entries were there to be changed, and what went wrong with others."""

    changed: int
    problem: str | None = None


def _conflict(error: RequestError) -> Conflict:
    packed = (error.detail or {}).get("record") if isinstance(error.detail, dict) else None
    return Conflict(None if packed is None else _record(packed))


def _record(packed: dict[str, Any]) -> Record:
    return Record(**{name: packed[name] for name in Record.__dataclass_fields__ if name in packed})


async def save(session: Session, entry: Entry, value: str, base: Version) -> Version:
    """Write a value on top of the version that was edited; the TTL stays as it is.

    Raises:
        Conflict: the entry is another one now, or gone.
        DaemonError: it could not be written, or (ConnectionLostError) it is unknown whether it was.
    """
    place = entry.place
    body = value.encode("utf-8", "surrogateescape")
    action = _begin(session, "edit {}", [entry])
    try:
        return await session.write(requests.edit(place.connection, place.collection, entry.key, body, expected=base), action)
    except RequestError as error:
        if error.code != "conflict":
            raise
        raise _conflict(error) from error


async def create(session: Session, new: NewEntry) -> None:
    """Create an entry.

    Raises:
        Taken: one of this name is there.
        DaemonError: it could not be written.
    """
    body = new.value.encode("utf-8", "surrogateescape")
    request = requests.edit(new.connection, new.collection, new.key, body, ttl=new.ttl, expected=ABSENT)
    action = _begin_in(session, new.connection, new.collection, "add {}", label_of(new.key))
    try:
        await session.write(request, action)
    except RequestError as error:
        if error.code != "conflict":
            raise
        raise Taken from error


async def set_ttl(session: Session, entries: Sequence[Entry], ttl: float | None, told: Callable[[int], None]) -> Done:
    """Give entries another TTL. `told` learns how many were tried so far."""
    title = "remove TTL of {}" if ttl is None else f"set TTL of {{}} to {format_ttl(ttl)}"
    expiries = [requests.expire(entry.place.connection, entry.place.collection, entry.key, ttl) for entry in entries]
    pieces = [expiries[start : start + TOGETHER] for start in range(0, len(expiries), TOGETHER)]
    return await _in_pieces(session, _begin(session, title, entries), ((len(piece), piece) for piece in pieces), told)


async def delete(session: Session, entry: Entry, *, seen: Version | None = None) -> bool:
    """Delete an entry; whether it was there. Another version than the one that was `seen` is left alone.

    Raises:
        Conflict: it is not the version that was seen.
        DaemonError: it could not be deleted.
    """
    action = _begin(session, "delete {}", [entry])
    return await _delete(session, action, entry, seen)


async def _delete(session: Session, action: Action, entry: Entry, seen: Version | None) -> bool:
    place = entry.place
    try:
        return await session.write(requests.delete(place.connection, place.collection, entry.key, expected=seen), action)
    except RequestError as error:
        if error.code != "conflict":
            raise
        raise _conflict(error) from error


async def delete_many(session: Session, entries: Sequence[Entry], told: Callable[[int], None]) -> Done:
    """Delete entries of one place, whatever they hold. `told` learns how many were tried so far."""
    pieces = [entries[start : start + MANY] for start in range(0, len(entries), MANY)]
    action = _begin(session, "delete {}", entries)
    return await _in_pieces(session, action, ((len(piece), [_deletion(piece)]) for piece in pieces), told)


def _deletion(entries: Sequence[Entry]) -> requests.Request[int]:
    place = entries[0].place
    return requests.delete_many(place.connection, place.collection, [entry.key for entry in entries])


async def _in_pieces(
    session: Session,
    action: Action,
    pieces: Iterable[tuple[int, Sequence[requests.Request[Any]]]],
    told: Callable[[int], None],
) -> Done:
    """Make the requests of a piece at once, piece after piece until one fails whole. Each comes with its number of entries."""
    changed = tried = 0
    problem: str | None = None

    async def outcome(request: requests.Request[Any]) -> int | DaemonError:
        try:
            return int(await session.write(request, action))
        except DaemonError as error:
            return error

    for entries, piece in pieces:
        outcomes = await asyncio.gather(*map(outcome, piece))
        errors = [one for one in outcomes if isinstance(one, DaemonError)]
        changed += sum(one for one in outcomes if isinstance(one, int))
        tried += entries
        told(tried)
        if errors:
            problem = problem or str(errors[0])
            if len(errors) == len(piece):
                break
    return Done(changed, problem)


async def whole(session: Session, entry: Entry) -> Record | None:
    """Read an entry with its whole body, whatever its size.

    Raises:
        DaemonError: it could not be read, or changed while it was read part by part.
    """
    place = entry.place
    record = await session.call(requests.read(place.connection, place.collection, entry.key, length=PART))
    if record is None or len(record.body) == record.length:
        return record
    parts = [record.body]
    read = len(record.body)
    while read < record.length:
        part = await session.call(requests.read(place.connection, place.collection, entry.key, offset=read, length=PART))
        if part is None or part.version != record.version or not part.body:
            raise RequestError("conflict", "the value changed while it was read", retry=True)
        parts.append(part.body)
        read += len(part.body)
    return Record(
        kind=record.kind,
        body=b"".join(parts),
        length=record.length,
        size=record.size,
        created_at=record.created_at,
        expires_at=record.expires_at,
        version=record.version,
    )


async def rename(session: Session, entry: Entry, name: str) -> None:
    """Write the entry under another name with what is left of its TTL, then delete the one that was read.

    Raises:
        Taken: the other name lives already.
        Conflict: the entry is gone, or changed while it was renamed; then both names are there.
        DaemonError: it could not be read or written.
    """
    record = await whole(session, entry)
    if record is None:
        raise Conflict(None)
    place = entry.place
    ttl = None if record.expires_at is None else max(0.001, record.expires_at - time.time())
    action = _begin_in(session, place.connection, place.name, "rename {} to {}", entry.label, label_of(name))
    write = requests.edit(place.connection, place.collection, name, record.body, ttl=ttl, expected=ABSENT)
    try:
        await session.write(write, action)
    except RequestError as error:
        if error.code != "conflict":
            raise
        raise Taken from error
    await _delete(session, action, entry, record.version)


async def travel(session: Session, way: Way, step: Step, told: Callable[[int], None], *, never_expire: bool = False) -> Outcome:
    """Undo a step, or do it again. `told` learns how many keys were brought back or left alone so far."""
    changed, problems = 0, dict[tuple[Collection, Key | None], Problem]()  # by their key: some are told twice
    while True:
        try:
            part = await session.call(way.request(step.step, never_expire=never_expire))
        except DaemonError as error:
            return Outcome(changed, list(problems.values()), reason_of(error))
        if part is None:
            break
        changed += part.changed
        problems |= {(problem.collection, problem.key): problem for problem in part.problems}
        told(changed + len(problems))
        if not part.left:
            break
    if changed or not problems:
        session.history.went(way, step.step)
    return Outcome(changed, list(problems.values()))


def _begin(session: Session, title: str, entries: Sequence[Entry]) -> Action:
    """Begin a step on some entries, whose name or number the title takes."""
    what = entries[0].label if len(entries) == 1 else f"{len(entries):,} keys"
    return _begin_in(session, entries[0].place.connection, entries[0].place.name, title, what)


def _begin_in(session: Session, connection: str, collection: str | None, title: str, *names: str) -> Action:
    where = f"{connection}/{collection}" if collection else connection
    return session.history.begin(f"{title.format(*(elide(name, NAMED) for name in names))} in {elide(where, NAMED)}")


def copies(entry: Entry, record: Record) -> list[tuple[str, str]]:
    """The forms in which an entry can be copied: what each is called, and its text."""
    text = record.body.decode("utf-8", "backslashreplace")
    place = entry.place
    address = address_of(place.connection, place.collection, entry.key)
    forms = [] if address is None else [("address for kvd", address)]
    if record.kind == "entry":
        forms = [("indented JSON", jsontext.indent(text)), ("JSON on one line", jsontext.compact(text)), *forms]
        with suppress(ValueError, RecursionError):  # of integers and levels that Python does not take there is no literal
            forms.insert(2, ("Python literal", repr(json.loads(text))))
    else:
        forms = [("text", text), ("hexadecimal", record.body.hex(" ")), ("Python bytes", repr(record.body)), *forms]
    return forms
