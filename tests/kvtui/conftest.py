"""Fixtures of the terminal UI's tests: a daemon whose states can be chosen at will."""

import pytest

from tests.tuikit.fake import Daemon, Stored


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
