import json
from typing import Any

import pytest

from kvd.model import ConnectionInfo
from kvtui.limits import Limits, undo_complaint
from stores import DynamoDBStore, ElasticsearchStore, MemoryStore, MongoDBStore


def limits(store: Any) -> Limits:
    traits = store.traits
    known = {name: getattr(traits, name) for name in ("max_value_bytes", "max_text_bytes", "big_integers")}
    return Limits.of(ConnectionInfo(name="x", store=traits.name, location="", state="ready", traits=known))


@pytest.mark.parametrize(
    ("store", "value", "said"),
    [
        (DynamoDBStore, {"a": "x" * 500_000}, "the value has 500 KB; dynamodb takes 410 KB"),
        (DynamoDBStore, {"a": "x" * 300_000}, None),
        (ElasticsearchStore, {"a": [{"deep": "é" * 17_000}]}, "the text at a.deep has 34.0 KB; elasticsearch takes 32.8 KB"),
        (ElasticsearchStore, {"a": [{"deep": "é" * 16_000}]}, None),
        (MongoDBStore, {"a": {"b": 2**63}}, "the integer at a.b has more than 64 bits, which mongodb cannot keep"),
        (MongoDBStore, {"a": {"b": 2**63 - 1}, "c": -(2**63)}, None),
        (MemoryStore, {"a": "x" * 5_000_000, "b": 2**100}, None),
    ],
)
def test_what_a_store_does_not_take_is_said(store: Any, value: object, said: str | None) -> None:
    assert limits(store).complaint(json.dumps(value, indent=2, ensure_ascii=False)) == said


def test_only_the_value_counts_not_how_it_is_laid_out() -> None:
    value = json.dumps({"a": [1] * 60_000}, indent=8)
    assert len(value) > 500_000
    assert limits(DynamoDBStore).complaint(value) is None
    assert limits(DynamoDBStore).room(value) == "120 KB of 410 KB"


def test_limits_that_are_far_are_not_shown() -> None:
    assert limits(MemoryStore).room("{}") is None
    assert limits(MongoDBStore).room("{}") is None


def test_what_is_half_typed_is_not_complained_about() -> None:
    assert limits(MongoDBStore).complaint('{"a": 99999999999999999999') is None


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([-1, 10], None),
        ([17 << 20], "This is too large to be undone."),
        ([10, 17 << 20], "1 of them is too large to be undone."),
        ([17 << 20] * 2, "2 of them are too large to be undone."),
        ([15 << 20] * 5, "They are more than the journal holds: not all of them can be undone."),
        ([10] * 100_000, "They are more than the journal holds: not all of them can be undone."),
        ([10] * 90_000, None),
    ],
)
def test_what_cannot_be_undone(sizes: list[int], said: str | None) -> None:
    assert undo_complaint(None, sizes) == said
