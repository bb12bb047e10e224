"""On which line of a TOML text a key stands. Pure.

The standard library's reader tells no lines, and the one that could (tomlkit) would cost the daemon's start more than all
the rest of the configuration. The text is known to be valid TOML, so finding where statements begin is enough.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import NamedTuple

__all__ = ["Lines", "Statement"]

_NAME = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')[ \t]*""")
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'" r"|\#[^\n]*|.",
    re.DOTALL,
)


class Statement(NamedTuple):
    """A table's header or a key with its value: what it names, and where it begins and ends in the text."""

    where: tuple[str, ...]
    start: int
    end: int
    is_header: bool


class Lines:
    """The statements of a text, and the lines of its keys."""

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
    def statements(self) -> list[Statement]:
        """All that is neither blank nor comment, in order."""
        text, at = self._text, 0
        table: tuple[str, ...] = ()
        found: list[Statement] = []
        while at < len(text):
            if text[at] in " \t\r\n":
                at += 1
                continue
            start = at
            if text[at] == "[":
                table, _ = self._path(at + (2 if text.startswith("[[", at) else 1))
                where = table
            elif text[at] == "#":
                where = None
            else:
                names, at = self._path(at)
                where = table + names
            at = self._end_of_statement(at)
            if where is not None:
                found.append(Statement(where, start, at, is_header=text[start] == "["))
        return found

    @cached_property
    def _lines(self) -> dict[tuple[str, ...], int]:
        """Each key's first line, by its path. A table that is only implied stands where its first child does."""
        lines: dict[tuple[str, ...], int] = {}
        for statement in self.statements:
            where = statement.where
            line = self._text.count("\n", 0, statement.start) + 1
            if statement.is_header:
                lines[where] = line
            for length in range(1, len(where) + 1):
                lines.setdefault(where[:length], line)
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
