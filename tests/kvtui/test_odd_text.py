"""Texts that would command the terminal, hide, or be read as markup: in every place where one can stand."""

import re

import pytest
from textual import events
from textual.command import CommandPalette

from kvd.errors import RequestError
from kvtui.codecs import signs
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio

ODD = "a\x1b[31mb\nc\x9b5m\u202ed\udcff\t"
COMMANDS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


def clean(tui: Tui) -> bool:
    return COMMANDS.search(tui.text) is None


def test_signs_keep_places() -> None:
    assert signs("plain") == "plain"
    assert signs(ODD) == "a␛[31mb␊c\ufffd5m\ufffdd\ufffd␉"
    assert signs("é你") == "é你"


async def test_odd_names_are_renamed_duplicated_and_gone_to(fake: Daemon) -> None:
    keys = fake.data["scratch"]["greetings"] = {}
    fake.data["scratch"]["odd\n\x1b/"] = keys
    fake.put("scratch", "greetings", ODD, {"here": "yes"})
    async with running(fake.open) as tui:
        await tui.sees('"here": "yes"')
        for key, title in (("R", "─ Rename"), ("D", "─ Duplicate")):  # in the frame: a message says "Renamed"
            await tui.press("2", key)
            await tui.sees(title)
            assert clean(tui)
            await tui.type("x")
            await tui.press("ctrl+s" if key == "D" else "enter")
            await tui.misses(title)
            assert clean(tui)
        await tui.until(lambda: set(keys) == {f"{ODD}x", f"{ODD}xx"})
        await tui.press("1", "j")
        await tui.sees("scratch / odd␊␛/")
        await tui.press("colon")
        await tui.sees("Go to", "scratch/odd%0A%1B%2F/")


async def test_what_is_pasted_commands_nothing(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        for key in ("slash", "colon", "a", "e"):
            await tui.press("2", key)
            await tui.pilot.pause()
            tui.app.post_message(events.Paste("pasted\x1b[31m\x9b\u202e\x07"))
            await tui.sees("pasted␛[31m")
            assert clean(tui)
            await tui.press("escape")
            if key == "e":
                await tui.sees("Discard")
                await tui.press("right", "enter")
            await tui.misses("pasted")


async def test_errors_and_names_of_connections_command_nothing_and_are_no_markup(fake: Daemon) -> None:
    name = "redis://[::1]:6379/[red]0\x1b[31m"
    fake.data = {name: {"[bold]c[/bold]\\": {}}}
    fake.read_only.add(name)
    fake.put(name, "[bold]c[/bold]\\", "[b]k\\[/b]\\", {}, kind="[u]kind\x1b[1m")
    async with running(fake.open) as tui:
        await tui.sees("redis://[::1]", "─ [bold]c[/bold]\\ ─", "[b]k\\[/b]\\", "[u]kind␛[1m")
        await tui.press("2", "d")
        await tui.sees("[::1]:6379/[red]0␛[31m is read-only.")
        await tui.press("ctrl+p")
        await tui.until(lambda: isinstance(tui.app.screen, CommandPalette))
        await tui.type("delete the key")
        await tui.sees("redis://[::1]:6379/[red]0␛[31m is read-only.")
        assert clean(tui)
        await tui.press("escape", "escape")
        fake.fail["scan_keys"] = fake.fail["read"] = RequestError("unreachable", "no \x1b[31m [red]route[/red]")
        fake.data[name]["[bold]c[/bold]\\"].clear()
        await tui.press("r")
        await tui.sees("no ␛[31m [red]route[/red]")
        assert clean(tui)
