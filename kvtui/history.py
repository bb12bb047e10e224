"""Which steps of the daemon's journal this program made, which one undo and redo mean, and how it went. Pure.

All programs of a person share one journal. Undo goes through what this program did, latest first; what others did (another
window, the command line, an earlier run) comes after that, and whoever undoes it is asked first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kvd import requests
from kvd.errors import Code, DaemonError, RequestError
from kvd.model import Problem, Step, Undone
from kvd.requests import Request
from kvtui.codecs import elide
from kvtui.messages import label_of, sentence

__all__ = ["REDO", "UNDO", "Action", "History", "Outcome", "Way", "name_of", "reason_of", "summary", "title_of"]

_REASONS: dict[str, str] = {
    Code.UNKNOWN_METHOD: "This daemon is older than the program and keeps no journal; `kvd restart` starts the new one.",
    Code.UNKNOWN_STEP: "It has left the journal, which holds a day at most and ends with the daemon.",
    Code.CONFLICT: "It is still being done.",
}
"""What errors mean where they come from the journal."""
NAMED = 4
"""Keys that a sentence names."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person does: one step of the journal, however many requests it takes."""

    title: str
    step: str = field(default_factory=requests.new_step)


@dataclass(frozen=True, slots=True)
class Way:
    """The way in which a step is gone: back or forth again."""

    verb: str
    past: str
    perfect: str
    doing: str
    request: Callable[..., Request[Undone | None]]

    def to_do(self, step: Step) -> int:
        """How many keys of a step would be tried."""
        return step.can_undo if self is UNDO else step.can_redo


UNDO = Way("undo", "undid", "undone", "undoing", requests.undo)
REDO = Way("redo", "redid", "redone", "redoing", requests.redo)


class Outcome(NamedTuple):
    """How many keys were brought back, which were left alone, and what went wrong before all were tried."""

    changed: int
    problems: Sequence[Problem]
    error: str | None = None


class History:
    """The steps that this program made.

    Attributes:
        lost: Whether there were some that the daemon has forgotten, because it is another one now.
        turn: Held while a step is undone: the next one that is asked for is the one before.
    """

    def __init__(self) -> None:
        self._done: list[str] = []
        self._undone: list[str] = []
        """Latest last, both of them."""
        self.lost = False
        self.turn = asyncio.Lock()

    def begin(self, title: str) -> Action:
        """Begin something that can be undone as a whole."""
        return Action(title)

    def took(self, action: Action) -> None:
        """Take up that an action changed something. What was undone before is then done with."""
        if action.step not in self._done:
            self._done.append(action.step)
            self._undone.clear()

    def went(self, way: Way, step: str) -> None:
        """Take up that a step was undone or redone, by whomever."""
        before, after = (self._done, self._undone) if way is UNDO else (self._undone, self._done)
        if step in before:
            before.remove(step)
            after.append(step)

    def lose(self) -> None:
        """Take up that the daemon is another one."""
        self.lost |= bool(self._done or self._undone)
        self._done.clear()
        self._undone.clear()

    def offers(self, way: Way) -> bool:
        """Whether there is something of this program's own to undo or redo."""
        return bool(self._done if way is UNDO else self._undone)

    def is_own(self, step: Step) -> bool:
        """Whether this program made a step."""
        return step.step in self._done or step.step in self._undone

    def pick(self, way: Way, steps: Sequence[Step]) -> Step | None:
        """The step that is meant, of those in the journal (newest first); None where there is none."""
        possible = {step.step: step for step in steps if way.to_do(step)}
        own = self._done if way is UNDO else self._undone
        own[:] = [name for name in own if name in possible or all(name != step.step for step in steps)]  # the rest is settled
        named = next((name for name in reversed(own) if name in possible), None)
        if named is not None:
            return possible[named]
        if way is REDO:
            return max(possible.values(), key=lambda step: step.undone_at or 0.0, default=None)
        return next(iter(possible.values()), None)


def summary(way: Way, step: Step, outcome: Outcome) -> str:
    """What became of a step, in sentences that name what was left alone."""
    title, tried = title_of(step), way.to_do(step)
    problems = outcome.problems
    said: list[str] = []
    if outcome.changed and (problems or outcome.changed < tried):
        said.append(f"{way.past.capitalize()} {outcome.changed:,} of {max(tried, outcome.changed + len(problems)):,}: {title}.")
    elif outcome.changed:
        said.append(f"{way.past.capitalize()}: {title}.")
    elif problems or outcome.error:
        said.append(f"Not {way.perfect}: {title}.")
    else:
        said.append(f"Somebody else has {way.perfect} this already: {title}.")
    for reason, what in (("conflict", "Changed by somebody else since"), ("expired", "Expired since")):
        names = [name_of(problem) for problem in problems if problem.reason == reason]
        if names:
            said.append(f"{what}: {listed(names)}.")
    said += dict.fromkeys(sentence(problem.message) for problem in problems if problem.reason not in {"conflict", "expired"})
    if outcome.error is not None:
        said.append(sentence(outcome.error))
    return " ".join(said)


def name_of(problem: Problem) -> str:
    """The key that was left alone, as a person reads it."""
    key = problem.key
    if key is None:
        return "everything"
    return elide(label_of(key if isinstance(key, str) else key.value.decode("utf-8", "surrogateescape")), 40)


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: NAMED - 1])} and {len(names) - NAMED + 1:,} more"


def title_of(step: Step) -> str:
    """What a step did, in a few words."""
    return step.title or f"{step.count:,} key{'' if step.count == 1 else 's'} in {step.connection}"


def reason_of(error: DaemonError) -> str:
    """Why a step or the whole journal cannot be had."""
    code = error.code if isinstance(error, RequestError) else ""
    return _REASONS.get(code, str(error))
