"""A line to type in whose keys take effect in the order in which they come, however fast."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

__all__ = ["LineInput"]


class LineInput(Input):
    """A line to type in. Enter submits it, escape leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]
    ENDS: ClassVar[frozenset[str]] = frozenset({"enter", "escape"})
    """The keys after which the focus may go elsewhere."""

    class Left(Message):
        """The reader wants out of the line."""

    async def _on_key(self, event: events.Key) -> None:
        """Carry out keys that are no characters at once: the key that is typed behind them may be one."""
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            event.stop()
            event.prevent_default()  # the line's own handler
            await self.run_action(binding.action)
            return

    def action_leave(self) -> None:
        self.post_message(self.Left())
