"""What is FileTreeStore's own: files as they lie there, escapes, foreign files, crashes, held scans."""

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stores import (
    ABSENT,
    OUTSIDE,
    FileTreeStore,
    FileTreeV1CollectionSanitizationStrategy,
    FileTreeV1KeySanitizationStrategy,
    Name,
    SerializationAdapter,
    Token,
)
from stores.backends import filetree_scan
from stores.errors import (
    BaseKeyValueError,
    ConflictError,
    CursorExpiredError,
    DeserializationError,
    InvalidKeyError,
    KeyValueStoreError,
    PathSecurityError,
    StoreSetupError,
    UnsupportedError,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def store(data: Path) -> AsyncIterator[FileTreeStore]:
    async with FileTreeStore(data_directory=data) as opened:
        yield opened


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside, which must stay what it is."""
    path = tmp_path / "outside" / "k.json"
    path.parent.mkdir()
    path.write_text('{"value": {"secret": 1}}')
    return path


def strategies(data: Path) -> dict[str, Any]:
    return {
        "key_sanitization_strategy": FileTreeV1KeySanitizationStrategy(data),
        "collection_sanitization_strategy": FileTreeV1CollectionSanitizationStrategy(data),
    }


def plant(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def plant_empty(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.json").touch()


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def read(path: Path) -> bytes:
    return path.read_bytes()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def clear(path: Path) -> None:
    path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def all_names(store: FileTreeStore, collection: Any, limit: int = 7) -> list[Name]:
    names: list[Name] = []
    cursor = None
    while True:
        page = await store.scan_keys(collection, cursor=cursor, limit=limit)
        names += page.items
        if (cursor := page.cursor) is None:
            return names


# Where things are


async def test_files_as_they_lie_there(store: FileTreeStore, data: Path) -> None:
    await store.put("k1", {"b": 1, "a": "é"}, collection="c", ttl=60)
    assert tree(data) == ["c", "c-info.json", "c/k1.json"]
    content = read(data / "c" / "k1.json")
    record = await store.read("k1", collection="c")
    assert record is not None
    assert record.created_at is not None
    assert record.expires_at is not None
    assert content.decode() == (
        f'{{"created_at": "{record.created_at.isoformat()}", "expires_at": "{record.expires_at.isoformat()}", '
        '"value": {"a": "\\u00e9", "b": 1}, "version": 1}'
    )
    about = json.loads(read(data / "c-info.json"))
    assert sorted(about) == ["collection", "created_at", "directory", "version"]
    assert (about["collection"], about["directory"], about["version"]) == ("c", str(data / "c"), 1)
    for file in ("c/k1.json", "c-info.json"):
        assert mode(data / file) == 0o600


async def test_metadata_has_a_folder_of_its_own(tmp_path: Path) -> None:
    inside = tmp_path / "data" / "about"
    async with FileTreeStore(data_directory=tmp_path / "data", metadata_directory=inside) as store:
        await store.put("k", {}, collection="c")
        assert tree(tmp_path / "data") == ["about", "about/c-info.json", "c", "c/k.json"]
        assert [name.text for name in (await store.scan_collections()).items] == ["c"]
        await store.put("k", {}, collection="x-info.json")


async def test_sanitized_names_both_ways(data: Path) -> None:
    from key_value.aio.stores import filetree as reference

    plant(data / ".here", "")
    with warnings.catch_warnings(action="ignore"):
        theirs = reference.FileTreeStore(
            data_directory=data,
            key_sanitization_strategy=reference.FileTreeV1KeySanitizationStrategy(data),
            collection_sanitization_strategy=reference.FileTreeV1CollectionSanitizationStrategy(data),
        )
    collections, keys = (
        ["plain", "user:1", "日本", "../up", "c" * 400],
        ["plain", "a/b", "", "..", "é" * 300, "k" * 400, "H", "-"],
    )
    async with FileTreeStore(data_directory=data, **strategies(data)) as ours:
        for collection in collections:
            for key in keys:
                await ours.put(key, {"ours": key}, collection=collection)
                assert await theirs.get(key, collection=collection) == {"ours": key}
                await theirs.put(key, {"theirs": key}, collection=collection)
                assert await ours.get(key, collection=collection) == {"theirs": key}
        found = (await ours.scan_collections()).items
        assert {name.text for name in found if name.exact} == set(collections)
        names = await all_names(ours, "user:1")
        assert {name.text: name.exact for name in names}["plain"] is True
        assert len([name for name in names if not name.exact]) == 5
        assert all(await ours.get_many([name.token for name in names], collection="user:1"))
        with pytest.raises(InvalidKeyError):
            await ours.put("S_reserved", {}, collection="plain")


async def test_a_copied_folder_is_read_where_it_is(store: FileTreeStore, data: Path, tmp_path: Path) -> None:
    await store.put("k", {"in": "the first"}, collection="c")
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    async with FileTreeStore(data_directory=copy) as other:
        await other.put("k", {"in": "the copy"}, collection="c")
        await other.put("new", {}, collection="c")
        assert [name.text for name in (await other.scan_collections()).items] == ["c"]
    assert await store.get("k", collection="c") == {"in": "the first"}
    assert tree(data) == ["c", "c-info.json", "c/k.json"]


@pytest.mark.parametrize(
    "about",
    ["not json", "[]", "{}", '{"collection": 5}', '{"collection": "other", "directory": "/elsewhere"}', '{"collection": ""}'],
)
async def test_what_is_told_of_a_directory_must_be_believable(store: FileTreeStore, data: Path, about: str) -> None:
    plant(data / "c" / "k.json", '{"value": {"n": 1}}')
    plant(data / "c-info.json", about)
    [name] = (await store.scan_collections()).items
    assert (name.text, name.exact) == ("c", True)
    assert await store.get("k", collection=name.token) == {"n": 1}


async def test_a_sanitized_directory_is_named_for_a_person(data: Path) -> None:
    async with FileTreeStore(data_directory=data, **strategies(data)) as store:
        await store.put("k", {"n": 1}, collection="user:1")
    async with FileTreeStore(data_directory=data) as store:
        [name] = (await store.scan_collections()).items
        assert (name.text, name.exact) == ("user:1", False)
        assert await store.get("k", collection=name.token) == {"n": 1}


# Opening


async def test_looking_makes_no_directory(store: FileTreeStore, data: Path) -> None:
    assert await store.get("k") is None
    assert (await store.scan_collections()).items == []
    assert await all_names(store, OUTSIDE) == []
    assert await store.describe(["k"]) == [None]
    assert await store.delete("k") is False
    assert await store.delete_many(["k", "l"]) == 0
    assert await store.expire("k", 10) is False
    await store.cull()
    assert tree(data.parent) == []


async def test_without_auto_create_directories_must_be_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        FileTreeStore(data_directory=data, auto_create=False)
    plant(data / "c" / "k.json", '{"value": {"n": 1}}')
    with pytest.raises(ValueError, match="does not exist"):
        FileTreeStore(data_directory=data, metadata_directory=tmp_path / "about", auto_create=False)
    async with FileTreeStore(data_directory=data, auto_create=False) as store:
        await store.put("k", {"n": 2}, collection="c")
        with pytest.raises(StoreSetupError, match="does not exist"):
            await store.put("k", {"n": 2}, collection="other")
        assert await store.get("k", collection="other") is None


async def test_a_file_where_the_folder_should_be(data: Path) -> None:
    plant(data, "a file")
    store = FileTreeStore(data_directory=data)
    with pytest.raises(StoreSetupError):
        await store.setup()
    clear(data)
    await store.put("k", {"n": 1})
    await store.close()


async def test_directories_that_are_removed_meanwhile_are_made_again(store: FileTreeStore, data: Path) -> None:
    await store.put("k", {"n": 1}, collection="c")
    shutil.rmtree(data)
    assert await store.get("k", collection="c") is None
    assert await store.delete("k", collection="c") is False
    await store.put("k", {"n": 2}, collection="c")
    shutil.rmtree(data)
    await store.put_many(["k", "l"], [{"n": 3}, {}], collection="c")
    shutil.rmtree(data)
    await store.edit("k", {"n": 4}, collection="c", expected=ABSENT)
    assert await store.get("k", collection="c") == {"n": 4}
    assert tree(data) == ["c", "c-info.json", "c/k.json"]


# Escapes


@pytest.mark.parametrize("name", ["../k", "a/b", "/etc/passwd", "nul\0", "/", "../outside/k"])
async def test_names_that_lead_elsewhere_are_refused(store: FileTreeStore, data: Path, secret: Path, name: str) -> None:
    for attempt in (
        lambda: store.put(name, {}, collection="c"),
        lambda: store.put_many(["k", name], [{}, {}], collection="c"),
        lambda: store.get(name, collection="c"),
        lambda: store.get_many([name], collection="c"),
        lambda: store.delete(name, collection="c"),
        lambda: store.delete_many([name], collection="c"),
        lambda: store.describe([name], collection="c"),
        lambda: store.read(name, collection="c"),
        lambda: store.edit(name, {}, collection="c"),
        lambda: store.put("k", {}, collection=name),
        lambda: store.get("k", collection=name),
        lambda: store.scan_keys(name),
        lambda: store.read(name, collection=OUTSIDE),
    ):
        with pytest.raises(InvalidKeyError):
            await attempt()
    assert json.loads(read(secret)) == {"value": {"secret": 1}}
    assert "etc" not in tree(data.parent)


@pytest.mark.parametrize("collection", ["..", "."])
async def test_dots_are_no_collections(store: FileTreeStore, secret: Path, collection: str) -> None:
    for attempt in (lambda: store.put("k", {}, collection=collection), lambda: store.scan_keys(collection)):
        with pytest.raises(InvalidKeyError):
            await attempt()
    await store.put("..", {"dots": 1}, collection="c")
    assert await store.get("..", collection="c") == {"dots": 1}
    assert json.loads(read(secret)) == {"value": {"secret": 1}}


@pytest.mark.parametrize(
    "token", [b"", b"..", b"c/..", b"../outside/k.json", b"../k.json", b"/etc/passwd", b"c/\0", b"a/b/c.json"]
)
async def test_forged_tokens_are_refused(store: FileTreeStore, secret: Path, token: bytes) -> None:
    await store.put("k", {}, collection="c")
    for attempt in (
        lambda: store.read(Token(token), collection="c"),
        lambda: store.delete(Token(token), collection="c"),
        lambda: store.put(Token(token), {}, collection="c"),
        lambda: store.get("k", collection=Token(token if b"/" in token else token + b"/")),
    ):
        with pytest.raises(InvalidKeyError):
            await attempt()
    assert json.loads(read(secret)) == {"value": {"secret": 1}}


async def test_a_directory_that_is_a_link_out(store: FileTreeStore, data: Path, secret: Path) -> None:
    link(data / "c", secret.parent)
    for attempt in (
        lambda: store.get("k", collection="c"),
        lambda: store.get_many(["k"], collection="c"),
        lambda: store.put("k", {}, collection="c"),
        lambda: store.put_many(["k"], [{}], collection="c"),
        lambda: store.delete("k", collection="c"),
        lambda: store.read("k", collection="c"),
        lambda: store.describe(["k"], collection="c"),
        lambda: store.edit("k", {}, collection="c"),
        lambda: store.scan_keys("c"),
    ):
        with pytest.raises(PathSecurityError):
            await attempt()
    assert (await store.scan_collections()).items == []
    await store.cull()
    assert read(secret) == b'{"value": {"secret": 1}}'
    assert tree(secret.parent) == ["k.json"]


async def test_a_file_that_is_a_link_out(store: FileTreeStore, data: Path, secret: Path) -> None:
    await store.put("other", {"n": 1}, collection="c")
    link(data / "c" / "k.json", secret)
    link(data / "c" / "dangling.json", data / "nowhere")
    for attempt in (
        lambda: store.get("k", collection="c"),
        lambda: store.get_many(["other", "k"], collection="c"),
        lambda: store.put("k", {}, collection="c"),
        lambda: store.put_many(["other", "k"], [{}, {}], collection="c"),
    ):
        with pytest.raises(PathSecurityError):
            await attempt()
    assert {name.text for name in await all_names(store, "c")} == {"k", "other", "dangling"}
    described = await store.describe(["k", "other", "dangling"], collection="c")
    assert [one.kind for one in described if one] == ["link", "entry", "link"]
    record = await store.read("k", collection="c")
    assert record is not None
    assert (record.kind, record.body) == ("link", os.fsencode(secret))
    await store.cull()
    assert await store.delete("k", collection="c")
    assert await store.delete("dangling", collection="c")
    assert read(secret) == b'{"value": {"secret": 1}}'
    assert await store.get("other", collection="c") == {"n": 1}


async def test_links_inside_are_followed(store: FileTreeStore, data: Path) -> None:
    await store.put("k", {"n": 1}, collection="c")
    link(data / "alias", data / "c")
    link(data / "c" / "l.json", data / "c" / "k.json")
    assert await store.get("k", collection="alias") == {"n": 1}
    assert await store.get("l", collection="c") == {"n": 1}
    assert {name.text for name in (await store.scan_collections()).items} == {"c", "alias"}


async def test_an_info_file_that_is_a_link_out_is_not_read(store: FileTreeStore, data: Path, secret: Path) -> None:
    plant(secret, json.dumps({"collection": "leaked", "directory": str(data / "c")}))
    plant(data / "c" / "k.json", '{"value": {}}')
    link(data / "c-info.json", secret)
    assert [name.text for name in (await store.scan_collections()).items] == ["c"]
    await store.put("k2", {}, collection="c")
    assert b"leaked" in read(secret)


# Foreign files


async def test_foreign_files_are_shown_as_what_they_are(store: FileTreeStore, data: Path) -> None:
    await store.put("entry", {"n": 1}, collection="c")
    planted = {
        "notes.txt": b"some notes",
        "binary.bin": bytes(range(256)) * 40,
        "list.json": b"[1, 2]",
        "other.json": b'{"not": "an entry"}',
        "broken.json": b'{"value": {"n": ',
        "empty.json": b"",
        "large.json": b'{"key": "' + b"x" * 10_000 + b'"}',
    }
    for name, content in planted.items():
        plant(data / "c" / name, content)
    os.mkfifo(data / "c" / "pipe.json")
    plant(data / "c" / "directory" / "deeper.json", "{}")
    names = {name.text: name for name in await all_names(store, "c")}
    assert set(names) == {"notes.txt", "binary.bin", "list", "other", "broken", "empty", "large", "pipe", "entry"}
    assert not names["notes.txt"].exact
    described = await store.describe([name.token for name in names.values()], collection="c")
    kinds = {text: one.kind for text, one in zip(names, described, strict=True) if one}
    assert kinds.pop("entry") == "entry"
    assert kinds.pop("pipe") == "special file"
    assert kinds.pop("large") == "unknown"
    assert set(kinds.values()) == {"file"}
    for file, content in planted.items():
        token = names[file.removesuffix(".json")].token
        for limit in (0, 5, 3000, None):
            record = await store.read(token, collection="c", limit=limit)
            assert record is not None
            assert (record.kind, record.length) == ("file", len(content))
            assert record.body == content[:limit]
        with pytest.raises(DeserializationError):
            await store.get(token, collection="c")
    pipe = await store.read("pipe", collection="c")
    assert pipe is not None
    assert pipe.kind == "special file"
    with pytest.raises(UnsupportedError):
        await store.expire("other", 10, collection="c")


async def test_foreign_files_are_put_back_and_compared(store: FileTreeStore, data: Path) -> None:
    content = bytes(range(256)) * 40
    plant(data / "c" / "binary.bin", content)
    [name] = await all_names(store, "c")
    record = await store.snapshot(name.token, collection="c")
    assert record is not None
    assert await store.delete(name.token, collection="c", expected=record.version)
    await store.restore(name.token, record, collection="c", expected=ABSENT)
    assert read(data / "c" / "binary.bin") == content
    part = await store.read(name.token, collection="c", limit=10)
    assert part is not None
    with pytest.raises(UnsupportedError):
        await store.restore(name.token, part, collection="c")
    plant(data / "c" / "binary.bin", content + b"!")
    with pytest.raises(ConflictError):
        await store.delete(name.token, collection="c", expected=part.version)


async def test_files_beside_the_directories_are_outside(store: FileTreeStore, data: Path) -> None:
    await store.put("k", {}, collection="c")
    plant(data / "README.md", "read me")
    plant(data / "stray.json", '{"value": {"n": 1}}')
    names = await all_names(store, OUTSIDE)
    assert {(name.text, name.exact) for name in names} == {("README.md", True), ("stray.json", True)}
    record = await store.read("README.md", collection=OUTSIDE)
    assert record is not None
    assert record.body == b"read me"
    assert await store.get("stray.json", collection=OUTSIDE) == {"n": 1}
    assert await store.delete(names[0].token, collection=OUTSIDE)


async def test_a_directory_in_a_keys_place(store: FileTreeStore, data: Path) -> None:
    await store.put("k", {}, collection="c")
    plant(data / "c" / "d.json" / "precious", "")
    for attempt in (lambda: store.put("d", {}, collection="c"), lambda: store.delete("d", collection="c")):
        with pytest.raises(UnsupportedError):
            await attempt()
    with pytest.raises(DeserializationError):
        await store.get("d", collection="c")
    assert tree(data) == ["c", "c-info.json", "c/d.json", "c/d.json/precious", "c/k.json"]  # and no temporary file


async def test_a_large_entry_is_described_by_its_head(store: FileTreeStore) -> None:
    await store.put("k", {"text": "x" * 100_000}, collection="c", ttl=500)
    [described] = await store.describe(["k"], collection="c")
    record = await store.read("k", collection="c")
    assert described is not None
    assert record is not None
    assert (described.kind, described.created_at, described.expires_at) == ("entry", record.created_at, record.expires_at)
    assert described.size == record.size > 100_000


class Wrapped(SerializationAdapter):
    """Entries of another form."""

    def prepare_load(self, data: dict[str, Any]) -> dict[str, Any]:
        wrapped = data.get("wrapped")
        return wrapped if isinstance(wrapped, dict) else {}

    def prepare_dump(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"wrapped": data}


async def test_another_adapter(data: Path) -> None:
    async with FileTreeStore(data_directory=data, serialization_adapter=Wrapped()) as store:
        await store.put("k", {"n": 1}, collection="c")
        await store.put("large", {"text": "x" * 10_000}, collection="c")
        assert json.loads(read(data / "c" / "k.json"))["wrapped"]["value"] == {"n": 1}
        described = await store.describe(["k", "large"], collection="c")
        assert [one.kind for one in described if one] == ["entry", "unknown"]
        record = await store.read("large", collection="c")
        assert record is not None
        assert record.kind == "entry"


# Expiry


async def test_culling_removes_what_expired_and_what_writers_left(store: FileTreeStore, data: Path) -> None:
    await store.put_many(["a", "b"], [{"text": "x" * 5000}, {}], collection="c", ttl=0.05)
    await store.put("kept", {}, collection="c", ttl=500)
    plant(data / "c" / "notes.txt", '{"expires_at": "2001-01-01T00:00:00+00:00"}')
    plant(data / "c" / ".kv-0123.tmp", "half")
    plant(data / "c" / ".kv-4567.tmp", "half")
    os.utime(data / "c" / ".kv-0123.tmp", (1, 1))
    assert {name.text for name in await all_names(store, "c")} == {"a", "b", "kept", "notes.txt"}
    await asyncio.sleep(0.06)
    assert await store.delete("a", collection="c") is False
    await store.cull()
    assert tree(data) == ["c", "c-info.json", "c/.kv-4567.tmp", "c/kept.json", "c/notes.txt"]


# Writing


async def test_a_write_is_synced_before_and_after_it_takes_its_place(
    store: FileTreeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("warm", {}, collection="c")
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def noting_replace(*args: Any, **options: Any) -> None:
        replace(*args, **options)
        done.append("rename")

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    await store.put("k", {}, collection="c")
    assert done == ["file", "rename", "directory"]
    done.clear()
    await store.edit("k", {"n": 1}, collection="c")
    assert done == ["file", "rename", "directory"]
    done.clear()
    await store.put_many([f"k{number}" for number in range(60)], [{}] * 60, collection="c")
    assert done == ["file"] * 60 + ["rename"] * 60 + ["directory"]
    done.clear()
    await store.delete_many([f"k{number}" for number in range(60)], collection="c")
    assert done == ["directory"]


async def test_puts_and_commits_of_one_key_do_not_lose_each_other(store: FileTreeStore) -> None:
    """An unconditional put between a commit's look and its rename would be lost."""
    await store.put("k", {"n": 0}, collection="c")
    seen: list[int] = []

    async def increment() -> None:
        for _ in range(20):
            with suppress(ConflictError):
                record = await store.read("k", collection="c")
                assert record is not None
                assert record.entry is not None
                await store.edit("k", {"n": record.entry.value["n"] + 1}, collection="c", expected=record.version)

    async def add() -> None:
        for base in range(1000, 10_000, 1000):
            await store.put("k", {"n": base}, collection="c")
            value = await store.get("k", collection="c")
            assert value is not None
            seen.append(value["n"] - base)
            await asyncio.sleep(0)

    await asyncio.gather(increment(), increment(), add())
    assert all(0 <= difference <= 40 for difference in seen)


# Scans


async def test_a_page_does_not_read_the_directory_whole(
    store: FileTreeStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filetree_scan, "BUDGET", 300)
    plant_empty(data / "c", 500)
    before = descriptors()
    page = await store.scan_keys("c", limit=100)
    assert (len(page.items), page.scanned) == (100, 100)
    assert page.cursor is not None
    assert descriptors() == before + 2
    store.close_cursor(page.cursor)
    assert descriptors() == before
    filtered = await store.scan_keys("c", match="nothing*")
    assert filtered.items == []
    assert filtered.scanned == 300
    assert filtered.cursor is not None
    with pytest.raises(CursorExpiredError):
        await store.scan_keys("other", cursor=filtered.cursor)
    await store.scan_collections(limit=1)
    page = await store.scan_keys("c", limit=1)
    await store.close()
    assert descriptors() <= before
    await store.__aenter__()
    assert page.cursor is not None
    with pytest.raises(CursorExpiredError):
        await store.scan_keys("c", cursor=page.cursor)
    assert len(await all_names(store, "c", limit=1000)) == 500


# Crashes and errors

WRITER = """
import asyncio, sys
from stores import FileTreeStore

async def main():
    async with FileTreeStore(data_directory=sys.argv[1]) as store:
        for number in range(10**9):
            await asyncio.gather(
                store.put("same", {"number": number, "text": "x" * (number % 7) * 9_000}),
                store.put_many([f"{number}-{part}" for part in range(3)], [{"number": number}] * 3),
            )
            print(number, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(data: Path) -> None:
    acknowledged: list[int] = []
    for _ in range(2):
        shutil.rmtree(data, ignore_errors=True)
        writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(data), stdout=subprocess.PIPE)
        assert writer.stdout is not None
        acknowledged = [int(await writer.stdout.readline()) for _ in range(30)]
        writer.kill()
        acknowledged += [int(line) for line in (await writer.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")]
        await writer.wait()
        async with FileTreeStore(data_directory=data) as store:
            for number in acknowledged:
                assert await store.get_many([f"{number}-{part}" for part in range(3)]) == [{"number": number}] * 3
            same = await store.get("same")
            assert same is not None
            assert same["number"] >= acknowledged[-1]
            names = await all_names(store, None, limit=500)
            described = await store.describe([name.token for name in names])
            assert all(one is not None and one.kind == "entry" for one in described)  # none is torn, no temporary is shown


def test_every_error_of_the_file_system_is_translated(data: Path) -> None:
    store = FileTreeStore(data_directory=data)
    kinds: list[type[OSError]] = [OSError, *OSError.__subclasses__()]
    for kind in kinds:
        assert isinstance(store._translate(kind("told"), "c", "k"), BaseKeyValueError)
    assert isinstance(store._translate(PermissionError(13, "told"), None, None), KeyValueStoreError)


async def test_a_name_that_the_file_system_has_no_room_for(store: FileTreeStore) -> None:
    await store.put("k" * 250, {}, collection="c" * 245)
    with pytest.raises(InvalidKeyError, match="250"):
        await store.put("k" * 251, {}, collection="c")
    with pytest.raises(InvalidKeyError, match="245"):
        await store.put("k", {}, collection="é" * 123)
    record = await store.read("k" * 250, collection="c" * 245)
    assert record is not None


async def test_no_descriptor_is_left_open(store: FileTreeStore, data: Path, secret: Path) -> None:
    await store.put("k", {}, collection="c")
    link(data / "out", secret.parent)
    link(data / "c" / "out.json", secret)
    await store.get_many([f"k{number}" for number in range(100)], collection="c")
    before = descriptors()
    for _ in range(5):
        await store.put("k", {}, collection="c")
        await store.get_many(["k", "x"], collection="c")
        await all_names(store, "c")
        await store.scan_collections()
        await store.describe(["k", "out", "x"], collection="c")
        await store.cull()
        for collection, key in (("out", "k"), ("c", "out")):
            with pytest.raises(PathSecurityError):
                await store.get(key, collection=collection)
        await store.get("k", collection="missing")
    assert descriptors() == before
