"""The journal of the fake daemon: what was there before each write that asked for it, and undo by comparing versions."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

from kvd.errors import RequestError
from kvd.model import pack_name

if TYPE_CHECKING:
    from tests.tuikit.fake import Client, Daemon, Stored


class Kept:
    """A change, with what was there before and after it."""

    def __init__(self, collection: str, key: str, before: Stored | None, told: dict[str, Any]) -> None:
        self.collection, self.key, self.told = collection, key, told
        self.before, self.after = before, before
        self.undone = False
        self.failed = ""
        """Why it was left alone when it was tried."""


class KeptStep:
    """An action of a person."""

    def __init__(self, connection: str, journal: dict[str, str]) -> None:
        self.connection, self.id, self.title = connection, journal["step"], journal.get("title")
        self.at = time.time()
        self.undone_at: float | None = None
        self.changes: list[Kept] = []
        self.why: str | None = None

    def to_do(self, *, undone: bool) -> list[Kept]:
        return [] if self.why else [kept for kept in self.changes if kept.undone is undone and not kept.failed]

    def packed(self) -> dict[str, Any]:
        undone = sum(kept.undone for kept in self.changes)
        return {
            "step": self.id,
            "title": self.title,
            "connection": self.connection,
            "at": self.at,
            "state": "done" if not undone else "undone" if undone == len(self.changes) else "partly",
            "count": len(self.changes),
            "undone_at": self.undone_at,
            "can_undo": len(self.to_do(undone=False)),
            "can_redo": len(self.to_do(undone=True)),
            "changes": [
                kept.told
                | {"collection": kept.collection, "key": pack_name(kept.key), "done": not kept.undone, "why": self.why}
                for kept in self.changes[:100]
            ],
            "why": self.why,
        }


class Journal:
    """The steps, newest last."""

    def __init__(self) -> None:
        self.steps: list[KeptStep] = []

    def kept(self, client: Client, method: str, params: dict[str, Any], journal: dict[str, str]) -> Any:
        """Carry out a write and keep what it replaced."""
        step = next((step for step in self.steps if step.id == journal["step"]), None)
        if step is None:
            step = KeptStep(params["connection"], journal)
        found = client._keys(params["connection"], params.get("collection"))
        keys = params["keys"] if "keys" in params else [params["key"]]
        before = {key: copy.copy(found.get(key)) for key in keys}
        answer = getattr(client, method)(**params)
        told: dict[str, Any] = {"operation": {"edit": "put", "delete_many": "delete"}.get(method, method)}
        told |= {"ttl": params.get("ttl"), "keeps_ttl": method == "edit" and "ttl" not in params, "value": params.get("value")}
        for key, old in before.items():
            if old is None and key not in found:
                continue
            change = Kept(params.get("collection") or "default_collection", key, old, told)
            change.after = copy.copy(found.get(key))
            step.changes.append(change)
        if step.changes and step not in self.steps:
            self.steps.append(step)
        return answer

    def travel(self, client: Client, name: str | None, *, back: bool, never_expire: bool, limit: int) -> dict[str, Any] | None:
        """Undo a step, or do it again, for some of its keys."""
        steps = [step for step in reversed(self.steps) if step.id == name or (name is None and step.to_do(undone=not back))]
        if not steps:
            if name is None:
                return None
            raise RequestError("unknown_step", "this step has left the journal")
        step, daemon, changed = steps[0], client.daemon, 0
        if step.connection in daemon.read_only:
            raise RequestError("read_only", f"{step.connection} is read-only")
        for kept in step.changes:
            if never_expire and kept.failed == "expired":
                kept.failed = ""
            if step.why:
                kept.failed = "impossible"
        to_do = step.to_do(undone=not back)
        for kept in to_do[:limit]:
            here, there = (kept.after, kept.before) if back else (kept.before, kept.after)
            now = client._keys(step.connection, kept.collection).get(kept.key)
            kept.failed = _failure(now, here, there, never_expire=never_expire)
            if not kept.failed:
                _put_back(daemon, step, kept, there)
                kept.undone = back
                step.undone_at = time.time() if back else step.undone_at
                changed += 1
        problems = [
            {"collection": kept.collection, "key": pack_name(kept.key), "reason": kept.failed, "message": step.why}
            for kept in to_do[:limit] or step.changes
            if kept.failed
        ]
        return {
            "step": step.id,
            "title": step.title,
            "connection": step.connection,
            "changed": changed,
            "left": len(to_do[limit:]),
            "problems": problems,
        }


def _version(stored: Stored | None) -> bytes:
    return b"" if stored is None else stored.version


def _failure(now: Stored | None, here: Stored | None, there: Stored | None, *, never_expire: bool) -> str:
    """Why a key is left alone; empty where it is not."""
    if _version(now) != _version(here):
        return "conflict"
    over = there is not None and there.expires_at is not None and there.expires_at <= time.time()
    return "expired" if over and not never_expire else ""


def _put_back(daemon: Daemon, step: KeptStep, kept: Kept, there: Stored | None) -> None:
    found = daemon.data[step.connection].setdefault(kept.collection, {})
    if there is None:
        del found[kept.key]
    else:
        found[kept.key] = stored = copy.copy(there)
        if stored.expires_at is not None and stored.expires_at <= time.time():
            stored.expires_at = None
    daemon.announce("delete" if there is None else "put", step.connection, kept.collection, kept.key)
