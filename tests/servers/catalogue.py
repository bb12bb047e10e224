"""Every kind of server, by name. Adding one is a module beside the others and a name here."""

from tests.servers.kinds import memcached, redis, valkey

KINDS = {kind.name: kind for kind in (redis.KIND, valkey.KIND, valkey.CLUSTER, memcached.KIND)}
