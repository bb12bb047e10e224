"""Every kind of server, by name. Adding one is a module beside the others and a name here."""

from tests.servers.kinds import dynamodb, elasticsearch, memcached, mongodb, redis, s3, valkey

KINDS = {
    kind.name: kind
    for kind in (
        redis.KIND,
        valkey.KIND,
        valkey.CLUSTER,
        memcached.KIND,
        dynamodb.KIND,
        s3.KIND,
        mongodb.KIND,
        elasticsearch.KIND,
    )
}
