"""Every backend's case under tests/cases, opened directly or through a daemon, for the contract suites."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
import tomlkit

import stores
from kvd import requests
from kvd.blocking import BlockingClient
from kvd.client import Client
from kvd.errors import DaemonError
from kvd.paths import config_file
from kvd.remote import RemoteStore
from stores import BaseStore, Name
from stores.errors import ConflictError
from stores.names import Collection
from stores.traits import Traits

CASES: list[ModuleType] = [
    import_module(f"tests.cases.{path.stem}") for path in sorted((Path(__file__).parents[1] / "cases").glob("[a-z]*.py"))
]


def traits_of(case: ModuleType) -> Traits:
    traits: Traits = getattr(stores, case.STORE).traits
    return traits


STORING = [case for case in CASES if traits_of(case).stores_entries]
REFERENCED = [case for case in STORING if case.NAME != "memory"]


def by_name(case: ModuleType) -> str:
    return str(case.NAME)


class Names:
    """Names of one test's own, so that tests that share a server never meet."""

    def __init__(self, unique_name: str) -> None:
        self.tag = unique_name.replace("-", "x")

    def __call__(self, name: str = "") -> str:
        return f"{self.tag}{name}"


async def race_to_increment(one: BaseStore, two: BaseStore) -> None:
    """Three tasks with two stores increment one number by compare-and-set; asserts that no increment is lost."""
    await one.put("n", {"n": 0}, collection="c", ttl=1000)

    async def increment(store: BaseStore, times: int) -> None:
        while times:
            record = await store.read("n", collection="c")
            assert record
            assert record.entry
            try:
                await store.edit("n", {"n": record.entry.value["n"] + 1}, collection="c", expected=record.version)
            except ConflictError:
                continue
            times -= 1

    await asyncio.gather(increment(one, 20), increment(two, 20), increment(one, 20))
    assert await two.get("n", collection="c") == {"n": 60}


async def all_names(store: BaseStore, collection: Collection, limit: int = 7, match: str | None = None) -> list[Name]:
    """All pages of a scan, small ones unless told: one that has only one page shows little."""
    found: list[Name] = []
    cursor: bytes | None = None
    while True:
        page = await store.scan_keys(collection, cursor=cursor, limit=limit, match=match)
        found += page.items
        if (cursor := page.cursor) is None:
            return found


@pytest.fixture
def names(unique_name: str) -> Names:
    return Names(unique_name)


@pytest.fixture
def endpoint(case: ModuleType, request: pytest.FixtureRequest) -> Any:
    return None if case.SERVER is None else request.getfixturevalue(case.SERVER)


@pytest.fixture
def make(case: ModuleType, endpoint: Any, names: Names, tmp_path: Path) -> Callable[..., BaseStore]:
    """Makes stores over the same data, not opened yet."""

    def make_store(**more: Any) -> BaseStore:
        made: BaseStore = getattr(stores, case.STORE)(**case.arguments(endpoint, names.tag, tmp_path) | more)
        return made

    return make_store


@pytest.fixture(params=["direct", "remote"])
async def store(  # noqa: PLR0917 - fixtures are injected by name
    case: ModuleType,
    make: Callable[..., BaseStore],
    endpoint: Any,
    names: Names,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> AsyncIterator[BaseStore]:
    """The store itself, and once more in a daemon, through the socket."""
    if request.param == "remote":
        daemon: Daemon = request.getfixturevalue("daemon")
        async with await RemoteStore.open(await daemon.connection(case, endpoint)) as remote:
            yield cast("BaseStore", remote)
        return
    async with make() as opened:
        yield opened
    await case.clean(endpoint, names.tag, tmp_path)


class Daemon:
    """A daemon of this worker's own, whose configuration grows by the backends that are asked for."""

    def __init__(self, configuration: Path, tag: str, folder: Path) -> None:
        self.configuration = configuration
        self.tag = tag
        self.folder = folder
        self.known: set[str] = set()

    async def connection(self, case: ModuleType, endpoint: Any) -> str:
        name = str(case.NAME)
        if name not in self.known:
            self.known.add(name)
            folder = self.folder / name
            folder.mkdir()
            section = {"store": name, "allow_destroy": True, "args": case.arguments(endpoint, self.tag, folder)}
            with self.configuration.open("a") as file:
                file.write(tomlkit.dumps({"connections": {name: section}}) + "\n")
            async with await Client.open() as client:
                await client.call(requests.reload())
        return name


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, worker_number: int) -> Iterator[Daemon]:
    """Started by the first client that wants it, as everywhere; stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="kvd") as short, pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("daemon")
        for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
            patch.setenv(variable, str(home / variable))
        patch.setenv("XDG_RUNTIME_DIR", short)
        config_file().parent.mkdir(parents=True)
        yield Daemon(config_file(), f"d{os.getpid()}x{worker_number}", home)
        with suppress(DaemonError), BlockingClient.open(spawn=False) as client:
            client.call(requests.stop())
