"""No name, token or link leads out of the tree."""

import asyncio
import json
import os
from collections.abc import Coroutine
from pathlib import Path

import pytest

from stores import OUTSIDE, FileTreeStore, Token
from stores.errors import InvalidKeyError, PathSecurityError
from tests.stores.conftest import all_names
from tests.stores.filetree.conftest import link, plant, read, tree

pytestmark = pytest.mark.anyio


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


async def test_a_link_that_leads_out_costs_nobody_who_asks_at_the_same_moment(
    store: FileTreeStore, data: Path, secret: Path
) -> None:
    keys = [f"k{n}" for n in range(20)]
    await store.put("k0", {"n": "old"}, collection="c")
    link(data / "c" / "out.json", secret)

    async def refused(attempt: Coroutine[None, None, object]) -> None:
        with pytest.raises(PathSecurityError):
            await attempt

    puts = (store.put(key, {"n": n}, collection="c", ttl=60 + n) for n, key in enumerate(keys))
    await asyncio.gather(*puts, refused(store.put("out", {}, collection="c")))
    gets = asyncio.gather(*(store.ttl(key, collection="c") for key in keys))
    found, _ = await asyncio.gather(gets, refused(store.get("out", collection="c")))
    assert [value for value, _ in found] == [{"n": n} for n in range(20)]
    assert [round(left or 0) for _, left in found] == list(range(60, 80))
    assert json.loads(read(secret)) == {"value": {"secret": 1}}
