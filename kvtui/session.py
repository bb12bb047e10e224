"""The program's line to the daemon: opened, watched and opened again. The only importer of `kvd.client`.

The session posts messages and keeps no data of the panes; of what was written through it, which steps of the journal it is. A
request while the daemon is away fails at once with `ConnectionLostError`; whoever asked asks again when `Online` comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from textual.message import Message

from kvd import requests
from kvd.errors import Code, ConnectionLostError, DaemonError, RequestError
from kvd.model import Change, ConnectionInfo, Opened
from kvd.requests import Request
from kvtui.history import Action, History
from kvtui.messages import Changed, Failed, Offline, Online

__all__ = ["DaemonClient", "Session", "Target", "open_client"]

T = TypeVar("T")

PERHAPS_DONE = frozenset(
    {Code.CANCELLED, Code.DEADLINE, Code.INTERNAL, Code.OPERATION_FAILED, Code.STORE_ERROR, Code.UNREACHABLE}
)
"""Errors of a write that may have been done all the same, or done to some of its keys."""
RETRY_FIRST = 0.25
RETRY_MOST = 5.0
"""Seconds between two attempts to reach the daemon: doubled from the first to the most."""


class DaemonClient(Protocol):
    """The part of `kvd.client.Client` that the session uses."""

    async def call(self, request: Request[T]) -> T:
        """Ask the daemon."""
        ...

    def changes(self) -> AsyncIterator[Change]:
        """What is subscribed to, from now until the line breaks."""
        ...

    async def aclose(self) -> None:
        """Hang up."""
        ...


async def open_client() -> DaemonClient:
    """Connect to the daemon, starting it when it does not run."""
    from kvd.client import Client  # noqa: PLC0415 - after the first frame is on screen

    return await Client.open()


@dataclass(frozen=True, slots=True)
class Target:
    """What the program was started for, beside the connections that are configured."""

    url: str | None = None
    demo: bool = False

    @property
    def request(self) -> Request[Opened] | None:
        """What opens it; None when there is nothing to open."""
        if self.demo:
            return requests.open_demo()
        return None if self.url is None else requests.open_url(self.url)


class Session:
    """One line to the daemon.

    Args:
        post: Takes the messages; `App.post_message`.
        opener: Opens a client; another one in tests.
        target: What to open beside the configured connections.
    """

    def __init__(
        self,
        post: Callable[[Message], object],
        opener: Callable[[], Awaitable[DaemonClient]] = open_client,
        target: Target | None = None,
    ) -> None:
        self._post = post
        self._opener = opener
        self._target = target or Target()
        self._client: DaemonClient | None = None
        self._greeted = False
        self._pid: int | None = None
        """The daemon's process: another one knows nothing of what was done."""
        self.history = History()
        self.private: str | None = None
        """The connection that no other program reaches."""

    async def call(self, request: Request[T]) -> T:
        """Ask the daemon.

        Raises:
            RequestError: it refused or could not.
            ConnectionLostError: it is away, or went away before it answered.
        """
        client = self._client
        if client is None:
            raise ConnectionLostError("the daemon is away")
        return await client.call(request)

    async def write(self, request: Request[T], action: Action) -> T:
        """Change something as a part of an action, which the daemon's journal keeps as one step; raises what `call` raises."""
        try:
            answer = await self.call(requests.journalled(request, action.step, action.title))
        except DaemonError as error:
            if not isinstance(error, RequestError) or error.code in PERHAPS_DONE:
                self.history.took(action)
            raise
        if answer:  # else nothing was there to be changed
            self.history.took(action)
        return answer

    async def run(self) -> None:
        """Keep the line open until cancelled; returns only when there is no hope, after posting `Failed`."""
        pause = RETRY_FIRST
        while True:
            reason = "the daemon is away"
            try:
                client = await self._opener()
            except DaemonError as error:
                if not self._greeted:
                    self._post(Failed(str(error)))
                    return
                reason = str(error)
            else:
                try:
                    if not await self._attend(client):
                        return
                    pause = RETRY_FIRST
                except DaemonError as error:
                    reason = str(error)
                finally:
                    self._client = None
                    await client.aclose()
            self._post(Offline(reason, time.time() + pause))
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_MOST)

    async def _attend(self, client: DaemonClient) -> bool:
        """Greet the daemon and listen to it until the line breaks; False when there is nothing to stay for."""
        changes = client.changes()  # from before the subscription, so that none is missed
        await client.call(requests.subscribe())
        target = None
        if opening := self._target.request:
            try:
                target = (await client.call(opening)).connection
                self.private = target if self._target.demo else None
            except RequestError as error:
                if not self._greeted:
                    self._post(Failed(error.message))
                    return False
        rows, problem = await self._connections(client)
        self._client = client
        self._post(Online(rows, target=target, problem=problem, again=self._greeted))
        self._greeted = True
        async for change in changes:
            self._post(Changed(change))
        return True

    async def _connections(self, client: DaemonClient) -> tuple[list[ConnectionInfo], str | None]:
        """The connections, and the first mistake of their configuration."""
        rows = await client.call(requests.connections())
        status = await client.call(requests.status())
        problems, pid = status.get("problems") or [], status.get("pid")
        if self._pid not in {None, pid}:
            self.history.lose()
        self._pid = pid
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return rows, f"{problems[0]}{more}" if problems else None

    async def reload(self) -> tuple[list[ConnectionInfo], str | None]:
        """Have the configuration read again; answers like the greeting.

        Raises:
            ConnectionLostError: the daemon is away.
        """
        problem = None
        try:
            await self.call(requests.reload())
        except RequestError as error:
            problem = error.message
        client = self._client
        if client is None:
            raise ConnectionLostError("the daemon is away")
        rows, other = await self._connections(client)
        return rows, problem or other
