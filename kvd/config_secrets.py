"""Texts that stand elsewhere: `${NAME}` of the daemon's environment, `{file = "…"}`, `{command = "…"}`.

They are looked up when a store is opened, never before, and what they give is shown nowhere: errors name the reference only.
`$${` is a written-out `${`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["has_reference", "resolve"]

_ENVIRONMENT = re.compile(r"\$?\$\{([^}]*)\}")
_COMMAND_TIMEOUT = 30.0


def has_reference(text: str) -> bool:
    """Whether the text holds a `${NAME}`."""
    return any(not found[0].startswith("$$") for found in _ENVIRONMENT.finditer(text))


def resolve(value: Any, learn: Callable[[str], None]) -> Any:
    """The value with its references looked up, all the way down. May wait for a command: call it off the loop.

    Args:
        value: as TOML gives it.
        learn: gets every text that a reference gave, so that it can be kept out of the log.

    Raises:
        ValueError: with a sentence for a person; it holds no secret.
    """
    if isinstance(value, str):
        return _ENVIRONMENT.sub(lambda found: _from_environment(found, learn), value)
    if isinstance(value, list):
        return [resolve(item, learn) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"file": str() as path} if len(value) == 1:
            text = _from_file(path)
        case {"command": str() | list() as command} if len(value) == 1:
            text = _from_command(shlex.split(command) if isinstance(command, str) else [str(word) for word in command])
        case _:
            return {name: resolve(item, learn) for name, item in value.items()}
    learn(text)
    return text


def _from_environment(found: re.Match[str], learn: Callable[[str], None]) -> str:
    if found[0].startswith("$$"):
        return found[0][1:]
    try:
        text = os.environ[found[1]]
    except KeyError:
        raise ValueError(
            f"${{{found[1]}}} is not in the environment that the daemon was started with: set it and run `kvd restart`"
        ) from None
    learn(text)
    return text


def _from_file(written: str) -> str:
    path = Path(written).expanduser()
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
