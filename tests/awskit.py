"""Bare clients of AWS, for what tests look at and remove past the stores.

Botocore's session reads the models anew, which takes a tenth of a second, and the certificates to trust take each client half
as long: one session makes all clients, and those that speak plain HTTP, as to the servers of tests, load none.
"""

from typing import Any

from aiobotocore.session import get_session

_session = get_session()


def bare_client(service: str, url: str) -> Any:
    """Botocore's client, a context manager."""
    return _session.create_client(service, endpoint_url=url, verify=False if url.startswith("http:") else None)
