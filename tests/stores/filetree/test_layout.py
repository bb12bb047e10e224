"""Which file an entry is, how directories and keys get their names, and when directories are made."""

import json
import shutil
import stat
import warnings
from pathlib import Path
from typing import Any

import pytest

from stores import ABSENT, OUTSIDE, FileTreeStore, FileTreeV1CollectionSanitizationStrategy, FileTreeV1KeySanitizationStrategy
from stores.errors import InvalidKeyError, StoreSetupError
from tests.stores.conftest import all_names
from tests.stores.filetree.conftest import plant, read, tree

pytestmark = pytest.mark.anyio


def strategies(data: Path) -> dict[str, Any]:
    return {
        "key_sanitization_strategy": FileTreeV1KeySanitizationStrategy(data),
        "collection_sanitization_strategy": FileTreeV1CollectionSanitizationStrategy(data),
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def clear(path: Path) -> None:
    path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)


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
