r"""JSON as text: re-indented, compacted, checked and coloured without ever being rewritten. Pure.

Tokens are kept as they stand, so that `1e400`, `1.10` and integers of any size survive; only `\uXXXX` escapes of what can be
shown are turned into the characters themselves. Lone surrogates stay escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kvtui.codecs import printable

__all__ = ["InvalidJsonError", "check_value", "compact", "indent", "is_json", "join_pairs", "spans"]

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_SPAN = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*"?)(\s*:)?|(-?[0-9][0-9.eE+-]*)|(true|false|null)|([{}\[\],:]+)')
_PAIR = re.compile(r'\[\n +("(?:[^"\\]|\\.)*"),\n +([^\s\[\]{}",]+)\n +\]')
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(rf"\\(?:u([dD][89abAB]{_HEX}{{2}})\\u([dD][c-fC-F]{_HEX}{{2}})|u({_HEX}{{4}})|.)", re.DOTALL)
_TRAILING = "a comma with nothing behind it"


class InvalidJsonError(ValueError):
    """The text is not a value that can be stored; `line` and `column` count from one."""

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}, column {column}: {reason}")
        self.line = line
        self.column = column


def indent(text: str) -> str:
    """The JSON text over several lines, two spaces a level."""
    out: list[str] = []
    depth = 0
    opened = False  # whether the last piece opened a bracket that may turn out to be empty
    for piece in _tokens(text):
        if piece in "}]":
            depth -= 1
            out.append(piece if opened else "\n" + "  " * depth + piece)
            opened = False
            continue
        if opened:
            out.append("\n" + "  " * depth)
        opened = piece in "{["
        if opened:
            depth += 1
            out.append(piece)
        elif piece == ",":
            out.append(",\n" + "  " * depth)
        else:
            out.append(": " if piece == ":" else piece)
    return "".join(out)


def join_pairs(text: str) -> str:
    """Indented JSON with each array of a string and a number on one line, as the members of a sorted set are read."""
    return _PAIR.sub(r"[\1, \2]", text)


def compact(text: str) -> str:
    """The JSON text on one line, without blanks between tokens."""
    return "".join(_tokens(text))


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        piece = match[0]
        yield _unescape(piece) if piece.startswith('"') and "\\u" in piece else piece


def _unescape(piece: str) -> str:
    """Show the characters of a string piece that were escaped without need."""
    return _ESCAPE.sub(_shown, piece)


def _shown(escape: re.Match[str]) -> str:
    """The character of an escape, or the escape itself where the character could not be seen or would mean something else."""
    high, low, code = escape.groups()
    if high is not None:
        char = chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    elif code is not None:
        char = chr(int(code, 16))
    else:
        return escape[0]
    return escape[0] if char in '"\\' or printable(char) not in {char, ""} else char


def is_json(text: str) -> bool:
    """Whether the text is a JSON object or array."""
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def check_value(text: str) -> str:
    """Check that the text is a value that a store takes (a JSON object) and return it compacted.

    Raises:
        InvalidJsonError: with the line and column where the text goes wrong.
    """
    if not text.strip():
        raise InvalidJsonError("there is nothing here; a value is a JSON object such as {}", 1, 1)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        raise _mistake(error) from None
    except RecursionError:
        raise InvalidJsonError("nested too deeply") from None
    if not isinstance(value, dict):
        raise InvalidJsonError("the outermost value must be an object: { … }", 1, 1)
    return compact(text)


def _mistake(error: json.JSONDecodeError) -> InvalidJsonError:
    """The error with its place, in words for a person, the same in all versions of Python."""
    before = error.doc[: error.pos].rstrip()
    if error.msg.startswith("Illegal trailing comma"):
        return InvalidJsonError(_TRAILING, error.lineno, error.colno)
    if before.endswith(",") and error.doc[error.pos : error.pos + 1] in {"}", "]"}:
        comma = len(before) - 1
        column = comma - before.rfind("\n", 0, comma)
        return InvalidJsonError(_TRAILING, before.count("\n", 0, comma) + 1, column)
    return InvalidJsonError(_reason(error), error.lineno, error.colno)


def _reason(error: json.JSONDecodeError) -> str:
    if "property name" in error.msg:
        return "a name must be in double quotes"
    if error.pos >= len(error.doc.rstrip()) and not error.msg.startswith("Extra"):
        return "the text ends too early; is a bracket or quote open?"
    return {
        "Expecting ',' delimiter": "a comma or a closing bracket is missing before this",
        "Expecting ':' delimiter": "a colon is missing before this",
        "Expecting value": "a value is missing here (strings take double quotes)",
        "Extra data": "there is more behind the end of the value",
        "Invalid control character at": "a line break or control character inside a string; write it as \\n or \\u00XX",
        "Unterminated string starting at": "this string has no closing quote",
        "Invalid \\escape": "an unknown escape; a backslash itself is written \\\\",
    }.get(error.msg.rstrip(": "), error.msg)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidJsonError(f"the name {json.dumps(name, ensure_ascii=False)} stands twice in one object")
        found[name] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise InvalidJsonError(f"{name} is not JSON; write null or a string")


def spans(line: str) -> Iterator[tuple[int, int, str]]:
    """The coloured parts of a line of indented JSON: start, end, and one of "name", "string", "number", "word", "mark"."""
    for match in _SPAN.finditer(line):
        if match[1] is not None:
            yield match.start(1), match.end(1), "name" if match[2] else "string"
            if match[2]:
                yield match.start(2), match.end(2), "mark"
        else:
            kind = "number" if match[3] else "word" if match[4] else "mark"
            yield match.start(), match.end(), kind
