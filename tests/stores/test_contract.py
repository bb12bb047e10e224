"""The contract of the key-value protocol, on every backend, driven by its traits."""

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from stores import AsyncDestroyCollectionProtocol, AsyncKeyValue, BaseStore
from stores.errors import (
    InvalidKeyError,
    InvalidTTLError,
    KeyValueOperationError,
    SerializationError,
    StoreClosedError,
)
from stores.records import ASK, Ask
from tests.stores.conftest import CASES, STORING, Names, by_name, traits_of

pytestmark = pytest.mark.anyio

on_every_store = pytest.mark.parametrize("case", CASES, ids=by_name)
on_storing = pytest.mark.parametrize("case", STORING, ids=by_name)

VALUES: list[dict[str, Any]] = [
    {},
    {"name": "Ada", "age": 36},
    {"nested": {"list": [1, 2.5, None, True, {"deep": ["er"]}], "empty": {}, "none": None}},
    {"unicode": '日本語 🎉 é\u0000\n"quoted" \\ </script>', "ключ": "значение"},
    {"float": 1e-300, "int": -(2**53), "big": 2**63 - 1},
    {"dots.in.keys": {"$dollar": 1, "": "empty name"}},
]


@on_storing
async def test_put_get_overwrite_delete(store: BaseStore, names: Names) -> None:
    users = names("users")
    assert await store.get("ada", collection=users) is None
    assert await store.ttl("ada", collection=users) == (None, None)
    assert await store.delete("ada", collection=users) is False
    await store.put("ada", {"n": 1}, collection=users)
    assert await store.get("ada", collection=users) == {"n": 1}
    assert await store.ttl("ada", collection=users) == ({"n": 1}, None)
    await store.put("ada", {"n": 2}, collection=users)
    assert await store.get("ada", collection=users) == {"n": 2}
    assert await store.delete("ada", collection=users) is True
    assert await store.delete("ada", collection=users) is False
    assert await store.get("ada", collection=users) is None


@on_storing
@pytest.mark.parametrize("value", VALUES, ids=["empty", "plain", "nested", "unicode", "numbers", "odd names"])
async def test_values_come_back_as_they_were(store: BaseStore, names: Names, value: dict[str, Any]) -> None:
    await store.put("k", value, collection=names("c"))
    assert await store.get("k", collection=names("c")) == value


@on_storing
async def test_texts_are_the_values_as_json(make: Callable[..., BaseStore], names: Names) -> None:
    async with make() as store:
        await store.put("k", VALUES[2], collection=names("c"), ttl=100)
        await store.put("l", {}, collection=names("c"))
        first, missing, second = await store.texts(["k", "x", "l"], collection=names("c"))
        assert missing is None
        assert first is not None
        assert second is not None
        assert json.loads(first[0]) == VALUES[2]
        assert first[1] is not None
        assert second == (b"{}", None)
        await store.delete_many(["k", "l"], collection=names("c"))


@on_storing
async def test_texts_without_a_detour_are_the_same_texts(make: Callable[..., BaseStore], names: Names) -> None:
    c = names("c")
    async with make() as store:

        async def soon(*keys: str) -> list[bytes | None]:
            came: asyncio.Future[list[bytes | None] | Ask] = asyncio.get_running_loop().create_future()
            texts = await came if store.texts_soon(keys, collection=c, answer=came.set_result) else ASK
            if isinstance(texts, Ask):
                return [None if dated is None else dated[0] for dated in await store.texts(keys, collection=c)]
            return texts

        asked = store.texts_soon(["k"], collection=c, answer=lambda _: None)
        assert asked == (store.traits.name in {"disk", "redis"}), "who can be asked so is no accident"
        await store.put_many(["k", "l"], [{"n": 1}, {"\u00e9": ["\u65e5\u672c"]}], collection=c)
        await store.put("brief", {}, collection=c, ttl=100)
        for key, value in {"k": {"n": 1}, "l": {"\u00e9": ["\u65e5\u672c"]}, "brief": {}}.items():
            (text,) = await soon(key)
            assert text is not None
            assert json.loads(text) == value
        assert await soon("missing") == [None]
        (k,), (brief,) = await soon("k"), await soon("brief")
        assert await soon("brief", "missing", "k", "brief") == [brief, None, k, brief]
        assert await asyncio.gather(*(soon("k") for _ in range(50))) == [[k]] * 50
        for wrong in (5, None, b"k"):
            keys: Any = ["k", wrong]
            assert not store.texts_soon(keys, collection=c, answer=lambda _: pytest.fail("called"))
        await store.expire("brief", 0.1, collection=c)
        assert await soon("brief", "k") in ([b"{}", k], [None, k])  # however slow this machine is
        await asyncio.sleep(0.2)
        assert await soon("brief", "k") == [None, k]
    assert not store.texts_soon(["k"], collection=c, answer=lambda _: pytest.fail("called"))


