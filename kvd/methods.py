"""The daemon's methods: one function a method. Only this, and its forms for the journal, know both the wire and the stores.

A function's keyword-only parameters are the method's, read by `kvd.params`; what it returns is the reply's result as msgpack
carries it. There are four kinds, by who the first argument is and what is asked of the connection first:

    daemon  takes the client's session; needs no connection
    read    takes the use of a connection
    write   the same, refused on a connection that is read-only; its changes become events
    step    the same, on the connection of the step of the journal that is meant (`kvd.work`)

Methods only gain parameters, and results only gain fields. A parameter that a method does not know is refused: to ignore it
could be to ignore a condition.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from kvd.answers import pack_collections, pack_description, pack_keys, pack_record
from kvd.errors import Code, RequestError
from kvd.params import (
    IN_STEPS,
    READERS,
    Bin,
    Collection,
    Count,
    Flag,
    Key,
    Keys,
    Record,
    Seconds,
    Span,
    Text,
    Ttl,
    Value,
    Values,
    Version,
)
from kvd.protocol import MAX_PAGE, MAX_REPLY
from stores.entry import utc_now
from stores.errors import BaseKeyValueError, UnsupportedError
from stores.names import Name
from stores.protocols import AsyncCullProtocol, AsyncDestroyCollectionProtocol, AsyncDestroyStoreProtocol
from stores.records import KEEP, DatedText, Description, Keep

if TYPE_CHECKING:
    from kvd.use import Use

__all__ = ["METHODS", "Method", "describe_methods", "method"]

Access = Literal["daemon", "read", "write", "step"]
F = TypeVar("F", bound=Callable[..., Any])

PAGE: Final = 500
MAX_SNAPSHOT: Final = MAX_REPLY - 4_096
"""Bytes of a snapshot's body; what else a reply has is less than what is left."""


class Method(NamedTuple):
    """A method of the daemon."""

    name: str
    function: Callable[..., Any]
    access: Access
    readers: dict[str, Callable[[str, Any], Any]]
    required: frozenset[str]
    one_key: bool
    """Whether it concerns one key; otherwise it may concern any."""
    waits: bool
    """Whether the function is a coroutine's."""
    finish: Callable[[list[DatedText]], Any] | None = None
    """Of a plain read: what makes the result from the texts of its keys, and all that the function adds to reading them."""

    def read(self, params: dict[str, Any]) -> dict[str, Any]:
        """Read the parameters.

        Raises:
            RequestError: one is missing, unknown, or not what it should be.
        """
        readers = self.readers
        try:
            read = {}
            for name, value in params.items():
                read[name] = readers[name](name, value)
        except KeyError as error:
            raise self._unknown(error) from None
        if not read.keys() >= self.required:
            raise self._incomplete(read)
        return read

    def read_in_steps(self, params: dict[str, Any]) -> Generator[None, None, dict[str, Any]]:
        """Do as `read` in short steps, for a large request; what is bin may be a memoryview."""
        read = {}
        for name, value in params.items():
            try:
                reader = self.readers[name]
            except KeyError as error:
                raise self._unknown(error) from None
            if reader in IN_STEPS:
                read[name] = yield from IN_STEPS[reader](name, value)
            else:
                read[name] = reader(name, bytes(value) if type(value) is memoryview else value)
        if not read.keys() >= self.required:
            raise self._incomplete(read)
        return read

    def _unknown(self, name: KeyError) -> RequestError:
        return RequestError(Code.BAD_REQUEST, f"this daemon's {self.name} has no parameter {name}")

    def _incomplete(self, read: dict[str, Any]) -> RequestError:
        missing = ", ".join(sorted(self.required - read.keys()))
        return RequestError(Code.BAD_REQUEST, f"{self.name} needs {missing}")


METHODS: Final[dict[str, Method]] = {}


def method(access: Access, finish: Callable[[list[DatedText]], Any] | None = None) -> Callable[[F], F]:
    """Make a function a method of the daemon; `finish` is that of `Method`."""

    def register(function: F) -> F:
        kinds = {name: kind for name, kind in function.__annotations__.items() if name != "return"}
        first = function.__code__.co_varnames[0]
        del kinds[first]
        readers = {name: READERS[str(kind).partition(" ")[0]] for name, kind in kinds.items()}
        required = frozenset(kinds.keys() - (function.__kwdefaults__ or {}).keys())
        if access != "daemon":
            readers["connection"] = READERS["Text"]
            required |= set() if access == "step" else {"connection"}
        name = function.__name__.rstrip("_")
        waits = iscoroutinefunction(function)
        METHODS[name] = Method(name, function, access, readers, required, "key" in kinds, waits, finish)
        return function

    return register


