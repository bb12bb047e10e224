"""The way to a service on AWS, with the bounds that aiobotocore's own lacks.

Rules: what waits for a server that is silent ends in bounded time, while the request is still being sent too, which aiohttp's
timeout does not cover; and once it is closed no request opens a connection again, as one that is repeated would. A server's
certificate must be for its name, and is looked at behind a proxy, too: aiobotocore asks for neither.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import BotoCoreError, EndpointConnectionError, ReadTimeoutError

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
        if self._is_closed:
            raise EndpointConnectionError(endpoint_url=request.url, error="the client was closed")
        # a server that never says "100 Continue" would be waited for without an end; a signature does not cover this header
        request.headers.pop("Expect", None)
        size = int(request.headers.get("Content-Length") or 0)
        try:
            async with asyncio.timeout(self._silence + size / SLOWEST_UPLOAD if size > BUFFERED else None):
                response = await super().send(request)
        except TimeoutError as exc:
            raise ReadTimeoutError(endpoint_url=request.url, error=exc) from exc
        if response.status_code in REDIRECTS and REGION not in response.headers:  # botocore would ask for it without an end
            raise RedirectedError(endpoint_url=request.url, location=response.headers.get("location", "another place"))
        return response

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _Direct(await super()._get_session(proxy_url))

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_closed = True
        await super().__aexit__(*exc_info)
