"""The program's own two themes, dark and light, registered beside those that Textual brings.

One hue leads the eye (periwinkle: focus, the cursor, what can be pressed). Green, amber and red mean only what they say:
alive, soon over, over or wrong. Greys carry all the rest. Text keeps a contrast of at least 4.5 to 1 on each
ground it stands on.
"""

from __future__ import annotations

from textual.theme import Theme

__all__ = ["DARK", "LIGHT"]

DARK = Theme(
    name="kvtui-dark",
    primary="#8ea2ff",
    secondary="#b794f6",
    accent="#8ea2ff",
    warning="#e5b566",
    error="#f07178",
    success="#86cf9c",
    foreground="#d7dce5",
    background="#12151b",
    surface="#171b23",
    panel="#1f2530",
    boost="#262d3a",
    dark=True,
    variables={
        "faint": "#8590a3",
        "line": "#333c4b",
        "json-name": "#9db2ff",
        "json-string": "#9ed3ad",
        "json-number": "#e3b77f",
        "json-word": "#d39bf0",
        "json-mark": "#76829a",
        "field": "#12151b",
        "cursor-ground": "#2b3550",
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
    warning="#8f5a00",
    error="#b3302f",
    success="#22733f",
    foreground="#262b33",
    background="#f3f1ec",
    surface="#fbfaf7",
    panel="#ebe7df",
    boost="#e2ddd2",
    dark=False,
    variables={
        "faint": "#646b77",
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
