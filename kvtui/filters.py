r"""What is typed after `/`, turned into a test of key names. Pure.

- plain text: keys that contain it; capitals count only when the text has some
- `*`, `?`, `[a-z]`: a glob over the whole key, with `\` before what is meant literally
- `re:…`: a regular expression, found anywhere in the key, in the syntax of RE2: in Python's some would take hours
- `~text`: fuzzy: its characters in this order, with anything between

Stores understand globs only, and some of them byte by byte. `store_glob` asks them for more rather than for less than the
filter means: what they find is still tested here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable

__all__ = ["Matcher", "compile_filter", "store_glob"]

Matcher = Callable[[str], object]
"""Truthy for a key that matches."""


def compile_filter(text: str) -> Matcher | None:
    """The test that the text stands for; None when it asks for nothing.

    Raises:
        ValueError: the regular expression or the glob is broken; says how.
    """
    if not text:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it would be written across the screen
        try:
            return _compiled(text)
        except re.error as error:
            raise ValueError(f"broken glob: {error}") from None


def _compiled(text: str) -> Matcher | None:
    if text.startswith("re:"):
        return _expression(text[3:])
    flags = re.DOTALL if any(map(str.isupper, text)) else re.DOTALL | re.IGNORECASE
    if text.startswith("~"):
        return re.compile(_in_order(map(re.escape, text[1:])), flags).match if len(text) > 1 else None
    if _is_glob(text):
        return re.compile(_glob(text), re.DOTALL).match
    literal = re.sub(r"\\(.)", r"\1", text)
    if flags & re.IGNORECASE:
        return re.compile(re.escape(literal), flags).search
    return lambda key: literal in key


def _expression(text: str) -> Matcher:
    """An expression's test, whose time and memory are bounded whatever the expression is."""
    import re2  # noqa: PLC0415 - the first screen need not wait for it

    options = re2.Options()
    options.log_errors = False  # they would be written across the screen
    try:
        search = re2.compile(text.encode("utf-8", "surrogateescape"), options).search
    except re2.error as error:
        raise ValueError(f"broken regular expression: {error.args[0].decode('utf-8', 'replace')[:80]}") from None
    return lambda key: search(key.encode("utf-8", "surrogateescape"))


def _is_glob(text: str) -> bool:
    return bool(re.search(r"(?<!\\)(?:\\\\)*[*?\[]", text))


def _glob(text: str) -> str:
    parts = [""]
    """What stands before, between and behind the stars."""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "."
        elif char == "[":
            end = text.find("]", at + 1)
            inside = text[at:end]
            if end < 0 or inside in {"^", "!"}:
                raise ValueError(r"this glob has a [ without ]; write \[ for the bracket itself")
            negated = inside.startswith(("^", "!"))
            members = re.sub(r"([\\\[\]&~|^])", r"\\\1", inside[negated:])
            parts[-1] += f"[{'^' if negated else ''}{members}]"
            at = end + 1
        else:
            if char == "\\" and at < len(text):
                char = text[at]
                at += 1
            parts[-1] += re.escape(char)
    first, *others = parts
    if others:
        first += _in_order(part for part in others[:-1] if part) + ".*" + others[-1]
    return first + r"\Z"


def _in_order(parts: Iterable[str]) -> str:
    """Expressions of a fixed length, with anything before each. The first place where one fits will do, so no other is tried:
    that would take minutes for a long key that almost matches.
    """
    return "".join(f"(?>.*?{part})" for part in parts)


def store_glob(text: str) -> str | None:
    """A glob for the store that finds whatever the filter finds, and perhaps more; None where no glob can say it."""
    if text in {"", "~"} or text.startswith("re:"):
        return None
    any_case = not any(map(str.isupper, text))
    if text.startswith("~"):
        return _joined(["*", *(piece for char in text[1:] for piece in (_exactly(char, any_case=any_case), "*"))])
    if not _is_glob(text):
        literal = re.sub(r"\\(.)", r"\1", text)
        return _joined(["*", *(_exactly(char, any_case=any_case) for char in literal), "*"])
    pieces: list[str] = []
    for match in re.finditer(r"\\(.)|(\*|\?)|\[.[^\]]*\]|(.)", text, re.DOTALL):
        char = match[1] or match[3]
        pieces.append("*" if char is None else _exactly(char, any_case=False))
    return _joined(pieces)


def _exactly(char: str, *, any_case: bool) -> str:
    """The glob of one character: one that is more than a byte, or has a case that does not count, may be anything."""
    if not char.isascii():
        return "*"
    if any_case and char.isalpha():
        return f"[{char.lower()}{char.upper()}]"
    return "\\" + char if char in "*?[]^\\" else char


def _joined(pieces: list[str]) -> str:
    return "".join(piece for piece, before in zip(pieces, ["", *pieces], strict=False) if not piece == before == "*")
