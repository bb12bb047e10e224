r"""What is typed after `/`, turned into a test of key names. Pure.

- plain text: keys that contain it; capitals count only when the text has some
- `*`, `?`, `[a-z]`: a glob over the whole key, with `\` before what is meant literally
- `re:…`: a regular expression, found anywhere in the key
- `~text`: fuzzy: its characters in this order, with anything between
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["Matcher", "compile_filter"]

Matcher = Callable[[str], object]
"""Truthy for a key that matches."""


def compile_filter(text: str) -> Matcher | None:
    """The test that the text stands for; None when it asks for nothing.

    Raises:
        ValueError: the regular expression or the glob is broken; says how.
    """
    if not text:
        return None
    if text.startswith("re:"):
        try:
            return re.compile(text[3:]).search
        except re.error as error:
            raise ValueError(f"broken regular expression: {error}") from None
    flags = re.DOTALL if any(map(str.isupper, text)) else re.DOTALL | re.IGNORECASE
    if text.startswith("~"):
        return re.compile(".*?".join(map(re.escape, text[1:])), flags).search if len(text) > 1 else None
    if _is_glob(text):
        return re.compile(_glob(text) + r"\Z", re.DOTALL).match
    literal = re.sub(r"\\(.)", r"\1", text)
    if flags & re.IGNORECASE:
        return re.compile(re.escape(literal), flags).search
    return lambda key: literal in key


def _is_glob(text: str) -> bool:
    return bool(re.search(r"(?<!\\)(?:\\\\)*[*?\[]", text))


def _glob(text: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "[":
            end = text.find("]", at + 1)
            if end < 0:
                raise ValueError(r"this glob has a [ without ]; write \[ for the bracket itself")
            inside = text[at:end]
            negated = inside.startswith(("^", "!"))
            members = re.sub(r"([\\\[\]&~|^])", r"\\\1", inside[negated:])
            out.append(f"[{'^' if negated else ''}{members}]")
            at = end + 1
        else:
            if char == "\\" and at < len(text):
                char = text[at]
                at += 1
            out.append(re.escape(char))
    return "".join(out)
