"""What dialogs show and where they begin; that they do no harm is in the tests of what they ask about."""

import pytest

from tests.kvtui.conftest import open_in_production
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def edit_hello(tui: Tui, *, line: int = 1) -> None:
    await tui.sees('"to": "world"')
    await tui.press("2", "e", *["down"] * line, "end", "left")
    await tui.sees("value · editing")
    await tui.press("!")


async def test_a_lost_race_marks_what_the_others_changed(fake: Daemon) -> None:
    fake.put("scratch", "greetings", "hello", {"from": "me", "to": "world"})
    async with running(fake.open) as tui:
        await edit_hello(tui, line=2)
        fake.put("scratch", "greetings", "hello", {"from": "them", "to": "world"})
        await tui.press("ctrl+s")
        await tui.sees("what they changed marked", '2▎   "from": "them"', '3    "to": "world"')


async def test_an_edit_of_a_key_that_is_gone_says_so_when_it_goes_on(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await edit_hello(tui)
        del fake.data["scratch"]["greetings"]["hello"]
        await tui.press("ctrl+s")
        await tui.sees("Create it again")
        await tui.press("escape")
        await tui.sees("Not saved yet: this key is gone.")


async def test_in_production_the_count_is_typed_before_many_keys_go(fake: Daemon) -> None:
    fake.production.add("scratch")
    async with running(fake.open) as tui:
        await open_in_production(tui)
        await tui.press("space", "space", "d")
        await tui.sees("type 2 to go on")
        await tui.press("right", "enter")
        assert len(fake.data["scratch"]["greetings"]) == 2
        await tui.press("left", "3", "enter", "enter")
        assert len(fake.data["scratch"]["greetings"]) == 2
        await tui.press("backspace", "2", "enter", "enter")
        await tui.sees("2 keys deleted.")


async def test_the_keys_of_a_prompt_stay_in_sight_while_it_is_answered(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "t")
        await tui.type("2h")
        await tui.sees("expires 20", "enter accepts · esc leaves")


@pytest.mark.parametrize(("kind", "size"), [("hash", 10), ("entry", 1_100_000)])
async def test_what_cannot_be_duplicated_is_said(fake: Daemon, kind: str, size: int) -> None:
    fake.put("scratch", "greetings", "a", {"text": "x" * size}, kind=kind)
    async with running(fake.open) as tui:
        await tui.sees("greetings / a")
        await tui.until(lambda: tui.browser.value_pane.record)
        await tui.press("2", "D")
        await tui.sees("duplicate")


async def test_the_bytes_are_shown_from_the_list_of_keys_too(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "x")
        await tui.sees("7b 22 74 6f")
        await tui.press("x")
        await tui.sees('"to": "world"')


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 14)])
async def test_all_answers_are_in_sight_however_much_is_asked_about(fake: Daemon, size: tuple[int, int]) -> None:
    name = "a" * 300
    fake.put("scratch", "greetings", name, {"n": 0})
    async with running(fake.open, size=size) as tui:
        await tui.sees("greetings")
        await tui.press("enter")
        await tui.until(lambda: tui.browser.value_pane.record)
        await tui.press("e")
        await tui.until(lambda: tui.browser.value_pane.edited)
        fake.put("scratch", "greetings", name, {"many": list(range(40))})
        await tui.press("ctrl+s")
        await tui.sees("aaaa", "Keep editing", "Take theirs", "Overwrite")


async def test_a_long_name_hides_none_of_those_that_go_with_it(fake: Daemon) -> None:
    for name in ("a" * 300, "b", "c" * 2000, "d"):
        fake.put("local", "users", name, {})
    fake.data["local"]["users"] = {name: one for name, one in fake.data["local"]["users"].items() if len(name) != 7}
    async with running(fake.open, size=(80, 24)) as tui:
        await tui.sees("scratch")
        tui.browser._go_to("local", "users", None)
        await tui.sees("4 keys")
        await tui.press("2", "g", "v", "G", "v", "d")
        await tui.sees("Delete 4 keys?", "in local / users")
        named = tui.within(tui.app.screen.query_one(".dialog--names")).splitlines()
        assert {"b", "d"} <= {line.strip() for line in named}


async def test_what_is_wrong_with_a_new_key_is_in_sight_on_a_low_screen(fake: Daemon) -> None:
    async with running(fake.open, size=(80, 20)) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key in scratch")
        await tui.type("hello")
        await tui.press("ctrl+s")
        await tui.sees("is there already")


async def test_in_a_small_terminal_what_is_typed_and_answered_is_in_sight(fake: Daemon) -> None:
    fake.production.add("scratch")
    fake.put("scratch", "greetings", "hello", {"to": "world"})
    async with running(fake.open, size=(40, 12)) as tui:
        await open_in_production(tui)
        await tui.press("space", "space", "d")
        await tui.sees("type 2 to go on", "Cancel", "Delete 2 keys")
        await tui.press("escape", "a")
        await tui.sees("New key", "collection", "key", "TTL", "value", "1  {", "3  }", "ctrl+s creates")
        await tui.press("escape", "g", "enter")
        await tui.sees('"to": "world"')
        await tui.press("e", "space")
        fake.put("scratch", "greetings", "hello", {"to": "others"})
        await tui.press("ctrl+s")
        await tui.sees("Keep editing")
        await tui.press("right", "right")
        await tui.sees("Overwrite")


async def test_a_dialog_stays_while_the_terminal_changes_its_size(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "a")
        await tui.sees("New key")
        await tui.type("one")
        for size in ((40, 12), (20, 6), (200, 60), (80, 24)):
            await tui.pilot.resize_terminal(*size)
            await tui.pilot.pause()
        await tui.sees("New key", "one", "ctrl+s creates")
        await tui.press("ctrl+s")
        await tui.sees("Created one.")
