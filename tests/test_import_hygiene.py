"""What is loaded when: programs start fast, and no part reaches into another's."""

import subprocess
import sys
from pathlib import Path

import pytest

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
        timeout=60,
    )
    return set(done.stdout.split())


def packages(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_stores_load_no_driver() -> None:
    loaded = packages(loaded_after("import stores, stores.base, stores.protocols"))
    assert not loaded & (DRIVERS | {"kvd", "kvtui", "textual"})


def test_a_store_loads_only_its_own_driver() -> None:
    loaded = packages(loaded_after("from stores import MemoryStore\nMemoryStore()"))
    assert not loaded & DRIVERS


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
    loaded = loaded_after("import kvd.life, kvd.config, kvd.methods")
    assert not packages(loaded) & (DRIVERS | {"kvtui", "textual", "anyio", "tomlkit"})
    assert not {module for module in loaded if module.startswith("stores.backends.")}


@pytest.mark.parametrize("module", ["kvtui", "kvtui.app"])
def test_the_terminal_ui_loads_no_store_and_no_driver(module: str) -> None:
    loaded = packages(loaded_after(f"import {module}"))
    assert not loaded & (DRIVERS | {"stores", "anyio"})
