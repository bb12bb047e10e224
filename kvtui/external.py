"""Editing a text in the program that $VISUAL or $EDITOR names."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

__all__ = ["NoEditorError", "edit_outside", "editor_command"]


class NoEditorError(Exception):
    """No editor is named, or it could not be run."""


def editor_command() -> list[str]:
    """The editor's command line.

    Raises:
        NoEditorError: none is named, or its name cannot be read.
    """
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        command = shlex.split(named)
    except ValueError as error:
        raise NoEditorError(f"$EDITOR cannot be read: {error}") from None
    if not command:
        raise NoEditorError("Set $EDITOR to the editor of your choice to edit values in it.")
    return command


def edit_outside(text: str) -> str:
    """Have a text edited, waiting until the editor ends; answers with the new text.

    The text stands in a file that only this user can read, and that is removed afterwards.

    Raises:
        NoEditorError: there is none, or it failed.
    """
    command = editor_command()
    try:
        with tempfile.TemporaryDirectory(prefix="kvtui-") as folder:
            path = Path(folder, "value.json")
            path.write_text(text, "utf-8", "surrogateescape")
            _run([*command, str(path)])
            return path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise NoEditorError(f"The text cannot be handed over: {error.strerror}; nothing was changed.") from None


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, check=False)  # noqa: S603 - the command is the user's own
    except OSError as error:
        raise NoEditorError(f"{command[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        raise NoEditorError(f"{command[0]} ended with status {done.returncode}; nothing was changed.")
