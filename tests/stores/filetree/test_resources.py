"""What the operating system gives is limited: descriptors, memory, names; its errors become ours."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from stores import FileTreeStore
from stores.backends import filetree_scan
from stores.errors import BaseKeyValueError, CursorExpiredError, InvalidKeyError, KeyValueStoreError, PathSecurityError
from tests.stores.conftest import all_names
from tests.stores.filetree.conftest import descriptors, link

pytestmark = pytest.mark.anyio


async def test_a_page_for_which_nobody_waits_any_more_holds_nothing(
    store: FileTreeStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_empty(data / "c", 3)
    before = descriptors()
    begun, may_end = threading.Event(), threading.Event()
    name = filetree_scan.Scanner._key_name

    def slowly(*asked: Any) -> Any:
        begun.set()
        may_end.wait()
        return name(*asked)

    monkeypatch.setattr(filetree_scan.Scanner, "_key_name", slowly)
    scan = asyncio.create_task(store.scan_keys("c", limit=1))
    await asyncio.to_thread(begun.wait)
    scan.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scan
    assert descriptors() > before
    may_end.set()
    async with asyncio.timeout(5):
        while descriptors() > before:  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.01)


def plant_empty(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.json").touch()


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
