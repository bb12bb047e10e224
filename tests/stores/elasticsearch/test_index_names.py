"""Names of collections and keys, prefixes and tokens: what becomes of them in the names of indices and documents."""

import pytest

from stores import (
    ElasticsearchStore,
    ElasticsearchV1CollectionSanitizationStrategy,
    ElasticsearchV1KeySanitizationStrategy,
    Token,
)
from stores.errors import InvalidKeyError
from tests.stores.conftest import all_names
from tests.stores.elasticsearch.conftest import Counting

pytestmark = pytest.mark.anyio


async def test_collections_that_differ_only_in_case_are_kept_apart(
    store: ElasticsearchStore, elasticsearch_url: str, unique_name: str
) -> None:
    await store.put("k", {"n": 1}, collection="users")
    with pytest.raises(InvalidKeyError, match="'users', which is there already"):
        await store.put("k", {"n": 2}, collection="Users")
    with pytest.raises(InvalidKeyError):
        await store.edit("k", {"n": 2}, collection="USERS")
    for name in ("Users", "USERS"):
        assert await store.get("k", collection=name) is None
        assert await store.describe(["k"], collection=name) == [None]
        assert await store.keys(name) == []
        assert await store.delete("k", collection=name) is False
        assert await store.delete_many(["k"], collection=name) == 0
        assert await store.destroy_collection(name) is False
    assert await store.get("k", collection="users") == {"n": 1}
    strategy = ElasticsearchV1CollectionSanitizationStrategy()
    async with ElasticsearchStore(
        url=elasticsearch_url, index_prefix=f"{unique_name}-v1", collection_sanitization_strategy=strategy
    ) as apart:
        for name in ("users", "Users", "with space", "日本/…", "x" * 300):
            await apart.put("k", {"name": name}, collection=name)
        found = {name.text: name for name in (await apart.scan_collections()).items}
        assert found.keys() == {"users", "Users", "with space", "日本/…", "x" * 300}
        for text, shown in found.items():
            assert await apart.get("k", collection=shown.token) == {"name": text}
            await apart.put("l", {}, collection=shown.token)
            assert await apart.get("l", collection=text) == {}


async def test_hashed_keys_are_shown_as_they_are(elasticsearch_url: str, unique_name: str, bare: Counting) -> None:
    strategy = ElasticsearchV1KeySanitizationStrategy()
    async with ElasticsearchStore(url=elasticsearch_url, index_prefix=unique_name, key_sanitization_strategy=strategy) as store:
        keys = ["a", "../b", "x" * 2000, "日本"]
        await store.put_many(keys, [{}] * 4, collection="c")
        names = await all_names(store, "c")
        assert {name.text for name in names} == set(keys)
        assert all(name.exact and len(name.token.value) == 64 for name in names)
        await store.put_many([name.token for name in names], [{"n": 1}] * 4, collection="c")
        await store.edit(names[0].token, {"n": 2}, collection="c")
        assert set(await store.keys("c")) == set(keys)
        await bare.index(index=f"{unique_name}-c", id="plain", document={"key": "a"}, refresh=True)
        [plain] = [name for name in await all_names(store, "c") if not name.exact]
        assert plain.text == "plain"
        with pytest.raises(InvalidKeyError, match="32,766"):
            await store.put("x" * 32_767, {}, collection="c")


@pytest.mark.parametrize("name", ["a b", "a/b", "a*", "a,b", "a#", "a:b", 'a"', "a\nb", "x" * 250, "é" * 125])
async def test_an_impossible_collection_is_refused(
    store: ElasticsearchStore, bare: Counting, unique_name: str, name: str
) -> None:
    with pytest.raises(InvalidKeyError):
        await store.put("k", {}, collection=name)
    assert (await bare.indices.get_alias(index=f"{unique_name}-*")).body == {}


@pytest.mark.parametrize("prefix", ["", "-a", "_a", "+a", "a b", "a*", "a,b"])
def test_an_impossible_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="index_prefix"):
        ElasticsearchStore(url="http://localhost:9200", index_prefix=prefix)


async def test_a_token_of_another_store_is_refused(store: ElasticsearchStore) -> None:
    with pytest.raises(InvalidKeyError, match="not an index of this store"):
        await store.get("k", collection=Token(b"secrets"))


async def test_keys_that_would_be_paths_are_keys(store: ElasticsearchStore) -> None:
    for key in ("..", ".", "a/b", "_search", "%2e", "a?b#c", "x" * 512):
        await store.put(key, {"key": key}, collection="c")
        assert await store.get(key, collection="c") == {"key": key}
        assert await store.delete(key, collection="c") is True
    with pytest.raises(InvalidKeyError, match="512"):
        await store.get("x" * 513, collection="c")
