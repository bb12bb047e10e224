# The public names of `stores`, and the only list of them: it is read at run time too, so that each name is imported when it
# is first asked for.
from .backends.disk import DiskStore as DiskStore
from .backends.dynamodb import DynamoDBStore as DynamoDBStore
from .backends.elasticsearch import (
    ElasticsearchStore as ElasticsearchStore,
    ElasticsearchV1CollectionSanitizationStrategy as ElasticsearchV1CollectionSanitizationStrategy,
    ElasticsearchV1KeySanitizationStrategy as ElasticsearchV1KeySanitizationStrategy,
)
from .backends.filetree import (
    FileTreeStore as FileTreeStore,
    FileTreeV1CollectionSanitizationStrategy as FileTreeV1CollectionSanitizationStrategy,
    FileTreeV1KeySanitizationStrategy as FileTreeV1KeySanitizationStrategy,
)
from .backends.memcached import (
    MemcachedStore as MemcachedStore,
    MemcachedV1KeySanitizationStrategy as MemcachedV1KeySanitizationStrategy,
)
from .backends.memory import MemoryStore as MemoryStore
from .backends.mongodb import (
    MongoDBStore as MongoDBStore,
    MongoDBV1CollectionSanitizationStrategy as MongoDBV1CollectionSanitizationStrategy,
)
from .backends.null import NullStore as NullStore
from .backends.redis import RedisStore as RedisStore
from .backends.s3 import (
    S3CollectionSanitizationStrategy as S3CollectionSanitizationStrategy,
    S3KeySanitizationStrategy as S3KeySanitizationStrategy,
    S3Store as S3Store,
)
from .backends.valkey import ValkeyStore as ValkeyStore
from .base import (
    BaseContextManagerStore as BaseContextManagerStore,
    BaseCullStore as BaseCullStore,
    BaseDestroyCollectionStore as BaseDestroyCollectionStore,
    BaseDestroyStore as BaseDestroyStore,
    BaseEnumerateCollectionsStore as BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore as BaseEnumerateKeysStore,
    BaseStore as BaseStore,
)
from .entry import ManagedEntry as ManagedEntry
from .names import OUTSIDE as OUTSIDE, Name as Name, Page as Page, Token as Token
from .protocols import (
    AsyncCullProtocol as AsyncCullProtocol,
    AsyncDestroyCollectionProtocol as AsyncDestroyCollectionProtocol,
    AsyncDestroyStoreProtocol as AsyncDestroyStoreProtocol,
    AsyncEnumerateCollectionsProtocol as AsyncEnumerateCollectionsProtocol,
    AsyncEnumerateKeysProtocol as AsyncEnumerateKeysProtocol,
    AsyncKeyValue as AsyncKeyValue,
)
from .records import (
    ABSENT as ABSENT,
    ANY as ANY,
    KEEP as KEEP,
    Description as Description,
    Record as Record,
    Version as Version,
)
from .sanitization import (
    AlwaysHashStrategy as AlwaysHashStrategy,
    HashExcessLengthStrategy as HashExcessLengthStrategy,
    HybridSanitizationStrategy as HybridSanitizationStrategy,
    PassthroughStrategy as PassthroughStrategy,
    SanitizationStrategy as SanitizationStrategy,
)
from .serialization import BasicSerializationAdapter as BasicSerializationAdapter, SerializationAdapter as SerializationAdapter
from .traits import Traits as Traits
