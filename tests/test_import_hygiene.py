"""What is loaded when: programs start fast, and no part reaches into another's."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemonkit import running

ROOT = Path(__file__).parents[1]
DRIVERS = {
    "aioboto3",
    "aiobotocore",
    "aiomcache",
    "boto3",
    "botocore",
    "cachetools",
    "diskcache",
    "elasticsearch",
    "glide",
    "pymongo",
    "redis",
    "sqlite3",
}


def loaded_after(code: str) -> set[str]:
    """Names of all modules that a fresh interpreter has loaded after the code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=150,
    )
    return set(done.stdout.split())


def packages(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_stores_load_no_driver() -> None:
    loaded = packages(loaded_after("import stores, stores.base, stores.protocols"))
    assert not loaded & (DRIVERS | {"kvd", "kvtui", "textual"})


def test_a_store_loads_only_its_own_driver() -> None:
    loaded = packages(loaded_after("from stores import MemoryStore\nMemoryStore()"))
    assert loaded & DRIVERS <= {"cachetools"}


@pytest.mark.parametrize("module", ["kvd.client", "kvd.blocking", "kvd.cli", "kvd.cli_data", "kvd.cli_daemon", "kvd.doctor"])
def test_clients_load_no_store_and_no_driver(module: str) -> None:
    loaded = packages(loaded_after(f"import {module}"))
    assert not loaded & (DRIVERS | {"stores", "kvtui", "textual", "anyio", "tomlkit"})


@pytest.mark.parametrize("module", ["kvd.blocking", "kvd.cli", "kvd.cli_data", "kvd.cli_daemon"])
def test_what_blocks_loads_no_event_loop(module: str) -> None:
    assert not packages(loaded_after(f"import {module}")) & {"asyncio", "uvloop"}


def test_a_remote_store_loads_no_driver() -> None:
    loaded = loaded_after("import kvd.remote")
    assert not packages(loaded) & (DRIVERS | {"kvtui", "textual"})
    assert not {module for module in loaded if module.startswith("stores.backends")}


def test_the_daemon_loads_no_driver_before_a_store_is_used() -> None:
    loaded = loaded_after("import kvd.life, kvd.config, kvd.methods, kvd.server")
    assert not packages(loaded) & (DRIVERS | {"kvtui", "textual", "anyio", "tomlkit"})
    assert not {module for module in loaded if module.startswith("stores.backends.")}
    assert "stores.base" not in loaded, "what every store needs is not needed to start"


EVERY_STORE = """
[daemon]
idle_exit = "1h"
[connections.memory]
store = "memory"
[connections.disk]
store = "disk"
args = { directory = "/nonexistent/disk" }
[connections.filetree]
store = "filetree"
args = { data_directory = "/nonexistent/tree", key_sanitization_strategy = "FileTreeV1KeySanitizationStrategy" }
[connections.redis]
store = "redis"
args = { url = "redis://localhost:1/0" }
[connections.valkey]
store = "valkey"
args = { host = "localhost", port = 1 }
[connections.memcached]
store = "memcached"
args = { port = 1 }
[connections.dynamodb]
store = "dynamodb"
args = { table_name = "t" }
[connections.s3]
store = "s3"
args = { bucket_name = "b" }
[connections.elasticsearch]
store = "elasticsearch"
args = { url = "http://localhost:1", index_prefix = "p" }
[connections.mongodb]
store = "mongodb"
args = { url = "mongodb://localhost:1" }
"""


def test_a_configuration_is_checked_without_any_driver(tmp_path: Path) -> None:
    path = tmp_path / "connections.toml"
    path.write_text(EVERY_STORE)
    loaded = loaded_after(
        f"import kvd.life, kvd.methods\nfrom pathlib import Path\nfrom kvd.config import load\n"
        f"read = load(Path({str(path)!r}))\nassert len(read.connections) == 10 and not read.problems, read.problems"
    )
    assert not packages(loaded) & (DRIVERS | {"tomlkit", "anyio"})
    assert not {module for module in loaded if module.startswith("stores.backends.")}


def test_a_served_configuration_loads_a_driver_with_the_first_use_only() -> None:
    with running(EVERY_STORE) as daemon, daemon.client() as client:
        assert not client.call("status")["problems"]
        mapped = Path(f"/proc/{daemon.pid}/maps").read_text()
        assert not [library for library in ("hiredis", "glide", "aiohttp", "bson", "_sqlite3") if library in mapped]
        client.refused("connect", connection="redis")
        assert "hiredis" in Path(f"/proc/{daemon.pid}/maps").read_text()


@pytest.mark.parametrize("module", ["kvtui", "kvtui.app"])
def test_the_terminal_ui_loads_no_store_and_no_driver(module: str) -> None:
    loaded = packages(loaded_after(f"import {module}"))
    assert not loaded & (DRIVERS | {"stores", "anyio"})
