"""Stateful property tests: any sequence of operations leaves a store as a plain dict says it should be."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import stores
from stores import ABSENT, BaseStore
from stores.errors import ConflictError
from tests.stores.conftest import CASES

MODELLED = {"memory", "disk", "filetree", "redis", "dynamodb"}
KEYS = ["a", "b", "key:1", "with space", "日本", "UPPER", "upper"]
COLLECTIONS = ["one", "two"]
keys = st.sampled_from(KEYS)
collections = st.sampled_from(COLLECTIONS)
values = st.dictionaries(
    st.text(max_size=3), st.integers() | st.text(max_size=5) | st.none() | st.lists(st.booleans(), max_size=2), max_size=3
)
ttls = st.none() | st.sampled_from([60, 3600.5, 86400 * 40])
numbers: Iterator[int] = itertools.count()


class Model(RuleBasedStateMachine):
    """A store beside a dict of `(collection, key): (value, has a TTL)`."""

    case: ModuleType
    endpoint: Any

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.tag = f"m{os.getpid()}x{next(numbers)}"
        arguments = self.case.arguments(self.endpoint, self.tag, Path(self.folder.name))
        self.store: BaseStore = getattr(stores, self.case.STORE)(**arguments)
        self.model: dict[tuple[str, str], tuple[dict[str, Any], bool]] = {}

    def run(self, operation: Any) -> Any:
        return self.loop.run_until_complete(operation)

    def named(self, collection: str) -> str:
        return f"{self.tag}{collection}"

    @rule(collection=collections, key=keys, value=values, ttl=ttls)
    def put(self, collection: str, key: str, value: dict[str, Any], ttl: float | None) -> None:
        self.run(self.store.put(key, value, collection=self.named(collection), ttl=ttl))
        self.model[collection, key] = (value, ttl is not None)

    @rule(collection=collections, pairs=st.dictionaries(keys, values, max_size=5), ttl=ttls)
    def put_many(self, collection: str, pairs: dict[str, dict[str, Any]], ttl: float | None) -> None:
        self.run(self.store.put_many(list(pairs), list(pairs.values()), collection=self.named(collection), ttl=ttl))
        self.model |= {(collection, key): (value, ttl is not None) for key, value in pairs.items()}

    @rule(collection=collections, key=keys)
    def delete(self, collection: str, key: str) -> None:
        deleted = self.run(self.store.delete(key, collection=self.named(collection)))
        assert deleted is (self.model.pop((collection, key), None) is not None)

    @rule(collection=collections, several=st.lists(keys, max_size=4))
    def delete_many(self, collection: str, several: list[str]) -> None:
        deleted = self.run(self.store.delete_many(several, collection=self.named(collection)))
        assert deleted == sum(self.model.pop((collection, key), None) is not None for key in set(several))

    @rule(collection=collections, key=keys, ttl=ttls)
    def expire(self, collection: str, key: str, ttl: float | None) -> None:
        there = self.model.get((collection, key))
        assert self.run(self.store.expire(key, ttl, collection=self.named(collection))) is (there is not None)
        if there is not None:
            self.model[collection, key] = (there[0], ttl is not None)

    @rule(collection=collections, key=keys, value=values)
    def create(self, collection: str, key: str, value: dict[str, Any]) -> None:
        created = False
        with suppress(ConflictError):
            self.run(self.store.edit(key, value, collection=self.named(collection), expected=ABSENT))
            created = True
        assert created is ((collection, key) not in self.model)
        if created:
            self.model[collection, key] = (value, False)

    @rule(collection=collections, key=keys, value=values)
    def edit(self, collection: str, key: str, value: dict[str, Any]) -> None:
        self.run(self.store.edit(key, value, collection=self.named(collection)))
        _, expires = self.model.get((collection, key), ({}, False))
        self.model[collection, key] = (value, expires)

    @rule()
    def reopen(self) -> None:
        if self.store.traits.persistent:
            self.run(self.store.close())
            self.run(self.store.__aenter__())

    @invariant()
    def every_key_reads_as_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        for collection in COLLECTIONS:
            found = self.run(self.store.ttl_many(KEYS, collection=self.named(collection)))
            expected = [self.model.get((collection, key)) for key in KEYS]
            assert [value for value, _ in found] == [None if entry is None else entry[0] for entry in expected]
            assert [ttl is not None for _, ttl in found] == [entry is not None and entry[1] for entry in expected]

    @rule(collection=collections)
    def list_keys(self, collection: str) -> None:
        page = self.run(self.store.scan_keys(self.named(collection)))
        assert page.cursor is None
        assert len(page.items) == sum(owner == collection for owner, _ in self.model)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
            self.run(self.case.clean(self.endpoint, self.tag, Path(self.folder.name)))
            self.loop.close()
            self.folder.cleanup()


@pytest.mark.parametrize("case", [case for case in CASES if case.NAME in MODELLED], ids=lambda case: str(case.NAME))
def test_any_sequence_of_operations(case: ModuleType, endpoint: Any) -> None:
    machine = type("Model", (Model,), {"case": case, "endpoint": endpoint})
    examples = 25 if case.SERVER is None else 8
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), database=None
        ),
    )
