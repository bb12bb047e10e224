"""What is wrong with a connection is carried by the error, whichever driver told it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiomcache.exceptions import ClientException
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError, ProfileNotFound
from glide import RequestError
from pymongo.errors import ConfigurationError, OperationFailure, ServerSelectionTimeoutError
from redis.exceptions import AuthenticationError, ResponseError

import stores
from stores.backends.memcached_errors import AnswerError
from stores.base import BaseStore
from stores.errors import Fault, StoreSetupError
from tests.faults.tls import make_certificate

pytestmark = pytest.mark.anyio

PATIENCE = 0.6
CREDENTIALS = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
Make = Callable[[str, int, Path | None], BaseStore]
"""A store on a host and port; speaking TLS, if the file of certificates to trust is given."""


def aws(kind: Callable[..., BaseStore], **named: str) -> Make:
    def make(host: str, port: int, authority: Path | None) -> BaseStore:
        url = f"http{'s' if authority else ''}://{host}:{port}"
        bundle = None if authority is None else str(authority)
        more = {"connect_timeout": PATIENCE, "read_timeout": PATIENCE}
        return kind(endpoint_url=url, ca_bundle=bundle, **named, **CREDENTIALS, **more)

    return make


def redis(host: str, port: int, authority: Path | None) -> BaseStore:
    trusted = None if authority is None else str(authority)
    return stores.RedisStore(host=host, port=port, ssl=authority is not None, ssl_ca_certs=trusted, timeout=PATIENCE)


def valkey(host: str, port: int, authority: Path | None) -> BaseStore:
    trusted = None if authority is None else str(authority)
    return stores.ValkeyStore(host=host, port=port, tls=authority is not None, tls_ca_certs=trusted, timeout=PATIENCE)


def memcached(host: str, port: int, authority: Path | None) -> BaseStore:
    trusted = None if authority is None else str(authority)
    return stores.MemcachedStore(host=host, port=port, tls=authority is not None, tls_ca_certs=trusted, timeout=PATIENCE)


def elasticsearch(host: str, port: int, authority: Path | None) -> BaseStore:
    url = f"http{'s' if authority else ''}://{host}:{port}"
    trusted = None if authority is None else str(authority)
    return stores.ElasticsearchStore(url=url, index_prefix="p", ca_certs=trusted, timeout=PATIENCE)


MAKES: dict[str, Make] = {
    "redis": redis,
    "memcached": memcached,
    "elasticsearch": elasticsearch,
    "s3": aws(stores.S3Store, bucket_name="bucket"),
    "dynamodb": aws(stores.DynamoDBStore, table_name="table"),
}
every_store = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.backends.aws.TOTAL_ATTEMPTS", 1)


@asynccontextmanager
async def listening(answer: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that answers whatever it is asked with that, and hangs up; with None it only listens."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            await reader.read(1)
            writer.write(answer)
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def fault(store: BaseStore) -> Fault | None:
    with pytest.raises(StoreSetupError) as refused:
        await store.setup()
    await store.close()
    return refused.value.fault


@every_store
async def test_where_nobody_or_a_stranger_listens(make: Make) -> None:
    found = [await fault(make("127.0.0.1", 1, None)), await fault(make("localhost", 1, None))]
    found.append(await fault(make("nowhere.invalid", 1, None)))
    for answer in (b"", b"SSH-2.0-OpenSSH_9.2p1\r\n", None):
        async with listening(answer) as port:
            found.append(await fault(make("127.0.0.1", port, None)))
    assert found == [Fault.REFUSED, Fault.REFUSED, Fault.HOST, Fault.STRANGER, Fault.STRANGER, Fault.SILENT]


@every_store
async def test_certificates(make: Make, tmp_path: Path) -> None:
    async def met(names: str, days: int, *, trusted: bool) -> Fault | None:
        own = tmp_path / f"{names[:3]}{days}"
        own.mkdir(exist_ok=True)
        presented = make_certificate(own, names=names, days=days)
        async with listening(b"", presented) as port:
            return await fault(make("127.0.0.1", port, (own if trusted else tmp_path) / "cert.pem"))

    make_certificate(tmp_path)
    here = "IP:127.0.0.1"
    assert await met(here, 1, trusted=False) is Fault.UNKNOWN_CERTIFICATE
    assert await met("DNS:elsewhere.example", 1, trusted=True) is Fault.OTHER_CERTIFICATE
    assert await met("IP:127.0.0.9", 1, trusted=True) is Fault.OTHER_CERTIFICATE
    assert await met(here, -1, trusted=True) is Fault.EXPIRED_CERTIFICATE
    assert await met(here, 1, trusted=True) is Fault.STRANGER
    async with listening(b"220 ready\r\n") as port:
        assert await fault(make("127.0.0.1", port, tmp_path / "cert.pem")) is Fault.NO_TLS


def mongodb(host: str, port: int, authority: Path | None) -> BaseStore:
    return stores.MongoDBStore(url=f"mongodb://{host}:{port}/?tls=true&tlsCAFile={authority}")


def mongodb_argument(host: str, port: int, authority: Path | None) -> BaseStore:
    return stores.MongoDBStore(url=f"mongodb://{host}:{port}/", tls=True, tls_ca_file=str(authority))


NAMING = MAKES | {"valkey": valkey, "mongodb": mongodb, "mongodb argument": mongodb_argument}


@pytest.mark.parametrize("make", NAMING.values(), ids=NAMING)
async def test_a_file_of_certificates_that_cannot_be_used_is_named(make: Make, tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    none.write_text("hello")
    for path, told in ((tmp_path / "missing.pem", "No such file"), (none, "no certificates"), (tmp_path, "directory")):
        store = make("localhost", 1, path)
        with pytest.raises(StoreSetupError, match=f"{path} .*{told}") as refused:
            await store.setup()
        await store.close()
        assert refused.value.fault is Fault.FILE


async def test_a_certificate_and_a_key_that_do_not_fit_are_named(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        make_certificate(tmp_path / name)
    certificate, key = str(tmp_path / "one" / "cert.pem"), str(tmp_path / "other" / "key.pem")
    for store in (
        stores.RedisStore(ssl=True, ssl_certfile=certificate, ssl_keyfile=key, port=1),
        stores.ValkeyStore(tls=True, tls_certfile=certificate, tls_keyfile=key, port=1),
    ):
        with pytest.raises(StoreSetupError, match=f"{certificate} and {key} hold no"):
            await store.setup()
    keyless = stores.MongoDBStore(tls=True, tls_certificate_key_file=certificate)
    with pytest.raises(StoreSetupError, match=f"{certificate} holds no"):
        await keyless.setup()


def refusal(code: str, operation: str = "GetObject") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "told"}}, operation)


GLIDE = "Standalone connect failed - IoError: Received error for address `127.0.0.1:1`: "
VERIFY = "h:1: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"
PLAIN: dict[str, BaseStore] = {
    "redis": stores.RedisStore(),
    "valkey": stores.ValkeyStore(),
    "memcached": stores.MemcachedStore(),
    "mongodb": stores.MongoDBStore(url="mongodb://h"),
    "s3": stores.S3Store(bucket_name="b"),
    "dynamodb": stores.DynamoDBStore(table_name="t"),
}


@pytest.mark.parametrize(
    ("store", "error", "expected"),
    [
        ("redis", ResponseError("NOAUTH Authentication required."), Fault.PASSWORD),
        ("redis", AuthenticationError("invalid username-password pair or user is disabled."), Fault.PASSWORD),
        ("redis", ResponseError("NOPERM User bob has no permissions to run the 'scan' command"), Fault.RIGHT),
        ("redis", ResponseError("ERR DB index is out of range"), Fault.DATABASE),
        ("redis", ResponseError("WRONGTYPE Operation against a key"), None),
        ("valkey", RequestError("WRONGPASS: invalid username-password pair or user is disabled."), Fault.PASSWORD),
        ("valkey", RequestError("NOPERM: no permissions"), Fault.RIGHT),
        ("valkey", RequestError(f"{GLIDE}Connection refused (os error 111)"), Fault.REFUSED),
        ("valkey", RequestError(f"{GLIDE}failed to lookup address information: Name or"), Fault.HOST),
        ("valkey", RequestError(f"{GLIDE}Multiplexed connection driver unexpectedly terminated- IoError"), Fault.STRANGER),
        ("valkey", RequestError(f"{GLIDE}timed out"), Fault.SILENT),
        ("valkey", RequestError(f"{GLIDE}received corrupt message of type InvalidContentType"), Fault.NO_TLS),
        ("valkey", RequestError(f"{GLIDE}invalid peer certificate: UnknownIssuer"), Fault.UNKNOWN_CERTIFICATE),
        ("valkey", RequestError(f"{GLIDE}invalid peer certificate: certificate expired: t"), Fault.EXPIRED_CERTIFICATE),
        ("valkey", RequestError(f"{GLIDE}invalid peer certificate: certificate not valid for name"), Fault.OTHER_CERTIFICATE),
        ("memcached", AnswerError("CLIENT_ERROR unauthenticated"), Fault.PASSWORD),
        ("memcached", ClientException("told"), None),
        ("mongodb", OperationFailure("Authentication failed.", 18), Fault.PASSWORD),
        ("mongodb", OperationFailure("bad auth : Authentication failed.", 8000), Fault.PASSWORD),
        ("mongodb", OperationFailure("not authorized on db to execute command { find", 13), Fault.RIGHT),
        ("mongodb", ConfigurationError("The DNS query name does not exist: _mongodb._tcp.nowhere.invalid."), Fault.HOST),
        ("mongodb", ServerSelectionTimeoutError("h:1: [Errno 111] Connect call failed ('h', 1)"), Fault.REFUSED),
        ("mongodb", ServerSelectionTimeoutError("h:1: [Errno -2] Name or service not known"), Fault.HOST),
        ("mongodb", ServerSelectionTimeoutError("h:1: connection closed"), Fault.STRANGER),
        ("mongodb", ServerSelectionTimeoutError("No servers found yet"), Fault.SILENT),
        ("mongodb", ServerSelectionTimeoutError(f"{VERIFY}: self-signed certificate (_ssl.c:1006)"), Fault.UNKNOWN_CERTIFICATE),
        ("mongodb", ServerSelectionTimeoutError(f"{VERIFY}: certificate has expired"), Fault.EXPIRED_CERTIFICATE),
        ("mongodb", ServerSelectionTimeoutError(f"{VERIFY}: Hostname mismatch, certificate"), Fault.OTHER_CERTIFICATE),
        ("mongodb", ServerSelectionTimeoutError("h:1: [SSL: WRONG_VERSION_NUMBER] wrong version"), Fault.NO_TLS),
        ("s3", NoCredentialsError(), Fault.CREDENTIALS),
        ("s3", ProfileNotFound(profile="p"), Fault.CREDENTIALS),
        ("s3", refusal("SignatureDoesNotMatch"), Fault.CREDENTIALS),
        ("s3", refusal("AccessDenied"), Fault.RIGHT),
        ("s3", refusal("AccessDenied", "PutObject"), Fault.RIGHT),
        ("s3", refusal("PermanentRedirect"), Fault.REGION),
        ("s3", refusal("SlowDown"), None),
        ("s3", refusal("400"), Fault.STRANGER),
        ("s3", refusal("400", "HeadObject"), None),
        ("dynamodb", NoRegionError(), Fault.REGION),
        ("dynamodb", refusal("UnrecognizedClientException"), Fault.CREDENTIALS),
    ],
)
async def test_what_servers_and_drivers_say(store: str, error: Exception, expected: Fault | None) -> None:
    with pytest.raises(stores.errors.BaseKeyValueError) as told, PLAIN[store]._edge("c", "k"):
        raise error
    assert told.value.fault is expected


async def test_the_files_of_a_local_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.db").write_text("no database, and long enough to be looked at" * 100)
    made: list[Any] = [
        stores.DiskStore(directory=tmp_path / "cache"),
        stores.DiskStore(directory=tmp_path / "file" / "below"),
        stores.FileTreeStore(data_directory=tmp_path / "file" / "below"),
    ]
    for store in made:
        with pytest.raises(stores.errors.BaseKeyValueError) as told:
            await store.put("k", {"n": 1}, collection="c")
        assert told.value.fault is Fault.FILE
        await store.close()


async def test_a_proxy_does_not_vouch_for_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind one, aiobotocore would take any."""
    (tmp_path / "other").mkdir()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionError):
            await writer.start_tls(presented)
            await reader.read(1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    presented = make_certificate(tmp_path)
    make_certificate(authority := tmp_path / "other")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        store = aws(stores.S3Store, bucket_name="bucket")("localhost", 1, authority / "cert.pem")
        assert await fault(store) is Fault.UNKNOWN_CERTIFICATE
    finally:
        server.close()
