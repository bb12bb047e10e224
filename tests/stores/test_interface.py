"""The public names, constructors and base classes: what programs were written against does not move."""

import inspect
from pathlib import Path
from typing import Any

import pytest

import stores
from stores import (
    BaseContextManagerStore,
    BaseCullStore,
    BaseDestroyCollectionStore,
    BaseDestroyStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
    BaseStore,
)
from stores.traits import Traits

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


def test_every_backend_is_a_public_name() -> None:
    files = {path.stem for path in Path(stores.__file__).with_name("backends").glob("*.py")}
    assert {getattr(stores, name).traits.name for name in INTERFACE} <= files
    assert {name for name in dir(stores) if name.endswith("Store") and not name.startswith("Base")} == set(INTERFACE)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchStore"):
        getattr(stores, "NoSuchStore")  # noqa: B009 - the name is meant to be unknown
