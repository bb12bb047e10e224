"""A Redis that a module's tests share, and a thread with an event loop for the proxy in front of it."""

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.servers.lease import Server, private_server


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with private_server("redis") as server:
        yield server


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal
