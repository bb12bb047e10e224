"""Every backend's case under tests/cases, opened directly or through a daemon, for the contract suites."""

from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stores
from stores import BaseStore
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


@pytest.fixture
async def store(
    case: ModuleType, make: Callable[..., BaseStore], endpoint: Any, names: Names, tmp_path: Path
) -> AsyncIterator[BaseStore]:
    async with make() as opened:
        yield opened
    await case.clean(endpoint, names.tag, tmp_path)
