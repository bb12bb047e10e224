"""Tokens, cursors, versions and records come back through many hands: what no store gave out is refused, or finds nothing."""

from collections.abc import Awaitable
from contextlib import suppress
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from stores import OUTSIDE, BaseStore
from stores.errors import KeyValueOperationError
from stores.names import Token
from stores.records import Record, Version
from tests.stores.conftest import STORING, Names, by_name

pytestmark = pytest.mark.anyio

MADE_UP = [
    b"", b"\0", b"5", b"-5", b"9" * 30, b"nonsense", b"\xff\xfe", b"null", b"[]", b"[1, 2]", b'["a", ["b"]]', b"[" * 5_000,
    b'{"key": 5}', b'{"key": {"$oid": "x"}}', b'{"_id": null}', b"t1:x", b"t7:x", b"i1:" + b"9" * 30, b"f1:nan", b"b1:\xff",
]  # fmt: skip

KINDS = [
    "bytes",
    "document",
    "file",
    "float",
    "integer",
    "item",
    "item, flags 99999999999",
    "object",
    "pickle",
    "string",
    "text",
]
BODIES = [
    b"",
    b"x",
    b"\xff",
    b"5",
    b"[]",
    b"[" * 5_000,
    b'{"a": 5}',
    b'{"a": {}}',
    b'{"a": {"S": 5}}',
    b'{"_id": {"$oid": "x"}}',
]


async def ask(call: Awaitable[Any]) -> None:
    with suppress(KeyValueOperationError):  # it is refused
        await call


@pytest.mark.parametrize("case", STORING, ids=by_name)
@pytest.mark.parametrize("store", ["direct"], indirect=True)
async def test_what_a_store_never_gave_out_breaks_nothing(case: ModuleType, store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put_many(["k", "l"], [{}, {}], collection=c)

    for made_up in MADE_UP:
        token = Token(made_up)
        await ask(store.scan_collections(cursor=made_up, limit=1))
        await ask(store.scan_keys(c, cursor=made_up, limit=1))
        await ask(store.scan_keys(c, cursor=made_up, limit=1, match="k*"))
        await ask(store.scan_keys(OUTSIDE, cursor=made_up, limit=1))
        await ask(store.scan_keys(token))
        await ask(store.edit("k", {"n": 1}, collection=c, expected=Version(made_up or b"-")))
        store.close_cursor(made_up)
        await ask(store.get_many([token, "k"], collection=c))
        await ask(store.describe([token, "k"], collection=c))
        await ask(store.read(token, collection=c))
        await ask(store.delete(token, collection=c))
        await ask(store.delete_many([token], collection=c))
        await ask(store.get("k", collection=token))
        await ask(store.describe(["k"], collection=token))
    assert await store.get_many(["k", "l"], collection=c) == [{}, {}]
    await store.delete_many(["k", "l"], collection=c)


@pytest.mark.parametrize("case", STORING, ids=by_name)
@pytest.mark.parametrize("store", ["direct"], indirect=True)
async def test_a_record_that_no_store_read_is_refused_or_can_be_deleted(
    case: ModuleType, store: BaseStore, names: Names
) -> None:
    c = names("c")
    for number, (kind, body) in enumerate(product(KINDS, BODIES)):
        record = Record(kind=kind, body=body, length=len(body), size=len(body), version=Version(b""))
        await ask(store.restore(f"k{number}", record, collection=c))
        await ask(store.describe([f"k{number}"], collection=c))
        await ask(store.get(f"k{number}", collection=c))
        await store.delete(f"k{number}", collection=c)


@pytest.mark.parametrize("case", STORING, ids=by_name)
@pytest.mark.parametrize("store", ["direct"], indirect=True)
async def test_a_glob_of_what_no_name_can_hold_finds_nothing(case: ModuleType, store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put("k", {}, collection=c)
    for match in ("\udcff", "k\udcff*", "\udcff*"):
        assert not (await store.scan_keys(c, match=match)).items
    await store.delete("k", collection=c)
