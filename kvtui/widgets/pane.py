"""The frame of the three panes: a title, a subtitle, and either content or a notice."""

from __future__ import annotations

from rich.cells import cell_len
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from kvtui.codecs import elide, printable
from kvtui.widgets.notice import Notice

__all__ = ["Pane"]


class Pane(Vertical):
    """A framed pane. Subclasses compose a `Notice` and their content."""

    _title = ""
    _notes: tuple[str, ...] = ()

    @property
    def notice(self) -> Notice:
        """The pane's notice."""
        return self.query_one(Notice)

    @property
    def content(self) -> Widget:
        """What is shown when there is something to show; it takes the focus."""
        raise NotImplementedError

    @property
    def is_noticing(self) -> bool:
        """Whether the notice is shown instead of the content."""
        return self.has_class("-notice")

    def show_content(self) -> None:
        """Show the content."""
        self.remove_class("-notice")

    def say(self, headline: str, *lines: str, helps: str | None = None, to: str | None = None, wrong: bool = False) -> None:
        """Show a notice instead of the content. The content keeps the focus, so that keys work on."""
        self.notice.say(headline, *lines, helps=helps, to=to, wrong=wrong)
        self.add_class("-notice")

    def caption(self, title: str, *notes: str) -> None:
        """Set the title above, and below as many of the notes as there is room for; they are never read as markup."""
        self._title, self._notes = title, notes
        room = max(4, self.size.width - 4)
        self.border_title = Content(elide(printable(title), room))
        shown = notes
        while len(shown) > 1 and cell_len(" · ".join(shown)) > room:
            shown = shown[:-1]
        self.border_subtitle = Content(elide(" · ".join(shown), room))

    def on_resize(self) -> None:
        self.caption(self._title, *self._notes)

    def on_click(self) -> None:
        """Take the focus wherever it is clicked, on what is said as well."""
        if self.screen.focused is None or self not in self.screen.focused.ancestors_with_self:
            self.focus_content()

    def focus_content(self) -> None:
        """Give the pane the focus, at once: keys that are typed ahead already mean the new pane."""
        self.screen.set_focus(self.content)
