"""Writes that can be undone: they look at what they replace, and replace only that.

Each is one of `kvd.methods` with the option `journal`, answers as that does, and makes the same events. Where it cannot be
undone it is the plain write, and its step says why. A write that expects nothing is tried again when somebody else was quicker,
so that the image in the journal is what the write replaced, and never what it only saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from random import random
from typing import TYPE_CHECKING, Any, Final

from kvd.errors import RequestError
from kvd.images import each, is_kept, kept, look, put, whole
from kvd.journal import LARGE, SHORT_VALUE, Change, Journal, Step, read_mark
from kvd.methods import METHODS, Method
from stores.arguments import check_ttl, check_values
from stores.entry import JsonObject, ManagedEntry, deadline_after, utc_now
from stores.errors import ConflictError, KeyValueOperationError, KeyValueStoreError
from stores.records import ABSENT, ENTRY, KEEP, Keep, Record, Version

if TYPE_CHECKING:
    from kvd.params import Collection, Key, Keys, Ttl, Value, Values
    from kvd.use import Use

__all__ = ["journalled"]

ATTEMPTS: Final = 50
LONGEST_PAUSE: Final = 0.05
"""Seconds between two of them."""
NO_COMPARE: Final = "{} stores cannot compare and set"
DESTROYED: Final = "what is deleted as a whole is not kept"
FOREIGN: Final = "what it concerned is no entry"
CONTESTED: Final = "others kept writing at the same time"


def journalled(method: Method, option: Any, journal: Journal) -> Method:
    """The method in the form that notes in the journal what it changes; as it is, where it changes nothing.

    Raises:
        RequestError: bad_request, for an option that is none.
    """
    mark = read_mark(option)
    form = _FORMS.get(method.name)
    if form is None:
        return method

    async def function(use: Use, **args: Any) -> Any:
        step = journal.begin(mark, use.connection)
        try:
            return await form(_Writer(use, journal, step), **args)
        finally:
            journal.end(step)

    return method._replace(function=function)


class _Plainly(Exception):  # noqa: N818 - no mistake, but a way
    """A write cannot be done so that it can be undone; the message says why."""


class _Writer:
    """One request's writes, and the step that they belong to."""

    def __init__(self, use: Use, journal: Journal, step: Step) -> None:
        self.use = use
        self.store = use.store
        self._journal = journal
        self._step = step

    def note(self, change: Change) -> None:
        """Add to the step what was done."""
        if change.key is not None:
            change.collection = change.collection or self.store.default_collection
        self._journal.add(self._step, change)

    def note_for_good(self, change: Change, why: str) -> None:
        """Add to the step what was done and cannot be undone."""
        change.bar("impossible", why)
        self.note(change)

    async def write(
        self,
        change: Change,
        successor: Callable[[Record | None], Record | None],
        plain: Callable[[], Awaitable[Any]],
        *,
        expected: Version | None = None,
        creates: bool = True,
        differs: bool = False,
    ) -> Any:
        """Do a write so that it can be undone, or else plainly; returns the new version, or what the plain write returns.

        Args:
            change: what is noted, once the write is done.
            successor: makes of what is there what is to be there (None: nothing), or raises `_Plainly`.
            plain: the write without the journal, which also tells best what is wrong with it.
            expected: what the caller expects.
            creates: whether it also writes where nothing is; else the result is None there.
            differs: whether the plain write may be able to do what this one is refused.
        """
        try:
            return await self._write_carefully(change, successor, expected, creates=creates)
        except _Plainly as obstacle:
            why = str(obstacle)
        except KeyValueOperationError as error:  # perhaps only in one step with what is there, as in MongoDB
            if not differs:
                raise
            why = str(error)
        result = await plain()
        if result is not False:
            self.note_for_good(change, why)
        return result

    async def _write_carefully(
        self,
        change: Change,
        successor: Callable[[Record | None], Record | None],
        expected: Version | None,
        *,
        creates: bool,
    ) -> Version | None:
        use, collection, key = self.use, change.collection, change.key
        assert key is not None, "it is of one key"  # noqa: S101 - tells the type
        if self.store.traits.compare_and_set == "none":
            raise _Plainly(NO_COMPARE.format(use.connection.config.store))
        for attempt in range(ATTEMPTS):
            before = await look(use, collection, key)
            if expected not in {None, ABSENT if before is None else before.version}:
                raise _Plainly(CONTESTED)  # which will nearly always be told that this is a conflict
            if before is None and not creates:
                return None
            if not is_kept(before):
                raise _Plainly(LARGE)
            new = successor(before)
            try:
                change.there = await put(use, collection, key, before, new)
            except ConflictError:
                if expected is not None:
                    raise _Plainly(CONTESTED) from None
                await asyncio.sleep(random() * min(attempt / 1000, LONGEST_PAUSE))
                continue
            except (KeyValueStoreError, RequestError):
                change.image, change.own, change.in_doubt = kept(before), kept(new), True
                change.there = ABSENT if before is None else before.version
                change.deadline = None if new is None else new.expires_at
                self.note(change)
                raise
            change.image, change.deadline = kept(before), None if new is None else new.expires_at
            self.note(change)
            return change.there
        raise _Plainly(CONTESTED)


