"""Fixtures that every test may use: real servers, names of one's own, the event loop.

Rules: a server starts when the first test that needs it is collected, once for the whole run, and all workers share it.
What a machine cannot have is skipped with the reason, and fails when `CI=true`. Nothing outlives the run.
"""

import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.folders import own_folders
from tests.servers.catalogue import KINDS
from tests.servers.kind import UnavailableError
from tests.servers.lease import VARIABLE, Address, Supervision, addresses, lease, release

KIND_OF_FIXTURE = {
    "redis_url": "redis",
    "valkey_address": "valkey",
    "valkey_cluster_addresses": "valkey-cluster",
    "memcached_address": "memcached",
    "dynamodb_url": "dynamodb",
    "s3_url": "s3",
    "mongodb_url": "mongodb",
    "elasticsearch_url": "elasticsearch",
}
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # a machine that is busy is no mistake of what is tested

gc.set_threshold(20_000)  # at the usual 700, a quarter of the time of tests with a screen goes into looking for garbage

supervision = pytest.StashKey[Supervision]()
numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    if VARIABLE not in os.environ:  # workers of xdist find it there
        config.stash[supervision] = Supervision()
    if not {"KV_TEST_DYNAMODB_URL", "KV_TEST_S3_URL"} & os.environ.keys():
        os.environ.update(AWS)


def pytest_unconfigure(config: pytest.Config) -> None:
    release()
    if supervision in config.stash:
        config.stash[supervision].close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start all that will be needed side by side, while the first tests already run."""
    fixtures = {name for item in session.items if isinstance(item, pytest.Function) for name in item.fixturenames}
    kinds = [kind for name, kind in KIND_OF_FIXTURE.items() if name in fixtures and KINDS[kind].variable not in os.environ]
    if kinds and not session.config.option.collectonly:
        lease().ask("warm", kinds=kinds)


def endpoint(kind: str) -> str:
    """The endpoint given in the environment, else that of the shared server."""
    if given := os.environ.get(KINDS[kind].variable):
        return given
    try:
        url: str = lease().ask("share", kind=kind)["url"]
    except UnavailableError as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{kind}: {exc}", pytrace=False)
        pytest.skip(f"{kind}: {exc}")
    return url


@pytest.fixture
def home() -> Iterator[Path]:
    """Folders without a daemon; one that a test starts there is stopped."""
    with own_folders() as root:
        yield root


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def worker_number() -> int:
    """0 without xdist; 1, 2, … in its workers."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return int(worker.removeprefix("gw")) + 1 if worker else 0


@pytest.fixture
def unique_name(worker_number: int) -> str:
    """A name that no other test of any run uses: letters, digits and hyphens, fit for every server."""
    return f"t{os.getpid()}-{worker_number}-{next(numbers)}"


@pytest.fixture(scope="session")
def redis_url(worker_number: int) -> str:
    """A Redis server's URL; the database is this worker's own."""
    url = endpoint("redis")
    return url if "KV_TEST_REDIS_URL" in os.environ else f"{url}/{worker_number}"


@pytest.fixture(scope="session")
def valkey_address() -> Address:
    return addresses(endpoint("valkey"))[0]


@pytest.fixture(scope="session")
def valkey_cluster_addresses() -> list[Address]:
    return addresses(endpoint("valkey-cluster"))


@pytest.fixture(scope="session")
def memcached_address() -> Address:
    return addresses(endpoint("memcached"))[0]


@pytest.fixture(scope="session")
def dynamodb_url() -> str:
    return endpoint("dynamodb")


@pytest.fixture(scope="session")
def s3_url() -> str:
    return endpoint("s3")


@pytest.fixture(scope="session")
def mongodb_url() -> str:
    return endpoint("mongodb")


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    return endpoint("elasticsearch")
