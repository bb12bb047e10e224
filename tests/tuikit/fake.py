"""A daemon's client over a dict, for tests of screens that need states no real store can be brought into at will.

Answers packed as on the wire, so that the requests' own decoding is used.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from kvd.errors import ConnectionLostError, RequestError
from kvd.model import Change, pack_name, unpack_name
from kvd.protocol import MAX_KEYS
from kvd.requests import Request
from stores.names import compile_glob
from tests.tuikit.journal import Journal

T = TypeVar("T")


class Stored:
    def __init__(self, body: bytes, expires_at: float | None, *, kind: str = "entry") -> None:
        self.body, self.expires_at, self.kind = body, expires_at, kind
        self.created_at = time.time()
        self.version = b"%d" % time.monotonic_ns()

    def record(self, offset: int = 0, length: int | None = None) -> dict[str, Any]:
        end = None if length is None else offset + length
        return {
            "kind": self.kind,
            "body": self.body[offset:end],
            "offset": offset,
            "length": len(self.body),
            "size": len(self.body),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "version": self.version,
        }

    def description(self) -> dict[str, Any]:
        row = self.record()
        return {name: row[name] for name in ("kind", "size", "created_at", "expires_at")} | {"stamp": self.version}


class Daemon:
    """What all fake clients share."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, dict[str, Stored]]] = {"scratch": {}, "local": {}}
        self.read_only: set[str] = set()
        self.production: set[str] = set()
        self.groups: dict[str, str] = {}
        self.colours: dict[str, str] = {}
        self.separators: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.config_problem: str | None = None
        self.fail: dict[str, RequestError] = {}
        self.lose: dict[str, RequestError] = {}
        """What is answered in place of the result by methods that do what is asked."""
        self.hold: dict[str, asyncio.Event] = {}
        self.page = 500
        self.most_keys = MAX_KEYS
        self.traits: dict[str, Any] = {}
        self.states: dict[str, str] = {}
        self.closed: list[bytes] = []
        self.clients: list[Client] = []
        self.up = True
        self.calls: list[str] = []
        self.journal = Journal()
        self.pid = 1
        self.ages: list[float | None] = []
        """How old the lists of collections might be that were asked for."""

    def put(
        self, connection: str, collection: str, key: str, value: Any, ttl: float | None = None, *, kind: str = "entry"
    ) -> Stored:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        stored = Stored(body, None if ttl is None else time.time() + ttl, kind=kind)
        self.data.setdefault(connection, {}).setdefault(collection, {})[key] = stored
        return stored

    def drop(self) -> None:
        """Die as `kill -9` would have it."""
        for client in self.clients:
            client.queue.put_nowait(None)
        self.clients.clear()

    def announce(self, operation: str, connection: str, collection: str, *keys: str, own: Client | None = None) -> None:
        for client in self.clients:
            change = Change(
                sequence=0,
                connection=connection,
                collection=collection,
                keys=list(keys),
                operation=operation,
                own=client is own,
            )
            client.queue.put_nowait(change)

    async def open(self) -> Client:
        if not self.up:
            raise ConnectionLostError("nobody answers")
        client = Client(self)
        self.clients.append(client)
        return client


