"""What is known of an entry beside its value: key, TTL, size, type and times."""

from __future__ import annotations

import time

from rich.text import Text
from textual.widgets import Static

from kvd.model import Record
from kvtui.codecs import printable, size_text
from kvtui.countdown import TENTHS_BELOW, left_text, moment_text, until_text, urgency
from kvtui.messages import Entry
from kvtui.widgets.key_list import kind_label

__all__ = ["EntryHead"]

TICK = 0.1


class EntryHead(Static):
    """The lines above a value. The TTL counts down."""

    COMPONENT_CLASSES = {  # noqa: RUF012 - Textual's ClassVar
        "head--key",
        "head--label",
        "head--text",
        "ttl--never",
        "ttl--far",
        "ttl--calm",
        "ttl--soon",
        "ttl--last",
        "ttl--over",
    }

    def __init__(self) -> None:
        super().__init__()
        self._entry: Entry | None = None
        self._record: Record | None = None
        self._second = 0
        self._lines = -1
        """How many lines are shown, each of them in one row; -1 where that is not known."""

    def on_mount(self) -> None:
        self.set_interval(TICK, self._tick)

    def show(self, entry: Entry | None, record: Record | None) -> None:
        """Show what is known of an entry."""
        self._entry, self._record = entry, record
        self._draw(time.time())

    def _tick(self) -> None:
        deadline = None if self._record is None else self._record.expires_at
        now = time.time()
        whole = int(now) != self._second
        self._second = int(now)
        if deadline is not None and (whole or -1 < deadline - now < TENTHS_BELOW):
            self._draw(now)

    def _style(self, name: str) -> str:
        return str(self.get_component_rich_style(name, partial=True))

    def _draw(self, now: float) -> None:
        entry, record = self._entry, self._record
        if entry is None or record is None:
            self._put(Text())
            return
        label, plain = self._style("head--label"), self._style("head--text")
        text = Text(overflow="fold")
        text.append(entry.label, self._style("head--key"))
        text.append("\nTTL      ", label)
        how = urgency(record.expires_at, now)
        left = "never expires" if record.expires_at is None else left_text(record.expires_at, now)
        text.append(left, self._style(f"ttl--{how.value}"))
        if record.expires_at is not None:
            when = "until" if record.expires_at > now else "at"
            text.append(f"  {when} {until_text(record.expires_at, now)}", label)
        text.append("\ntype     ", label)
        text.append(printable(kind_label(record.kind)), plain)
        text.append(f"  {size_text(record.size)}", label)
        if record.created_at is not None:
            text.append("\ncreated  ", label)
            text.append(moment_text(record.created_at), plain)
        self._put(text)

    def _put(self, text: Text) -> None:
        """Show a text, laying the screen out anew only where its height may be another one: that costs more than all else."""
        fits = all(line.cell_len <= self.size.width for line in text.split())
        lines = len(text.split()) if fits else -1
        self.update(text, layout=lines < 0 or lines != self._lines)
        self._lines = lines
