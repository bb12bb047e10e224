"""The way to a service on AWS, with the bounds that aiobotocore's own lacks.

Rules: what waits for a server that is silent ends in bounded time, while the request is still being sent too, which aiohttp's
timeout does not cover; and once it is closed no request opens a connection again, as one that is repeated would. A server's
certificate must be for its name, and is looked at behind a proxy, too: aiobotocore asks for neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import BotoCoreError, EndpointConnectionError, ReadTimeoutError
from yarl import URL

__all__ = ["RedirectedError", "Session"]

SLOWEST_UPLOAD: Final = 64 * 1024
"""Bytes a second that a network must take."""

BUFFERED: Final = 64 * 1024
"""Bytes that the kernel takes whatever the server does: a request of this size never hangs while it is sent."""


REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
REGION: Final = "x-amz-bucket-region"
"""S3 says so where a bucket is that is asked for elsewhere, and botocore goes there."""


class RedirectedError(BotoCoreError):  # type: ignore[misc] # botocore has no types
    """A server sends its callers away."""

    fmt = "{endpoint_url} sends its callers to {location!r}, as no service of AWS does"


class _Direct:
    """A session of aiohttp's whose requests follow no redirect: that is botocore's to do, which signs them anew."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def request(self, *args: Any, **options: Any) -> Any:
        return self._session.request(*args, allow_redirects=False, **options)


class Session(AIOHTTPSession):  # type: ignore[misc] # aiobotocore has no types
    """Sends requests."""

    def __init__(self, *args: Any, timeout: tuple[float, float], **options: Any) -> None:
        """As the base; `timeout` are seconds to connect and seconds of silence."""
        super().__init__(*args, timeout=timeout, **options)
        self._silence = timeout[1]
        self._is_closed = False

    def _get_ssl_context(self) -> Any:
        context = super()._get_ssl_context()
        context.check_hostname = True
        return context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> Any:
        return super()._setup_proxy_ssl_context(proxy_url) or self._get_ssl_context()

    async def send(self, request: Any) -> Any:
        """Send one request.

        Raises:
            ReadTimeoutError: the server did not take it, or did not answer.
            EndpointConnectionError: the session was closed, or there is no way.
            RedirectedError: the server answered with another address.
        """
        # a server that never says "100 Continue" would be waited for without an end; a signature does not cover this header
        request.headers.pop("Expect", None)
        async with self._bounds(request.url, int(request.headers.get("Content-Length") or 0)):
            response = await super().send(request)
        if response.status_code in REDIRECTS and REGION not in response.headers:  # botocore would ask for it without an end
            raise RedirectedError(endpoint_url=request.url, location=response.headers.get("location", "another place"))
        return response

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> aiohttp.ClientResponse:
        """Send one request as it is, and return the answer as aiohttp has it: botocore would take both apart once more.

        Raises:
            ReadTimeoutError: the server did not take it, or did not answer.
            EndpointConnectionError: the session was closed, or nobody listens there.
            aiohttp.ClientError: TLS or a proxy failed, or the connection broke.
        """
        async with self._bounds(url, len(body)):
            proxy = self._proxy_config.proxy_url_for(url)
            session = await self._get_session(proxy)
            try:
                response: aiohttp.ClientResponse = await session.request(
                    method,
                    URL(url, encoded=True),
                    headers={**headers, "Accept-Encoding": "identity"},
                    data=body or None,
                    proxy=proxy,
                    proxy_headers=self._proxy_config.proxy_headers_for(url),
                )
            except (aiohttp.ClientSSLError, aiohttp.ClientProxyConnectionError):
                raise
            except aiohttp.ClientConnectorError as exc:
                raise EndpointConnectionError(endpoint_url=url, error=exc) from exc
            return response

    @asynccontextmanager
    async def _bounds(self, url: str, size: int) -> AsyncIterator[None]:
        if self._is_closed:
            raise EndpointConnectionError(endpoint_url=url, error="the client was closed")
        try:
            async with asyncio.timeout(self._silence + size / SLOWEST_UPLOAD if size > BUFFERED else None):
                yield
        except TimeoutError as exc:
            raise ReadTimeoutError(endpoint_url=url, error=exc) from exc

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _Direct(await super()._get_session(proxy_url))

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_closed = True
        await super().__aexit__(*exc_info)
