"""Requests for single objects of a bucket, without the work that is the same for each of them.

botocore takes 2 to 3 ms for a request: for endpoint rules, models, hooks and parsers, whose result for the plain requests of
one bucket never differs. So the library is watched while it asks for the bucket's list, which tells address, region and
signature; from there plain requests are signed by botocore's own signer, with the credentials that it refreshes, and sent
over the client's own connections.

Rules: only plain success, and "there is none", are understood here. At any other answer, at none, and for a while after one
that told of trouble, the library asks (again) in its own way, with its redirects, pauses and errors; so what failed on the way
is repeated once more than the client was told. A caller's client, and a bucket with another kind of signature, get nothing but
the library.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
from aiobotocore.response import StreamingBody
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, HTTPClientError

from stores.backends.aws import AwsClient
from stores.backends.aws_session import Session

__all__ = ["Requests"]

METHODS: Final = {"get_object": "GET", "head_object": "HEAD", "put_object": "PUT", "delete_object": "DELETE"}
READS: Final = ("get_object", "head_object")
PLAIN: Final = frozenset({"Key", "Body", "ContentType", "Metadata"})
SIGNATURE: Final = "s3v4"
METADATA: Final = "x-amz-meta-"
HEADERS: Final = {
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "content-type": "ContentType",
    "etag": "ETag",
}
DONE: Final = (200, 204)
MISSING: Final = 404
BUSY: Final = 429
TROUBLE: Final = 500
REST: Final = 5.0
"""Seconds for which the library, which knows how to wait, asks everything after no answer, or one that tells of trouble."""


class _Request(AWSRequest):  # type: ignore[misc] # botocore has no types
    """A request whose body is bytes: the base puts the whole request together each time that it is asked for it."""

    @property
    def body(self) -> bytes:
        """The body."""
        return self.data  # type: ignore[no-any-return] # as above


class _Way:
    """Where a bucket is, and how its requests are signed and sent."""

    def __init__(self, session: Session, request: AWSRequest, signer: Any, **signing: Any) -> None:
        """Read it off a request of the library's own to the bucket.

        Args:
            session: the client's connections.
            request: the request, not yet signed.
            signer: the client's, which has the credentials and refreshes them.
            signing: `signing_name`, `region_name` and `signature_version`, where the request itself knows no better.
        """
        parts = urlsplit(request.url)
        own = request.context.get("signing", {})
        self.session = session
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/"
        self._headers = {"User-Agent": request.headers["User-Agent"]}
        self._context = {"client_config": request.context.get("client_config")}
        self._signer = signer
        self._signing = signing | {
            "region_name": own.get("region") or signing["region_name"],
            "signing_name": own.get("signing_name") or signing["signing_name"],
        }

    async def signed(self, method: str, name: str, headers: Mapping[str, str], body: bytes) -> AWSRequest:
        """A request for an object."""
        request = _Request(method, self._base + quote(name, safe="/~"), {**self._headers, **headers}, body)
        request.context.update(self._context)
        auth = await self._signer.get_auth_instance(**self._signing)
        auth.add_auth(request)
        if "Host" not in self._headers:
            self._headers["Host"] = auth.headers_to_sign(request)["host"]  # so that it need not be found out each time
        return request


class Requests:
    """A bucket's requests, under the names and with the parameters and the answers of the client's operations."""

    def __init__(self, aws: AwsClient, bucket: str) -> None:
        """Keep whose requests they are."""
        self._aws = aws
        self._bucket = bucket
        self._way: _Way | None = None
        self._rests_until = 0.0

    def watch(self) -> None:
        """Learn the way from each list of the bucket that the client, which was made anew, will ask for."""
        self._way = None
        if (session := self._aws.session) is not None:

            def learn(request: AWSRequest, request_signer: Any, signature_version: Any, **more: Any) -> None:
                signing = {name: more[name] for name in ("signing_name", "region_name")}
                plain = signature_version == SIGNATURE
                way = _Way(session, request, request_signer, signature_version=signature_version, **signing) if plain else None
                self._way = way

            self._aws.opened.meta.events.register("before-sign.s3.ListObjectsV2", learn)

    async def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """As the client's operation. ClientError when the service refuses."""
        reply: dict[str, Any] | None = None
        is_plain = operation in METHODS and parameters.keys() <= PLAIN
        if self._way is not None and is_plain and time.monotonic() >= self._rests_until:
            reply = await self._ask_directly(self._way, operation, **parameters)
        if reply is None:
            reply = await getattr(self._aws.opened, operation)(Bucket=self._bucket, **parameters)
        return reply

    async def _ask_directly(self, way: _Way, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """The answer; None where the library should ask."""
        headers = {METADATA + name: text for name, text in parameters.get("Metadata", {}).items()}
        if "ContentType" in parameters:
            headers["Content-Type"] = parameters["ContentType"]
        request = await way.signed(METHODS[operation], parameters["Key"], headers, parameters.get("Body", b""))
        try:
            response = await way.session.exchange(request.method, request.url, dict(request.headers.items()), request.data)
            status = response.status
            if status in DONE and operation == "get_object":
                return _reply(response, has_body=True)
            await response.read()  # so that the connection can be used again
            if status in DONE:
                return _reply(response, has_body=False)
        except (HTTPClientError, aiohttp.ClientError, TimeoutError):
            status = TROUBLE
        if status == MISSING and operation in READS:
            raise ClientError({"Error": {"Code": str(MISSING)}}, operation)
        if status == BUSY or status >= TROUBLE:
            self._rests_until = time.monotonic() + REST
        return None


def _reply(response: aiohttp.ClientResponse, *, has_body: bool) -> dict[str, Any]:
    """The answer in the client's form, as far as an object of this store needs it."""
    headers = {name.lower(): text for name, text in response.headers.items()}
    reply: dict[str, Any] = {name: headers[header] for header, name in HEADERS.items() if header in headers}
    reply["Metadata"] = {name.removeprefix(METADATA): text for name, text in headers.items() if name.startswith(METADATA)}
    if "content-length" in headers:
        reply["ContentLength"] = int(headers["content-length"])
    with suppress(ValueError):
        reply["LastModified"] = parsedate_to_datetime(headers.get("last-modified", ""))
    if has_body:
        reply["Body"] = StreamingBody(response, headers.get("content-length"))
    return reply