@on_storing
async def test_a_returned_value_is_the_callers_own(store: BaseStore, names: Names) -> None:
    value: dict[str, Any] = {"list": [1]}
    await store.put("k", value, collection=names("c"))
    value["list"].append(2)
    first = await store.get("k", collection=names("c"))
    assert first == {"list": [1]}
    first["list"].append(3)
    assert await store.get("k", collection=names("c")) == {"list": [1]}


@on_storing
async def test_collections_do_not_meet(store: BaseStore, names: Names) -> None:
    await store.put("k", {"in": "a"}, collection=names("a"))
    await store.put("k", {"in": "b"}, collection=names("b"))
    assert await store.get("k", collection=names("a")) == {"in": "a"}
    assert await store.get("k", collection=names("c")) is None
    assert await store.delete("k", collection=names("a")) is True
    assert await store.get("k", collection=names("b")) == {"in": "b"}


@on_storing
async def test_none_and_the_empty_string_are_the_default_collection(make: Callable[..., BaseStore], names: Names) -> None:
    async with make(default_collection=names("default")) as store:
        await store.put("k", {"n": 1})
        assert await store.get("k", collection="") == {"n": 1}
        assert await store.get("k", collection=None) == {"n": 1}
        assert await store.get("k", collection=names("default")) == {"n": 1}
        await store.delete("k")
    async with make(default_collection=None) as store:
        assert store.default_collection in ("default_collection", names()) or store.default_collection.startswith(names())