class Client:
    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.queue: asyncio.Queue[Change | None] = asyncio.Queue()

    async def call(self, request: Request[T]) -> T:
        await asyncio.sleep(0)
        daemon, method = self.daemon, request.method
        daemon.calls.append(method)
        if self not in daemon.clients:
            raise ConnectionLostError
        if method in daemon.hold:
            await daemon.hold[method].wait()
        if method in daemon.fail:
            raise daemon.fail[method]
        params = dict(request.params)
        for name in params.keys() & {"key", "collection"}:
            params[name] = unpack_name(params[name])
        if "keys" in params:
            assert len(params["keys"]) <= daemon.most_keys, "the daemon would hang up"
            params["keys"] = [unpack_name(key) for key in params["keys"]]
        if request.journal is not None:
            result = daemon.journal.kept(self, method, params, request.journal)
        else:
            result = getattr(self, method)(**params)
        if method in daemon.lose:
            raise daemon.lose[method]
        return request.decode(result)

    async def changes(self) -> AsyncIterator[Change]:
        while (change := await self.queue.get()) is not None:
            yield change

    async def aclose(self) -> None:
        if self in self.daemon.clients:
            self.daemon.clients.remove(self)

    def info(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "store": "disk" if name == "local" else "memory",
            "location": "/home/ada/.local/share/kvd/local" if name == "local" else "",
            "state": self.daemon.states.get(name, "ready"),
            "read_only": name in self.daemon.read_only,
            "production": name in self.daemon.production,
            "group": self.daemon.groups.get(name),
            "colour": self.daemon.colours.get(name),
            "separators": self.daemon.separators.get(name, ":"),
            "traits": self.daemon.traits,
        }

    def status(self) -> dict[str, Any]:
        return {"problems": [] if self.daemon.config_problem is None else [self.daemon.config_problem], "pid": self.daemon.pid}

    def subscribe(self, connection: str | None = None) -> None: ...

    def reload(self) -> list[str]:
        return []

    def demo(self) -> dict[str, Any]:
        return {"connection": "demo"}

    def open(self, url: str, *, read_only: bool = False) -> dict[str, Any]:
        del read_only
        if "nowhere" in url:
            raise RequestError("unreachable", f"{url} is not there")
        return {"connection": "local"}

    def connections(self) -> list[dict[str, Any]]:
        if self.daemon.config_problem is not None:
            return []
        return [self.info(name) for name in self.daemon.data]

    def connect(self, connection: str) -> dict[str, Any]:
        return self.info(connection) | {"missing": self.daemon.missing.get(connection)}

    def scan_collections(
        self, connection: str, cursor: bytes | None = None, limit: int = 500, max_age: float | None = None
    ) -> dict[str, Any]:
        del cursor, limit
        self.daemon.ages.append(max_age)
        rows = [[name, [name.encode()], True] for name in self.daemon.data[connection]]
        return {"items": rows, "cursor": None, "scanned": len(rows)}

    def _keys(self, connection: str, collection: Any) -> dict[str, Stored]:
        found = self.daemon.data[connection].setdefault(collection or "default_collection", {})
        now = time.time()
        for key in [key for key, stored in found.items() if stored.expires_at is not None and stored.expires_at <= now]:
            del found[key]
        return found

    def scan_keys(
        self,
        connection: str,
        collection: Any = None,
        cursor: bytes | None = None,
        *,
        limit: int = 500,
        match: str | None = None,
        describe: bool = True,
    ) -> dict[str, Any]:
        del describe
        keys = self._keys(connection, collection)
        wanted = compile_glob("*" if match is None else match)
        start = int(cursor or 0)
        names = list(keys)[start : start + min(limit, self.daemon.page)]
        after = start + len(names)
        rows = [
            [pack_name(name), [name.encode("utf-8", "surrogateescape")], True, keys[name].description()]
            for name in names
            if wanted.match(name)
        ]
        return {"items": rows, "cursor": b"%d" % after if after < len(keys) else None, "scanned": len(names)}

    def close_cursor(self, connection: str, cursor: bytes) -> None:
        del connection
        self.daemon.closed.append(cursor)

    def describe(self, connection: str, keys: list[str], collection: Any = None) -> list[Any]:
        found = self._keys(connection, collection)
        return [found[key].description() if key in found else None for key in keys]

    def read(
        self, connection: str, key: str, collection: Any = None, offset: int = 0, length: int | None = None
    ) -> dict[str, Any] | None:
        found = self._keys(connection, collection)
        return found[key].record(offset, length) if key in found else None

    def _guard(self, connection: str, found: dict[str, Stored], key: str, expected: bytes | None) -> None:
        if connection in self.daemon.read_only:
            raise RequestError("read_only", f"{connection} is read-only")
        if expected is None:
            return
        current = found.get(key)
        if (b"" if current is None else current.version) != expected:
            raise RequestError("conflict", "someone else was first", detail={"record": current.record() if current else None})

    def edit(
        self, connection: str, key: str, value: bytes, collection: Any = None, expected: bytes | None = None, **more: Any
    ) -> dict[str, Any]:
        found = self._keys(connection, collection)
        self._guard(connection, found, key, expected)
        before = found.get(key)
        deadline = before.expires_at if before else None
        if "ttl" in more:
            deadline = None if more["ttl"] is None else time.time() + more["ttl"]
        found[key] = Stored(value, deadline)
        self.daemon.announce("put", connection, collection or "default_collection", key, own=self)
        return {"version": found[key].version}

    def expire(
        self, connection: str, key: str, ttl: float | None = None, collection: Any = None, expected: bytes | None = None
    ) -> bool:
        found = self._keys(connection, collection)
        self._guard(connection, found, key, expected)
        if key not in found:
            return False
        if found[key].kind != "entry":
            raise RequestError("unsupported", f"{key} has no TTL")
        found[key].expires_at = None if ttl is None else time.time() + ttl
        found[key].version += b"t"
        self.daemon.announce("expire", connection, collection or "default_collection", key, own=self)
        return True

    def delete(self, connection: str, key: str, collection: Any = None, expected: bytes | None = None) -> bool:
        found = self._keys(connection, collection)
        self._guard(connection, found, key, expected)
        self.daemon.announce("delete", connection, collection or "default_collection", key, own=self)
        return found.pop(key, None) is not None

    def delete_many(self, connection: str, keys: list[str], collection: Any = None) -> int:
        return sum(self.delete(connection, key, collection) for key in keys)

    def steps(self, step: str | None = None, limit: int = 200, connection: str | None = None) -> list[Any]:
        del connection
        rows = [kept.packed() for kept in reversed(self.daemon.journal.steps) if step in {None, kept.id}]
        return rows[:limit]

    def undo(self, step: str | None = None, *, never_expire: bool = False, limit: int = 500) -> Any:
        return self.daemon.journal.travel(self, step, back=True, never_expire=never_expire, limit=limit)

    def redo(self, step: str | None = None, *, never_expire: bool = False, limit: int = 500) -> Any:
        return self.daemon.journal.travel(self, step, back=False, never_expire=never_expire, limit=limit)