def describe_methods() -> dict[str, Any]:
    """Describe the methods for the stored contract: access, parameters by name ("?": may be left out), result."""
    described: dict[str, Any] = {}
    for one in METHODS.values():
        kinds = {name: str(kind).partition(" ")[0] for name, kind in one.function.__annotations__.items()}
        result = str(one.function.__annotations__["return"])
        names = sorted(one.readers)
        params = {name: kinds.get(name, "Text") + ("" if name in one.required else "?") for name in names}
        described[one.name] = {"access": one.access, "params": params, "result": result}
    return dict(sorted(described.items()))


# Connections


@method("read")
async def connect(use: Use) -> dict[str, Any]:
    """Answer with the connection, which was opened for this, and with what its first write would make."""
    try:
        missing = await use.store.missing()
    except BaseKeyValueError:
        missing = None  # it is open all the same
    return use.connection.info() | {"missing": missing}


# Browse


@method("read")
async def scan_collections(
    use: Use, *, cursor: Bin | None = None, limit: Count = PAGE, max_age: Seconds | None = None
) -> dict[str, Any]:
    """A page of collections; of a flat keyspace from the walk that all clients share."""
    limit = min(limit, MAX_PAGE)
    if use.connection.listing is not None:
        listed = await use.connection.listing.page(cursor, limit, max_age)
        return {"items": pack_collections(listed.items), "cursor": listed.cursor, "scanned": listed.scanned, "age": listed.age}
    page = await use.run(lambda: use.store.scan_collections(cursor=cursor, limit=limit))
    use.moved(cursor, page.cursor)
    return {"items": pack_collections(page.items), "cursor": page.cursor, "scanned": page.scanned, "age": None}


@method("read")
async def scan_keys(
    use: Use,
    *,
    collection: Collection = None,
    cursor: Bin | None = None,
    limit: Count = PAGE,
    match: Text | None = None,
    describe: Flag = True,
) -> dict[str, Any]:
    """A page of keys, described unless told not to."""
    page = await use.run(
        lambda: use.store.scan_keys(collection, cursor=cursor, limit=min(limit, MAX_PAGE), match=match),
    )
    use.moved(cursor, page.cursor)
    found = await _describe_page(use, collection, page.items) if describe else [None] * len(page.items)
    return {"items": pack_keys(page.items, found), "cursor": page.cursor, "scanned": page.scanned}


async def _describe_page(use: Use, collection: Collection, names: list[Name]) -> list[Description | None]:
    tokens = [name.token for name in names]
    if not tokens:
        return []
    try:
        return await use.run(lambda: use.store.describe(tokens, collection=collection))
    except UnsupportedError:
        return [None] * len(tokens)


@method("read")
async def close_cursor(use: Use, *, cursor: Bin) -> None:
    """Let go of a scan."""
    use.moved(cursor, None)
    use.store.close_cursor(cursor)


@method("read")
async def describe(use: Use, *, collection: Collection = None, keys: Keys) -> list[dict[str, Any] | None]:
    """Metadata of many keys."""
    found = await use.run(lambda: use.store.describe(keys, collection=collection))
    return [pack_description(one) for one in found]


# Read and edit


@method("read")
async def read(
    use: Use, *, collection: Collection = None, key: Key, offset: Span = 0, length: Span | None = None
) -> dict[str, Any] | None:
    """One entry, or a range of its body."""
    limit = None if length is None else offset + length
    return pack_record(await use.run(lambda: use.store.read(key, collection=collection, limit=limit)), offset, length)


@method("write")
async def edit(
    use: Use,
    *,
    collection: Collection = None,
    key: Key,
    value: Value,
    ttl: Ttl | Keep = KEEP,
    expected: Version | None = None,
) -> dict[str, Any]:
    """Write a value over what is there."""
    version = await use.run(lambda: use.store.edit(key, value, collection=collection, ttl=ttl, expected=expected))
    use.wrote("put", collection, [key], ttl=None if isinstance(ttl, Keep) else ttl)
    return {"version": version}


@method("write")
async def expire(use: Use, *, collection: Collection = None, key: Key, ttl: Ttl, expected: Version | None = None) -> bool:
    """Change a TTL."""
    done = await use.run(lambda: use.store.expire(key, ttl, collection=collection, expected=expected))
    if done:
        use.wrote("expire", collection, [key], ttl=ttl)
    return done


