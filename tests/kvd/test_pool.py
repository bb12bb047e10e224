"""The daemon's connections by name: whose each is, and what becomes of it when clients come and go and the file changes."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kvd.answers import refusal
from kvd.config import load
from kvd.errors import RequestError
from kvd.health import Trouble
from kvd.log import Redactor
from kvd.pool import Pool
from stores.errors import StoreClosedError

pytestmark = pytest.mark.anyio

OTHER = '[connections.other]\nstore = "memory"\n'
DEMO = '[connections.demo]\nstore = "memory"\n'
"""A configuration with a connection of the name that a demo takes."""


def write(config: Path, text: str) -> Path:
    config.write_text(text)
    return config


@asynccontextmanager
async def pool_of(config: Path, text: str = OTHER) -> AsyncIterator[Pool]:
    redactor = Redactor()
    pool = Pool(
        load(write(config, text)),
        changed=lambda _: None,
        learn=redactor.learn,
        redact=redactor.redact,
        replaced=lambda *_: None,
    )
    try:
        yield pool
    finally:
        await pool.close()


async def test_demos_that_are_opened_at_the_same_moment_have_names_of_their_own(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "c.toml") as pool:
        clients = [object() for _ in range(3)]
        opened = await asyncio.gather(*map(pool.open_demo, clients))
        assert len({connection.name for connection in opened}) == 3
        for client, connection in zip(clients, opened, strict=True):
            assert pool.visible(client) == [pool.connections["other"], connection]
            assert pool.find(connection.name, client) is connection
            pool.left(client)
        assert list(pool.connections) == ["other"]


async def test_a_demo_takes_no_name_of_the_configuration(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "c.toml", DEMO + DEMO.replace("demo", "demo-1") + DEMO.replace("demo", "demo-2")) as pool:
        configured, client = dict(pool.connections), object()
        demo = await pool.open_demo(client)
        assert demo.name not in configured
        pool.left(client)
        assert pool.connections == configured


async def test_a_connection_that_is_configured_while_a_demo_has_its_name_is_there_when_the_demo_has_left(
    tmp_path: Path,
) -> None:
    config, client = tmp_path / "c.toml", object()
    async with pool_of(config) as pool:
        demo = await pool.open_demo(client)
        write(config, OTHER + DEMO)
        assert not await pool.reload()
        assert pool.find("demo", client) is demo
        with pytest.raises(RequestError):
            pool.find("demo", object())
        write(config, OTHER + DEMO + "production = true\n")
        assert not await pool.reload()
        assert pool.find("demo", client) is demo
        pool.left(client)
        assert pool.find("demo", object()).config.production
        write(config, OTHER)
        assert await pool.reload() == ["demo"]
        assert list(pool.connections) == ["other"]


async def test_why_a_connection_is_down_is_told_without_secrets(tmp_path: Path) -> None:
    async with pool_of(tmp_path / "c.toml", DEMO) as pool:
        connection = pool.find("demo", object())
        await connection.open()
        connection._learn("sesame")
        for state in ("degraded", "down"):
            connection._fare(state, Trouble("no answer to AUTH sesame from redis://ada:other@cache"))
            told = connection.info()
            assert (told["state"], told["reason"]) == (state, "no answer to AUTH *** from redis://***@cache")


async def test_who_asks_again_for_a_store_that_is_down_keeps_it(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    client, other = object(), object()
    async with pool_of(tmp_path / "c.toml") as pool:
        connection = await pool.open_url(f"file://{folder}", client, read_only=False)
        assert connection.store is not None
        shutil.rmtree(folder)
        connection._fare("down", Trouble("it failed too often"))
        assert connection.state == "down"
        for who in (client, other):
            with pytest.raises(RequestError):
                await pool.open_url(f"file://{folder}", who, read_only=False)
        assert connection in pool.visible(client)
        assert connection not in pool.visible(other)
        folder.mkdir()
        assert await connection.open(now=True) is connection.store


async def test_who_was_at_a_store_that_a_reload_removed_learns_of_its_connection(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    async with pool_of(config, OTHER + DEMO) as pool:
        connection = pool.find("demo", object())
        store = await connection.open()
        write(config, OTHER)
        assert await pool.reload() == ["demo"]
        await connection.close()  # which is under way
        with pytest.raises(StoreClosedError) as raised:
            await connection.guard(lambda: store.get("k"))
    refused = refusal(raised.value, connection.config)
    assert refused is not None
    assert refused.message == "demo was closed meanwhile: its configuration changed, or the daemon is leaving"
    assert refused.retry
