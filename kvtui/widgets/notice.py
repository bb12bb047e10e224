"""What a pane says when it has nothing to show: that it is empty, loading, away, or why it failed, and what helps."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.widgets import Static

from kvtui.codecs import printable
from kvtui.keymap import COMMANDS, key_label

__all__ = ["Notice"]


class Notice(Static):
    """A short text in the middle of a pane. Its text is never read as markup."""

    def say(self, headline: str, *lines: str, helps: str | None = None, to: str | None = None, wrong: bool = False) -> None:
        """Show a headline, lines below it, and the key of the command (by its id) that helps, with what it does here."""
        text = Text(justify="center")
        text.append(printable(headline), self._style("notice--wrong" if wrong else "notice--head"))
        for line in lines:
            text.append(f"\n\n{printable(line)}", self._style("notice--text"))
        if helps is not None:
            command = next(command for command in COMMANDS if command.id == helps)
            text.append("\n\n")
            key = command.keys.split(",")[0]
            press = Style.from_meta({"@click": f"app.simulate_key('{key}')"})
            text.append(key_label(key), Style.parse(self._style("notice--key")) + press)
            does = to or command.help[0].lower() + command.help[1:]
            text.append(f"  {does}", Style.parse(self._style("notice--text")) + press)
        self.update(text)

    COMPONENT_CLASSES = {"notice--head", "notice--text", "notice--key", "notice--wrong"}  # noqa: RUF012 - Textual's ClassVar

    def _style(self, name: str) -> str:
        return str(self.get_component_rich_style(name, partial=True))