@on_storing
async def test_many_keep_order_and_holes_and_duplicates(store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put_many(["a", "b", "c"], [{"n": 1}, {"n": 2}, {"n": 3}], collection=c)
    assert await store.get_many(["c", "x", "a", "c"], collection=c) == [{"n": 3}, None, {"n": 1}, {"n": 3}]
    assert await store.ttl_many(["x", "b"], collection=c) == [(None, None), ({"n": 2}, None)]
    assert await store.delete_many(["a", "x", "a", "b"], collection=c) == 2
    assert await store.get_many(["a", "b", "c"], collection=c) == [None, None, {"n": 3}]
    await store.put_many(["d", "d"], [{"n": 1}, {"n": 2}], collection=c)
    assert await store.get("d", collection=c) == {"n": 2}
    assert await store.get_many([], collection=c) == []
    assert await store.delete_many([], collection=c) == 0
    await store.put_many([], [], collection=c)
    values: Any = ({"n": number} for number in range(2))
    keys: Any = (key for key in "ef")
    await store.put_many(keys, values, collection=c)
    assert await store.get_many({"e": 1, "f": 2}.keys(), collection=c) == [{"n": 0}, {"n": 1}]  # type: ignore[arg-type] # on purpose


@on_storing
async def test_batches_larger_than_the_backends(case: ModuleType, store: BaseStore, names: Names) -> None:
    count = 200 if traits_of(case).batch_size == 1 else 1500
    keys = [f"key-{number}" for number in range(count)]
    c = names("c")
    await store.put_many(keys, [{"n": number} for number in range(count)], collection=c, ttl=3600)
    assert await store.get_many(keys, collection=c) == [{"n": number} for number in range(count)]
    pairs = await store.ttl_many([*keys[:150], "absent"], collection=c)
    assert pairs[-1] == (None, None)
    assert all(value == {"n": number} and ttl and 3500 < ttl <= 3601 for number, (value, ttl) in enumerate(pairs[:-1]))
    assert await store.delete_many([*keys[:-5], "absent"], collection=c) == count - 5
    assert await store.get_many([keys[0], keys[-6], keys[-5]], collection=c) == [None, None, {"n": count - 5}]


@on_storing
async def test_ttl_counts_down_and_overwriting_without_one_drops_it(store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put("k", {"n": 1}, collection=c, ttl=100)
    value, ttl = await store.ttl("k", collection=c)
    assert value == {"n": 1}
    assert ttl is not None
    assert 70 < ttl <= 101
    await store.put("k", {"n": 2}, collection=c)
    assert await store.ttl("k", collection=c) == ({"n": 2}, None)
    await store.put_many(["k", "l"], [{"n": 3}, {"n": 4}], collection=c, ttl=Decimal("50.5"))
    for _, left in await store.ttl_many(["k", "l"], collection=c):
        assert left is not None
        assert 20 < left <= 51.5


@on_storing
async def test_what_expired_is_gone_for_every_method(store: BaseStore, names: Names) -> None:
    c = names("c")
    await store.put("brief", {"n": 1}, collection=c, ttl=0.1)
    await store.put("kept", {"n": 2}, collection=c, ttl=300)
    await asyncio.sleep(0.25)
    assert await store.get("brief", collection=c) is None
    assert await store.ttl("brief", collection=c) == (None, None)
    assert await store.get_many(["brief", "kept"], collection=c) == [None, {"n": 2}]
    assert (await store.ttl_many(["brief"], collection=c)) == [(None, None)]
    await store.put("brief", {"n": 3}, collection=c)
    assert await store.get("brief", collection=c) == {"n": 3}


@on_every_store
@pytest.mark.parametrize(
    "ttl", [0, -1, -0.5, math.nan, math.inf, -math.inf, True, False, "abc", "10", b"1", [], {}, 10**400, Decimal("NaN")]
)
async def test_an_impossible_ttl_is_refused_alike_everywhere(store: BaseStore, names: Names, ttl: Any) -> None:
    with pytest.raises(InvalidTTLError):
        await store.put("k", {"n": 1}, collection=names("c"), ttl=ttl)
    with pytest.raises(InvalidTTLError):
        await store.put_many(["k"], [{"n": 1}], collection=names("c"), ttl=ttl)
    with pytest.raises(InvalidTTLError):
        await store.expire("k", ttl, collection=names("c"))
    with pytest.raises(InvalidTTLError):
        await store.edit("k", {"n": 1}, collection=names("c"), ttl=ttl)
    assert await store.get("k", collection=names("c")) is None


@on_every_store
async def test_wrong_arguments(store: BaseStore, names: Names) -> None:
    c = names("c")
    anything: Any = store
    not_mappings: list[Any] = [[1], "text", None, 5]
    for value in not_mappings:
        with pytest.raises(TypeError):
            await anything.put("k", value, collection=c)
    with pytest.raises(TypeError):
        await anything.put("k", {1: "number as a key"}, collection=c)
    not_json: list[Any] = [{"set": {1}}, {"bytes": b"x"}, {"object": object()}]
    for value in not_json:
        with pytest.raises(SerializationError):
            await anything.put("k", value, collection=c)
    for key in (None, 5, b"bytes"):
        with pytest.raises(TypeError):
            await anything.get(key, collection=c)
    with pytest.raises(TypeError):
        await anything.get("k", collection=5)
    for method in (store.get_many, store.ttl_many, store.delete_many):
        with pytest.raises(TypeError):
            await method("a lone string", collection=c)
    with pytest.raises(ValueError, match="as many values as keys"):
        await store.put_many(["a", "b"], [{}], collection=c)
    lone_values: list[Any] = [{"a": {}}, "{}", b"{}"]
    for lone in lone_values:
        with pytest.raises(TypeError, match="a single value is for put"):
            await anything.put_many(["a"], lone, collection=c)
    with pytest.raises(InvalidKeyError):
        await store.put("lone \ud800 surrogate", {}, collection=c)
    assert await store.get("k", collection=c) is None


@on_every_store
async def test_what_looks_like_nothing_is_no_name_of_the_default_collection(store: BaseStore) -> None:
    anything: Any = store
    nothings: list[Any] = [0, False, [], b"", ()]
    for nothing in nothings:
        with pytest.raises(TypeError, match="A collection is a string"):
            await anything.get("k", collection=nothing)
        with pytest.raises(TypeError, match="A collection is a string"):
            await anything.put("k", {}, collection=nothing)
    if isinstance(store, AsyncDestroyCollectionProtocol):
        with pytest.raises(TypeError, match="A collection is a string"):
            await anything.destroy_collection(None)


@on_every_store
async def test_the_default_collection_is_a_name_like_others(make: Callable[..., BaseStore]) -> None:
    wrong: list[Any] = [5, b"c", ["c"]]
    for one in wrong:
        with pytest.raises(TypeError, match="default_collection is a string"):
            make(default_collection=one)
    store = make(default_collection="lone \ud800 surrogate")
    for call in (store.get("k"), store.put("k", {}), store.put_many(["k"], [{}]), store.delete("k"), store.scan_keys()):
        with pytest.raises(InvalidKeyError):
            await call
    await store.close()


@on_every_store
async def test_wrong_arguments_of_scans(store: BaseStore, names: Names) -> None:
    anything: Any = store
    for name, value in (("limit", 1.5), ("limit", "5"), ("limit", None), ("cursor", "text"), ("cursor", 5), ("match", b"x")):
        wrong = {name: value}
        with pytest.raises(TypeError, match=r"whole number|cursor|glob"):
            await anything.scan_keys(names("c"), **wrong)
        if "match" not in wrong:
            with pytest.raises(TypeError, match=r"whole number|cursor"):
                await anything.scan_collections(**wrong)
    for scan in (anything.scan_keys, anything.scan_collections):
        with suppress(KeyValueOperationError):
            await scan(cursor=b"\xff of another store")
        await scan(limit=True)
    for method in (getattr(anything, way) for way in ("keys", "collections") if hasattr(anything, way)):
        for wrong_limit in (1.5, "5"):
            with pytest.raises(TypeError, match="whole number"):
                await method(limit=wrong_limit)


@on_every_store
async def test_nothing_of_a_batch_is_stored_when_one_value_is_not_json(store: BaseStore, names: Names) -> None:
    keys = [f"k{number}" for number in range(300)]
    values: list[dict[str, Any]] = [{"n": number} for number in range(299)]
    with pytest.raises(SerializationError):
        await store.put_many(keys, [*values, {"set": {1}}], collection=names("c"))
    assert await store.get_many(keys, collection=names("c")) == [None] * len(keys)


class Shown(str):
    """A text that is shown as another one, as the members of an `Enum` of texts are."""

    __slots__ = ()

    def __str__(self) -> str:
        return "shown"

    def __format__(self, spec: str) -> str:
        return "shown"


@on_storing
async def test_a_name_of_another_class_of_texts_is_its_characters(store: BaseStore, names: Names) -> None:
    c, shown = names("c"), Shown(names("c"))
    await store.put(Shown("k"), {"n": 1}, collection=shown)
    await store.put_many([Shown("l"), "m"], [{"n": 2}, {"n": 3}], collection=shown)
    assert await store.get_many(["k", "l", "m"], collection=c) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert await store.get_many([Shown("l"), Shown("k"), "k"], collection=shown) == [{"n": 2}, {"n": 1}, {"n": 1}]
    assert await store.get(Shown("l"), collection=c) == {"n": 2}
    assert await store.expire(Shown("m"), 500, collection=shown)
    await store.edit(Shown("l"), {"n": 4}, collection=shown)
    assert [(value, ttl is None) for value, ttl in await store.ttl_many(["l", Shown("m")], collection=c)] == [
        ({"n": 4}, True),
        ({"n": 3}, False),
    ]
    record = await store.read(Shown("k"), collection=shown)
    assert record
    assert await store.delete("k", collection=c)
    await store.restore(Shown("k"), record, collection=shown)
    assert sorted(str.__str__(name.text) for name in (await store.scan_keys(shown)).items) == ["k", "l", "m"]
    assert None not in await store.describe([Shown("k"), "l"], collection=shown)
    assert await store.delete_many([Shown("k"), "l"], collection=shown) == 2
    assert await store.delete(Shown("m"), collection=shown)


ODD_KEYS = [
    "with space",
    "line\nbreak",
    "colon:colon::double",
    "*glob?[a-z]",
    "slash/inside",
    "../escape",
    "..",
    ".",
    "emoji 🎉 日本",
    "\x00nul",
    "x" * 1500,
    "",
    "percent%41",
    "back\\slash",
    "H_looks_hashed",
    "S_looks_sanitized",
    "odd bytes \udcff\udc80",
    "UPPER",
    "upper",
]


@on_storing
@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: ascii(key[:24]))
async def test_an_odd_key_is_stored_or_refused_before_anything_is_sent(store: BaseStore, names: Names, key: str) -> None:
    c = names("c")
    await store.put("other", {"n": 0}, collection=c)
    try:
        await store.put(key, {"key": "odd"}, collection=c)
    except KeyValueOperationError as refused:
        assert isinstance(refused, InvalidKeyError)  # noqa: PT017 - either outcome is right, but only this error
        with pytest.raises(InvalidKeyError):
            await store.put_many([key], [{"key": "odd"}], collection=c)
    else:
        assert await store.get(key, collection=c) == {"key": "odd"}
        assert await store.get_many([key, "other"], collection=c) == [{"key": "odd"}, {"n": 0}]
        assert await store.delete(key, collection=c) is True
        assert await store.get(key, collection=c) is None
    assert await store.get("other", collection=c) == {"n": 0}


@on_storing
@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: ascii(key[:24]))
async def test_an_odd_collection_is_stored_or_refused(store: BaseStore, names: Names, key: str) -> None:
    collection = names(key)
    try:
        await store.put("k", {"collection": "odd"}, collection=collection)
    except KeyValueOperationError as refused:
        assert isinstance(refused, InvalidKeyError)  # noqa: PT017 - as above
    else:
        assert await store.get("k", collection=collection) == {"collection": "odd"}
        assert await store.delete("k", collection=collection) is True


