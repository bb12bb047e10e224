"""Connections with their collections below them, as one list of lines. Knows what to draw, not where it comes from.

Those of a group stand below its heading, after those that are in none. A connection's colour runs down its left edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from kvd.model import Collection, ConnectionInfo
from kvtui.codecs import elide, printable
from kvtui.messages import Place
from kvtui.theme import TONES
from kvtui.widgets.lines import Lines

__all__ = ["TONE_STYLES", "Branch", "ConnectionList", "Node", "in_groups", "marks_of", "tone_of"]

TONE_STYLES = {f"tone--{name}" for name in TONES}
"""The component classes of connections' colours."""

STATES = {
    "idle": ("○", "lines--faint"),
    "connecting": ("◌", "state--busy"),
    "ready": ("●", "state--ready"),
    "degraded": ("◐", "state--busy"),
    "down": ("✕", "state--down"),
}


SHORT = {"production": "prod", "read-only": "r/o"}
"""Marks of connections where there is little room."""


def marks_of(info: ConnectionInfo) -> list[str]:
    """What one should know of a connection before anything is changed there, the stricter last."""
    return [mark for mark, there in (("production", info.production), ("read-only", info.read_only)) if there]


def tone_of(info: ConnectionInfo) -> str | None:
    """The colour that marks a connection. In production there always is one."""
    return info.colour if info.colour in TONES else "red" if info.production else None


def in_groups(rows: Sequence[ConnectionInfo]) -> list[ConnectionInfo]:
    """The connections in the order in which they are shown: those of no group first, groups in the order in which they come."""
    groups = list(dict.fromkeys(info.group or "" for info in rows))
    return sorted(rows, key=lambda info: groups.index(info.group) + 1 if info.group else 0)


@dataclass(slots=True)
class Branch:
    """A connection and what is known of its collections."""

    info: ConnectionInfo
    expanded: bool = False
    loading: bool = False
    complete: bool = False
    problem: Sequence[str] | None = None
    """Why it or its collections could not be read, and what to do, each a line."""
    troubled: bool = False
    """Whether it was degraded or down and is not ready again."""
    absence: str | None = None
    """That the bucket, table or folder was not there when the connection was opened, in half a sentence."""
    collections: dict[Collection, Place] = field(default_factory=dict)
    """By how the daemon is asked for them: names that are shown alike may be different ones."""

    def add(self, place: Place) -> Place:
        """Take up a collection; answers with its place, the known one when there is one."""
        return self.collections.setdefault(place.collection, place)

    def find(self, name: str) -> Place | None:
        """The collection of a name, or else the one that is shown so."""
        return self.collections.get(name) or next((place for place in self.places if place.name == name), None)

    @property
    def places(self) -> list[Place]:
        """The collections in their order; what is in none comes last."""
        return sorted(self.collections.values(), key=lambda place: (place.by_token, place.name))

    @property
    def note(self) -> str | None:
        """What stands below the connection where collections do not tell the whole story."""
        if self.problem is not None:
            return "cannot be read"
        if self.loading and not self.collections:
            return "reading…"
        if not self.collections:
            return "empty, a adds keys" if not self.info.read_only else "empty"
        return None if self.complete or self.loading else "and more"


@dataclass(frozen=True, slots=True)
class Node:
    """A line of the list: a connection, one of its collections, a note below it, or (of no connection) a group's heading."""

    connection: str
    place: Place | None = None
    note: str | None = None
    heading: str | None = None

    @property
    def is_connection(self) -> bool:
        """Whether the line is the connection itself."""
        return self.place is None and self.note is None and self.heading is None


class ConnectionList(Lines):
    """The list of connections and collections."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "state--ready",
        "state--busy",
        "state--down",
        "connection--name",
        "connection--group",
        *TONE_STYLES,
    }

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.branches: dict[str, Branch] = {}
        self.opened: Place | None = None
        """The collection whose keys are shown."""
        self._lines_shown: list[Node] = []

    @property
    def count(self) -> int:
        return len(self._lines_shown)

    @property
    def node(self) -> Node | None:
        """The line of the cursor."""
        return self._lines_shown[self.cursor] if self.cursor < len(self._lines_shown) else None

    def rebuild(self) -> None:
        """Take up that the branches changed; the cursor stays where it was."""
        before = self.node
        nodes: list[Node] = []
        group: str | None = None
        for name, branch in self.branches.items():
            if branch.info.group and branch.info.group != group:
                group = branch.info.group
                nodes += [Node("", heading=text) for text in ("", group)[not nodes :]]
            nodes.append(Node(name))
            if branch.expanded:
                nodes += [Node(name, place) for place in branch.places]
                if note := branch.note:
                    nodes.append(Node(name, note=note))
        self._lines_shown = nodes
        if before is not None and before in nodes:
            self.place_cursor(nodes.index(before))
        elif before is not None and Node(before.connection) in nodes:
            self.place_cursor(nodes.index(Node(before.connection)))
        else:
            self.place_cursor(self.cursor)
        self.changed()

    def is_heading(self, index: int) -> bool:
        return index < self.count and self._lines_shown[index].heading is not None

    def go_to(self, connection: str, place: Place | None = None) -> bool:
        """Put the cursor on a connection or a collection; False when it is not there."""
        node = Node(connection, place)
        if node not in self._lines_shown:
            return False
        self.cursor = self._lines_shown.index(node)
        return True

    def draw(self, index: int, width: int, *, at_cursor: bool) -> Strip:
        node = self._lines_shown[index]
        if node.heading is not None:
            return self.strip((f" {elide(printable(node.heading), width - 2)}", self.part("connection--group")))
        branch = self.branches[node.connection]
        tone = tone_of(branch.info)
        edge = ("▎", self.part(f"tone--{tone}")) if tone else (" ", None)
        faint = self.part("lines--faint")
        parts: list[tuple[str, Style | None]]
        if node.place is not None:
            open_here = node.place == self.opened
            text = elide(node.place.name, width - 5)
            parts = [
                (" ▸ " if open_here else "   ", self.part("lines--accent")),
                (text, self.part("lines--accent") if open_here else None),
            ]
        elif node.note is not None:
            parts = [("   ", None), (elide(node.note, width - 5), self.part("state--down") if branch.problem else faint)]
        else:
            parts = self._connection(branch, width)
        strip = self.strip(edge, *parts).adjust_cell_length(width)
        return self.mark_cursor(strip) if at_cursor else strip

    def _connection(self, branch: Branch, width: int) -> list[tuple[str, Style | None]]:
        info = branch.info
        sign, style = STATES.get(info.state, STATES["idle"])
        name = printable(info.name)
        marks = marks_of(info)
        labels = [" · ".join([info.store, *marks]), marks[-1] if marks else "", SHORT[marks[-1]] if marks else ""]
        label = next((label for label in labels if cell_len(name) + len(label) + 6 <= width), labels[-1])
        room = width - 4 - (len(label) + 2 if label else 1)
        name = elide(name, room)
        own = Style.null() if not info.production else self.part(f"tone--{tone_of(info)}")
        return [
            (f"{sign} ", self.part(style)),
            (name, self.part("connection--name") + own),
            (" " * max(1, width - 4 - cell_len(name) - len(label)), None),
            (f"{label} ", self.part("lines--faint")),
        ]
