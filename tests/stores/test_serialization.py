"""The entry's form is py-key-value's, byte for byte, and reading it is tolerant."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st
from key_value.aio._utils.managed_entry import ManagedEntry as TheirEntry
from key_value.aio._utils.serialization import BasicSerializationAdapter as TheirAdapter

from stores import BasicSerializationAdapter, ManagedEntry
from stores.backends.envelope import open_text, peek
from stores.backends.s3_objects import date_of
from stores.entry import JsonObject, dump_json
from stores.errors import DeserializationError, SerializationError
from tests.stores.steps import finished

ours, theirs = BasicSerializationAdapter(), TheirAdapter()
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
values = st.dictionaries(st.text(), plain, max_size=5)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001 - made aware right here


DATES = [
    None,
    "null",
    '""',
    "17",
    '"nonsense"',
    '"2026-11-22"',
    '"2026-11-22T17:23:08"',
    '"2026-11-22T17:23:08Z"',
    '"2026-11-22T17:23:08.8+02:00"',
    '"2026-11-22T17:23:08.123456789+00:00"',
    '"2026-11-22T17:23:08,5-00:00"',
    '"2016-12-31T23:59:60Z"',
    '"9999-12-31T23:59:59.999999-12:00"',
    '"0001-01-01T00:00:00+14:00"',
    '"\\u0032026-11-22T17:23:08Z"',
]
"""As other programs may write them."""


@pytest.mark.parametrize("created_at", DATES)
def test_the_quick_ways_to_read_an_entry_find_what_the_long_one_finds(created_at: str | None) -> None:
    usual = ("null", DATES[7], DATES[8], DATES[9])
    for expires_at in DATES:
        dates = {"created_at": created_at, "expires_at": expires_at}
        head = "".join(f'"{name}": {date}, ' for name, date in dates.items() if date is not None)
        raw = f'{{"collection": "c", {head}"key": "k", "value": {{"n": 1}}, "version": 1}}'.encode()
        entry = None
        with suppress(DeserializationError):
            entry = ours.load_json(raw)
        opened, times = open_text(raw), peek(raw)
        assert opened is None or (entry is not None and opened == (b'{"n": 1}', entry.expires_at))
        assert times is None or (entry is not None and times == (entry.created_at, entry.expires_at))
        assert opened is not None or created_at not in usual or expires_at not in (None, *usual)


@given(value=values, created_at=moments, expires_at=st.none() | moments, long=st.booleans())
def test_both_write_the_same_bytes(
    value: dict[str, Any], created_at: datetime, expires_at: datetime | None, long: bool
) -> None:
    names: dict[str, Any] = {"collection": "c", "key": "k1"} if long else {}
    written = ours.dump_json(ManagedEntry(value=value, created_at=created_at, expires_at=expires_at), **names)
    assert written == theirs.dump_json(TheirEntry(value=value, created_at=created_at, expires_at=expires_at), **names)
    entry = ours.load_json(written)
    assert (entry.value, entry.created_at, entry.expires_at) == (value, created_at, expires_at)
    assert theirs.load_json(json_str=written).value == value


def test_what_was_read_from_text_is_an_object_and_keeps_its_form() -> None:
    text = b'{ "b": [1, 2.50], "a": "\xc3\xa9" }'
    for read in (JsonObject.read(text), finished(JsonObject.read_in_steps(text))):
        assert read is not None
        assert dict(read) == {"a": "é", "b": [1, 2.5]}
        assert len(read) == 2
        entry = ManagedEntry(value=read)
        assert entry.value_as_dict == {"a": "é", "b": [1, 2.5]}
        assert entry.value_as_json == dump_json(read) == '{"a": "\\u00e9", "b": [1, 2.5]}'
        assert entry.value_as_bytes == entry.value_as_json.encode()
        assert ours.dump_json(entry) == ours.dump_json(ManagedEntry(value=dict(read)))


@pytest.mark.parametrize("text", [b"[]", b"1", b'"text"', b"null"])
def test_only_objects_are_read_as_objects(text: bytes) -> None:
    assert JsonObject.read(text) is None
    assert finished(JsonObject.read_in_steps(text)) is None


def test_the_documented_form() -> None:
    entry = ManagedEntry(value={"name": "Alice", "age": 30}, created_at=datetime(2026, 11, 22, 17, 23, 8, 894205, tzinfo=UTC))
    assert ours.dump_json(entry, key="k1", collection="c") == (
        '{"collection": "c", "created_at": "2026-11-22T17:23:08.894205+00:00", "key": "k1", '
        '"value": {"age": 30, "name": "Alice"}, "version": 1}'
    )


@pytest.mark.parametrize(
    "stored",
    [
        '{"value": {"n": 1}}',
        '{"value": "{\\"n\\": 1}", "created_at": null, "expires_at": null}',
        '{"value": {"n": 1}, "created_at": "2026-01-01T00:00:00", "unknown": [1, 2], "version": 7}',
        '{"value": {"n": 1}, "created_at": "2026-01-01T02:00:00+02:00"}',
    ],
)
def test_tolerant_reading(stored: str) -> None:
    entry = ours.load_json(stored)
    assert entry.value == {"n": 1}
    assert entry.created_at in (None, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("9999-12-31T23:59:59-05:00", datetime.max.replace(tzinfo=UTC)),
        ("0001-01-01T00:00:00+05:00", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_date_beyond_the_calendar_of_utc_is_its_last_or_first(written: str, moment: datetime) -> None:
    entry = ours.load_json(json.dumps({"value": {}, "expires_at": written}))
    assert entry.expires_at == moment
    head = f'{{"created_at": "{written}", "value": {{'.encode()
    assert peek(head) == (entry.expires_at, None)
    assert date_of({"expires-at": written}, "expires-at") == entry.expires_at


@pytest.mark.parametrize(
    "stored",
    [
        "", "not json", "[]", "5", "null", '{"a": 1}', '{"value": 5}', '{"value": "[1]"}', '{"value": "no json"}',
        '{"value": {}, "expires_at": "soon"}', '{"value": {}, "expires_at": 5}', "[" * 100_000,
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_not_an_entry_is_refused(stored: str) -> None:
    with pytest.raises(DeserializationError):
        ours.load_json(stored)


def test_bytes_that_are_no_text_are_called_so() -> None:
    with pytest.raises(DeserializationError, match=r"\AIt is not UTF-8 text\.\Z"):
        ours.load_json(b"\x89PNG")


def test_values_as_strings_and_native_dates() -> None:
    entry = ManagedEntry(value={"b": 1, "a": 2}, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert BasicSerializationAdapter(value_format="string").dump_dict(entry)["value"] == '{"a": 2, "b": 1}'
    native = BasicSerializationAdapter(date_format="datetime")
    assert native.dump_dict(entry)["created_at"] == entry.created_at
    assert native.load_dict(native.dump_dict(entry)).created_at == entry.created_at
    with pytest.raises(SerializationError):
        native.dump_json(entry)


def test_an_entrys_own_clock() -> None:
    entry = ManagedEntry.from_ttl(value={"n": 1}, ttl=100)
    assert entry.ttl is not None
    assert 70 < entry.ttl <= 100
    assert not entry.is_expired
    assert ManagedEntry(value={}, expires_at=datetime.now(UTC) - timedelta(seconds=1)).is_expired
    assert ManagedEntry.from_ttl(value={}, ttl=1e15).expires_at == datetime.max.replace(tzinfo=UTC)
    assert ManagedEntry(value={"a": 1}).ttl is None
    assert entry.value_as_json == '{"n": 1}'
    assert entry.expires_at_isoformat == json.loads(ours.dump_json(entry))["expires_at"]
    not_a_mapping: Any = [1]
    broken = ManagedEntry(value=not_a_mapping)
    with pytest.raises(TypeError):
        _ = broken.value_as_dict
    with pytest.raises(SerializationError):
        _ = ManagedEntry(value={"x": object()}).value_as_json
