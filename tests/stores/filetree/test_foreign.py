"""Files that other programs left in the tree, or wrote in another form, are shown as what they are."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stores import ABSENT, OUTSIDE, FileTreeStore, SerializationAdapter
from stores.errors import ConflictError, DeserializationError, UnsupportedError
from tests.stores.conftest import all_names
from tests.stores.filetree.conftest import plant, read, tree

pytestmark = pytest.mark.anyio


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
    os.mknod(data / "c" / "socket.json", stat.S_IFSOCK | 0o600)
    plant(data / "c" / "directory" / "deeper.json", "{}")
    names = {name.text: name for name in await all_names(store, "c")}
    assert set(names) == {"notes.txt", "binary.bin", "list", "other", "broken", "empty", "large", "pipe", "socket", "entry"}
    assert not names["notes.txt"].exact
    described = await store.describe([name.token for name in names.values()], collection="c")
    kinds = {text: one.kind for text, one in zip(names, described, strict=True) if one}
    assert kinds.pop("entry") == "entry"
    assert kinds.pop("pipe") == kinds.pop("socket") == "special file"
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
    for special in ("pipe", "socket"):
        record = await store.read(special, collection="c")
        assert record is not None
        assert record.kind == "special file"
        with pytest.raises(DeserializationError):
            await store.get(special, collection="c")
        assert await store.delete(special, collection="c")
    with pytest.raises(UnsupportedError):
        await store.expire("other", 10, collection="c")


LOOKS = """
import asyncio, sys
from stores import FileTreeStore
from stores.errors import DeserializationError, KeyValueStoreError

async def main():
    async with FileTreeStore(data_directory=sys.argv[1]) as store:
        described = await store.describe(["mine", "hidden"], collection="c")
        record = await store.read("hidden", collection="c")
        print([one.kind for one in described], described[1].size, record.kind, record.body)
        for call in (store.get("hidden", collection="c"), store.get_many(["mine", "hidden"], collection="c")):
            try:
                await call
            except KeyValueStoreError as exc:
                print(type(exc.__cause__).__name__)
        try:
            await store.edit("hidden", {}, collection="c")
        except DeserializationError:
            print("not edited")
        await store.put("hidden", {"n": 2}, collection="c")
        print(await store.get("hidden", collection="c"))

asyncio.run(main())
"""


async def test_a_file_that_may_not_be_read_hides_no_other(store: FileTreeStore, data: Path) -> None:
    await store.put_many(["mine", "hidden"], [{"n": 1}] * 2, collection="c")
    for path in (data / "c" / "hidden.json", data / "c-info.json"):
        path.chmod(0)
    size = (data / "c" / "hidden.json").stat().st_size
    command = [sys.executable, "-c", LOOKS, str(data)]
    if os.getuid() == 0:  # who may read everything, unless these capabilities are gone
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"['entry', 'unreadable file'] {size} unreadable file b''",
        "PermissionError",
        "PermissionError",
        "not edited",
        "{'n': 2}",
    ]


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
