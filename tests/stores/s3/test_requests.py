"""Requests for objects that go past the library: the server takes them as it takes the library's, and hands over what is odd.

The library marks each of its attempts with a header, which is how a front before the real server tells them apart. Answers
that the real server cannot be brought to give (throttling, expired tokens) the front gives in its place.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from stores import S3Store
from stores.backends import s3 as s3_module, s3_bucket, s3_requests
from stores.backends.aws import Backoff
from stores.errors import DeserializationError, ReadOnlyError, StoreConnectionError
from tests.awskit import bare_client
from tests.faults.proxy import Proxy, Way
from tests.servers.lease import addresses, private_server
from tests.stores.s3.conftest import remove

pytestmark = pytest.mark.anyio

OK = 200
LIBRARY = "amz-sdk-request"
"""The header of the library's attempts."""
BODY = b'{"version": 1, "created_at": "2026-01-01T00:00:00+00:00", "value": {"n": 1}}'
KEYS = [
    "plain",
    "a/b",
    "sp ace",
    "plus+",
    "per%25cent%",
    "q?a=b#c&d",
    "tilde~",
    "ünï日本😀",
    "quo'te\"(*)!",
    "a=b:c;d,e@f$",
    "[x]{y}|^`",
]


class Front:
    """An HTTP server before the real one: it notes requests, and answers in its place what it was told to."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.seen: list[web.BaseRequest] = []
        self.answers: list[tuple[int, str]] = []
        """Statuses and codes, or bodies, for the next requests of objects."""
        self.refusals: list[list[tuple[str, str]]] = []
        """Names and codes, for the next batches of deletes: none of such a batch is done."""
        self.is_alone = False
        """Whether they are for every request."""
        self.url = ""

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Front"]:
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            yield self
        await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        is_object = request.raw_path.count("/") > 1 and not request.query_string
        if is_object:
            self.seen.append(request)
        if self.answers and (is_object or self.is_alone):
            status, told = self.answers.pop(0)
            text = told if status == OK else f"<Error><Code>{told}</Code><Message>told so</Message></Error>"
            return web.Response(status=status, text=text, headers={"ETag": '"e"'})
        if self.refusals and "delete" in request.query:
            refused = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in self.refusals.pop(0))
            return web.Response(text=f"<DeleteResult>{refused}</DeleteResult>")
        url = URL(self._target + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, headers=request.headers, data=body or None) as reply:
            headers = CIMultiDict(reply.headers)
            headers.pop("Transfer-Encoding", None)
            return web.Response(status=reply.status, headers=headers, body=await reply.read())

    def take(self) -> list[str]:
        """The methods of the requests since the last call, those of the library in lower case."""
        seen, self.seen = self.seen, []
        return [one.method.lower() if LIBRARY in one.headers else one.method for one in seen]


@pytest.fixture
async def front(s3_url: str) -> AsyncIterator[Front]:
    async with Front(s3_url).run() as running:
        yield running


@pytest.fixture
async def bare(bare: Any, bucket: str) -> AsyncIterator[Any]:
    await bare.create_bucket(Bucket=bucket)
    yield bare
    await remove(bare, bucket)


@pytest.fixture
async def store(front: Front, bare: Any, bucket: str) -> AsyncIterator[S3Store]:
    async with S3Store(bucket_name=bucket, endpoint_url=front.url) as opened:
        await opened.put("k", {"n": 1}, collection="c")
        assert front.take() == ["PUT"]
        yield opened


async def test_keys_of_every_kind_are_the_librarys(store: S3Store, front: Front, bare: Any, bucket: str) -> None:
    await store.put_many(KEYS, [{"key": key} for key in KEYS], collection="c d")
    listed = (await bare.list_objects_v2(Bucket=bucket, Prefix="c d/"))["Contents"]
    assert {one["Key"] for one in listed} == {f"c d/{key}" for key in KEYS}
    for key in KEYS:
        await bare.put_object(Bucket=bucket, Key=f"c d/{key}", Body=BODY)
    assert await store.get_many(KEYS, collection="c d") == [{"n": 1}] * len(KEYS)
    assert None not in await store.describe(KEYS, collection="c d")
    for key in KEYS:
        assert await store.delete(key, collection="c d")
    assert all(method.isupper() for method in front.take())
    assert "Contents" not in await bare.list_objects_v2(Bucket=bucket, Prefix="c d/")


async def test_answers_are_the_librarys(store: S3Store, front: Front, bare: Any, bucket: str) -> None:
    objects: list[dict[str, Any]] = [
        {"Body": b"", "ContentType": "text/plain"},
        {"Body": BODY, "ContentType": "application/json", "Metadata": {"created-at": "x", "odd": "a  b"}},
        {"Body": b"\x89PNG", "CacheControl": "max-age=5", "ContentDisposition": 'attachment; filename="a b"'},
        {"Body": b"\x1f\x8b", "ContentEncoding": "gzip", "ContentLanguage": "de, en"},
    ]
    for number, arguments in enumerate(objects):
        await bare.put_object(Bucket=bucket, Key=f"c/{number}", **arguments)
    names = [*(f"c/{number}" for number in range(len(objects))), "c/none"]
    ours = [(await store._bucket.head(name), await store._bucket.get(name, at_most=100)) for name in names]
    assert all(method.isupper() for method in front.take())
    store._bucket._requests._way = None
    assert ours == [(await store._bucket.head(name), await store._bucket.get(name, at_most=100)) for name in names]
    assert front.take() == ["head", "get"] * len(names)
    assert ours[-1] == (None, None)
    assert [found.kept.get("Metadata") for _, found in ours if found] == [one.get("Metadata", {}) for one in objects]


async def test_an_object_that_is_too_long_is_not_read(
    s3_url: str, bare: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_module, "MAX_ENTRY_BYTES", 1000)
    await bare.put_object(Bucket=bucket, Key="c/large", Body=b"x" * 20_000_000)
    async with (
        Proxy(*addresses(s3_url)[0]) as proxy,
        S3Store(bucket_name=bucket, endpoint_url=f"http://127.0.0.1:{proxy.port}") as store,
    ):
        with pytest.raises(DeserializationError):
            await store.get("large", collection="c")
        assert proxy.passed[Way.ANSWERS] < 10_000_000
        await store.put("k", {"n": 1}, collection="c")
        assert await store.get("k", collection="c") == {"n": 1}


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")])
async def test_after_trouble_the_library_asks_for_a_while(
    store: S3Store, front: Front, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    monkeypatch.setattr(s3_requests, "REST", 3600.0)  # a while is not over because this machine stands still
    front.answers = [(status, code)]
    assert await store.get("k", collection="c") == {"n": 1}
    await store.put("k", {"n": 2}, collection="c")
    assert front.take() == ["GET", "get", "put"]
    monkeypatch.setattr(store._bucket._requests, "_rests_until", 0.0)
    assert await store.get("k", collection="c") == {"n": 2}
    assert front.take() == ["GET"]


async def test_throttling_that_does_not_end_is_the_librarys_error(store: S3Store, front: Front) -> None:
    front.answers = [(503, "SlowDown")] * 4
    with pytest.raises(StoreConnectionError, match="SlowDown"):
        await store.put("k", {"n": 2}, collection="c")
    assert front.take() == ["PUT", "put", "put", "put"]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ExpiredToken", StoreConnectionError),
        (403, "AccessDenied", ReadOnlyError),
        (403, "SignatureDoesNotMatch", StoreConnectionError),
    ],
)
async def test_a_refusal_is_the_librarys_error(
    store: S3Store, front: Front, status: int, code: str, expected: type[Exception]
) -> None:
    front.answers = [(status, code)] * 2
    with pytest.raises(expected, match=code):
        await store.put("k", {"n": 2}, collection="c")
    assert front.take() == ["PUT", "put"]
    assert await store.get("k", collection="c") == {"n": 1}  # a refusal is no trouble
    assert front.take() == ["GET"]


async def test_what_a_busy_service_did_not_delete_is_asked_for_again(store: S3Store, front: Front) -> None:
    await store.put_many(["a", "b"], [{}, {}], collection="c")
    front.refusals = [[("c/a", "SlowDown"), ("c/b", "InternalError")]]
    assert await store.delete_many(["a", "b"], collection="c") == 2
    assert await store.get_many(["a", "b", "k"], collection="c") == [None, None, {"n": 1}]


async def test_what_a_batch_may_not_delete_is_told_by_name(
    store: S3Store, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_bucket, "Backoff", partial(Backoff, first=0.001, attempts=3))
    await store.put_many(["a", "b"], [{}, {}], collection="c")
    front.refusals = [[("c/a", "SlowDown"), ("c/b", "AccessDenied")]]
    with pytest.raises(ReadOnlyError, match=r"2 of 2 objects were not deleted, among them 'c/b'"):
        await store.delete_many(["a", "b"], collection="c")
    front.refusals = [[("c/a", "SlowDown")]] * 5
    with pytest.raises(StoreConnectionError, match=r"1 of 2 .* 'c/a'"):
        await store.delete_many(["a", "b"], collection="c")


@pytest.mark.parametrize("way", Way)
async def test_a_connection_that_is_lost_is_the_librarys_to_repeat(s3_url: str, bare: Any, bucket: str, way: Way) -> None:
    async with (
        Proxy(*addresses(s3_url)[0]) as proxy,
        S3Store(bucket_name=bucket, endpoint_url=f"http://127.0.0.1:{proxy.port}") as store,
    ):
        proxy.cut_after(10, way)
        await store.put("k", {"n": 1}, collection="c")
        store._bucket._requests._rests_until = 0.0
        proxy.cut_after(10, way)
        assert await store.get("k", collection="c") == {"n": 1}
        proxy.cut_after(10, way)
        await store.put_many(KEYS, [{}] * len(KEYS), collection="c")
        assert await store.get_many(KEYS, collection="c") == [{}] * len(KEYS)


async def test_two_hundred_gets_open_no_more_connections_than_the_pool_has(s3_url: str, bare: Any, bucket: str) -> None:
    async with (
        Proxy(*addresses(s3_url)[0]) as proxy,
        S3Store(bucket_name=bucket, endpoint_url=f"http://127.0.0.1:{proxy.port}", max_connections=7) as store,
    ):
        await store.put("k", {"n": 1}, collection="c")
        proxy.delay(0.002)
        missing = [store.get(f"none{number}", collection="c") for number in range(100)]
        found = await asyncio.gather(*(store.get("k", collection="c") for _ in range(100)), *missing)
        assert found == [{"n": 1}] * 100 + [None] * 100
        await asyncio.gather(*(store.describe(["k"], collection="c") for _ in range(200)))
        assert proxy.accepted == proxy.most_open == 7


async def test_temporary_credentials_are_renewed(front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, counter, config = tmp_path / "program.py", tmp_path / "count", tmp_path / "config"
    soon = datetime.now(UTC) + timedelta(minutes=5)  # so soon that they are renewed before each request
    told = {"Version": 1, "AccessKeyId": "test", "SecretAccessKey": "test", "Expiration": soon.isoformat()}
    program.write_text(
        f"import json\nwith open({str(counter)!r}, 'a+') as file:\n    file.write('x')\n    count = file.tell()\n"
        f"print(json.dumps({told!r} | {{'SessionToken': str(count)}}))\n"
    )
    config.write_text(f"[profile work]\nregion = eu-west-1\ncredential_process = {sys.executable} {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    front.is_alone = True  # the real server knows no temporary credentials
    front.answers = [(OK, "<ListBucketResult/>"), (OK, ""), (OK, ""), (OK, BODY.decode())]
    async with S3Store(bucket_name="b", endpoint_url=front.url, profile_name="work") as store:
        await store.put("k", {"n": 1}, collection="c")
        assert await store.get("k", collection="c") == {"n": 1}
        used = [request.headers["X-Amz-Security-Token"] for request in front.seen]
        assert front.take() == ["PUT", "GET"]
    assert 1 < int(used[0]) < int(used[1])


async def test_a_bucket_in_the_hosts_name_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    keys = "aws_access_key_id = test\naws_secret_access_key = test\n"
    config.write_text(f"[profile virtual]\n{keys}region = us-east-1\ns3 =\n  addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    domain = "s3.example.test"
    with private_server("s3", [f"-s3.domainName={domain}"]) as server:
        monkeypatch.setenv("http_proxy", server.url)  # nobody else knows the name
        async with S3Store(bucket_name="elsewhere", endpoint_url=f"http://{domain}", profile_name="virtual") as store:
            await store.put("a b", {"n": 1}, collection="c")
            await store.put_many(KEYS, [{"key": key} for key in KEYS], collection="c")
            assert await store.get_many(KEYS, collection="c") == [{"key": key} for key in KEYS]
            way = store._bucket._requests._way
            assert way is not None
            assert way._base == f"http://elsewhere.{domain}/"
        monkeypatch.delenv("http_proxy")
        async with S3Store(bucket_name="elsewhere", endpoint_url=server.url) as store:
            assert await store.get("a b", collection="c") == {"n": 1}
            assert await store.delete_many(KEYS, collection="c") == len(KEYS)


async def test_a_callers_client_gets_nothing_but_the_library(front: Front, bare: Any, bucket: str) -> None:
    async with (
        bare_client("s3", front.url) as client,
        S3Store(bucket_name=bucket, client=client) as store,
    ):
        assert await store.get_many(["a", "b"]) == [None, None]
    assert front.take() == ["get", "get"]
