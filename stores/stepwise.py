"""JSON text, however large, into the form in which it is kept, in short steps, between which others have their turns.

A step looks at no more than twice `AHEAD` characters, of a string at eight times as many. What ends within the next `AHEAD` is
read and written by json's own code in one go. What does not is taken apart: an array into runs of elements, an object into
members, which wait until they can be put in order, a string into pieces. A tree of the whole is never made, so none has to be
freed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from io import BytesIO
from typing import Any, Final

from stores.pieces import AHEAD, SOME, Pieces, Steps, dump_text, write_members

__all__ = ["rewrite"]

SHORT: Final = 256
"""Characters of a member that waits as it is."""
CHANCES: Final = 4
"""Vain attempts at reading a run of elements in one go, until they are read one by one."""
MANY: Final = 64
"""Small things that are done in one go."""

_read = json.JSONDecoder().raw_decode
_spaces = re.compile(r"[ \t\n\r]*").match
_whole = re.compile(r'(?:[^"\\]+|\\u[0-9A-Fa-f]{4}|\\[^u])*').match
_ESCAPE: Final = 6
"""Characters of the longest escape."""
_LONG: Final = object()
"""In place of a value of which the end is not in sight."""


class _Rewriter:
    """A place in a text in UTF-8, of which as many characters are decoded as are looked at."""

    __slots__ = ("_at", "_data", "_passed", "_taken", "_text")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._taken = 0
        """Bytes that are decoded."""
        self._text = ""
        self._at = 0
        self._passed = 0
        """Characters before `_text`."""

    # Looking

    @property
    def _complete(self) -> bool:
        return self._taken == len(self._data)

    def _look(self, ahead: int = AHEAD) -> None:
        """Have so many characters in sight, or all there are."""
        data, begin = self._data, self._taken
        if len(self._text) - self._at >= ahead or begin == len(data):
            return
        end = min(begin + ahead, len(data))
        if end < len(data):
            while data[end] & 0xC0 == 0x80 and end > begin + 1:  # noqa: PLR2004 - UTF-8: inside of a character
                end -= 1
        try:
            more = str(data[begin:end], "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise ValueError(f"{error.reason}: byte {begin + error.start}") from None
        self._taken = end
        self._passed += self._at
        self._text = self._text[self._at :] + more
        self._at = 0

    def _next(self) -> str | None:
        """The next character that is no space, "" at the end; None: come again."""
        self._look()
        at = self._at = _spaces(self._text, self._at).end()  # type: ignore[union-attr] # it matches nothing, too
        if at < len(self._text):
            self._look()
            return self._text[self._at]
        return "" if self._complete else None

    def _wrong(self, message: str) -> ValueError:
        return ValueError(f"{message}: char {self._passed + self._at}")

    def _short(self) -> Any:
        """Take the value that is next; `_LONG` where it is not known to end in sight."""
        try:
            value, end = _read(self._text, self._at)
        except json.JSONDecodeError as error:
            if self._complete:
                self._at = error.pos
                raise self._wrong(error.msg) from None
            return _LONG
        if end == len(self._text) and not self._complete:
            return _LONG  # a number could go on
        self._at = end
        return value

    # Writing

    def document(self, out: Pieces) -> Steps:
        """Take all there is, which is one value."""
        while self._next() is None:
            yield
        yield from self._value(out)
        while (behind := self._next()) is None:
            yield
        if behind:
            raise self._wrong("Extra data")

    def _value(self, out: Pieces) -> Steps | tuple[()]:
        """Take the value that is next, at once or in the steps that are returned: one frame for each level, and no more."""
        value = self._short()
        if value is not _LONG:
            out.add(dump_text(value))
            return ()
        return self._long(out)

    def _long(self, out: Pieces) -> Steps:
        first = self._text[self._at]
        if first == "[":
            return self._array(out)
        if first == "{":
            return self._object(out)
        if first == '"':
            return self._string(out)
        if first in "-0123456789":
            return self._number(out)
        raise self._wrong("Expecting value")

    def _number(self, out: Pieces) -> Steps:
        while (value := self._short()) is _LONG:
            self._look(2 * (len(self._text) - self._at))
            yield
        out.add(dump_text(value))

    def _array(self, out: Pieces) -> Steps:
        self._at += 1
        out.add("[")
        between = ""
        chances = CHANCES
        yield
        while True:
            while (first := self._next()) is None:
                yield
            if first == "]" and not between:
                break
            some = self._run("[]") if chances else None
            if some is None:
                chances = max(chances - 1, 0)
                some = self._elements()
            if some:
                yield
                out.add(between + dump_text(some)[1:-1])
                between = ", "
                yield
                continue
            out.add(between)
            between = ", "
            yield from self._value(out)
            while (first := self._next()) is None:
                yield
            if first == "]":
                break
            self._pass(",")
        self._at += 1
        out.add("]")

    def _elements(self) -> list[Any]:
        """Take elements, and the comma behind each of them, as far as they are in sight."""
        text, at = self._text, self._at
        some: list[Any] = []
        stop = at + AHEAD
        while at < stop and len(some) < MANY:
            try:
                value, end = _read(text, _spaces(text, at).end())  # type: ignore[union-attr] # as above
            except json.JSONDecodeError:
                break
            end = _spaces(text, end).end()  # type: ignore[union-attr] # as above
            if text[end : end + 1] != ",":
                break
            some.append(value)
            self._at = at = end + 1
        return some

    def _run(self, brackets: str) -> Any:
        """Take elements, or members, up to what looks like the last one's end in sight; None if it is not."""
        text, at = self._text, self._at
        stop = at + AHEAD
        last = next((mark for mark in ("},", "],") if text.find(mark[0], at, stop) >= 0), ",")
        cut = text.rfind(last, at, stop) + len(last) - 1
        inside = text[at : max(cut, at)]
        try:
            some, end = _read(f"{brackets[0]}{inside}{brackets[1]}")
        except json.JSONDecodeError:
            return None
        if not some or end != len(inside) + 2 or (type(some) is dict and len(some) * SHORT < end):
            return None
        self._at = cut + 1
        return some

    def _object(self, out: Pieces) -> Steps:
        self._at += 1
        members: dict[str, Any] = {}
        chances = CHANCES
        yield
        while True:
            while (first := self._next()) is None:
                yield
            if first == "}" and not members:
                break
            some = self._run("{}") if chances else None
            if some is None:
                chances = max(chances - 1, 0)
                some = self._members()
            if some:
                members |= some
                yield
                continue
            name = yield from self._name()
            while self._next() is None:
                yield
            self._pass(":")
            while self._next() is None:
                yield
            members[name] = pieces = Pieces()
            yield from self._value(pieces)
            while (first := self._next()) is None:
                yield
            if first == "}":
                break
            self._pass(",")
        self._at += 1
        yield from write_members(members, out)

    def _members(self) -> dict[str, Any]:
        """Take members, and the comma behind each of them, as far as they are in sight."""
        text, at = self._text, self._at
        some: dict[str, Any] = {}
        stop = at + AHEAD
        while at < stop and len(some) < MANY:
            begin = _spaces(text, at).end()  # type: ignore[union-attr] # as above
            try:
                name, end = _read(text, begin)
                end = _spaces(text, end).end()  # type: ignore[union-attr] # as above
                if type(name) is not str or text[end : end + 1] != ":":
                    break
                value, end = _read(text, _spaces(text, end + 1).end())  # type: ignore[union-attr] # as above
            except json.JSONDecodeError:
                break
            end = _spaces(text, end).end()  # type: ignore[union-attr] # as above
            if text[end : end + 1] != ",":
                break
            if end - begin > SHORT:
                pieces = Pieces()
                pieces.add(dump_text(value))
                value = pieces
            some[name] = value
            self._at = at = end + 1
        return some

    def _name(self) -> Generator[None, None, str]:
        """Take a member's name, however long: it must be known whole."""
        if self._text[self._at : self._at + 1] != '"':
            raise self._wrong("Expecting property name enclosed in double quotes")
        while (name := self._short()) is _LONG:
            self._look(2 * (len(self._text) - self._at))
            yield
        assert isinstance(name, str)  # noqa: S101 - for the type checker: it begins with a quote
        return name

    def _pass(self, mark: str) -> None:
        if self._text[self._at : self._at + 1] != mark:
            raise self._wrong(f"Expecting {mark!r} delimiter")
        self._at += 1

    def _string(self, out: Pieces) -> Steps:
        self._at += 1
        out.add('"')
        while True:
            self._look(8 * AHEAD)
            piece = self._text[self._at :]
            if not self._complete:
                piece = _cut(piece)
            try:
                text, end = _read(f'"{piece}"')
            except json.JSONDecodeError as error:
                self._at += error.pos - 1
                raise self._wrong(error.msg) from None
            if end <= len(piece) + 1:  # its own quote comes before ours
                self._at += end - 1
                out.add(dump_text(text)[1:])
                return
            if not piece:
                raise self._wrong("Unterminated string")
            self._at += len(piece)
            as_it_is = piece.isascii() and "\\" not in piece and "\x7f" not in piece
            out.add(piece if as_it_is else dump_text(text)[1:-1])
            yield


def _cut(piece: str) -> str:
    """The beginning of a piece of a string, as long as can be without cutting an escape in two."""
    end = len(piece)
    for _ in range(MANY):
        escape = piece.rfind("\\", max(end - _ESCAPE, 0), end)
        if escape < 0:
            return piece[:end] or piece
        end = escape
    return _whole(piece).group() or piece  # type: ignore[union-attr] # it matches nothing, too


def rewrite(text: bytes | bytearray | memoryview) -> Generator[None, None, bytes]:
    """Bring a JSON text into the form of `dump_text`, whatever it is the text of.

    Raises:
        ValueError: this is not JSON. RecursionError: it nests too deep.
    """
    encoding = json.detect_encoding(bytes(text[:4]))
    if encoding != "utf-8":
        text = bytes(text).decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
    out = Pieces()
    yield from _Rewriter(memoryview(text)).document(out)
    pieces = out.all()
    pieces.reverse()
    # as large as it will be, because growing copies megabytes now and then; of bytes that nobody else has it makes no copy
    written = BytesIO(bytes(sum(map(len, pieces))))
    while pieces:
        for piece in pieces[: -SOME - 1 : -1]:
            written.write(piece.encode())
        del pieces[-SOME:], piece
        yield
    return written.getvalue()
