"""What other programs keep in a diskcache directory is shown as what it is, and never unpickled."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diskcache import Cache

from stores import ABSENT, OUTSIDE, DiskStore, Token
from stores.errors import ConflictError, DeserializationError, InvalidKeyError
from tests.stores.conftest import all_names
from tests.stores.disk.conftest import LARGE, execute

pytestmark = pytest.mark.anyio


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(self.path), "w")


@pytest.fixture
def foreign(cache: Cache, tmp_path: Path) -> dict[str, str]:
    """Values of every kind under keys of collection c, and the kinds that they must be shown as."""
    values: dict[str, tuple[Any, str]] = {
        "pickle": (Trap(tmp_path / "sprung"), "pickle"),
        "pickle-file": ([Trap(tmp_path / "sprung"), LARGE], "pickle"),
        "bytes": (b"\x00\xff", "bytes"),
        "bytes-file": (b"\xfe" * 50_000, "bytes"),
        "integer": (2**62, "integer"),
        "float": (0.1 + 0.2, "float"),
        "text": ("plain", "text"),
        "json": ('{"not": "an entry"}', "text"),
        "text-file": (LARGE, "text"),
        "json-list": ("[1, 2]", "text"),
    }
    for key, (value, _) in values.items():
        cache.set(f"c::{key}", value, expire=None if key == "text" else 500, tag="t")
    return {key: kind for key, (_, kind) in values.items()}


async def test_foreign_values_are_shown_and_never_unpickled(folder: Path, foreign: dict[str, str], tmp_path: Path) -> None:
    async with DiskStore(directory=folder) as store:
        await store.put("entry", {"n": 1}, collection="c")
        names = await all_names(store, "c")
        assert {name.text for name in names} == {*foreign, "entry"}
        described = await store.describe([name.token for name in names], collection="c")
        kinds = {name.text: one.kind for name, one in zip(names, described, strict=True) if one is not None}
        assert kinds.pop("entry") == "entry"
        assert kinds.pop("text-file") == "unknown"  # telling would cost a read
        assert kinds == {key: kind for key, kind in foreign.items() if key != "text-file"}
        for key, kind in foreign.items():
            record = await store.read(key, collection="c", limit=10)
            assert record is not None
            assert (record.kind, record.entry) == (kind, None)
            assert len(record.body) <= 10 <= max(record.length, 10)
            with pytest.raises(DeserializationError, match=f"'{key}' in collection 'c'"):
                await store.get(key, collection="c")
            with pytest.raises(DeserializationError):
                await store.texts(["entry", key], collection="c")
        assert await store.get("entry", collection="c") == {"n": 1}
    assert not (tmp_path / "sprung").exists()


async def test_foreign_values_can_be_put_back(folder: Path, cache: Cache, foreign: dict[str, str], tmp_path: Path) -> None:
    plain = {key: cache.get(f"c::{key}") for key in foreign if not key.startswith("pickle")}
    async with DiskStore(directory=folder) as store:
        for key in foreign:
            record = await store.snapshot(key, collection="c")
            assert record is not None
            assert await store.delete(key, collection="c", expected=record.version)
            version = await store.restore(key, record, collection="c", expected=ABSENT)
            again = await store.read(key, collection="c")
            assert again is not None
            assert (again.kind, again.body, again.expires_at, again.version) == (
                record.kind,
                record.body,
                record.expires_at,
                version,
            )
    assert {key: cache.get(f"c::{key}") for key in plain} == plain
    assert not (tmp_path / "sprung").exists()
    cache.get("c::pickle").close()
    assert (tmp_path / "sprung").exists()
    assert cache.check() == []


async def test_foreign_deadlines_can_be_changed(folder: Path, cache: Cache, foreign: dict[str, str]) -> None:
    async with DiskStore(directory=folder) as store:
        for key in foreign:
            assert await store.expire(key, 1000, collection="c")
            assert await store.expire(key, None, collection="c")
        record = await store.read("bytes", collection="c")
        assert record is not None
        cache.set("c::bytes", b"other")
        with pytest.raises(ConflictError):
            await store.expire("bytes", 10, collection="c", expected=record.version)
    assert cache.get("c::integer", expire_time=True, tag=True) == (2**62, None, "t")


async def test_odd_keys_are_outside_collections(folder: Path, cache: Cache) -> None:
    for key in [5, -1, 2.5, b"bytes\xff", ("tu", "ple"), "plain", "::empty collection", "zzz", "\U0001f389"]:
        cache.set(key, f"at {key!r}")
    cache.set("a::1", "in a")
    cache.set("m::1", "in m")
    execute(folder, "INSERT INTO Cache (key, raw, store_time, mode, value) VALUES (CAST(x'6fff' AS TEXT), 1, 1.0, 1, 'odd')")
    async with DiskStore(directory=folder) as store:
        for limit in (1, 3, 100):
            names = await all_names(store, OUTSIDE, limit=limit)
            assert [name.text for name in names if name.exact] == [
                "::empty collection",
                "o\udcff",
                "plain",
                "zzz",
                "\U0001f389",
            ]
            assert {name.text for name in names if not name.exact} == {
                "5",
                "-1",
                "2.5",
                "bytes\udcff",
                f"pickle {pickle.dumps(('tu', 'ple'), protocol=pickle.HIGHEST_PROTOCOL).hex()}",
            } or len(names) == 10
        records = [await store.read(name.token, collection=OUTSIDE) for name in names]
        assert {record.body for record in records if record} == {
            *(
                f"at {key!r}".encode()
                for key in [5, -1, 2.5, b"bytes\xff", ("tu", "ple"), "plain", "::empty collection", "zzz"]
            ),
            "at '\U0001f389'".encode(),
            b"odd",
        }
        assert [name.text for name in (await store.scan_collections()).items] == ["a", "m", ""]
        assert [name.text for name in await all_names(store, OUTSIDE, match="p*n")] == ["plain"]
        assert await store.delete_many([name.token for name in names], collection=OUTSIDE) == 10
        assert await all_names(store, OUTSIDE) == []
        await store.put("mine", {"n": 1}, collection=OUTSIDE)
        assert await store.get("mine", collection=OUTSIDE) == {"n": 1}
        with pytest.raises(InvalidKeyError):
            await store.put("a::2", {"n": 1}, collection=OUTSIDE)
    assert json.loads(cache["mine"])["key"] == "mine"
    assert list(cache.iterkeys()) == ["a::1", "m::1", "mine"]


@pytest.mark.parametrize("token", [b"", b"t", b"x1:k", b"tx:k", b"i1:k", b"outside", b"f1:"])
async def test_a_forged_token_is_refused(folder: Path, token: bytes) -> None:
    async with DiskStore(directory=folder) as store:
        with pytest.raises(InvalidKeyError):
            await store.read(Token(token))
        with pytest.raises(InvalidKeyError):
            await store.scan_keys("c", cursor=token)


@pytest.mark.parametrize("filename", ["../secret", "/absolute", "a/../../secret"])
async def test_a_file_name_that_leads_out_is_neither_read_nor_removed(folder: Path, cache: Cache, filename: str) -> None:
    secret = folder.parent / "secret"
    secret.write_text("secret")
    told = str(secret) if filename == "/absolute" else filename
    cache.set("c::k", LARGE)
    execute(folder, f"UPDATE Cache SET filename = '{told}'")
    async with DiskStore(directory=folder) as store:
        record = await store.read("k", collection="c")
        assert record is not None
        assert (record.kind, record.body) == ("missing file", b"")
        [described] = await store.describe(["k"], collection="c")
        assert described is not None
        assert described.kind == "missing file"
        assert await store.get("k", collection="c") is None
        await store.put("k", {"n": 1}, collection="c")
        execute(folder, f"UPDATE Cache SET filename = '{told}', mode = 3")
        assert await store.delete("k", collection="c")
    assert secret.read_text() == "secret"
