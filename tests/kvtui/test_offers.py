"""What is offered is what does something here; what does not says why before anything is typed for it."""

import pytest

from kvtui import keymap
from tests.kvtui.conftest import stored
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


def footer(tui: Tui) -> str:
    return tui.text.splitlines()[-1]


async def test_what_has_no_ttl_is_not_asked_for_one(fake: Daemon) -> None:
    fake.traits = {"foreign_ttl": False}
    fake.put("scratch", "greetings", "alien", b"bytes", kind="file")
    async with running(fake.open) as tui:
        await tui.sees("greetings / alien")
        await tui.press("2")
        await tui.until(lambda: "d delete" in footer(tui) and "TTL" not in footer(tui))
        await tui.press("t")
        await tui.sees("This file can have no TTL in memory.")
        assert tui.app.screen is tui.browser
        await tui.press("j")
        await tui.until(lambda: "t TTL" in footer(tui))


async def test_of_marked_keys_those_get_a_ttl_that_can_have_one(fake: Daemon) -> None:
    fake.traits = {"foreign_ttl": False}
    fake.put("scratch", "greetings", "alien", b"bytes", kind="file")
    async with running(fake.open) as tui:
        await tui.sees("greetings / alien")
        await tui.press("2", "g", "v", "G", "v", "t")
        await tui.sees("2 marked keys", "Left alone: 1 that can have none.")
        await tui.type("90s\n")
        await tui.sees("TTL set to 1m30s for 2 keys.")
        assert stored(fake, "alien").expires_at is None


async def test_foreign_ttls_are_set_where_the_store_has_them(fake: Daemon) -> None:
    fake.traits = {"foreign_ttl": True}
    fake.put("scratch", "greetings", "alien", b"bytes", kind="hash")
    async with running(fake.open) as tui:
        await tui.sees("greetings / alien")
        await tui.press("2", "t")
        await tui.sees("Set TTL")


async def test_foreign_values_are_offered_to_be_copied_and_not_to_be_edited(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "alien", b"bytes", kind="hash")
    async with running(fake.open) as tui:
        await tui.sees("greetings / alien")
        await tui.press("2")
        await tui.until(lambda: "y copy" in footer(tui) and "edit" not in footer(tui))
        browser = tui.browser
        for name, why in (
            ("edit", "only shown"),
            ("rename", "renamed"),
            ("duplicate", "duplicated"),
            ("edit_external", "only"),
        ):
            assert why in (browser.why_not(keymap.command(f"entry.{name}")) or "")
        await tui.press("ctrl+p")
        await tui.type("in place")
        await tui.sees("e · This hash was not written by a store and is only shown.")
        await tui.press("escape")
        await tui.until(lambda: tui.app.screen is tui.browser)
        await tui.press("j")
        await tui.until(lambda: "e edit" in footer(tui))


async def test_what_is_too_large_for_the_editor_is_not_offered_to_it(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "a", {"text": "x" * 70_000})
    async with running(fake.open) as tui:
        await tui.sees("greetings / a")
        await tui.press("2")
        await tui.until(lambda: "t TTL" in footer(tui) and "e edit" not in footer(tui))
        await tui.press("e")
        await tui.sees("70.0 KB are too much to edit")


async def test_without_keys_nothing_is_offered_for_them(fake: Daemon) -> None:
    fake.data = {"scratch": {}, "local": {}}
    async with running(fake.open) as tui:
        await tui.sees("scratch", "a adds keys")
        await tui.press("2")
        await tui.until(lambda: "a add" in footer(tui))
        assert not [word for word in ("edit", "TTL", "delete", "copy", "filter", "mark") if word in footer(tui)]
        for key in ("e", "t", "d", "y", "c"):
            await tui.press(key)
            await tui.sees("There is no key here.")
            tui.app.clear_notifications()
            await tui.misses("There is no key here.")


async def test_the_help_screen_makes_faint_what_does_nothing_here(fake: Daemon) -> None:
    fake.read_only.add("scratch")
    async with running(fake.open) as tui:
        await tui.sees("greetings / hello")
        await tui.press("2", "question_mark")
        await tui.sees("Keys and commands")
        choices = {choice.value: choice for choice in tui.app.screen.query_one("Choices").all}  # type: ignore[attr-defined] # its own
        assert choices["entry.delete"].faint
        assert choices["browser.add"].faint
        assert not choices["entry.copy"].faint
