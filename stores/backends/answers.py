"""Answers that say "done" and lack what was asked for, as something gives them that stands between a store and its server."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["StrangeAnswerError", "listed", "whole"]

QUOTED: Final = 200
"""Characters of an answer that an error shows."""


class StrangeAnswerError(ConnectionError):
    """Whoever answered does not speak the server's language."""

    def __init__(self, lack: str, answer: Any) -> None:
        """Say what is wrong with the answer."""
        super().__init__(f"the answer {lack}, so it is none of this kind of server's: {str(answer)[:QUOTED]}")


def whole(answer: Any, *names: str) -> dict[str, Any]:
    """The answer, or a part of one, which is a map that has those fields.

    Raises:
        StrangeAnswerError: it is not.
    """
    if not isinstance(answer, dict):
        raise StrangeAnswerError("is no map", answer)
    for name in names:
        if name not in answer:
            raise StrangeAnswerError(f"has no {name!r}", answer)
    return answer


def listed(answer: Any, name: str, count: int | None = None) -> list[Any]:
    """A list in the answer, of so many elements.

    Raises:
        StrangeAnswerError: it is not there, no list, or of another length.
    """
    found = whole(answer, name)[name]
    if not isinstance(found, list):
        raise StrangeAnswerError(f"has no list {name!r}", answer)
    if count is not None and len(found) != count:
        raise StrangeAnswerError(f"has {len(found)} {name} where {count} were asked for", answer)
    return found
