"""The commands for data: ls, get, put, ttl, rm. Each returns the command's exit status."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

from kvd import requests
from kvd.addresses import Address, encode_part, parse_address
from kvd.blocking import BlockingClient
from kvd.durations import format_ttl, parse_ttl
from kvd.errors import Code, RequestError
from kvd.model import ABSENT, OUTSIDE, CollectionRow, KeyRow, Page
from kvd.protocol import MAX_FRAME
from kvd.terminal import complain, say, say_json, show_size, show_table, visible

__all__ = ["UsageError", "get", "ls", "put", "rm", "ttl"]

OK, GONE = 0, 1
OLD = 2.0
"""Seconds from which the age of a listing is worth telling."""


class UsageError(Exception):
    """The command was not written as it should be."""


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _entry(text: str) -> tuple[Address, str]:
    address = _address(text)
    if address.key is None:
        raise UsageError(f"{text!r} names no key: a key's address is CONNECTION/COLLECTION/KEY")
    return address, address.key


def _connection(client: BlockingClient, address: Address) -> str:
    """The connection's name; a URL or path is opened first."""
    if ":" in address.connection or address.connection.startswith("/"):
        return client.call(requests.open_url(address.connection)).connection
    return address.connection


def _ttl(text: str) -> float | None:
    try:
        return parse_ttl(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


# ls


def ls(client: BlockingClient, options: argparse.Namespace) -> int:
    """List connections, a connection's collections, or a collection's keys."""
    address = None if options.address is None else _address(options.address)
    if options.match is not None and (address is None or not address.has_collection):
        raise UsageError("--match is for keys: give the address of a collection, CONNECTION/COLLECTION")
    if address is None:
        found = client.call(requests.connections())
        for info in found[: options.limit]:
            _show_place("connection", info.name, as_json=options.json)
        if not found:
            problems = client.call(requests.status())["problems"]
            complain("\n".join(problems) or "no connections: `kvd connections add` writes one down")
        return OK
    connection = _connection(client, address)
    if address.has_collection:
        _list_keys(client, connection, address, options)
    else:
        _list_collections(client, connection, options)
    return OK


def _list_collections(client: BlockingClient, connection: str, options: argparse.Namespace) -> None:
    found = False
    for collection in _collections(client, connection, options.limit):
        found = True
        if collection.token != OUTSIDE:
            _show_place("collection", collection.name, as_json=options.json, exact=collection.exact)
        elif options.json:
            say_json({"collection": None, "exact": False})
        else:
            complain(f"{visible(connection)}: some keys belong to no collection, and have no address here; kvtui shows them")
    if not found and options.limit != 0:
        absence = client.call(requests.connect(connection)).absence  # what is mistyped must not look as if it were empty
        complain(f"{connection}: no collections" + ("" if absence is None else f"; {absence}"))


def _collections(client: BlockingClient, connection: str, limit: int | None) -> Iterator[CollectionRow]:
    cursor: bytes | None = None
    shown = 0
    while True:
        page: Page[CollectionRow] = client.call(requests.scan_collections(connection, cursor=cursor))
        if cursor is None and page.age is not None and page.age > OLD:
            complain(f"as of {page.age:.0f} s ago: to look at every name takes the server long")
        for row in page.items:
            if shown == limit:
                return
            shown += 1
            yield row
        cursor = page.cursor
        if cursor is None:
            return


def _keys(client: BlockingClient, connection: str, address: Address, options: argparse.Namespace) -> Iterator[KeyRow]:
    match = options.match
    if address.key:
        if match is not None:
            raise UsageError("give the keys' beginning in the address, or a pattern with --match, not both")
        match = "".join("\\" + char if char in "*?[]\\" else char for char in address.key) + "*"
    if match is not None and not _is_text(match):
        raise UsageError("a pattern, or a key's beginning, is text, and this is not UTF-8")
    describe = options.long or options.json
    cursor: bytes | None = None
    shown = 0
    while True:
        page = client.call(requests.scan_keys(connection, address.collection, cursor=cursor, match=match, describe=describe))
        for row in page.items:
            if shown == options.limit:
                return
            shown += 1
            yield row
        cursor = page.cursor
        if cursor is None:
            return


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show_place(kind: str, name: str, *, as_json: bool, **more: Any) -> None:
    if as_json:
        say_json({kind: name, **more})
    else:
        say(visible(encode_part(name)))


def _list_keys(client: BlockingClient, connection: str, address: Address, options: argparse.Namespace) -> None:
    found = unnamed = 0

    def counted() -> Iterator[KeyRow]:
        nonlocal found, unnamed
        for row in _keys(client, connection, address, options):
            found += 1
            unnamed += not row.exact
            yield row

    _show_keys(counted(), options)
    if not found and options.limit != 0:
        complain(f"{options.address}: no keys")  # a name that is mistyped must not look like one that is empty
    if unnamed and not options.json:
        complain(f"{options.address}: {unnamed} of {found} stand under an id instead of a key; kvtui opens them")


def _show_keys(rows: Iterator[KeyRow], options: argparse.Namespace) -> None:
    if options.json:
        for row in rows:
            say_json(_key_map(row))
    elif options.long:
        show_table([["TTL", "SIZE", "TYPE", "KEY"], *(_long_row(row) for row in rows)])
    else:
        for row in rows:
            say(visible(row.key))


def _key_map(row: KeyRow) -> dict[str, Any]:
    shown: dict[str, Any] = {"key": row.key, "exact": row.exact}
    if row.description is not None:
        about = row.description
        shown |= {"type": about.kind, "size": about.size, "created_at": about.created_at, "expires_at": about.expires_at}
    return shown


def _long_row(row: KeyRow) -> list[str]:
    about = row.description
    if about is None:
        return ["gone", "-", "-", visible(row.key)]
    return [_left(about.expires_at), show_size(about.size), about.kind, visible(row.key)]


def _left(expires_at: float | None) -> str:
    return format_ttl(None if expires_at is None else expires_at - time.time())


# get


def get(client: BlockingClient, options: argparse.Namespace) -> int:
    """Print a value."""
    address, key = _entry(options.address)
    connection = _connection(client, address)
    if options.raw:
        record = client.call(requests.read(connection, address.collection, key))
        if record is None:
            return _absent(options.address)
        sys.stdout.flush()
        sys.stdout.buffer.write(record.body)
        return OK
    try:
        found = client.call(requests.ttl_many(connection, address.collection, [key]))[0]
    except RequestError as error:
        if error.code != Code.FOREIGN:
            raise
        raise RequestError(error.code, f"{error.message} `kvd get --raw` prints it.", connection=error.connection) from None
    if found is None:
        return _absent(options.address)
    text, left = found
    if options.json:
        say_json({"key": key, "value": json.loads(text), "ttl": left})
    elif sys.stdout.isatty():
        say(json.dumps(json.loads(text), indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text + b"\n")
    return OK


def _absent(address: str) -> int:
    complain(f"{visible(address)}: not there")
    return GONE


# put


def put(client: BlockingClient, options: argparse.Namespace) -> int:
    """Store a value. What is no entry is replaced only when that is said, whoever writes at the same moment."""
    address, key = _entry(options.address)
    value = _value(options.value)
    deadline = None if options.ttl is None else _ttl(options.ttl)
    connection = _connection(client, address)
    if connection.startswith("memory:"):
        complain(
            f"{visible(connection)} is kept only while a program has it open; one in connections.toml is kept by the daemon"
        )
    step, title = requests.new_step(), f"put {visible(options.address)}"
    plainly = requests.journalled(requests.put(connection, address.collection, key, value, ttl=deadline), step, title)
    if options.force:
        client.call(plainly)
        return OK
    ttl = requests.KEEP if options.keep_ttl else deadline
    expected = ABSENT if options.if_absent else None
    try:
        edit = requests.edit(connection, address.collection, key, value, ttl=ttl, expected=expected)
        client.call(requests.journalled(edit, step, title))
    except RequestError as error:
        if error.code == Code.CONFLICT and options.if_absent:
            raise RequestError(error.code, f"{visible(options.address)}: there already") from None
        if error.code == Code.FOREIGN or (error.code == Code.UNSUPPORTED and not options.if_absent):
            message = f"{error.message} `kvd put --force` replaces what is there, whatever that is."
            raise RequestError(error.code, message, connection=error.connection) from None
        if error.code != Code.VALUE_TOO_LARGE or options.if_absent or options.keep_ttl:
            raise
        # perhaps only for one step with what is there, as in MongoDB; that was an entry, or the edit would have said so
        client.call(plainly)
    return OK


def _value(text: str | None) -> bytes:
    """The value's JSON text, from the argument or standard input; its mistakes are named by line and column."""
    source = "the value"
    if text is None or text == "-":
        body, source = _piped(asked=text is None), _PIPED
    else:
        body = text.encode("utf-8", "surrogateescape")  # bytes that the locale could not read come as they were
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{source} is not UTF-8") from None
    if not text.strip():
        raise UsageError(f'{source} is empty: a value is a JSON object, like {{"name": "value"}}')

    def refuse(constant: str) -> None:
        raise UsageError(f"{source} is not JSON: {constant} is no number there")

    def finite(number: str) -> float:
        if math.isinf(value := float(number)):
            raise UsageError(f"{source} holds a number that is too large: {number[:40]}")
        return value

    try:
        value = json.loads(text, parse_constant=refuse, parse_float=finite)
    except json.JSONDecodeError as error:
        raise UsageError(f"{source} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise UsageError(f"{source} nests too deep for JSON") from None
    if not isinstance(value, dict):
        raise UsageError(f'{source} must be a JSON object, like {{"name": "value"}}')
    return text.encode()


_PIPED = "standard input"


def _piped(*, asked: bool) -> bytes:
    """What standard input says. Who only left out the value is told that it is waited for."""
    if sys.stdin is None:
        raise UsageError("no value is given, and standard input is closed")
    if asked and sys.stdin.isatty():
        complain("reading the value from the terminal; end with ctrl+d")
    read = sys.stdin.buffer.read(MAX_FRAME + 1)  # no more: what is piped need not end
    if len(read) > MAX_FRAME:
        message = f"{_PIPED} has over {MAX_FRAME:,} bytes, which is the most a request may have; nothing was stored"
        raise RequestError(Code.TOO_LARGE, message)
    return read


# ttl


def ttl(client: BlockingClient, options: argparse.Namespace) -> int:
    """Show a TTL, or set it."""
    address, key = _entry(options.address)
    if options.ttl is not None:
        wanted = _ttl(options.ttl)
        connection = _connection(client, address)
        expire = requests.expire(connection, address.collection, key, wanted)
        title = f"ttl {visible(options.address)} {options.ttl}"
        done = client.call(requests.journalled(expire, requests.new_step(), title))
        return OK if done else _absent(options.address)
    connection = _connection(client, address)
    about = client.call(requests.describe(connection, address.collection, [key]))[0]
    if about is None:
        return _absent(options.address)
    if options.json:
        left = None if about.expires_at is None else max(about.expires_at - time.time(), 0.0)
        say_json({"key": key, "ttl": left, "expires_at": about.expires_at})
    else:
        say(_left(about.expires_at))
    return OK


# rm


def rm(client: BlockingClient, options: argparse.Namespace) -> int:
    """Delete keys, or a whole collection when that is said."""
    if options.collection:
        return _rm_collections(client, options.addresses)
    entries = [(text, *_entry(text)) for text in options.addresses]
    titles = _titles([(address.connection, text) for text, address, _ in entries])
    status = OK
    for text, address, key in entries:
        delete = requests.delete(_connection(client, address), address.collection, key)
        if not client.call(requests.journalled(delete, *titles[address.connection])):
            status = _absent(text)
    return status


def _rm_collections(client: BlockingClient, addresses: list[str]) -> int:
    parsed = [(text, _address(text)) for text in addresses]
    for text, address in parsed:
        if not address.has_collection or address.key:
            raise UsageError(f"{text!r} is not a collection's address: that is CONNECTION/COLLECTION")
    titles = _titles([(address.connection, text) for text, address in parsed])
    status = OK
    for text, address in parsed:
        destroy = requests.destroy_collection(_connection(client, address), address.collection)
        if not client.call(requests.journalled(destroy, *titles[address.connection])):
            status = _absent(text)
    return status


def _titles(addresses: list[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The step of what is removed from each connection, with its title."""
    removed: dict[str, list[str]] = {}
    for connection, address in addresses:
        removed.setdefault(connection, []).append(address)
    return {
        connection: (requests.new_step(), f"rm {visible(some[0])}" + (f" and {len(some) - 1} more" if some[1:] else ""))
        for connection, some in removed.items()
    }
