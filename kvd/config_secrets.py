"""Texts that stand elsewhere: `${NAME}` of the daemon's environment, `{file = "…"}`, `{command = "…"}`; and what is a secret.

They are looked up when a store is opened, never before. `$${` is a written-out `${`.

What is kept out of log, errors and status, so that it is learned when it is met:

- what a file or a command gives: nobody keeps a host's name there;
- what a variable gives whose name sounds like a secret, or that stands inside a table or a list, of which nothing is known;
- the whole of an argument that its constructor marks as `Secret`; but of a URL only user and password, and what its query sets
  under a name that sounds like a secret.

Other variables (a host's name, a port, a folder) are shown: an error that hides which host did not answer helps nobody.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from kvd.paths import expanded

__all__ = ["has_reference", "learn_secrets", "resolve"]

_ENVIRONMENT = re.compile(r"\$?\$\{([^}]*)\}")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|cred|auth|private", re.IGNORECASE)
_COMMAND_TIMEOUT = 30.0


def has_reference(text: str) -> bool:
    """Whether the text holds a `${NAME}`."""
    return any(not found[0].startswith("$$") for found in _ENVIRONMENT.finditer(text))


def resolve(value: Any, learn: Callable[[str], None]) -> Any:
    """The value with its references looked up, all the way down. May wait for a command: call it off the loop.

    Args:
        value: as TOML gives it.
        learn: gets the secrets that references gave.

    Raises:
        ValueError: with a sentence for a person; it holds no secret.
    """
    return _resolve(value, learn, nested=False)


def _resolve(value: Any, learn: Callable[[str], None], *, nested: bool) -> Any:
    if isinstance(value, str):
        return _ENVIRONMENT.sub(lambda found: _from_environment(found, learn, secret=nested), value)
    if isinstance(value, list):
        return [_resolve(item, learn, nested=True) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"file": str() as path} if len(value) == 1:
            text = _from_file(path)
        case {"command": str() | list() as command} if len(value) == 1:
            text = _from_command(shlex.split(command) if isinstance(command, str) else [str(word) for word in command])
        case _:
            return {name: _resolve(item, learn, nested=True) for name, item in value.items()}
    learn(text)
    return text


def learn_secrets(text: str, learn: Callable[[str], None], *, marked: bool, is_url: bool) -> None:
    """Learn what of an argument's text is secret.

    Args:
        text: the argument, its references looked up.
        learn: gets the secrets.
        marked: whether the constructor marks the argument as secret.
        is_url: whether a URL is asked for, of which only parts are secret.
    """
    if marked and not (is_url and "://" in text):
        learn(text)
    if "://" not in text:
        return
    try:
        parts = urlsplit(text)
    except ValueError:
        learn(text)  # nobody can tell its parts
        return
    userinfo, at, _ = parts.netloc.rpartition("@")
    if at:
        password = userinfo.partition(":")[2]
        for secret in (userinfo, password, unquote(password)):
            learn(secret)
    for name, setting in parse_qsl(parts.query):
        if _SECRET_NAME.search(name):
            learn(setting)


def _from_environment(found: re.Match[str], learn: Callable[[str], None], *, secret: bool) -> str:
    if found[0].startswith("$$"):
        return found[0][1:]
    try:
        text = os.environ[found[1]]
    except KeyError:
        raise ValueError(
            f"${{{found[1]}}} is not in the environment that the daemon was started with: set it and run `kvd restart`"
        ) from None
    if secret or _SECRET_NAME.search(found[1]):
        learn(text)
    return text


def _from_file(written: str) -> str:
    path = expanded(written)
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8") from None
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None


def _from_command(command: list[str]) -> str:
    shown = command[0] if command else ""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own configuration names the command
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_TIMEOUT, check=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise ValueError(f"the command {shown!r} ended with status {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"the command {shown!r} did not end within {_COMMAND_TIMEOUT:g} seconds") from None
    except (OSError, UnicodeDecodeError, IndexError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it gives no text"
        raise ValueError(f"the command {shown!r} cannot be run: {reason}") from None
    return done.stdout.rstrip("\r\n")
