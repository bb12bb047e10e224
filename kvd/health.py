"""Whether an open store's backend answers: failures are counted, and after one the daemon looks by itself.

The look begins at once. Requests wait for it, and while looks fail they fail at once with its reason, so that a dead backend
costs the patience of its driver only once. A look that is answered ends it all, and so does any operation that works.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kvd.errors import Code, RequestError

if TYPE_CHECKING:
    from stores.base import BaseStore

__all__ = ["Health"]

PATIENCE: Final = 3
"""Failures in a row, looks included, after which a backend is given up."""
ONE_FAILURE: Final = 0.1
"""Seconds within which what fails fails together, and counts once."""
LOOK: Final = 3.0
"""Seconds within which a backend that is looked at must answer."""
FIRST_PAUSE: Final = 0.5
"""Seconds between two looks at first; then twice as many, each time."""
LOOKED_FOR: Final = "kvd-looks-whether-you-answer"
"""The key that is asked for, and need not be there."""


class Health:
    """What is known of one connection's open store."""

    def __init__(self, name: str, become: Callable[[str, str | None], None]) -> None:
        """Take it to be well.

        Args:
            name: the connection's.
            become: called with "ready", "degraded" or "down", and the reason.
        """
        self.failures = 0
        """In a row. Others may only look."""
        self._name = name
        self._become = become
        self._reason = ""
        self._failed_at = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        """Whether a look has ended since the last time that the store was well."""

    def trouble(self, store: BaseStore, reason: str) -> None:
        """Note that the backend failed or did not answer."""
        now = time.monotonic()
        if now - self._failed_at < ONE_FAILURE and self.failures:
            return
        self._failed_at = now
        self._reason = reason
        self.failures += 1
        if self.failures >= PATIENCE:
            self.end()
            self._become("down", reason)
            return
        self._become("degraded", reason)
        if self._looking is None:
            self._looked.clear()
            self._looking = asyncio.get_running_loop().create_task(self._look(store))

    def worked(self) -> None:
        """Note that the backend answered."""
        if self.failures:
            self.failures = 0
            self.end()
            self._become("ready", None)

    def renew(self) -> None:
        """Forget what was: the store is a new one."""
        self.failures = 0

    def end(self) -> None:
        """Look no more. Who waits for a look learns what was known last."""
        self._looked.set()
        looking, self._looking = self._looking, None
        if looking is not None and looking is not asyncio.current_task():
            looking.cancel()

    async def until_looked(self) -> None:
        """Wait for the first look after a failure.

        Raises:
            RequestError: unreachable: nobody answers.
        """
        await self._looked.wait()
        if self.failures:
            message = f"{self._name} does not answer: {self._reason}"
            raise RequestError(Code.UNREACHABLE, message, retry=True, connection=self._name)

    async def _look(self, store: BaseStore) -> None:
        from stores.errors import StoreClosedError, StoreConnectionError  # noqa: PLC0415 - the daemon starts without stores

        pause = FIRST_PAUSE
        while self._looking is not None:
            try:
                async with asyncio.timeout(LOOK):
                    await store.get(LOOKED_FOR)
            except (StoreConnectionError, StoreClosedError, TimeoutError):
                self._looked.set()
                self.trouble(store, self._reason)
                await asyncio.sleep(pause)
                pause *= 2
            except Exception:  # noqa: BLE001 - to be refused is to be answered
                self.worked()
            else:
                self.worked()
