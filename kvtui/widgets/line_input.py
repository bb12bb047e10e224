"""Lines to type in: nothing that stands in one, typed, pasted or a key's own name, reaches the terminal as a command to it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from kvtui.codecs import signs

__all__ = ["Field", "LineInput"]


class Field(Input):
    """A line to type in."""

    @property
    def _value(self) -> Text:
        """What is drawn for the value; Textual draws it as it is."""
        return Text(signs(self.value), no_wrap=True, overflow="ignore", end="")


class LineInput(Field):
    """A line whose keys take effect in the order in which they come, however fast. Enter submits it, escape leaves it."""

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
