"""Groups and colours of connections: where they stand, and how they are marked."""

import asyncio

import pytest
from rich.color import ColorSystem
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from kvd.config import COLOURS
from kvtui.screens.pick import Choices
from kvtui.theme import DARK, LIGHT, TONES, tone_variables
from kvtui.widgets.bars import TopBar
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


@pytest.fixture
def many() -> Daemon:
    """Four connections in two groups, and one in none."""
    daemon = Daemon()
    daemon.data = {name: {} for name in ("orders", "old", "loose", "carts", "tokens")}
    daemon.groups = {"orders": "live", "old": "archive", "carts": "live", "tokens": "live"}
    daemon.colours = {"carts": "cyan", "tokens": "orange"}
    daemon.production = {"tokens", "orders"}
    for name in daemon.data:
        daemon.put(name, "c", "k", {})
    return daemon


def listed(tui: Tui) -> list[str]:
    return [line.strip("│╭╮ ").split("  ")[0] for line in tui.pane(0).splitlines()[1:12]]


def style_at(tui: Tui, text: str, *, before: int = 0) -> Style:
    """How the first character of a text in the list is drawn, or one before it."""
    strips = tui.app.screen._compositor.render_strips()
    line = next(strip for strip in strips if text in strip.crop(0, 30).text)
    at = line.text.index(text) - before
    return next(iter(line.crop(at, at + 1))).style or Style()


async def test_groups_stand_below_their_heading(many: Daemon) -> None:
    async with running(many.open) as tui:
        await tui.sees("loose")
        assert listed(tui)[:9] == ["● loose", "", "live", "▎● orders", "▎● carts", "▎● tokens", "", "archive", "● old"]


async def test_the_cursor_never_stands_on_a_heading(many: Daemon) -> None:
    async with running(many.open) as tui:
        await tui.sees("loose")
        listing = tui.browser.sidebar.content
        seen = []
        for key in ["g", *"jjjjj", "kkkkk"[0], *"kkkk", "G", "home", "end", "ctrl+u"]:
            await tui.press(key)
            assert listing.node is not None
            seen.append(listing.node.connection)
        down = ["orders", "carts", "tokens", "old", "old"]
        assert seen == ["loose", *down, "tokens", "carts", "orders", "loose", "loose", "old", "loose", "old", "loose"]
        await tui.pilot.click(listing, offset=(3, 2))
        assert listing.node == listing._lines_shown[0]


async def test_headings_come_into_sight_with_the_first_below_them(many: Daemon) -> None:
    many.groups["loose"] = "other"
    async with running(many.open, size=(120, 10)) as tui:
        await tui.sees("live")
        await tui.press("G")
        await tui.misses("live")
        await tui.press("g")
        await tui.sees("live")


async def test_a_colour_marks_the_connection_and_in_production_the_frame(many: Daemon) -> None:
    async with running(many.open) as tui:
        await tui.sees("loose")
        dark = {name: Color.parse(on_dark) for name, (on_dark, _) in TONES.items()}
        for name, colour in (("carts", "cyan"), ("tokens", "orange"), ("orders", "red")):
            assert style_at(tui, f"▎● {name}").color == dark[colour].rich_color
        assert style_at(tui, "carts").color != dark["cyan"].rich_color, "only production wears it on its name"
        assert style_at(tui, "tokens").color == dark["orange"].rich_color
        await tui.press(*"gjjj", "enter")
        await tui.sees("PRODUCTION")
        await tui.until(lambda: tui.browser.sidebar.styles.border_top[1] == dark["orange"])
        assert tui.browser.query_one(TopBar).tone == "orange"
        await tui.press("k")
        await tui.misses("PRODUCTION")
        await tui.until(lambda: tui.browser.sidebar.styles.border_top[1] not in dark.values())
        assert tui.browser.query_one(TopBar).tone == "cyan"


def test_each_colour_that_can_be_configured_has_a_tone() -> None:
    assert tuple(TONES) == COLOURS


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_colours_can_be_read_on_each_ground(theme: Theme) -> None:
    own = theme.variables
    grounds = [theme.surface, theme.background, theme.panel, own["cursor-ground"], own["cursor-idle"]]
    colours = [theme.primary, theme.secondary, theme.warning, theme.error, theme.success, theme.foreground, own["faint"]]
    for colour in [*colours, *tone_variables(dark=theme.dark).values()]:
        for ground in grounds:
            assert contrast(Color.parse(colour or ""), Color.parse(ground or "")) >= 4.5, (colour, ground)


def contrast(one: Color, other: Color) -> float:
    """The contrast of two colours as the WCAG reckons it."""

    def luminance(colour: Color) -> float:
        parts = (part / 255 for part in colour.rgb)
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


async def test_the_cursor_is_seen_in_sixteen_colours(many: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(many.open) as tui:
        await tui.sees("loose")
        monkeypatch.setattr(tui.app.console, "_color_system", ColorSystem.STANDARD)
        tui.browser.sidebar.content.refresh()
        await tui.until(lambda: style_at(tui, "● loose").reverse)
        await tui.press("2")
        await tui.until(lambda: style_at(tui, "● loose").underline and not style_at(tui, "● loose").reverse)
        await tui.press("question_mark")
        await tui.sees("Keys and commands")
        choices = tui.app.screen.query_one(Choices)
        assert all(style.reverse for _, style, _ in choices.draw(choices.cursor, 60, at_cursor=True) if style)


async def test_what_is_said_of_a_connection_is_what_was_found(many: Daemon) -> None:
    many.data["loose"].clear()
    many.hold["scan_collections"] = asyncio.Event()
    async with running(many.open) as tui:
        await tui.sees("enter  open it")
        await tui.press("enter")
        await tui.sees("go to its collections")
        many.hold["scan_collections"].set()
        await tui.sees("a  add a key")
