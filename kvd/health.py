"""Whether an open store's backend answers: failures are counted, and after one the daemon looks by itself.

The look begins at once. Requests wait for it, and while looks fail they fail at once with its reason, so that a dead backend
costs the patience of its driver only once. A look that is answered ends it all, and so does any operation that works. One that
is not answered in time has failed, but is not given up while others follow: a late answer tells slow from dead.

A store of which nobody asks anything is looked at when somebody wants to know: what fails then is a failure like any other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from kvd.errors import Code, RequestError

if TYPE_CHECKING:
    from stores.base import BaseStore

__all__ = ["Health", "Trouble"]

PATIENCE: Final = 3
"""Failures in a row, looks included, after which a backend is given up."""
ONE_FAILURE: Final = 0.1
"""Seconds within which what fails fails together, and counts once."""
LOOK: Final = 3.0
"""Seconds within which a backend that is looked at must answer."""
IDLE_LOOK: Final = 10.0
"""The same where nobody waits for it."""
FIRST_PAUSE: Final = 0.5
"""Seconds between two looks at first; then twice as many, each time."""
LOOKED_FOR: Final = "kvd-looks-whether-you-answer"
"""The key that is asked for, and need not be there."""


class Trouble(NamedTuple):
    """What went wrong."""

    reason: str
    """For a person."""
    fault: str | None = None
    """One of `stores.errors.Fault`, where it is known."""

    @classmethod
    def told_by(cls, error: Exception) -> Trouble:
        """What a store's error tells."""
        return cls(str(error) or "the backend gave no answer", getattr(error, "fault", None))


class Health:
    """What is known of one connection's open store."""

    def __init__(self, name: str, become: Callable[[str, Trouble | None], None]) -> None:
        """Take it to be well.

        Args:
            name: the connection's.
            become: called with "ready", "degraded" or "down", and what went wrong.
        """
        self.failures = 0
        """In a row. Others may only look."""
        self._name = name
        self._become = become
        self._trouble = Trouble("")
        self._failed_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        """Whether a look has ended since the last time that the store was well."""
        self._idle_look: asyncio.Task[None] | None = None

    def trouble(self, store: BaseStore, trouble: Trouble) -> None:
        """Note that the backend failed or did not answer."""
        now = time.monotonic()
        if now - self._failed_at < ONE_FAILURE and self.failures:
            return
        self._failed_at = now
        self._trouble = trouble
        self.failures += 1
        if self.failures >= PATIENCE:
            self.end()
            self._become("down", trouble)
            return
        self._become("degraded", trouble)
        if self._looking is None:
            self._looked.clear()
            self._looking = asyncio.get_running_loop().create_task(self._look(store))

    def worked(self) -> None:
        """Note that the backend answered."""
        if self.failures:
            self.failures = 0
            self.end()
            self._become("ready", None)

    def look(self, store: BaseStore) -> None:
        """Find out whether a store that is taken to be well still is. Nobody waits for it."""
        if not self.failures and self._idle_look is None:
            self._idle_look = asyncio.get_running_loop().create_task(self._look_once(store))

    @property
    def looking(self) -> bool:
        """Whether it may be known in a moment that the store is not well."""
        return self._idle_look is not None

    def renew(self) -> None:
        """Forget what was: the store is a new one."""
        self.failures = 0

    def end(self) -> None:
        """Look no more. Who waits for a look learns what was known last."""
        self._looked.set()
        looks = (self._looking, self._idle_look)
        self._looking = self._idle_look = None
        for look in looks:
            if look is not None and look is not asyncio.current_task():
                look.cancel()

    async def until_looked(self) -> None:
        """Wait for the first look after a failure.

        Raises:
            RequestError: unreachable: nobody answers.
        """
        await self._looked.wait()
        if self.failures:
            message = f"{self._name} does not answer: {self._trouble.reason}"
            detail = {"fault": self._trouble.fault}
            raise RequestError(Code.UNREACHABLE, message, retry=True, connection=self._name, detail=detail)

    async def _look(self, store: BaseStore) -> None:
        asked: set[asyncio.Task[Trouble | None]] = set()
        pause = FIRST_PAUSE
        try:
            while True:
                asked.add(asyncio.get_running_loop().create_task(_ask(store)))
                if await _is_answered(asked, LOOK):
                    break
                self._looked.set()
                self.trouble(store, self._trouble)
                if self._looking is None:  # that was once too often
                    return
                if await _is_answered(asked, pause, at_least=pause):
                    break
                pause *= 2
            self.worked()
        finally:
            for task in asked:
                task.cancel()

    async def _look_once(self, store: BaseStore) -> None:
        try:
            async with asyncio.timeout(IDLE_LOOK):
                trouble = await _ask(store)
        except TimeoutError:
            trouble = Trouble(f"it gave no answer within {IDLE_LOOK:g} seconds", "silent")
        self._idle_look = None
        if trouble is not None:
            self.trouble(store, trouble)


async def _ask(store: BaseStore) -> Trouble | None:
    """Ask a store for something; why it does not answer, or None: to be refused is to be answered."""
    from stores.errors import StoreClosedError, StoreConnectionError  # noqa: PLC0415 - the daemon starts without stores

    try:
        await store.get(LOOKED_FOR)
    except (StoreConnectionError, StoreClosedError, TimeoutError) as error:
        trouble = Trouble.told_by(error)
        told = trouble.reason.partition(f"{LOOKED_FOR!r}: ")[2]  # what was asked for is no news
        return trouble._replace(reason=told) if told else trouble
    except Exception:  # noqa: BLE001 - as above
        return None
    return None


async def _is_answered(asked: set[asyncio.Task[Trouble | None]], seconds: float, *, at_least: float = 0.0) -> bool:
    """Whether one of those is answered within so many seconds; those that failed are taken out.

    Args:
        asked: each a store that was asked, of which at least one is still to be known.
        seconds: how long to wait.
        at_least: how long to wait though all have failed.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while asked and (left := began + seconds - loop.time()) > 0:
        done, _ = await asyncio.wait(asked, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        asked -= done
        if any(task.result() is None for task in done):
            return True
    await asyncio.sleep(began + at_least - loop.time())
    return False
