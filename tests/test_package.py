"""What is packaged works away from this checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the built wheel was installed, without its dependencies."""
    built, target = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("installed")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", built, ROOT], check=True)
    [wheel] = built.glob("*.whl")
    command: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "--no-deps",
        "--target",
        target,
        wheel,
    ]
    subprocess.run(command, check=True)
    return target


def run(installed: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=installed.parent, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_commands_say_their_version(installed: Path) -> None:
    for command in ("kvd", "kvtui"):
        assert run(installed, str(installed / "bin" / command), "--version").startswith(f"{command} ")


def test_a_store_works_and_is_the_installed_one(installed: Path) -> None:
    script = """
import asyncio, stores
async def main():
    async with stores.MemoryStore() as store:
        await store.put("k", {"n": 1})
        print(stores.__file__, await store.get("k"))
asyncio.run(main())
"""
    assert run(installed, "-c", script) == f"{installed / 'stores' / '__init__.py'} {{'n': 1}}\n"


def test_everything_that_is_not_code_is_there_too(installed: Path) -> None:
    for name in ("stores/__init__.pyi", "stores/py.typed", "kvd/py.typed", "kvtui/app.tcss"):
        assert (installed / name).is_file()
    assert not (installed / "tests").exists()
