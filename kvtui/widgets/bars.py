"""The line above and the line below: where one is and how the daemon is, and which keys help here."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from kvtui.codecs import elide, printable
from kvtui.keymap import key_label
from kvtui.widgets.connection_list import TONE_STYLES
from kvtui.widgets.lines import Lines

__all__ = ["HintBar", "TopBar"]


class TopBar(Widget):
    """The line above: the program, the path to what is shown, and the daemon's state."""

    COMPONENT_CLASSES = {  # noqa: RUF012 - Textual's ClassVar
        "top--name",
        "top--path",
        "top--faint",
        *TONE_STYLES,
        "top--ready",
        "top--busy",
        "top--down",
        "top--production",
    }

    path: reactive[tuple[str, ...]] = reactive(())
    state: reactive[str] = reactive("starting")
    """"starting", "ready" or "away"."""
    retry_at: reactive[float] = reactive(0.0)
    production: reactive[bool] = reactive(default=False)
    tone: reactive[str | None] = reactive(None)
    """The colour of the connection."""
    trouble: reactive[str | None] = reactive(None)
    """The connection with its state, where that is "degraded" or "down"."""

    def on_mount(self) -> None:
        self.set_interval(1, self._tick)

    def _tick(self) -> None:
        if self.state == "away":
            self.refresh()

    def render_line(self, y: int) -> Strip:
        del y
        part = self.get_component_rich_style
        width = self.size.width
        sign, said, style = {
            "ready": ("●", "daemon ready", "top--ready"),
            "starting": ("◌", "starting the daemon", "top--busy"),
        }.get(self.state, ("◌", self._away(), "top--busy"))
        if self.state == "ready" and self.trouble:
            sign, said, style = "✕", printable(self.trouble), "top--down"
        warning = " PRODUCTION " if self.production else ""
        right = f"{sign} {said} "
        room = max(0, width - cell_len(right) - cell_len(warning) - 11)
        path = elide(" / ".join(printable(part) for part in self.path if part), room) if room > 3 else ""  # noqa: PLR2004 - a word
        tone = part(f"tone--{self.tone}", partial=True) if self.tone else Style.null()
        gap = max(1, width - 9 - cell_len(path) - cell_len(right) - cell_len(warning) - 1)
        return (
            Lines.strip(
                (" kvtui ", part("top--name", partial=True)),
                (" ", None),
                ("▎" if self.tone else " ", tone),
                (path, part("top--path", partial=True)),
                (" " * gap, None),
                (warning, part("top--production", partial=True) + Style(bgcolor=tone.color)),
                (" ", None),
                (right, part(style, partial=True)),
            )
            .adjust_cell_length(width)
            .apply_style(self.rich_style)
        )

    def _away(self) -> str:
        left = self.retry_at - time.time()
        return f"daemon away, again in {left:.0f}s" if left >= 1 else "daemon away, reconnecting"


class HintBar(Widget):
    """The line below: as many keys of the focused pane as there is room for, none of them cut. A click presses one."""

    COMPONENT_CLASSES = {"hint--key", "hint--label"}  # noqa: RUF012 - Textual's ClassVar

    hints: reactive[tuple[tuple[str, str], ...]] = reactive(())
    tail: reactive[tuple[tuple[str, str], ...]] = reactive(())
    """What is always shown, at the right."""

    def set_hints(self, hints: Sequence[tuple[str, str]], tail: Sequence[tuple[str, str]]) -> None:
        """Show other keys."""
        self.hints, self.tail = tuple(hints), tuple(tail)

    def render_line(self, y: int) -> Strip:
        del y
        width = self.size.width
        key = self.get_component_rich_style("hint--key", partial=True)
        label = self.get_component_rich_style("hint--label", partial=True)
        tail_width = sum(map(_width, self.tail))
        parts: list[tuple[str, Style | None]] = []
        used = 1
        parts.append((" ", None))

        def add(hint: tuple[str, str]) -> None:
            press = Style.from_meta({"@click": f"app.simulate_key('{hint[0]}')"})
            parts.extend([(key_label(hint[0]), key + press), (f" {hint[1]}", label + press), ("  ", None)])

        for hint in self.hints:
            if used + _width(hint) + tail_width > width:
                break
            used += _width(hint)
            add(hint)
        parts.append((" " * max(0, width - used - tail_width), None))
        for hint in self.tail:
            add(hint)
        return Lines.strip(*parts).adjust_cell_length(width).apply_style(self.rich_style)


def _width(hint: tuple[str, str]) -> int:
    return cell_len(key_label(hint[0])) + cell_len(hint[1]) + 3
