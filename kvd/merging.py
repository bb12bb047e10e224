"""Values that are asked for one by one at the same moment, as when tasks are gathered, go out as one `get_many`.

The daemon takes a tenth of the time for one among many. What they are is as before:

- None overtakes a request of another kind, nor is overtaken by one that was asked before.
- What is refused them together is asked for each of them, behind what was asked meanwhile: one may be the cause, and the others
  be answered.
- One that is given up leaves the others; the request is cancelled when nobody waits for any.
- Large values go alone: in one answer they would wait for each other, and perhaps not fit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from kvd.errors import Code, ConnectionLostError, RequestError
from kvd.protocol import PLAIN_KEYS, PLAIN_NAME
from kvd.requests import Request

__all__ = ["Get", "Merged", "groups", "is_plain"]

LARGE: Final = 256 << 10
"""Bytes of an answer above which values are asked for one by one for a while."""
_OF_ALL: Final = frozenset(
    {
        Code.SHUTTING_DOWN,
        Code.CANCELLED,
        Code.DEADLINE,
        Code.TOO_MANY,
        Code.UNKNOWN_CONNECTION,
        Code.CONFIG_ERROR,
        Code.UNREACHABLE,
        Code.SETUP_FAILED,
    }
)
"""Refusals that none of many would be spared alone."""

Get = tuple[int, Request[Any]]
"""A request for one value, by its id."""


def is_plain(request: Request[Any]) -> bool:
    """Whether a request is for one value, with nothing of its own that others could not share or that could be wrong."""
    if request.method != "get" or request.timeout is not None or request.journal is not None:
        return False
    params = request.params
    collection = params["collection"]
    return _is_short(params["connection"]) and _is_short(params["key"]) and (collection is None or _is_short(collection))


def _is_short(name: Any) -> bool:
    return type(name) is str and len(name) <= PLAIN_NAME and name.isascii()


def groups(gets: Sequence[Get]) -> Iterator[list[Get]]:
    """Which of them go out together, in the order of the first of each."""
    by_place: dict[tuple[Any, Any], list[Get]] = {}
    for get in gets:
        params = get[1].params
        by_place.setdefault((params["connection"], params["collection"]), []).append(get)
    for together in by_place.values():
        for start in range(0, len(together), PLAIN_KEYS):
            yield together[start : start + PLAIN_KEYS]


class Merged:
    """Takes the answer in place of those who wait for one of its values each. It has what is needed of their future."""

    __slots__ = ("_again", "_large", "_waiters", "gets")

    def __init__(
        self,
        gets: Sequence[Get],
        waiters: Sequence[asyncio.Future[Any]],
        *,
        again: Callable[[list[tuple[Get, asyncio.Future[Any]]]], None],
        large: Callable[[], None],
    ) -> None:
        """Take their places.

        Args:
            gets: the requests.
            waiters: who wait for them, in the same order.
            again: sends those that are given to it, each alone.
            large: is called when an answer was large.
        """
        self.gets = gets
        self._waiters = waiters
        self._again = again
        self._large = large

    @property
    def request(self) -> tuple[str, dict[str, Any]]:
        """The method and the parameters in which they go out."""
        params = self.gets[0][1].params
        return "get_many", {
            "connection": params["connection"],
            "collection": params["collection"],
            "keys": [request.params["key"] for _, request in self.gets],
        }

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return all(waiter.done() for waiter in self._waiters)

    def set_result(self, values: list[Any]) -> None:
        """Give each its own."""
        size = 0
        for waiter, value in zip(self._waiters, values, strict=True):
            if value is not None:
                size += len(value)
            if not waiter.done():
                waiter.set_result(value)
        if size > LARGE:
            self._large()

    def set_exception(self, error: RequestError | ConnectionLostError) -> None:
        """Ask for each alone, unless it would learn the same. Each that fails gets an error of its own to raise."""
        waiting = [(get, waiter) for get, waiter in zip(self.gets, self._waiters, strict=True) if not waiter.done()]
        if isinstance(error, RequestError) and error.code not in _OF_ALL:
            if error.code == Code.TOO_LARGE:
                self._large()
            self._again(waiting)
            return
        for _, waiter in waiting:
            own = RequestError.unpack(error.pack()) if isinstance(error, RequestError) else ConnectionLostError(*error.args)
            waiter.set_exception(own)