@method("write")
async def delete(use: Use, *, collection: Collection = None, key: Key, expected: Version | None = None) -> bool:
    """Delete an entry."""
    deleted = await use.run(lambda: use.store.delete(key, collection=collection, expected=expected))
    if deleted:
        use.wrote("delete", collection, [key])
    return deleted


@method("read")
async def snapshot(use: Use, *, collection: Collection = None, key: Key) -> dict[str, Any] | None:
    """One entry whole, in the form that `restore` takes."""
    record = await use.run(lambda: use.store.snapshot(key, collection=collection))
    if record is not None and len(record.body) > MAX_SNAPSHOT:
        raise RequestError(
            Code.TOO_LARGE,
            f"the snapshot has {len(record.body):,} bytes, and {MAX_REPLY:,} is the most a reply may have: read it in ranges",
            connection=use.connection.name,
        )
    return pack_record(record)


@method("write")
async def restore(
    use: Use, *, collection: Collection = None, key: Key, record: Record, expected: Version | None = None
) -> dict[str, Any]:
    """Put a snapshot back."""
    version = await use.run(lambda: use.store.restore(key, record, collection=collection, expected=expected))
    left = None if record.expires_at is None else (record.expires_at - utc_now()).total_seconds()
    use.wrote("put", collection, [key], ttl=left)
    return {"version": version}


# The plain key-value protocol


def _body(found: list[DatedText]) -> Bin | None:
    one = found[0]
    return None if one is None else one[0]


def _bodies(found: list[DatedText]) -> list[Bin | None]:
    return [None if one is None else one[0] for one in found]


def _bodies_with_ttl(found: list[DatedText]) -> list[list[Any] | None]:
    now = utc_now()
    return [
        None if one is None else [one[0], None if one[1] is None else max((one[1] - now).total_seconds(), 0.0)] for one in found
    ]


@method("read", _body)
async def get(use: Use, *, collection: Collection = None, key: Key) -> Bin | None:
    """A value's JSON text."""
    return _body(await use.texts((key,), collection))


@method("read", _bodies)
async def get_many(use: Use, *, collection: Collection = None, keys: Keys) -> list[Bin | None]:
    """Values' JSON texts."""
    return _bodies(await use.texts(keys, collection))


@method("read", _bodies_with_ttl)
async def ttl_many(use: Use, *, collection: Collection = None, keys: Keys) -> list[list[Any] | None]:
    """Values' JSON texts, each with the seconds that are left."""
    return _bodies_with_ttl(await use.texts(keys, collection))


@method("write")
async def put(use: Use, *, collection: Collection = None, key: Key, value: Value, ttl: Ttl = None) -> None:
    """Store a value."""
    await use.put(key, value, collection, ttl)
    use.wrote("put", collection, [key], ttl=ttl)


@method("write")
async def put_many(use: Use, *, collection: Collection = None, keys: Keys, values: Values, ttl: Ttl = None) -> None:
    """Store many values."""
    await use.run(lambda: use.store.put_many(keys, values, collection=collection, ttl=ttl))
    use.wrote("put", collection, keys, ttl=ttl)


@method("write")
async def delete_many(use: Use, *, collection: Collection = None, keys: Keys) -> int:
    """Delete many keys."""
    count = await use.run(lambda: use.store.delete_many(keys, collection=collection))
    if count:
        use.wrote("delete", collection, keys)
    return count


@method("write")
async def destroy(use: Use) -> bool:
    """Empty the store."""
    store = use.store
    if not isinstance(store, AsyncDestroyStoreProtocol):
        raise use.cannot("be emptied")
    if not use.connection.config.allow_destroy:
        message = f"to empty {use.connection.name}, its configuration must say `allow_destroy = true`"
        raise RequestError(Code.DESTROY_REFUSED, message, connection=use.connection.name)
    done = await use.run(store.destroy)
    use.wrote("destroy", None, [])
    return done


@method("write")
async def destroy_collection(use: Use, *, collection: Collection = None) -> bool:
    """Delete a collection."""
    store = use.store
    if not isinstance(store, AsyncDestroyCollectionProtocol):
        raise use.cannot("delete a collection")
    name: Any = store.default_collection if collection is None else collection
    done = await use.run(lambda: store.destroy_collection(name))
    if done:
        use.wrote("destroy", name, [])
    return done


@method("write")
async def cull(use: Use) -> None:
    """Remove what has expired."""
    store = use.store
    if not isinstance(store, AsyncCullProtocol):
        raise use.cannot("be culled")
    await use.run(store.cull)