async def _edit(
    writer: _Writer,
    *,
    collection: Collection = None,
    key: Key,
    value: Value,
    ttl: Ttl | Keep = KEEP,
    expected: Version | None = None,
) -> dict[str, Any]:
    use, store = writer.use, writer.store
    keeps = isinstance(ttl, Keep)
    seconds = None if isinstance(ttl, Keep) else check_ttl(ttl)
    change = Change(operation="put", collection=collection, key=key, ttl=seconds, keeps_ttl=keeps, value=_short(value))

    def successor(before: Record | None) -> Record:
        now = utc_now()
        if before is None:
            return _entry(value, now, deadline_after(now, seconds))
        if before.kind != ENTRY:
            raise _Plainly(FOREIGN)
        return _entry(value, before.created_at or now, before.expires_at if keeps else deadline_after(now, seconds))

    def plain() -> Awaitable[Version]:
        return use.run(lambda: store.edit(key, value, collection=collection, ttl=ttl, expected=expected))

    after = await writer.write(change, successor, plain, expected=expected)
    use.wrote("put", collection, [key], ttl=seconds)
    return {"version": after}


async def _expire(
    writer: _Writer, *, collection: Collection = None, key: Key, ttl: Ttl, expected: Version | None = None
) -> bool:
    use, store = writer.use, writer.store
    seconds = check_ttl(ttl)
    change = Change(operation="expire", collection=collection, key=key, ttl=seconds)

    def successor(before: Record | None) -> Record:
        if before is None or (before.kind != ENTRY and not store.traits.foreign_ttl):
            raise _Plainly(FOREIGN)
        return whole(replace(before, expires_at=deadline_after(utc_now(), seconds)))

    def plain() -> Awaitable[bool]:
        return use.run(lambda: store.expire(key, ttl, collection=collection, expected=expected))

    after = await writer.write(change, successor, plain, expected=expected, creates=False, differs=True)
    if done := _is_done(after):
        use.wrote("expire", collection, [key], ttl=seconds)
    return done


async def _delete(writer: _Writer, *, collection: Collection = None, key: Key, expected: Version | None = None) -> bool:
    use, store = writer.use, writer.store
    change = Change(operation="delete", collection=collection, key=key)

    def plain() -> Awaitable[bool]:
        return use.run(lambda: store.delete(key, collection=collection, expected=expected))

    after = await writer.write(change, lambda _: None, plain, expected=expected, creates=False, differs=True)
    if done := _is_done(after):
        use.wrote("delete", collection, [key])
    return done


async def _restore(
    writer: _Writer, *, collection: Collection = None, key: Key, record: Record, expected: Version | None = None
) -> dict[str, Any]:
    use, store = writer.use, writer.store
    left = None if record.expires_at is None else (record.expires_at - utc_now()).total_seconds()
    change = Change(operation="restore", collection=collection, key=key, ttl=left)

    def plain() -> Awaitable[Version]:
        return use.run(lambda: store.restore(key, record, collection=collection, expected=expected))

    after = await writer.write(change, lambda _: record, plain, expected=expected)
    use.wrote("put", collection, [key], ttl=left)
    return {"version": after}


async def _put(writer: _Writer, *, collection: Collection = None, key: Key, value: Value, ttl: Ttl = None) -> None:
    use, store = writer.use, writer.store
    seconds = check_ttl(ttl)
    change = Change(operation="put", collection=collection, key=key, ttl=seconds, value=_short(value))

    def successor(_: Record | None) -> Record:
        now = utc_now()
        return _entry(value, now, deadline_after(now, seconds))

    def plain() -> Awaitable[None]:
        return use.run(lambda: store.put(key, value, collection=collection, ttl=ttl))

    await writer.write(change, successor, plain, differs=True)
    use.wrote("put", collection, [key], ttl=seconds)


def _entry(value: Value, created_at: datetime, expires_at: datetime | None) -> Record:
    """The record of an entry that is to be written."""
    entry = ManagedEntry(value=value, created_at=created_at, expires_at=expires_at)
    return Record.of(entry, size=0, version=ABSENT)


async def _put_many(writer: _Writer, *, collection: Collection = None, keys: Keys, values: Values, ttl: Ttl = None) -> None:
    latest = dict(zip(keys, check_values(values, len(keys)), strict=True))

    async def put(item: tuple[Key, Value]) -> None:
        await _put(writer, collection=collection, key=item[0], value=item[1], ttl=ttl)

    await each(writer.use, list(latest.items()), put)


async def _delete_many(writer: _Writer, *, collection: Collection = None, keys: Keys) -> int:
    async def delete(key: Key) -> bool:
        return await _delete(writer, collection=collection, key=key)

    return sum(await each(writer.use, list(dict.fromkeys(keys)), delete))


async def _destroy(writer: _Writer) -> bool:
    done: bool = await METHODS["destroy"].function(writer.use)
    if done:
        writer.note_for_good(Change(operation="destroy", collection=None, key=None), DESTROYED)
    return done


async def _destroy_collection(writer: _Writer, *, collection: Collection = None) -> bool:
    done: bool = await METHODS["destroy_collection"].function(writer.use, collection=collection)
    if done:
        name = collection or writer.store.default_collection
        writer.note_for_good(Change(operation="destroy", collection=name, key=None), DESTROYED)
    return done


def _is_done(result: Version | bool | None) -> bool:
    """Whether a write of what may be missing found it: a version, as long as there is one, or what the plain write says."""
    return result is not None and result is not False


def _short(value: Value) -> bytes | None:
    """The value's text, if it is worth telling."""
    text = value.encoded if isinstance(value, JsonObject) else b""
    return text if 0 < len(text) <= SHORT_VALUE else None


_FORMS: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
    "delete": _delete,
    "delete_many": _delete_many,
    "destroy": _destroy,
    "destroy_collection": _destroy_collection,
    "edit": _edit,
    "expire": _expire,
    "put": _put,
    "put_many": _put_many,
    "restore": _restore,
}
"""By the method's name."""
