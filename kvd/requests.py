"""The daemon's methods as typed requests: one function a method, used alike by the async and the blocking client.

    page = await client.call(requests.scan_keys("local", "sessions", limit=500))
    blocking.call(requests.put("local", None, "greeting", b'{"hello": "world"}', ttl=90))

A request is the method's name, its parameters (always a map) and the function that turns the answer into what the caller
reads. Adding a method is adding a function here and one in `kvd.methods`. Methods only gain parameters, answers only gain
fields: a client and a daemon of different builds understand each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from kvd.forms import (
    as_is,
    drop_none,
    known,
    nothing,
    pack_names,
    read_description,
    read_record,
    read_step,
    read_text,
    read_token,
    read_undone,
    read_version,
)
from kvd.model import (
    Collection,
    CollectionRow,
    ConnectionInfo,
    Description,
    Key,
    KeyRow,
    Opened,
    Page,
    Record,
    Step,
    Undone,
    Version,
    pack_name,
)

T = TypeVar("T")


class Keep:
    """The type of `KEEP`."""


KEEP: Final = Keep()
"""As a TTL: leave the deadline as it is."""

Ttl = float | None | Keep


@dataclass(slots=True)
class Request(Generic[T]):
    """One call of one method. Nothing changes it once it is made; it is not frozen only because that costs a microsecond.

    `decode` reads the answer's result. `timeout` is the deadline in seconds that the daemon keeps; None is the
    connection's own. `journal` is set by `journalled`.
    """

    method: str
    params: dict[str, Any]
    decode: Callable[[Any], T]
    timeout: float | None = None
    journal: dict[str, str] | None = None


def new_step() -> str:
    """Return an id for a step of the journal that no other has."""
    return os.urandom(12).hex()


def journalled(request: Request[T], step: str, title: str | None = None) -> Request[T]:
    """Have the daemon keep what this write replaces, so that it can be undone; returns the same request.

    Args:
        request: an edit, expire, delete, restore, put, put_many, delete_many, destroy or destroy_collection.
        step: what several writes of one action share, so that they are undone together; see `new_step`.
        title: what was done, for a person; the first one of a step stays.
    """
    request.journal = {"step": step}
    if title is not None:  # it may quote a key of odd bytes
        request.journal["title"] = title.encode("utf-8", "backslashreplace").decode()
    return request


# Connections and the daemon itself


def status() -> Request[dict[str, Any]]:
    """What the daemon is and does: version, pid, uptime, clients, memory, the files that it was started with (`config`, `log`),
    the seconds that it gives to what is in flight when it leaves (`drain`), connections with their figures. Of one with
    `looking`, more may be known in a moment: its server was not asked for anything lately, and is now.
    """
    return Request("status", {}, as_is)


def connections() -> Request[list[ConnectionInfo]]:
    """The connections that this client may use, in the configuration's order; opens none."""
    return Request("connections", {}, lambda rows: [known(ConnectionInfo, row) for row in rows])


def connect(connection: str) -> Request[ConnectionInfo]:
    """Open the connection if it is not open, and answer with its state and traits.

    Errors: unknown_connection, unreachable (with the reason), setup_failed.
    """
    return Request("connect", {"connection": connection}, lambda row: known(ConnectionInfo, row))


def open_url(url: str, *, read_only: bool = False) -> Request[Opened]:
    """Open the store that a URL or path names (`disk:///path`, `file:///path`, `memory:`), shared by all who ask for it."""
    return Request("open", drop_none(url=url, read_only=read_only or None), lambda row: known(Opened, row))


def open_demo() -> Request[Opened]:
    """Open a memory connection with a believable data set, private to this client."""
    return Request("demo", {}, lambda row: known(Opened, row))


def stop() -> Request[None]:
    """Ask the daemon to drain and leave."""
    return Request("stop", {}, nothing)


def reload() -> Request[list[str]]:
    """Read the configuration again; answers with the names of the connections that changed."""
    return Request("reload", {}, as_is)


def subscribe(connection: str | None = None) -> Request[None]:
    """Receive changes of one connection, or of all and their states."""
    return Request("subscribe", drop_none(connection=connection), nothing)


def unsubscribe(connection: str | None = None) -> Request[None]:
    """The opposite of `subscribe`."""
    return Request("unsubscribe", drop_none(connection=connection), nothing)


# Browse


