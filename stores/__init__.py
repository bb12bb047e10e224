"""Asynchronous key-value stores with one interface over many backends.

    from stores import MemoryStore

    async with MemoryStore() as store:
        await store.put("user:1", {"name": "Ada"}, collection="users", ttl=3600)
        value = await store.get("user:1", collection="users")

Every public name is imported when it is first asked for, so that a driver is loaded only with the store that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "stores.backends.disk": ["DiskStore"],
    "stores.backends.dynamodb": ["DynamoDBStore"],
    "stores.backends.elasticsearch": [
        "ElasticsearchStore",
        "ElasticsearchV1CollectionSanitizationStrategy",
        "ElasticsearchV1KeySanitizationStrategy",
    ],
    "stores.backends.filetree": [
        "FileTreeStore",
        "FileTreeV1CollectionSanitizationStrategy",
        "FileTreeV1KeySanitizationStrategy",
    ],
    "stores.backends.memcached": ["MemcachedStore", "MemcachedV1KeySanitizationStrategy"],
    "stores.backends.memory": ["MemoryStore"],
    "stores.backends.mongodb": ["MongoDBStore", "MongoDBV1CollectionSanitizationStrategy"],
    "stores.backends.null": ["NullStore"],
    "stores.backends.redis": ["RedisStore"],
    "stores.backends.s3": ["S3CollectionSanitizationStrategy", "S3KeySanitizationStrategy", "S3Store"],
    "stores.backends.valkey": ["ValkeyStore"],
    "stores.base": [
        "BaseContextManagerStore",
        "BaseCullStore",
        "BaseDestroyCollectionStore",
        "BaseDestroyStore",
        "BaseEnumerateCollectionsStore",
        "BaseEnumerateKeysStore",
        "BaseStore",
    ],
    "stores.entry": ["ManagedEntry"],
    "stores.names": ["OUTSIDE", "Name", "Page", "Token"],
    "stores.protocols": [
        "AsyncCullProtocol",
        "AsyncDestroyCollectionProtocol",
        "AsyncDestroyStoreProtocol",
        "AsyncEnumerateCollectionsProtocol",
        "AsyncEnumerateKeysProtocol",
        "AsyncKeyValue",
    ],
    "stores.records": ["ABSENT", "ANY", "KEEP", "Description", "Record", "Version"],
    "stores.sanitization": [
        "AlwaysHashStrategy",
        "HashExcessLengthStrategy",
        "HybridSanitizationStrategy",
        "PassthroughStrategy",
        "SanitizationStrategy",
    ],
    "stores.serialization": ["BasicSerializationAdapter", "SerializationAdapter"],
    "stores.traits": ["Traits"],
}

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - one table of names, not two


def __getattr__(name: str) -> Any:
    try:
        module = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
