"""The client that a store makes of a URL: a driver's own, made to check names of certificates and to stay closed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from elastic_transport import AiohttpHttpNode, ConnectionError as TransportConnectionError, NodeConfig
from elasticsearch import AsyncElasticsearch

__all__ = ["client_for", "with_port"]


def client_for(
    url: str,
    *,
    api_key: str | None,
    login: tuple[str, str] | None,
    ca_certs: str | None,
    verify_certs: bool,
    timeout: float,
) -> AsyncElasticsearch:
    """A client for one address, which reads the file of certificates.

    Args:
        url: the cluster's address.
        api_key: as Elasticsearch shows it, encoded.
        login: name and password, instead.
        ca_certs: a file (PEM) with the certificates to trust.
        verify_certs: whether the server's certificate is checked.
        timeout: seconds to wait for each answer.
    """
    given = {"api_key": api_key, "basic_auth": login, "ca_certs": ca_certs}
    options: dict[str, Any] = {name: option for name, option in given.items() if option is not None}
    if not verify_certs:
        options |= {"verify_certs": False, "ssl_show_warn": False}
    compress = url.startswith("https")
    return AsyncElasticsearch([with_port(url)], node_class=Node, request_timeout=timeout, http_compress=compress, **options)


class Node(AiohttpHttpNode):
    """A node that stays closed: a request that closing interrupts is sent again, and would open a session to be left open."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        if self._ssl_context is not None and config.verify_certs:
            self._ssl_context.check_hostname = True  # which the driver leaves out where the host is an address
        self._is_closed = False

    async def perform_request(self, *args: Any, **options: Any) -> Any:  # type: ignore[override] # passed on as they are
        """Send a request, unless the client was closed."""
        if self._is_closed:
            raise TransportConnectionError("the client was closed")
        return await super().perform_request(*args, **options)

    async def close(self) -> None:  # type: ignore[override] # as the driver's own
        """Close for good."""
        self._is_closed = True
        await super().close()


def with_port(url: str) -> str:
    """The URL with the port that its scheme implies, which the driver wants to be told."""
    parts = urlsplit(url)
    if parts.port is not None or not parts.hostname:
        return url
    return parts._replace(netloc=f"{parts.netloc}:{443 if parts.scheme == 'https' else 9200}").geturl()
