"""The methods of the journal: what was done is told, undone, and done again. See `kvd.methods` for the rules.

A change is turned to its other side: what is there is looked at, compared with what the change left, and replaced by the image,
in whose place it is kept. So undo and redo are the same, and each is compare-and-set, a key at a time. One that was cut off
finds again what it had done. A renamed entry has but one place: what is to be taken away stays where something that a step left
nothing of cannot come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from kvd.durations import format_ttl
from kvd.errors import RequestError
from kvd.images import each, is_kept, kept, look, put, whole
from kvd.journal import LARGE, Change, Step
from kvd.methods import method
from kvd.params import Count, Flag, Text
from kvd.protocol import MAX_PAGE, MAX_STEPS, MAX_TOLD
from stores.entry import utc_now
from stores.errors import ConflictError, KeyValueOperationError, KeyValueStoreError
from stores.records import ABSENT, ENTRY, Record, Version

if TYPE_CHECKING:
    from kvd.session import Session
    from kvd.use import Use

__all__ = ["redo", "steps", "undo"]

PAGE: Final = 200
SLACK: Final = timedelta(seconds=2)
"""How far clocks may be apart, with what a store rounds a deadline to."""

CHANGED: Final = "somebody else has written it since"
GONE: Final = "it is gone"
MOVED: Final = "what should come back in its place could not"


@method("daemon")
def steps(
    session: Session, *, connection: Text | None = None, step: Text | None = None, limit: Count = MAX_STEPS
) -> list[dict[str, Any]]:
    """The steps of the journal, newest first."""
    return session.server.journal.pack(session.sees, connection, step, limit)


@method("step")
async def undo(use: Use, *, step: Step | None = None, never_expire: Flag = False, limit: Count = PAGE) -> dict[str, Any] | None:
    """Undo a step, or the latest that is not undone."""
    return None if step is None else await _turn(use, step, done=True, never_expire=never_expire, limit=limit)


@method("step")
async def redo(use: Use, *, step: Step | None = None, never_expire: Flag = False, limit: Count = PAGE) -> dict[str, Any] | None:
    """Do a step again, or the one that was undone last."""
    return None if step is None else await _turn(use, step, done=False, never_expire=never_expire, limit=limit)


async def _turn(use: Use, step: Step, *, done: bool, never_expire: bool, limit: int) -> dict[str, Any]:
    async with _taken(step), use.journal.lock(step.connection):
        begun = [change for change in step.changes.values() if change.done is done]
        await each(use, [change for change in step.changes.values() if change.in_doubt], partial(_settle, use, step))
        here = [change for change in step.changes.values() if change.can_turn(done=done, never_expire=never_expire)]
        ordered = sorted(here[::-1] if done else here, key=_takes_away)
        tried = ordered[: min(limit, MAX_PAGE)]
        for _, some in groupby(tried, _takes_away):
            is_short = any(_is_lost(change, done=done) for change in step.changes.values())
            await each(use, list(some), partial(_turn_one, use, step, is_short=is_short, never_expire=never_expire))
    step.told = True
    left = len(here) - len(tried)
    stayed = [change for change in tried if change.done is done]
    if not left:
        known = set(here)
        others = (change for change in step.changes.values() if change.done is done and change not in known)
        stayed += [change for change, _ in zip(others, range(MAX_TOLD), strict=False)]
    return {
        "step": step.id,
        "title": step.title,
        "connection": step.connection,
        "changed": sum(change.done is not done for change in {*begun, *tried}),
        "left": left,
        "problems": [change.pack_problem() for change in stayed] + ([] if left or not done else step.pack_lost()),
    }


@asynccontextmanager
async def _taken(step: Step) -> AsyncIterator[None]:
    """Give the step back when it is done, before anybody learns that."""
    try:
        yield
    finally:
        step.taken.discard(asyncio.current_task())


async def _settle(use: Use, step: Step, change: Change) -> None:
    """Find out on which side a change is, where there was no answer to what was to turn it."""
    assert change.key is not None, "what was destroyed is known"  # noqa: S101 - tells the type
    current = await look(use, change.collection, change.key)
    if not _is_same(current, change.own) and _is_same(current, change.image):
        _turned(use, step, change, change.own, current)
    elif _is_same(current, change.own):
        use.journal.settle(step, change, _version(current), None if current is None else current.expires_at)
    else:
        use.journal.settle(step, change, change.there, change.deadline)  # which is not what is there


async def _turn_one(use: Use, step: Step, change: Change, *, is_short: bool, never_expire: bool) -> None:
    """Turn a change; `is_short`: something that should have come back could not, so that nothing is taken away."""
    journal = use.journal
    assert change.key is not None, "what was destroyed cannot be turned"  # noqa: S101 - tells the type
    current = await look(use, change.collection, change.key)
    now = utc_now()
    if not _is_left(change, current, now):
        journal.bar(step, change, "conflict", GONE if current is None else CHANGED)
        return
    target = change.image
    if target is not None and target.expires_at is not None and target.expires_at <= now:
        if not never_expire:
            ago = format_ttl((now - target.expires_at).total_seconds())
            journal.bar(step, change, "expired", f"it would have expired {ago} ago")
            return
        target = replace(target, expires_at=None)
    if is_short and _takes_away(change) and current is not None:
        journal.bar(step, change, "impossible", MOVED)
        return
    try:
        there = await put(use, change.collection, change.key, current, None if target is None else whole(target))
    except ConflictError:
        late = await look(use, change.collection, change.key)
        if _is_same(late, target):
            _turned(use, step, change, current, late)  # what had been given up came only now
        else:
            journal.bar(step, change, "conflict", CHANGED)
    except KeyValueOperationError as error:
        journal.bar(step, change, "impossible", str(error))
    except (KeyValueStoreError, RequestError):
        journal.doubt(step, change, target, kept(current))
        raise
    else:
        _turned(use, step, change, current, None if target is None else replace(target, version=there))


def _turned(use: Use, step: Step, change: Change, replaced: Record | None, there: Record | None) -> None:
    """Note what was replaced, and what is there now."""
    assert change.key is not None, "as above"  # noqa: S101 - tells the type
    journal, deadline = use.journal, None if there is None else there.expires_at
    image = kept(replaced) if is_kept(replaced) else None
    journal.turn(step, change, image, _version(there), deadline)
    if not is_kept(replaced):
        journal.bar(step, change, "impossible", LARGE)
    left = None if deadline is None else (deadline - utc_now()).total_seconds()
    use.wrote("delete" if there is None else "put", change.collection, [change.key], ttl=left)


def _is_lost(change: Change, *, done: bool) -> bool:
    """Whether it stays on that side, on which nothing is left."""
    return change.done is done and change.barrier is not None and change.there == ABSENT


def _takes_away(change: Change) -> bool:
    """Whether turning it leaves nothing where something is."""
    return change.image is None


def _is_left(change: Change, current: Record | None, now: datetime) -> bool:
    """Whether what is there is what the change left; where nothing is, it may have expired since."""
    if current is None:
        return change.there == ABSENT or (change.deadline is not None and change.deadline <= now + SLACK)
    if current.version != change.there:
        return False
    # of what is no entry the version need not tell the deadline
    return current.kind == ENTRY or _about_equal(current.expires_at, change.deadline)


def _version(record: Record | None) -> Version:
    return ABSENT if record is None else record.version


def _is_same(one: Record | None, other: Record | None) -> bool:
    """Whether one was written as the other, whatever its version."""
    if one is None or other is None:
        return one is other
    about = _about_equal(one.expires_at, other.expires_at) and _about_equal(one.created_at, other.created_at)
    return about and (one.kind, one.body) == (other.kind, other.body)


def _about_equal(one: datetime | None, other: datetime | None) -> bool:
    return one is other if one is None or other is None else abs(one - other) <= SLACK