def scan_collections(
    connection: str, *, cursor: bytes | None = None, limit: int | None = None, max_age: float | None = None
) -> Request[Page[CollectionRow]]:
    """A page of the connection's collections. `limit` is a hint.

    Where finding collections means looking at every name (Redis, Valkey, Memcached), clients share one search, and its result
    is kept for a while, the longer the more it cost. `max_age` (seconds), with the first page, asks for a newer one; 0: of now.
    """

    def decode(page: Any) -> Page[CollectionRow]:
        rows = [CollectionRow(read_text(name), read_token(token), bool(exact)) for name, token, exact, *_ in page["items"]]
        return Page(rows, page["cursor"], page["scanned"], page.get("age"))

    return Request("scan_collections", drop_none(connection=connection, cursor=cursor, limit=limit, max_age=max_age), decode)


def scan_keys(
    connection: str,
    collection: Collection,
    *,
    cursor: bytes | None = None,
    limit: int | None = None,
    match: str | None = None,
    describe: bool = True,
) -> Request[Page[KeyRow]]:
    """A page of a collection's keys, described unless told not to. `match` is a glob (`*`, `?`, `[a-z]`, backslash quotes)."""

    def decode(page: Any) -> Page[KeyRow]:
        rows = [
            KeyRow(read_text(key), read_token(token), bool(exact), read_description(description))
            for key, token, exact, description, *_ in page["items"]
        ]
        return Page(rows, page["cursor"], page["scanned"])

    params = drop_none(
        connection=connection,
        collection=pack_name(collection),
        cursor=cursor,
        limit=limit,
        match=match,
        describe=describe,
    )
    return Request("scan_keys", params, decode)


def close_cursor(connection: str, cursor: bytes) -> Request[None]:
    """Let go of a scan that is not walked to its end."""
    return Request("close_cursor", {"connection": connection, "cursor": cursor}, nothing)


def describe(connection: str, collection: Collection, keys: Sequence[Key]) -> Request[list[Description | None]]:
    """Metadata of many keys, without their values; None for a key that is not there."""
    params = {"connection": connection, "collection": pack_name(collection), "keys": pack_names(keys)}
    return Request("describe", params, lambda rows: [read_description(row) for row in rows])


# Read and edit


def read(
    connection: str, collection: Collection, key: Key, *, offset: int | None = None, length: int | None = None
) -> Request[Record | None]:
    """One entry, foreign or ours, with its version; None when it is not there. `offset` and `length` are bytes of the body."""
    params = drop_none(
        connection=connection, collection=pack_name(collection), key=pack_name(key), offset=offset, length=length
    )
    return Request("read", params, read_record)


def _edit_params(connection: str, collection: Collection, key: Key, expected: Version | None) -> dict[str, Any]:
    return drop_none(connection=connection, collection=pack_name(collection), key=pack_name(key), expected=expected)


def edit(
    connection: str,
    collection: Collection,
    key: Key,
    value: bytes,
    *,
    ttl: Ttl = KEEP,
    expected: Version | None = None,
) -> Request[Version]:
    """Write a value (JSON text) as a person does: the TTL stays unless one is given, and with `expected` nobody else's
    write is lost. ABSENT creates only. Answers with the new version.

    Errors: conflict, whose detail carries the record that is there now (or nil: gone); read_only; invalid_*.
    """
    params = _edit_params(connection, collection, key, expected) | {"value": value}
    if not isinstance(ttl, Keep):
        params["ttl"] = ttl
    return Request("edit", params, read_version)


def expire(
    connection: str, collection: Collection, key: Key, ttl: float | None, *, expected: Version | None = None
) -> Request[bool]:
    """Give the entry another TTL in seconds (None: it lives on), value untouched; False when it is not there."""
    return Request("expire", _edit_params(connection, collection, key, expected) | {"ttl": ttl}, bool)


def delete(connection: str, collection: Collection, key: Key, *, expected: Version | None = None) -> Request[bool]:
    """Delete an entry; False when it was not there. With `expected`, only what was seen is deleted (else conflict)."""
    return Request("delete", _edit_params(connection, collection, key, expected), bool)


def snapshot(connection: str, collection: Collection, key: Key) -> Request[Record | None]:
    """One entry whole, ours or foreign, in the form that `restore` puts back (of foreign data not that of `read`); None when it
    is not there.

    Errors: too_large, where its body does not fit into a reply.
    """
    params = {"connection": connection, "collection": pack_name(collection), "key": pack_name(key)}
    return Request("snapshot", params, read_record)


