"""The public names, constructors, methods and errors: what programs were written against does not move."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.client import AioBaseClient
from aiomcache import Client
from diskcache import Cache
from elasticsearch import AsyncElasticsearch
from glide import GlideClient, GlideClusterClient
from key_value.aio import errors as their_errors
from key_value.aio.protocols import key_value as their_protocols
from key_value.aio.stores import base as their_base
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

import stores
from kvd import remote
from stores import (
    BaseContextManagerStore,
    BaseCullStore,
    BaseDestroyCollectionStore,
    BaseDestroyStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
    BaseStore,
    DiskStore,
    DynamoDBStore,
    ElasticsearchStore,
    MemcachedStore,
    MongoDBStore,
    PassthroughStrategy,
    RedisStore,
    S3Store,
    ValkeyStore,
    errors,
)
from stores.traits import Traits
from tests.stores.traits_table import store_classes

REQUIRED = inspect.Parameter.empty
AWS: dict[str, Any] = {
    "region_name": None,
    "endpoint_url": None,
    "aws_access_key_id": None,
    "aws_secret_access_key": None,
    "aws_session_token": None,
    "default_collection": None,
}
MARKS = {
    BaseContextManagerStore,
    BaseCullStore,
    BaseDestroyCollectionStore,
    BaseDestroyStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
}

INTERFACE: dict[str, tuple[dict[str, Any], set[type]]] = {
    "MemoryStore": (
        {"max_entries_per_collection": None, "default_collection": None, "seed": None},
        {BaseDestroyStore, BaseDestroyCollectionStore, BaseEnumerateCollectionsStore, BaseEnumerateKeysStore},
    ),
    "DiskStore": (
        {"disk_cache": None, "directory": None, "max_size": None, "default_collection": None, "auto_create": True},
        {BaseContextManagerStore},
    ),
    "FileTreeStore": (
        {
            "data_directory": REQUIRED,
            "metadata_directory": None,
            "default_collection": None,
            "serialization_adapter": None,
            "key_sanitization_strategy": None,
            "collection_sanitization_strategy": None,
            "auto_create": True,
        },
        set(),
    ),
    "RedisStore": (
        {
            "client": None,
            "default_collection": None,
            "url": None,
            "host": "localhost",
            "port": 6379,
            "db": 0,
            "password": None,
        },
        {BaseDestroyStore, BaseEnumerateKeysStore, BaseContextManagerStore},
    ),
    "DynamoDBStore": (
        {"client": None, "table_name": REQUIRED, **AWS, "table_config": None, "auto_create": True},
        {BaseContextManagerStore},
    ),
    "S3Store": (
        {
            "client": None,
            "bucket_name": REQUIRED,
            **AWS,
            "collection_sanitization_strategy": None,
            "key_sanitization_strategy": None,
        },
        {BaseContextManagerStore},
    ),
    "ElasticsearchStore": (
        {
            "elasticsearch_client": None,
            "url": None,
            "api_key": None,
            "index_prefix": REQUIRED,
            "default_collection": None,
            "key_sanitization_strategy": None,
            "collection_sanitization_strategy": None,
            "auto_create": True,
        },
        {
            BaseEnumerateCollectionsStore,
            BaseEnumerateKeysStore,
            BaseDestroyCollectionStore,
            BaseCullStore,
            BaseContextManagerStore,
        },
    ),
    "MongoDBStore": (
        {
            "client": None,
            "url": None,
            "db_name": None,
            "coll_name": None,
            "default_collection": None,
            "collection_sanitization_strategy": None,
            "auto_create": True,
        },
        {BaseDestroyCollectionStore, BaseContextManagerStore},
    ),
    "ValkeyStore": (
        {
            "client": None,
            "default_collection": None,
            "host": "localhost",
            "port": 6379,
            "db": 0,
            "username": None,
            "password": None,
        },
        {BaseContextManagerStore},
    ),
    "MemcachedStore": (
        {
            "client": None,
            "host": "127.0.0.1",
            "port": 11211,
            "default_collection": None,
            "key_sanitization_strategy": None,
        },
        {BaseDestroyStore, BaseContextManagerStore},
    ),
    "NullStore": ({"default_collection": None}, set()),
}


@pytest.mark.parametrize("name", INTERFACE)
def test_constructor_and_bases(name: str) -> None:
    parameters, bases = INTERFACE[name]
    store = getattr(stores, name)
    signature = inspect.signature(store.__init__)
    given = {parameter.name: parameter for parameter in list(signature.parameters.values())[1:]}
    assert list(given)[: len(parameters)] == list(parameters)
    assert {parameter: given[parameter].default for parameter in parameters} == parameters
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in given.values())
    assert all(given[extra].default is not REQUIRED for extra in set(given) - set(parameters))
    assert issubclass(store, BaseStore)
    assert {mark for mark in MARKS if issubclass(store, mark)} == bases
    assert isinstance(store.traits, Traits)
    assert f"backends.{store.traits.name}" in store.__module__


@pytest.mark.parametrize("name", INTERFACE)
def test_every_parameter_is_documented(name: str) -> None:
    store = getattr(stores, name)
    documentation = inspect.getdoc(store.__init__) or ""
    for parameter in list(inspect.signature(store.__init__).parameters)[1:]:
        assert f"{parameter}:" in documentation


def calls_that_types_allow(  # noqa: PLR0917 - never called: the type checker is the test
    cache: Cache,
    redis: Redis,
    aws: AioBaseClient,
    elasticsearch: AsyncElasticsearch,
    mongo: AsyncMongoClient[dict[str, Any]],
    valkey: GlideClient | GlideClusterClient,
    memcached: Client,
) -> None:
    """Each form in which a constructor is documented, with all of its arguments, and one call that mixes two forms."""
    strategy = PassthroughStrategy()
    DiskStore(disk_cache=cache, default_collection="c", auto_create=False)
    DiskStore(directory=Path("d"), max_size=1, default_collection="c", auto_create=False)
    DiskStore(disk_cache=cache, directory="d")  # type: ignore[call-overload] # one or the other
    RedisStore(client=redis, default_collection="c")
    RedisStore(url="u", default_collection="c")
    RedisStore(host="h", port=1, db=2, password="p", default_collection="c")
    RedisStore(client=redis, url="u")  # type: ignore[call-overload] # as above
    DynamoDBStore(client=aws, table_name="t", default_collection="c", table_config={}, auto_create=False)
    DynamoDBStore(
        table_name="t",
        region_name="r",
        endpoint_url="e",
        aws_access_key_id="a",
        aws_secret_access_key="s",
        aws_session_token="t",
        default_collection="c",
        table_config={},
        auto_create=False,
    )
    DynamoDBStore(client=aws)  # type: ignore[call-overload] # the table is missing
    S3Store(client=aws, bucket_name="b", default_collection="c", collection_sanitization_strategy=strategy)
    S3Store(
        bucket_name="b",
        region_name="r",
        endpoint_url="e",
        aws_access_key_id="a",
        aws_secret_access_key="s",
        aws_session_token="t",
        default_collection="c",
        collection_sanitization_strategy=strategy,
        key_sanitization_strategy=strategy,
    )
    S3Store(client=aws)  # type: ignore[call-overload] # the bucket is missing
    ElasticsearchStore(elasticsearch_client=elasticsearch, index_prefix="i", default_collection="c", auto_create=False)
    ElasticsearchStore(url="u", api_key="k", index_prefix="i", key_sanitization_strategy=strategy)
    ElasticsearchStore(url="u", elasticsearch_client=elasticsearch, index_prefix="i")  # type: ignore[call-overload] # as above
    MongoDBStore(client=mongo, db_name="d", coll_name="c", default_collection="c", auto_create=False)
    MongoDBStore(url="u", db_name="d", coll_name="c", collection_sanitization_strategy=strategy)
    MongoDBStore(url="u", client=mongo)  # type: ignore[call-overload] # as above
    ValkeyStore(client=valkey, default_collection="c")
    ValkeyStore(host="h", port=1, db=2, username="u", password="p", default_collection="c")
    ValkeyStore(client=valkey, host="h")  # type: ignore[call-overload] # as above
    MemcachedStore(client=memcached, default_collection="c", key_sanitization_strategy=strategy)
    MemcachedStore(host="h", port=1, default_collection="c", key_sanitization_strategy=strategy)
    MemcachedStore(client=memcached, host="h")  # type: ignore[call-overload] # as above


PROTOCOLS = [name for name in dir(their_protocols) if name.startswith("Async") and name != "AsyncKeyValueProtocol"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_methods_take_what_theirs_take(name: str) -> None:
    """Further arguments are by name and optional, so that a call that theirs allow means the same."""
    theirs, ours = getattr(their_protocols, name), getattr(stores, name)
    methods = [method for method in dir(theirs) if not method.startswith("_")]
    assert methods == [method for method in dir(ours) if not method.startswith("_")]
    assert methods
    bases = (BaseStore, remote.RemoteStore)
    known = [*vars(stores.base).values(), *vars(remote).values(), *(getattr(stores, store) for store in INTERFACE)]
    classes = [cls for cls in known if inspect.isclass(cls) and issubclass(cls, bases) and issubclass(cls, ours)]
    assert {base for base in bases if any(issubclass(cls, base) for cls in classes)} == set(bases)
    for method in methods:
        expected = [*inspect.signature(getattr(theirs, method)).parameters.values()]
        for cls in [ours, *classes]:
            given = [*inspect.signature(getattr(cls, method)).parameters.values()]
            assert [(one.name, one.kind, one.default) for one in given[: len(expected)]] == [
                (one.name, one.kind, one.default) for one in expected
            ]
            assert all(one.kind is one.KEYWORD_ONLY and one.default is not one.empty for one in given[len(expected) :])
            assert inspect.iscoroutinefunction(getattr(cls, method))


HOOKS = {
    "BaseStore": (
        "_setup",
        "_setup_collection",
        "_get_managed_entry",
        "_get_managed_entries",
        "_put_managed_entry",
        "_put_managed_entries",
        "_delete_managed_entry",
        "_delete_managed_entries",
    ),
    "BaseEnumerateKeysStore": ("_get_collection_keys",),
    "BaseEnumerateCollectionsStore": ("_get_collection_names",),
    "BaseDestroyStore": ("_delete_store",),
    "BaseDestroyCollectionStore": ("_delete_collection",),
    "BaseCullStore": ("_cull",),
}


@pytest.mark.parametrize(("base", "hook"), [(base, hook) for base, hooks in HOOKS.items() for hook in hooks])
def test_hooks_are_called_as_theirs_are(base: str, hook: str) -> None:
    """So that a store that somebody wrote for theirs can stand on ours."""
    theirs, ours = (getattr(getattr(module, base), hook) for module in (their_base, stores.base))
    taken = [[(one.name, one.kind) for one in inspect.signature(each).parameters.values()] for each in (theirs, ours)]
    assert taken[0] == taken[1]
    assert inspect.iscoroutinefunction(ours)


def test_errors_are_caught_as_theirs_are() -> None:
    of_wrappers = {"EncryptionError", "DecryptionError", "EncryptionVersionError", "CorruptedDataError"}
    names = {name for name in their_errors.__all__ if name.endswith("Error")} - of_wrappers
    assert len(names) > 12
    for name in names:
        ours, theirs = ([cls.__name__ for cls in getattr(module, name).__mro__] for module in (errors, their_errors))
        assert [above for above in ours if above in theirs] == theirs
    everywhere = {name for name in errors.__all__ if name.endswith("Error")}
    assert all(issubclass(getattr(errors, name), errors.BaseKeyValueError) for name in everywhere)
    for name in everywhere:
        told = getattr(errors, name)("It went wrong.", {"key": "k", "size": 5})
        assert str(told) == "It went wrong. (key: k, size: 5)"
        assert (told.message, told.extra_info) == ("It went wrong.", {"key": "k", "size": 5})
        assert str(getattr(errors, name)()) == ""


def test_every_backend_is_a_public_name() -> None:
    files = {path.stem for path in Path(stores.__file__).with_name("backends").glob("*.py")}
    assert {getattr(stores, name).traits.name for name in INTERFACE} <= files
    assert {name for name in dir(stores) if name.endswith("Store") and not name.startswith("Base")} == set(INTERFACE)


def test_what_belongs_to_the_stores_is_public_beside_them() -> None:
    names = set(dir(stores))
    for name in INTERFACE:
        strategies = {one for one in names if one.endswith("Strategy") and one.startswith(name.removesuffix("Store"))}
        assert {name, *strategies} == set(import_module(getattr(stores, name).__module__).__all__)
    assert names >= {"BaseStore", "ManagedEntry", "SerializationAdapter", "SanitizationStrategy", *PROTOCOLS}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchStore"):
        getattr(stores, "NoSuchStore")  # noqa: B009 - the name is meant to be unknown


@pytest.mark.parametrize("store", store_classes(), ids=lambda store: store.traits.name)
def test_the_traits_say_whether_foreign_data_can_have_a_ttl(store: type[BaseStore]) -> None:
    assert store.traits.foreign_ttl is (store._expire_foreign is not BaseStore._expire_foreign)
