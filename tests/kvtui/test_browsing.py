import asyncio
import re
import time

import pytest
import time_machine

from kvd.errors import RequestError
from kvtui.session import Target
from tests.kvtui.conftest import go_to, open_users
from tests.tuikit.drive import running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


async def test_the_first_screen_shows_connections_keys_and_a_value(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("scratch", "local", "greetings", "users", "hello", "morning", '"to": "world"', "2 keys", "daemon ready")


async def test_the_cursor_updates_the_value(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        await tui.press("2", "j")
        await tui.sees('"to": "ada"', "never expires")


async def test_values_are_read_where_the_cursor_rests(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(fake.open) as tui:
        await open_users(tui)
        await tui.sees('"number": 0')
        fake.calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr("kvtui.widgets.value_reader.SETTLE_SECONDS", 60)
            await tui.press("j", "j", "j")
            assert "read" not in fake.calls
        await tui.press("j")
        await tui.sees('"number": 4')
        assert fake.calls.count("read") == 1


@pytest.mark.parametrize(
    ("width", "first", "then"),
    [(120, {0, 1, 2}, {0, 1, 2}), (110, {0, 1, 2}, {0, 1, 2}), (109, {0, 1}, {1, 2}), (70, {0, 1}, {1, 2}), (69, {0}, {2})],
)
async def test_as_many_panes_as_there_is_room_for(fake: Daemon, width: int, first: set[int], then: set[int]) -> None:
    async with running(fake.open, size=(width, 24)) as tui:
        await tui.sees("scratch")
        panes = tui.browser.panes
        assert {number for number, pane in enumerate(panes) if pane.display} == first
        await tui.press("3")
        assert {number for number, pane in enumerate(panes) if pane.display} == then
        await tui.press("plus")
        assert {number for number, pane in enumerate(panes) if pane.display} == {2}
        await tui.press("plus", "tab")
        assert tui.browser.sidebar.content.has_focus


async def test_one_pane_after_the_other_on_a_narrow_terminal(fake: Daemon) -> None:
    async with running(fake.open, size=(60, 24)) as tui:
        await tui.sees("greetings")
        await tui.press("enter")
        await tui.sees("hello", "2 keys")
        await tui.press("enter")
        await tui.sees('"to": "world"')
        await tui.press("escape", "escape")
        await tui.sees("connections")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("7", "3 of 30"),
        ("user:2*", "10 of 30"),
        ("re:0$", "3 of 30"),
        ("~u29", "1 of 30"),
        ("nothing", "No key matches nothing"),
    ],
)
async def test_filters_narrow_the_keys(fake: Daemon, typed: str, shown: str) -> None:
    async with running(fake.open) as tui:
        await open_users(tui)
        await tui.sees("30 keys")
        await tui.press("slash")
        await tui.type(typed)
        await tui.sees(shown)
        await tui.press("enter", "escape")
        await tui.sees("30 keys")


async def test_a_broken_filter_says_so_and_filters_nothing(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "slash")
        await tui.type("re:(")
        await tui.sees("broken regular expression")
        assert "hello" in tui.pane(1)


async def test_sorting_goes_through_the_columns(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "s")
        await tui.sees("↑ TTL")
        await tui.press("S")
        await tui.sees("↓ TTL")
        assert tui.pane(1).index("morning") < tui.pane(1).index("hello")


async def test_the_cursor_stays_on_its_key_when_others_come(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "j")
        await tui.sees('"to": "ada"')
        fake.put("scratch", "greetings", "aaa", {"new": True})
        fake.announce("put", "scratch", "greetings", "aaa")
        await tui.sees("3 keys")
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "morning"


async def test_changes_of_others_appear(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees('"to": "world"')
        fake.put("scratch", "greetings", "hello", {"to": "everyone"})
        fake.announce("put", "scratch", "greetings", "hello")
        await tui.sees('"to": "everyone"')
        del fake.data["scratch"]["greetings"]["hello"]
        fake.announce("delete", "scratch", "greetings", "hello")
        await tui.sees("1 key")
        assert "hello" not in tui.pane(1)
        await tui.sees('"to": "ada"')


async def test_a_collection_that_someone_starts_appears(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        fake.put("local", "brand-new", "first", {})
        fake.announce("put", "local", "brand-new", "first")
        await tui.sees("brand-new")


async def test_ttls_count_down_and_an_expired_row_leaves(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        with time_machine.travel(time.time(), tick=False) as clock:
            fake.put("scratch", "greetings", "brief", {"x": 1}, ttl=12)
            fake.announce("put", "scratch", "greetings", "brief")
            await tui.until(lambda: re.search(r"brief +12s", tui.text), "seconds")
            clock.shift(9.05)
            await tui.until(lambda: re.search(r"brief +2\.9s", tui.text), "tenths of a second")
            clock.shift(2.5)
            await tui.until(lambda: re.search(r"brief +0\.4s", tui.text), "the last second")
            clock.shift(0.5)
            await tui.sees("expired")
            clock.shift(10)
            await tui.misses("brief")
            await tui.sees("2 keys")


async def test_a_ttl_that_others_renewed_keeps_the_row(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        with time_machine.travel(time.time(), tick=False) as clock:
            stored = fake.put("scratch", "greetings", "brief", {"x": 1}, ttl=30)
            fake.announce("put", "scratch", "greetings", "brief")
            await tui.sees("brief")
            stored.expires_at = (stored.expires_at or 0) + 5000
            clock.shift(31)
            await tui.sees("1h 23m", "3 keys")


async def test_a_long_scan_can_be_paused_and_goes_on(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.scan.UNASKED", 10)
    fake.page = 10
    async with running(fake.open) as tui:
        await open_users(tui)
        await tui.sees("10 keys · more follow, p goes on")
        await tui.press("slash")
        await tui.type("re:29")
        await tui.sees("10 keys read so far", "No key matches re:29", "p  read on")
        await tui.press("enter", "p")
        await tui.sees("0 of 20")
        await tui.press("p")
        await tui.sees("1 of 30")


@pytest.mark.parametrize("production", [False, True])
async def test_a_filter_finds_what_was_not_read(fake: Daemon, monkeypatch: pytest.MonkeyPatch, *, production: bool) -> None:
    monkeypatch.setattr("kvtui.scan.UNASKED", 10)
    monkeypatch.setattr("kvtui.scan.UNASKED_PRODUCTION", 10)
    fake.page = 10
    if production:
        fake.production.add("local")
    async with running(fake.open) as tui:
        await tui.sees("greetings")
        await go_to(tui, "local/users")
        await tui.sees("10 keys · more follow, p goes on")
        await tui.press("slash")
        await tui.type("r:29")
        await tui.sees("10 keys read so far", "No key matches r:29", f"{'p' if production else 'enter'}  search the rest")
        await tui.press("enter")
        if production:
            await tui.sees("p searches the rest")
            await tui.press("p")
        await tui.sees("1 of 11 · all searched", "user:29")
        await tui.press("escape")
        await tui.sees("11 keys · more follow, p goes on")


async def test_refresh_forgets_what_left_and_keeps_the_place(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "j")
        del fake.data["scratch"]["greetings"]["hello"]
        assert set(fake.ages) == {None}
        fake.ages.clear()
        await tui.press("r")
        await tui.sees("1 key")
        assert set(fake.ages) == {0.0}
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "morning"


@pytest.mark.parametrize("name", ["a\nb\x1b[31m", "[b]not bold[/b]", "\udcff\udcfe", "👩\u200d💻", "", "x" * 300])
async def test_odd_names_are_shown_and_deleted(fake: Daemon, name: str) -> None:
    fake.data["scratch"]["greetings"].clear()
    fake.put("scratch", "greetings", name, {"odd": "yes"})
    async with running(fake.open) as tui:
        await tui.sees('"odd": "yes"', "1 key")
        await tui.press("2", "d")
        await tui.sees("Delete this key?")
        await tui.press("right", "enter")
        await tui.sees("No keys here")
        assert fake.data["scratch"]["greetings"] == {}


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40)])
async def test_empty_connections_name_the_key_that_helps(size: tuple[int, int]) -> None:
    async with running(Daemon().open, size=size) as tui:
        await tui.sees("empty, a adds keys", "a  add a key")


async def test_a_failed_scan_says_why_and_r_tries_again(fake: Daemon) -> None:
    fake.fail["scan_keys"] = RequestError("unreachable", "the server does not answer")
    async with running(fake.open) as tui:
        await tui.sees("The keys cannot be read", "the server does not answer")
        fake.fail.clear()
        await tui.press("r")
        await tui.sees("2 keys")


async def test_a_connection_that_is_down_says_why(fake: Daemon) -> None:
    fake.fail["connect"] = RequestError("unreachable", "nobody listens at 10.0.0.1:6379", connection="scratch")
    async with running(fake.open) as tui:
        await tui.sees("This connection cannot be used", "nobody listens at 10.0.0.1:6379", "cannot be read")


async def test_loading_is_said(fake: Daemon) -> None:
    fake.hold["scan_keys"] = asyncio.Event()
    async with running(fake.open) as tui:
        await tui.sees("Reading keys…")
        fake.hold["scan_keys"].set()
        await tui.sees("2 keys")


async def test_a_broken_configuration_is_shown_and_read_again(fake: Daemon) -> None:
    fake.config_problem = "connections.toml:4: connections.cache.store: there is no store called 'rediss'"
    async with running(fake.open) as tui:
        await tui.sees("Broken configuration", "connections.toml:4")
        fake.config_problem = None
        await tui.press("r")
        await tui.sees("2 keys")


async def test_what_cannot_be_opened_ends_the_program(fake: Daemon) -> None:
    async with running(fake.open, target=Target(url="disk:///nowhere")) as tui:
        await tui.until(lambda: tui.app.failure is not None)
        assert tui.app.failure == "disk:///nowhere is not there"
        assert tui.app.return_code == 1


async def test_no_daemon_ends_the_program(fake: Daemon) -> None:
    fake.up = False
    async with running(fake.open) as tui:
        await tui.until(lambda: tui.app.failure is not None)
        assert tui.app.return_code == 1


async def test_production_is_marked_where_it_is_chosen(fake: Daemon) -> None:
    fake.production.add("scratch")
    async with running(fake.open) as tui:
        await tui.sees("enter  open it")
        (line,) = (line for line in tui.pane(0).splitlines() if "scratch" in line)
        assert "production" in line
        assert "production" in tui.pane(1)
    fake.read_only.add("scratch")
    async with running(fake.open) as tui:
        await tui.sees("production · read-only")
    fake.production.add("europe-cache")
    fake.put("europe-cache", "c", "k", {})
    async with running(fake.open, size=(80, 24)) as tui:
        await tui.until(lambda: re.search(r"europe-cache +prod ", tui.pane(0)))


async def test_help_finds_and_does(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        await tui.press("2", "question_mark")
        await tui.sees("Keys and commands", "Everywhere")
        await tui.type("turn order")
        await tui.press("enter")
        await tui.sees("key ↓")


async def test_filtered_keys_are_gone_through_with_n(fake: Daemon) -> None:
    async with running(fake.open) as tui:
        await open_users(tui)
        await tui.press("slash")
        await tui.type("7\n")
        await tui.sees("3 of 30")
        await tui.press("n", "n")
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "user:27"


async def test_the_first_key_is_the_current_one_until_someone_looks(fake: Daemon) -> None:
    fake.data["scratch"]["greetings"].clear()
    for number in range(30, 0, -1):
        fake.put("scratch", "greetings", f"key {number:02}", {"number": number})
    fake.page = 10
    async with running(fake.open) as tui:
        await tui.sees('"number": 1', "30 keys")
        current = tui.browser.keys_pane.current
        assert current is not None
        assert current.name == "key 01"


async def test_collections_that_are_shown_alike_are_two(fake: Daemon) -> None:
    fake.data["scratch"] = {}
    fake.put("scratch", "a\nb", "of the newline", {})
    fake.put("scratch", "a␊b", "of the sign", {})
    async with running(fake.open) as tui:
        await tui.until(lambda: tui.pane(0).count("a␊b") == 2, "both collections")
        seen = set()
        for key in ("1", "j"):
            await tui.press(key)
            await tui.until(lambda: tui.browser.keys_pane.current, "a key")
            current = tui.browser.keys_pane.current
            assert current is not None
            seen.add(current.name)
        assert len(seen) == 2


@pytest.mark.parametrize("through", [(), ("connecting",)])
async def test_a_connection_that_recovers_is_read_again(fake: Daemon, through: tuple[str, ...]) -> None:
    async with running(fake.open) as tui:
        await tui.sees("2 keys")
        fake.states["scratch"] = "degraded"
        fake.announce("connection", "scratch", "")
        fake.fail["scan_keys"] = RequestError("unreachable", "the server does not answer")
        await tui.press("r")
        await tui.sees("not all could be read", "◐", "the server does not answer")
        for state in through:
            fake.states["scratch"] = state
            fake.announce("connection", "scratch", "")
            await tui.misses("◐")
        fake.fail.clear()
        fake.states.clear()
        fake.put("scratch", "greetings", "meanwhile", {})
        fake.announce("connection", "scratch", "")
        await tui.sees("3 keys")
        await tui.misses("not all could be read")


async def test_a_walk_that_is_left_is_let_go(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.scan.UNASKED", 10)
    fake.page = 10
    async with running(fake.open) as tui:
        await open_users(tui)
        await tui.sees("10 keys · more follow, p goes on")
        await tui.press("1", "k", "k", "k")
        await tui.until(lambda: fake.closed == [b"10"], "the cursor being closed")
