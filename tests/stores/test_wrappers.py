"""py-key-value's wrappers and adapters do over these stores, and over RemoteStore, what they do over its own."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from key_value.aio.adapters.base_model import BaseModelAdapter
from key_value.aio.adapters.dataclass import DataclassAdapter
from key_value.aio.adapters.pydantic import PydanticAdapter
from key_value.aio.adapters.raise_on_missing import RaiseOnMissingAdapter
from key_value.aio.protocols import key_value as protocols
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.wrappers.compression import CompressionWrapper
from key_value.aio.wrappers.default_value import DefaultValueWrapper
from key_value.aio.wrappers.encryption import BaseEncryptionWrapper
from key_value.aio.wrappers.fallback import FallbackWrapper
from key_value.aio.wrappers.limit_size import LimitSizeWrapper
from key_value.aio.wrappers.logging import LoggingWrapper
from key_value.aio.wrappers.passthrough_cache import PassthroughCacheWrapper
from key_value.aio.wrappers.prefix_collections import PrefixCollectionsWrapper
from key_value.aio.wrappers.prefix_keys import PrefixKeysWrapper
from key_value.aio.wrappers.read_only import ReadOnlyWrapper
from key_value.aio.wrappers.retry import RetryWrapper
from key_value.aio.wrappers.routing import CollectionRoutingWrapper, RoutingWrapper
from key_value.aio.wrappers.single_collection import SingleCollectionWrapper
from key_value.aio.wrappers.statistics import StatisticsWrapper
from key_value.aio.wrappers.timeout import TimeoutWrapper
from key_value.aio.wrappers.ttl_clamp import TTLClampWrapper
from pydantic import BaseModel

import stores
from stores import MemcachedStore
from tests.servers.lease import private_server
from tests.stores.conftest import CASES, REFERENCED, Names, by_name

pytestmark = pytest.mark.anyio

WRAPPED = [case for case in CASES if case.NAME in {"memory", "disk", "redis"}]
LARGE = {"text": "long " * 500}
KEYS = ["k", "brief", "a", "b", "t", "missing"]


class Encryption(BaseEncryptionWrapper):
    """Of a kind whose results can be compared."""

    def __init__(self, store: Any) -> None:
        super().__init__(store, lambda plain: plain[::-1], lambda secret, _: secret[::-1], encryption_version=1)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "cached": lambda store: PassthroughCacheWrapper(store, MemoryStore()),
    "caching": lambda store: PassthroughCacheWrapper(MemoryStore(), store),
    "collection routing": lambda store: CollectionRoutingWrapper({}, default_store=store),
    "compression": CompressionWrapper,
    "default value": partial(DefaultValueWrapper, default_value={"none": True}, default_ttl=5),
    "encryption": Encryption,
    "fallback": lambda store: FallbackWrapper(store, MemoryStore(), fallback_on=(OSError,), write_to_fallback=True),
    "limit size": partial(LimitSizeWrapper, max_size=1000),
    "limit size, silent": partial(LimitSizeWrapper, min_size=10, max_size=1000, raise_on_too_large=False),
    "logging": partial(LoggingWrapper, log_values=True),
    "prefix collections": partial(PrefixCollectionsWrapper, prefix="p"),
    "prefix keys": partial(PrefixKeysWrapper, prefix="p"),
    "read only": ReadOnlyWrapper,
    "retry": RetryWrapper,
    "routing": lambda store: RoutingWrapper(lambda _: store, MemoryStore()),
    "statistics": StatisticsWrapper,
    "timeout": partial(TimeoutWrapper, timeout=60.0),
    "ttl clamp": partial(TTLClampWrapper, min_ttl=104, max_ttl=204, missing_ttl=154),
    "four of them": lambda store: StatisticsWrapper(CompressionWrapper(Encryption(PrefixKeysWrapper(store, "p")))),
}


def told(result: Any) -> Any:
    """A result whose seconds can be compared: whole tens, however long the calls took."""
    if isinstance(result, (list, tuple)):
        return type(result)(map(told, result))
    return round(result, -1) if isinstance(result, float) else result


async def outcome(call: Awaitable[Any]) -> Any:
    try:
        return told(await call)
    except Exception as exc:  # noqa: BLE001 - the type of whatever is raised is what is compared
        return type(exc).__name__


async def exercise(store: Any, c: str) -> list[Any]:
    """What came of every call with what programs pass: by position and by name, lists and tuples, good and bad."""
    calls: list[Callable[[], Awaitable[Any]]] = [
        partial(store.get, "k", collection=c),
        partial(store.put, "k", {"n": 1}, collection=c),
        partial(store.put, key="brief", value=LARGE, collection=c, ttl=1004),
        partial(store.put_many, ["a", "b", "a"], [{"n": 1}, LARGE, {"n": 3}], collection=c, ttl=134.5),
        partial(store.put_many, keys=("t",), values=({"n": 4},), collection=c),
        partial(store.get, key="brief", collection=c),
        partial(store.ttl, "brief", collection=c),
        partial(store.ttl, key="missing", collection=c),
        partial(store.get_many, ["b", "missing", "a", "b"], collection=c),
        partial(store.ttl_many, keys=("b", "missing", "a", "b", "t"), collection=c),
        partial(store.delete, "b", collection=c),
        partial(store.delete, key="b", collection=c),
        partial(store.delete_many, ["a", "missing", "a"], collection=c),
        partial(store.get_many, KEYS, collection=c),
        partial(store.get_many, [], collection=c),
        partial(store.put_many, [], [], collection=c),
        partial(store.put, "k", {"n": 2}, collection=c, ttl=-1),
        partial(store.put, "k", {"n": 2}, collection=c, ttl=True),
        partial(store.put, "k", {"n": object()}, collection=c),
        partial(store.put_many, ["k"], [], collection=c),
        partial(store.put_many, ["b", "a"], [{"n": 5}, LARGE], collection=c, ttl=3004),
        partial(store.ttl_many, KEYS, collection=c),
    ]
    return [await outcome(call()) for call in calls]


@pytest.fixture
def _same_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip, "compress", partial(gzip.compress, mtime=0))


@pytest.mark.parametrize("case", WRAPPED, ids=by_name)
@pytest.mark.usefixtures("_same_every_second")
async def test_every_wrapper(store: Any, names: Names) -> None:
    theirs = MemoryStore()
    single: Callable[[Any], Any] = partial(SingleCollectionWrapper, single_collection=names("one"))
    for name, wrap in (WRAPPERS | {"single collection": single}).items():
        c = names(name)
        ours, reference = wrap(store), wrap(theirs)
        assert isinstance(ours, protocols.AsyncKeyValue)
        assert (name, await exercise(ours, c)) == (name, await exercise(reference, c))
        assert getattr(ours, "statistics", None) == getattr(reference, "statistics", None)
    stored = 0
    for collection in await theirs.collections():
        keys = [key for one in await theirs.keys(collection) for key in (one, f"no {one}")]
        expected = told(await theirs.ttl_many(keys, collection=collection))
        assert (collection, told(await store.ttl_many(keys, collection=collection))) == (collection, expected)
        stored += len(keys) // 2
    assert stored > 3 * len(WRAPPERS)


class Model(BaseModel):
    name: str
    tags: set[int]


@dataclass
class Data:
    name: str
    number: float


@pytest.mark.parametrize("case", WRAPPED, ids=by_name)
async def test_the_adapters(store: Any, names: Names) -> None:
    model, data = Model(name="é", tags={1, 2}), Data("x", 0.5)

    async def adapted(below: Any) -> list[Any]:
        results: list[Any] = []
        for adapter, value in (
            (BaseModelAdapter(below, Model), model),
            (BaseModelAdapter(below, list[Model]), [model, model]),
            (DataclassAdapter(below, Data), data),
            (PydanticAdapter(below, dict[str, tuple[int, ...]]), {"a": (1, 2)}),
            (PydanticAdapter(below, bytes, raise_on_validation_error=True), b"text"),
        ):
            keys: Any = adapter
            calls: list[Awaitable[Any]] = [
                keys.put("k", value, collection=names("c"), ttl=504),
                keys.put_many(["l", "m"], [value, value], collection=names("c")),
                keys.get("k", collection=names("c")),
                keys.ttl("k", collection=names("c")),
                keys.get_many(["m", "none", "k"], collection=names("c"), default=value),
                keys.ttl_many(["m", "none", "k"], collection=names("c")),
                below.get("k", collection=names("c")),
                keys.delete("k", collection=names("c")),
                keys.delete_many(["k", "l"], collection=names("c")),
            ]
            results += [await outcome(call) for call in calls]
        strict: Any = RaiseOnMissingAdapter(below)
        calls = [
            strict.get("m", collection=names("c"), raise_on_missing=True),
            strict.get("none", collection=names("c"), raise_on_missing=True),
            strict.ttl_many(["m", "none"], collection=names("c"), raise_on_missing=True),
        ]
        return results + [await outcome(call) for call in calls]

    results = await adapted(store)
    assert results == await adapted(MemoryStore())
    assert results.count("MissingKeyError") == 2
    assert model in results
    assert data in results


@pytest.mark.parametrize("case", REFERENCED, ids=by_name)
async def test_it_is_to_isinstance_what_theirs_is(case: ModuleType) -> None:
    ours = getattr(stores, case.STORE)
    theirs = getattr(import_module(f"key_value.aio.stores.{case.NAME}"), case.STORE)
    checked = [one for name, one in vars(protocols).items() if name.startswith("Async") and name != "AsyncKeyValueProtocol"]
    assert len(checked) == 6
    for protocol in checked:
        assert issubclass(ours, protocol) or not issubclass(theirs, protocol)
        assert issubclass(ours, getattr(stores, protocol.__name__)) == issubclass(ours, protocol)


async def test_a_wrapper_tries_again_until_the_server_is_back() -> None:
    with private_server("memcached") as server:
        async with MemcachedStore(host=server.address[0], port=server.address[1]) as store:
            await store.put("k", {"n": 1})
            server.stop()
            wrapped = RetryWrapper(store, max_retries=100, initial_delay=0.05, max_delay=0.05)
            writing = asyncio.create_task(wrapped.put("k", {"n": 2}))
            with pytest.raises(ConnectionError):
                await store.get("k")
            await asyncio.to_thread(server.start)
            await writing
            assert await store.get("k") == {"n": 2}
