"""Fixtures of the terminal UI's tests: a daemon whose states can be chosen at will, a real one, and notices that stay."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvd.blocking import BlockingClient
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


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is read at once: whether the cursor moves on first is asked by one test, and no other waits for it."""
    monkeypatch.setattr("kvtui.widgets.value_reader.SETTLE_SECONDS", 0)


@pytest.fixture
def fake() -> Daemon:
    daemon = Daemon()
    daemon.put("scratch", "greetings", "hello", {"to": "world"}, ttl=4000)
    daemon.put("scratch", "greetings", "morning", {"to": "ada", "n": 1})
    for number in range(30):
        daemon.put("local", "users", f"user:{number:02}", {"number": number})
    return daemon


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


async def ask_to_delete_all(tui: Tui, count: int) -> None:
    """Mark all keys and press `d`."""
    await tui.sees(f"{count:,} keys")
    await tui.press("2", "g", "v", "G", "v", "d")
    await tui.sees(f"Delete {count:,} keys?")


async def delete_all(tui: Tui, count: int) -> None:
    """Delete all keys."""
    await ask_to_delete_all(tui, count)
    await tui.press("right", "enter")
    await said(tui, f"{count:,} keys deleted. z brings them back.")
    await shows(tui)


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
