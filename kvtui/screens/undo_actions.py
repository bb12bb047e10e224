"""Undoing what was done, and doing it again: a part of the browser screen, kept apart for its size.

What a step is and which one is meant is in `kvtui.history`, the list of all of them in `kvtui.screens.journal`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual import work

from kvd import requests
from kvd.errors import DaemonError
from kvd.model import Step
from kvtui import operations
from kvtui.codecs import elide
from kvtui.countdown import until_text
from kvtui.history import REDO, UNDO, Outcome, Way, name_of, reason_of, summary, title_of
from kvtui.messages import Place
from kvtui.screens.dialogs import Answer, Ask
from kvtui.screens.entry_actions import EntryActions
from kvtui.screens.journal import JournalScreen

__all__ = ["UndoActions"]

FEW = 20
"""Steps that are asked for at first: nearly always the one that is meant is among them."""


class UndoActions(EntryActions):
    """The actions on what was done, for the browser screen."""

    @work(group="undo")
    async def action_undo(self) -> None:
        await self._travel_latest(UNDO)

    @work(group="undo")
    async def action_redo(self) -> None:
        await self._travel_latest(REDO)

    @work(exclusive=True, group="ask")
    async def action_journal(self) -> None:
        self.app.clear_notifications()  # they would cover the commands
        await self.app.push_screen_wait(JournalScreen(self.session, self.travel))

    async def _travel_latest(self, way: Way) -> None:
        if self.value_pane.edited is not None:
            self.say("A value is being edited: there ctrl+z undoes what was typed.", wrong=True)
            return
        if self._is_busy():
            return
        history = self.session.history
        async with history.turn:
            try:
                step = self._picked(way, await self.session.call(requests.steps(limit=FEW)))
                if step is None:
                    step = self._picked(way, await self.session.call(requests.steps()))
            except DaemonError as error:
                self.say(reason_of(error), wrong=True)
                return
            if step is None:
                gone = " The daemon was started anew, and what it could undo left with the other one."
                self.say(f"There is nothing to {way.verb}." + (gone if history.lost else ""), wrong=True)
            elif history.is_own(step) or await self._may_touch(way, step):
                await self._travel(way, step)

    def _picked(self, way: Way, steps: list[Step]) -> Step | None:
        """The step that is meant, among those on connections that are here: of what was opened by URL some may not be."""
        return self.session.history.pick(way, [step for step in steps if self.info(step.connection) is not None])

    async def travel(self, way: Way, step: Step) -> None:
        """Undo a step, or do it again, asking where the step itself would have asked, and say what became of it."""
        if not self._is_busy():
            async with self.session.history.turn:
                await self._travel(way, step)

    def _is_busy(self) -> bool:
        """Whether many keys are being changed, which is waited for; says so. Else impatience would undo another step."""
        for doing in self.keys_pane.doing.values():
            self.say(f"Still {doing}.", wrong=True)
        return bool(self.keys_pane.doing)

    async def _may_touch(self, way: Way, step: Step) -> bool:
        """Ask before something is undone that was not done here."""
        lines = [f"Done {until_text(step.at, time.time())}, by another program or an earlier run."]
        answers = [Answer("cancel", "Cancel"), Answer("go", way.verb.capitalize(), "primary")]
        question = Ask(f"{way.verb.capitalize()} what was not done here?", lines, answers, names=[title_of(step)])
        return await self._answer(question) == "go"

    async def _answer(self, question: Ask) -> str | None:
        """Ask something. What was said before, such as which key undoes it, would only cover the answers."""
        self.app.clear_notifications()
        return await self.app.push_screen_wait(question)

    async def _travel(self, way: Way, step: Step) -> None:
        info, count = self.info(step.connection), way.to_do(step)
        if info is None or info.read_only:
            self.say(f"{step.connection} is {'not open here' if info is None else 'read-only'}.", wrong=True)
            return
        if info.production and count > 1:
            question = Ask(
                f"{way.verb.capitalize()} this for {count:,} keys?",
                [f"in {elide(step.connection, 56)}"],
                [Answer("cancel", "Cancel"), Answer("go", f"{way.verb.capitalize()} {count:,} keys", "error")],
                names=[title_of(step)],
                must_type=str(count),
            )
            if await self._answer(question) != "go":
                return
        outcome = await self._carried_out(way, step)
        expired = [name_of(problem) for problem in outcome.problems if problem.reason == "expired"]
        if expired and await self._wants_back(expired):
            again = await self._carried_out(way, step, never_expire=True)
            others = [problem for problem in outcome.problems if problem.reason != "expired"]
            outcome = Outcome(outcome.changed + again.changed, [*others, *again.problems], again.error)
        self.say(summary(way, step, outcome), wrong=bool(outcome.problems or outcome.error or not outcome.changed))
        self._follow(way, step, outcome)
        self._hint()

    async def _carried_out(self, way: Way, step: Step, *, never_expire: bool = False) -> Outcome:
        with self.progress(way.doing, way.to_do(step)) as told:
            return await operations.travel(self.session, way, step, told, never_expire=never_expire)

    async def _wants_back(self, names: Sequence[str]) -> bool:
        """Ask whether what would be expired by now is wanted without a TTL."""
        many = len(names) > 1
        title = f"{len(names):,} keys have expired since" if many else "This key has expired since"
        lines = ["Their deadline has passed." if many else "Its deadline has passed.", "They can come back without a TTL."]
        if not many:
            lines[1] = "It can come back without a TTL."
        answers = [Answer("cancel", "Cancel"), Answer("back", "Bring back without TTL", "primary")]
        return await self._answer(Ask(title, lines, answers, names=names)) == "back"

    def _follow(self, way: Way, step: Step, outcome: Outcome) -> None:
        """Keep the cursor on a key that has its other name back."""
        written = [change for change in step.changes if change.operation == "put"]
        deleted = [change for change in step.changes if change.operation == "delete"]
        pane = self.keys_pane
        if not (len(written) == len(deleted) == 1 and step.count == outcome.changed == 2) or pane.place is None:  # noqa: PLR2004 - a rename
            return
        left, came = (written[0], deleted[0]) if way is UNDO else (deleted[0], written[0])
        here = Place.named(step.connection, left.collection) if isinstance(left.collection, str) else None
        if pane.place == here and pane.content.current == left.key and isinstance(came.key, str):
            pane.describe([came.key])
            pane.go_to(came.key)
