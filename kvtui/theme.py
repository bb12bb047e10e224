"""The program's own two themes, dark and light, registered beside those that Textual brings.

One hue leads the eye (periwinkle: focus, the cursor, what can be pressed). Green, amber and red mean only what they say:
alive, soon over, over or wrong. Greys carry all the rest. Text keeps a contrast of at least 4.5 to 1 on each
ground it stands on.

Connections may have a colour of their own, one of `TONES` by its name; it marks them and means nothing else.
"""

from __future__ import annotations

from textual.theme import Theme

__all__ = ["DARK", "HIGH_FROM", "LIGHT", "THREE_FROM", "TONES", "TWO_FROM", "ansi_variables", "tone_variables"]

THREE_FROM, TWO_FROM = 110, 70
"""Columns from which three and two panes stand side by side."""
HIGH_FROM = 18
"""Rows from which there is room for air."""

TONES: dict[str, tuple[str, str]] = {
    "red": ("#f3797f", "#b3302f"),
    "orange": ("#f0a070", "#9c4a06"),
    "yellow": ("#e6d06c", "#7a5f00"),
    "green": ("#86cf9c", "#20703d"),
    "cyan": ("#6cc8d4", "#0a6875"),
    "blue": ("#7db2ff", "#1f5bbd"),
    "purple": ("#b794f6", "#7a3fb0"),
    "pink": ("#f095c5", "#a82c73"),
    "grey": ("#a3adbd", "#5a616c"),
}
"""The colours of connections: on dark ground, and on light."""


def tone_variables(*, dark: bool) -> dict[str, str]:
    """The colours of connections as a theme's variables."""
    return {f"tone-{name}": on_dark if dark else on_light for name, (on_dark, on_light) in TONES.items()}


def ansi_variables(*, dark: bool) -> dict[str, str]:
    """Our own colours out of the terminal's sixteen, which cannot be mixed."""
    return {
        "faint": "ansi_bright_black",
        "line": "ansi_bright_black",
        "json-name": "ansi_blue",
        "json-string": "ansi_green",
        "json-number": "ansi_yellow",
        "json-word": "ansi_magenta",
        "json-mark": "ansi_bright_black",
        "field": "ansi_black" if dark else "ansi_white",
        "cursor-ground": "ansi_blue" if dark else "ansi_bright_cyan",
        "cursor-idle": "ansi_black" if dark else "ansi_white",
    }


DARK = Theme(
    name="kvtui-dark",
    primary="#8ea2ff",
    secondary="#b794f6",
    accent="#8ea2ff",
    warning="#e5b566",
    error="#f3797f",
    success="#86cf9c",
    foreground="#d7dce5",
    background="#12151b",
    surface="#171b23",
    panel="#1f2530",
    boost="#262d3a",
    dark=True,
    variables={
        "faint": "#8e99ac",
        "line": "#333c4b",
        "json-name": "#9db2ff",
        "json-string": "#9ed3ad",
        "json-number": "#e3b77f",
        "json-word": "#d39bf0",
        "json-mark": "#76829a",
        "field": "#12151b",
        "cursor-ground": "#273049",
        "cursor-idle": "#212836",
        "block-cursor-background": "#8ea2ff",
        "block-cursor-foreground": "#12151b",
        "input-selection-background": "#8ea2ff 30%",
        "scrollbar": "#333c4b",
        "scrollbar-hover": "#465066",
        "scrollbar-active": "#8ea2ff",
        "scrollbar-background": "#171b23",
        "scrollbar-background-hover": "#171b23",
        "scrollbar-background-active": "#171b23",
        "scrollbar-corner-color": "#171b23",
        "border": "#8ea2ff",
        "border-blurred": "#333c4b",
    },
)

LIGHT = Theme(
    name="kvtui-light",
    primary="#3d55c9",
    secondary="#7a3fb0",
    accent="#3d55c9",
    warning="#8a5600",
    error="#b3302f",
    success="#20703d",
    foreground="#262b33",
    background="#f3f1ec",
    surface="#fbfaf7",
    panel="#ebe7df",
    boost="#e2ddd2",
    dark=False,
    variables={
        "faint": "#5d6470",
        "line": "#cfc9bd",
        "json-name": "#3047b5",
        "json-string": "#22693b",
        "json-number": "#8a4b00",
        "json-word": "#7a3fb0",
        "json-mark": "#6c7380",
        "field": "#fdfcfa",
        "cursor-ground": "#dce1f8",
        "cursor-idle": "#ebe8e1",
        "block-cursor-background": "#3d55c9",
        "block-cursor-foreground": "#fbfaf7",
        "input-selection-background": "#3d55c9 25%",
        "scrollbar": "#cfc9bd",
        "scrollbar-hover": "#b3ac9e",
        "scrollbar-active": "#3d55c9",
        "scrollbar-background": "#fbfaf7",
        "scrollbar-background-hover": "#fbfaf7",
        "scrollbar-background-active": "#fbfaf7",
        "scrollbar-corner-color": "#fbfaf7",
        "border": "#3d55c9",
        "border-blurred": "#cfc9bd",
    },
)
