"""Fixtures of the terminal UI's tests: a daemon whose states can be chosen at will, and notices that stay."""

from typing import Any

import pytest

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


def stored(fake: Daemon, key: str = "hello") -> Stored:
    return fake.data["scratch"]["greetings"][key]


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
