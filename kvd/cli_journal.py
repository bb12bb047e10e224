"""The commands for the journal: undo, redo, steps. Each returns the command's exit status."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from kvd import requests
from kvd.addresses import encode_part
from kvd.blocking import BlockingClient
from kvd.durations import format_ttl
from kvd.model import Problem, Step, StepChange, Token, Undone
from kvd.terminal import complain, say, say_json, show_table, visible

__all__ = ["redo", "steps", "undo"]

OK, NOTHING, REFUSED = 0, 1, 3


def undo(client: BlockingClient, options: argparse.Namespace) -> int:
    """Undo a step."""
    return _turn(client, options, undo=True)


def redo(client: BlockingClient, options: argparse.Namespace) -> int:
    """Do a step again."""
    return _turn(client, options, undo=False)


def _turn(client: BlockingClient, options: argparse.Namespace, *, undo: bool) -> int:
    method = requests.undo if undo else requests.redo
    step: str | None = options.step
    _open(client, step, undo=undo)
    changed, problems = 0, list[Problem]()
    while True:
        done: Undone | None = client.call(method(step, never_expire=options.never_expire))
        if done is None:
            complain(f"nothing to {method.__name__}")
            return NOTHING
        changed += done.changed
        problems += done.problems
        step = done.step
        if not done.left:
            break
    title = done.title or done.step
    if changed:
        say(f"{'undid' if undo else 'did again'}: {visible(title)}" + (f" ({changed:,} keys)" if changed > 1 else ""))
    for problem in problems:
        place = _address(done.connection, problem.collection, problem.key)
        hint = f" (`kvd {method.__name__} {done.step} --never-expire` brings it back)" if problem.reason == "expired" else ""
        complain(f"{place}: left as it is: {problem.message}{hint}")
    if not changed and not problems:
        complain(f"{visible(title)}: nothing to {method.__name__}")
    return REFUSED if problems else OK if changed else NOTHING


def _open(client: BlockingClient, step: str | None, *, undo: bool) -> None:
    """Open the store of the step, or of the next one: by its URL, where nobody may have it open any more."""
    found = client.call(requests.steps(step=step))
    if step is None:
        found = [one for one in found if (one.can_undo if undo else one.can_redo)]
        found = found[:1] if undo else sorted(found, key=lambda one: one.undone_at or 0.0)[-1:]
    for one in found:
        if ":" in one.connection:
            client.call(requests.open_url(one.connection))


def _address(connection: str, collection: Any, key: Any) -> str:
    """An address as near as there is one."""
    parts = [connection] if collection is None and key is None else [connection, collection or "", key]
    shown = ["…" if isinstance(part, Token) else part for part in parts if part is not None]
    return visible("/".join([*(encode_part(part) for part in shown[:2]), *shown[2:]]))


def steps(client: BlockingClient, options: argparse.Namespace) -> int:
    """List the steps."""
    found = [] if options.limit == 0 else client.call(requests.steps(limit=options.limit))
    if options.json:
        for step in found:
            say_json(_map(step))
    elif found:
        rows = [
            [step.step, f"{format_ttl(time.time() - step.at)} ago", _state(step), f"{step.count:,}", _title(step)]
            for step in found
        ]
        show_table([["STEP", "WHEN", "STATE", "KEYS", "WHAT"], *rows])
    else:
        complain("nothing was done that could be undone")
    return OK


def _state(step: Step) -> str:
    if step.state == "done" and not step.can_undo:
        return "for good"
    return step.state


def _title(step: Step) -> str:
    return visible(step.title or "-") + (f" ({visible(step.why)})" if step.why else "")


def _map(step: Step) -> dict[str, Any]:
    return asdict(step) | {"changes": [_change_map(change) for change in step.changes]}


def _change_map(change: StepChange) -> dict[str, Any]:
    """A change as JSON carries it: no bytes, and no names that cannot be addressed."""
    collection = None if isinstance(change.collection, Token) else change.collection
    key = None if isinstance(change.key, Token) else change.key
    value = None if change.value is None else change.value.decode()
    return asdict(change) | {"collection": collection, "key": key, "value": value}
