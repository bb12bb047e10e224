"""Fixtures of the terminal UI's tests: a daemon whose states can be chosen at will, a real one, and notices that stay."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvd import paths, requests, spawn
from kvd.blocking import BlockingClient
from kvd.errors import DaemonError
from kvtui.app import KvtuiApp
from tests.tuikit.drive import PATIENCE, Tui
from tests.tuikit.fake import Daemon, Stored


@pytest.fixture(autouse=True)
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said in passing stays as long as it is looked for: a busy machine may come to look after three seconds."""
    notify = KvtuiApp.notify

    def said(app: KvtuiApp, message: str, **given: Any) -> None:
        notify(app, message, **given | {"timeout": PATIENCE})

    monkeypatch.setattr(KvtuiApp, "notify", said)


@pytest.fixture
def fake() -> Daemon:
    daemon = Daemon()
    daemon.put("scratch", "greetings", "hello", {"to": "world"}, ttl=4000)
    daemon.put("scratch", "greetings", "morning", {"to": "ada", "n": 1})
    for number in range(30):
        daemon.put("local", "users", f"user:{number:02}", {"number": number})
    return daemon


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="tui"))
    for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "DATA_HOME"):
        (root / name).mkdir(mode=0o700)
        monkeypatch.setenv(f"XDG_{name}", str(root / name))
    yield root
    path = paths.socket_path()
    with contextlib.suppress(DaemonError), BlockingClient.open(path, spawn=False, greet=False) as client:
        client.call(requests.stop())
    assert spawn.wait_until_gone(path, 60.0)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def other(home: Path) -> Iterator[BlockingClient]:
    """Another program that uses the same daemon."""
    del home
    with BlockingClient.open() as client:
        yield client


def stored(fake: Daemon, key: str = "hello") -> Stored:
    return fake.data["scratch"]["greetings"][key]


async def said(tui: Tui, *texts: str) -> None:
    """Wait until something is said in passing; it may cover what it is about."""
    for text in texts:
        await tui.until(lambda text=text: any(text in one.message for one in tui.app._notifications), f"{text!r} being said")  # type: ignore[misc] # a lambda's default


async def shows(tui: Tui, *keys: str) -> None:
    """Wait until just these keys are shown."""
    shown = tui.browser.keys_pane.content
    await tui.until(lambda: [shown.address_at(line) for line in range(shown.count)] == list(keys), f"{keys} being shown")


async def go_to(tui: Tui, address: str) -> None:
    """Type an address to go to, in place of the one that is offered."""
    await tui.press("colon")
    await tui.sees("Go to")
    await tui.press("ctrl+u")
    await tui.type(f"{address}\n")


async def open_users(tui: Tui) -> None:
    """Go to the keys of `users`, the last line of the list."""
    await tui.sees("users")
    await tui.press("1", "G", "enter")


async def open_in_production(tui: Tui) -> None:
    """Go to the keys of `greetings`: what is in production does not open by itself."""
    await tui.sees("scratch")
    await tui.press("enter")
    await tui.sees("greetings")
    await tui.press("enter")
    await tui.sees("PRODUCTION", "2 keys")
