"""Where names are cut to be shown as a tree. Pure."""

from __future__ import annotations

import re

__all__ = ["LEVELS", "Separators"]

LEVELS = 64
"""So many folders stand in each other at most: the rest of a name is not cut."""


class Separators:
    """The characters behind which names are cut."""

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self._search = re.compile(f"[{re.escape(characters)}]").search if characters else None

    def cut(self, name: str, start: int = 0) -> int:
        """Where the segment ends that begins at `start`, its separator included; 0 when it is the last one."""
        if self._search is None or (found := self._search(name, start)) is None:
            return 0
        return found.end()

    def folders(self, name: str) -> list[str]:
        """The folders in which a key stands, or the folder itself and those in which it stands; the outermost first."""
        found: list[str] = []
        at = 0
        while len(found) < LEVELS and (at := self.cut(name, at)):
            found.append(name[:at])
        return found
