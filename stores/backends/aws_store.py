"""The life of a store on AWS: a client that is opened and closed, and one place that it keeps entries in, a table or a bucket.

Opening looks whether the service answers; the first write makes the place where it is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from stores.backends.aws import ERRORS, FAULTS, AwsClient, cause_of
from stores.base import BaseContextManagerStore

__all__ = ["AwsStore", "Place"]


class Place(Protocol):
    """A table, or a bucket."""

    @property
    def location(self) -> str:
        """Where it is, for a person."""

    async def check(self) -> None:
        """Look whether the service answers; that the place is missing will do."""

    async def missing(self) -> str | None:
        """The place, for a person, if it is not there."""

    async def prepare(self) -> None:
        """See to it that it is there."""

    def forget(self) -> None:
        """Look at it anew before the next write."""


class AwsStore(BaseContextManagerStore, ABC):
    """A store over an `AwsClient`, which its constructor makes."""

    _errors = ERRORS
    _faults = FAULTS
    _aws: AwsClient

    @property
    @abstractmethod
    def _place(self) -> Place:
        """What holds the entries."""

    @property
    def location(self) -> str:
        """The endpoint or region, with the table or bucket."""
        return self._place.location

    async def _setup(self) -> None:
        with self._edge():
            await self._aws.open()
            await self._place.check()

    async def _setup_collection(self, *, collection: str) -> None:
        await self._place.prepare()

    async def _missing(self) -> str | None:
        return await self._place.missing()

    async def _close(self) -> None:
        self._place.forget()
        await self._aws.close()

    def _cause(self, exc: BaseException) -> BaseException:
        return cause_of(exc)