@on_storing
async def test_concurrent_use_of_one_store(store: BaseStore, names: Names) -> None:
    c = names("c")
    await asyncio.gather(*(store.put(f"k{n}", {"n": n}, collection=c) for n in range(60)))
    got = await asyncio.gather(*(store.get(f"k{n}", collection=c) for n in range(60)))
    assert got == [{"n": n} for n in range(60)]


@on_storing
async def test_edits_that_expect_nothing_all_happen_however_many_race(store: BaseStore, names: Names) -> None:
    await store.put("k", {"n": 0}, collection=names("c"), ttl=300)
    await asyncio.gather(*(store.edit("k", {"n": n}, collection=names("c")) for n in range(24)))
    value, left = await store.ttl("k", collection=names("c"))
    assert value in [{"n": n} for n in range(24)]
    assert left


@on_storing
async def test_a_large_value(store: BaseStore, names: Names) -> None:
    value = {"text": "0123456789abcdef" * 1875}  # 30,000 characters, within every backend's limits
    await store.put("large", value, collection=names("c"))
    assert await store.get("large", collection=names("c")) == value


@pytest.mark.parametrize(
    "case",
    [case for case in STORING if case.NAME != "mongodb"],  # pymongo loses the socket that it opens while it is closed
    ids=by_name,
)
async def test_it_may_be_cancelled_wherever_it_opens_and_closes(make: Callable[..., BaseStore], names: Names) -> None:
    others = asyncio.all_tasks()
    store = make()
    for turns in (*range(8), 20):
        for way in (store.__aenter__, partial(store.get, "k", collection=names("c")), store.close):
            task = asyncio.create_task(way())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    async with store:
        await store.put("k", {"n": 1}, collection=names("c"))
        assert await store.get("k", collection=names("c")) == {"n": 1}
        await store.delete("k", collection=names("c"))
    async with asyncio.timeout(20):
        while asyncio.all_tasks() - others:  # noqa: ASYNC110 - what drivers began ends by itself
            await asyncio.sleep(0.01)


@on_every_store
async def test_a_closed_store_says_so_and_works_when_entered_again(make: Callable[..., BaseStore], names: Names) -> None:
    store = make()
    async with store:
        await store.put("k", {"n": 1}, collection=names("c"))
    with pytest.raises(StoreClosedError, match="closed"):
        await store.get("k", collection=names("c"))
    async with store:
        assert await store.get("k2", collection=names("c")) is None
        await store.put("k", {"n": 2}, collection=names("c"))
        await store.delete("k", collection=names("c"))


@on_every_store
async def test_it_opens_itself_and_is_a_key_value_store(make: Callable[..., BaseStore], names: Names) -> None:
    store = make()
    assert isinstance(store, AsyncKeyValue)
    assert await store.get("k", collection=names("c")) is None
    await store.close()


@on_every_store
async def test_null_forgets_and_the_others_do_not(case: ModuleType, store: BaseStore, names: Names) -> None:
    await store.put("k", {"n": 1}, collection=names("c"))
    kept = await store.get("k", collection=names("c"))
    assert (kept == {"n": 1}) is traits_of(case).stores_entries
