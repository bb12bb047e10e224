"""What is packaged works away from this checkout."""

import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from kvd import __version__

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


def test_the_commands_and_the_metadata_say_the_version(installed: Path) -> None:
    for command in ("kvd", "kvtui"):
        assert run(installed, str(installed / "bin" / command), "--version") == f"{command} {__version__}\n"
        assert run(installed, "-m", command, "--version") == f"{command} {__version__}\n"
    [metadata] = distributions(name="kvtui", path=[str(installed)])
    assert metadata.version == __version__


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


def test_all_that_the_packages_hold_is_there_and_nothing_else(installed: Path) -> None:
    ours = {"stores", "kvd", "kvtui"}
    held = {
        path.relative_to(ROOT)
        for package in ours
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert held > {Path("kvd/py.typed"), Path("kvd/store_fields.json"), Path("kvtui/app.tcss"), Path("stores/__init__.pyi")}
    assert not [path for path in held if not (installed / path).is_file()]
    assert {path.name for path in installed.iterdir() if path.is_dir()} == ours | {"bin", f"kvtui-{__version__}.dist-info"}