def restore(
    connection: str, collection: Collection, key: Key, record: Record, *, expected: Version | None = None
) -> Request[Version]:
    """Put a snapshot's value, creation time and deadline back, under any key. Answers with the new version.

    Errors: those of `edit`; unsupported, for foreign data of another kind of store. A record that does not fit into a frame
    cannot be sent.
    """
    packed = {
        "kind": record.kind,
        "body": record.body,
        "length": record.length,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "version": record.version,
    }
    return Request("restore", _edit_params(connection, collection, key, expected) | {"record": packed}, read_version)


# The plain key-value protocol, for programs


def get(connection: str, collection: Collection, key: Key) -> Request[bytes | None]:
    """A value's JSON text, or None."""
    params = {
        "connection": connection,
        # nothing is asked as often, and nearly all names are such: the two calls would be felt
        "collection": collection if type(collection) is str and collection.isascii() else pack_name(collection),
        "key": key if type(key) is str and key.isascii() else pack_name(key),
    }
    return Request("get", params, as_is)


def get_many(connection: str, collection: Collection, keys: Sequence[Key]) -> Request[list[bytes | None]]:
    """Values in the order of the keys, None for holes."""
    params = {"connection": connection, "collection": pack_name(collection), "keys": pack_names(keys)}
    return Request("get_many", params, as_is)


def ttl_many(connection: str, collection: Collection, keys: Sequence[Key]) -> Request[list[tuple[bytes, float | None] | None]]:
    """Values with the seconds that they still live (None: for ever), in the order of the keys, None for holes."""
    params = {"connection": connection, "collection": pack_name(collection), "keys": pack_names(keys)}
    return Request("ttl_many", params, lambda rows: [None if row is None else (row[0], row[1]) for row in rows])


def put(connection: str, collection: Collection, key: Key, value: bytes, *, ttl: float | None = None) -> Request[None]:
    """Store a value (JSON text), with a TTL in seconds or none."""
    params = drop_none(connection=connection, collection=pack_name(collection), key=pack_name(key), value=value, ttl=ttl)
    return Request("put", params, nothing)


def put_many(
    connection: str,
    collection: Collection,
    keys: Sequence[Key],
    values: Sequence[bytes],
    *,
    ttl: float | None = None,
) -> Request[None]:
    """Store many values with one TTL."""
    params = drop_none(
        connection=connection,
        collection=pack_name(collection),
        keys=pack_names(keys),
        values=list(values),
        ttl=ttl,
    )
    return Request("put_many", params, nothing)


def delete_many(connection: str, collection: Collection, keys: Sequence[Key]) -> Request[int]:
    """Delete many keys; answers how many were there."""
    params = {"connection": connection, "collection": pack_name(collection), "keys": pack_names(keys)}
    return Request("delete_many", params, int)


def destroy(connection: str) -> Request[bool]:
    """Empty the whole store. Needs `allow_destroy = true` on the connection."""
    return Request("destroy", {"connection": connection}, bool)


def destroy_collection(connection: str, collection: Collection) -> Request[bool]:
    """Delete a collection with all that it holds; False when there was none."""
    return Request("destroy_collection", {"connection": connection, "collection": pack_name(collection)}, bool)


def cull(connection: str) -> Request[None]:
    """Remove what has expired but still takes room."""
    return Request("cull", {"connection": connection}, nothing)


# The journal


def steps(*, connection: str | None = None, step: str | None = None, limit: int | None = None) -> Request[list[Step]]:
    """The journal's steps, of one connection or of all that this client may use, or one of them; newest first, at most `limit`.

    Of each, the first changes are told; `count` says how many there are. Asked for one `step`, more of them are.
    """
    params = drop_none(connection=connection, step=step, limit=limit)
    return Request("steps", params, lambda rows: [read_step(row) for row in rows])


def undo(
    step: str | None = None, *, connection: str | None = None, never_expire: bool = False, limit: int | None = None
) -> Request[Undone | None]:
    """Undo a step, or the latest that is not undone (of the connection, where one is given); None where there is none.

    At most `limit` keys are done at once: while the answer's `left` is not 0, ask again with its `step`, and show progress.
    `never_expire` brings back without a TTL what would have expired meanwhile.

    Errors: unknown_step, for one that left the journal; read_only; conflict (retry), while its writes are still going on.
    """
    params = drop_none(step=step, connection=connection, never_expire=never_expire or None, limit=limit)
    return Request("undo", params, read_undone)


def redo(
    step: str | None = None, *, connection: str | None = None, never_expire: bool = False, limit: int | None = None
) -> Request[Undone | None]:
    """Do again what was undone: a step, or the one that was undone last. As `undo`."""
    params = drop_none(step=step, connection=connection, never_expire=never_expire or None, limit=limit)
    return Request("redo", params, read_undone)
