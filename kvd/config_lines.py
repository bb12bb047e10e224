"""On which line of a TOML text a key stands. Pure.

The standard library's reader tells no lines, and the one that could (tomlkit) would cost the daemon's start more than all
the rest of the configuration. The text is known to be valid TOML, so finding where statements begin is enough.
"""

from __future__ import annotations

import re
from functools import cached_property

__all__ = ["Lines"]

_NAME = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')[ \t]*""")
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'" r"|\#[^\n]*|.",
    re.DOTALL,
)


class Lines:
    """The lines of a text's keys."""

    def __init__(self, text: str) -> None:
        self._text = text

    def find(self, where: tuple[str, ...]) -> int:
        """The line (from 1) of a key, or of the nearest table around it that is written out."""
        while where:
            line = self._lines.get(where)
            if line is not None:
                return line
            where = where[:-1]
        return 1

    @cached_property
    def _lines(self) -> dict[tuple[str, ...], int]:
        """Each key's first line, by its path. A table that is only implied stands where its first child does."""
        text, at = self._text, 0
        table: tuple[str, ...] = ()
        lines: dict[tuple[str, ...], int] = {}
        while at < len(text):
            if text[at] in " \t\r\n":
                at += 1
                continue
            line = text.count("\n", 0, at) + 1
            if text[at] == "[":
                start = at + (2 if text.startswith("[[", at) else 1)
                table, _ = self._path(start)
                path = table
                lines[table] = line
            elif text[at] != "#":
                names, at = self._path(at)
                path = table + names
            else:
                path = ()
            for length in range(1, len(path) + 1):
                lines.setdefault(path[:length], line)
            at = self._end_of_statement(at)
        return lines

    def _path(self, at: int) -> tuple[tuple[str, ...], int]:
        """A dotted key and where it ends."""
        names: list[str] = []
        while name := _NAME.match(self._text, at):
            written = name[1]
            names.append(written[1:-1] if written[0] in "'\"" else written)
            at = name.end()
            if not self._text.startswith(".", at):
                break
            at += 1
        return tuple(names), at

    def _end_of_statement(self, at: int) -> int:
        """Behind the line break that ends it: the first one outside of strings and brackets."""
        depth = 0
        while token := _TOKEN.match(self._text, at):
            at = token.end()
            if token[0] in "[{":
                depth += 1
            elif token[0] in "]}":
                depth -= 1
            elif token[0] == "\n" and depth <= 0:
                break
        return at
