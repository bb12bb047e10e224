"""The pane of keys as a tree: moving, opening, marking, and what comes and goes meanwhile."""

import asyncio
import re
import time

import pytest
import time_machine

from kvd.errors import RequestError
from tests.kvtui.conftest import go_to
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio

NAMES = ("user:1:profile", "user:1:cart", "user:2:profile", "user:2:cart", "user", "page:home", "page:about", "config")


@pytest.fixture
def trees() -> Daemon:
    fake = Daemon()
    for name in NAMES:
        fake.put("scratch", "cache", name, {"is": name})
    fake.put("local", "flat", "one", {})
    return fake


def rows(tui: Tui) -> list[str]:
    """What stands on the lines of the keys, without what is about them."""
    shown = [line.strip("│╭╮╰╯─ ") for line in tui.within(tui.browser.keys_pane.content).splitlines()[1:]]
    return [re.sub(r"\s{2,}.*", "", line) for line in shown if line]


def folder(tui: Tui) -> str | None:
    return tui.browser.keys_pane.content.folder


def key(tui: Tui) -> str | None:
    current = tui.browser.keys_pane.current
    return None if current is None else current.name


def footer(tui: Tui) -> str:
    return tui.text.splitlines()[-1]


async def as_tree(tui: Tui) -> None:
    await tui.sees("keys ─")
    await tui.press("2", "`", "g")
    await tui.until(lambda: rows(tui)[:1] == ["▸ page:"], "the tree")


async def test_folders_are_gone_through_with_the_keys_of_lists(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        assert rows(tui) == ["▸ page:", "▸ user:", "config", "user"]
        assert re.search(r"▸ page: +2 ", tui.text)
        assert re.search(r"▸ user: +4 ", tui.text)
        assert folder(tui) == "page:"
        await tui.sees("scratch / cache / page:", "2 keys", "enter  open the folder")
        await tui.press("j", "l", "l", "right")
        assert rows(tui) == ["▸ page:", "▾ user:", "▾ 1:", "cart", "profile", "▸ 2:", "config", "user"]
        assert folder(tui) == "user:1:"
        await tui.press("enter")
        assert key(tui) == "user:1:cart"
        await tui.sees('"is": "user:1:cart"', "scratch / cache / user:1:cart")
        await tui.press("h")
        assert folder(tui) == "user:1:"
        await tui.press("left", "h")
        assert folder(tui) == "user:"
        await tui.press("h")
        assert rows(tui) == ["▸ page:", "▸ user:", "config", "user"]
        await tui.press("h")
        await tui.until(lambda: tui.browser.sidebar.content.has_focus, "back to the connections")


async def test_enter_goes_from_a_key_to_its_value(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("G", "enter")
        await tui.until(lambda: tui.browser.value_pane.view.has_focus, "the value")
        await tui.sees('"is": "user"')


async def test_typed_ahead_keys_find_the_folders_open(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await tui.sees("8 keys ─")
        await tui.press("2")
        await tui.type("`gjllljj")
        await tui.until(lambda: key(tui) == "user:1:profile", "what was typed")


async def test_flat_and_back_keeps_the_place_and_what_is_open(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("j", "l", "l", "l", "j")
        assert key(tui) == "user:1:cart"
        before = rows(tui)
        await tui.press("`")
        assert key(tui) == "user:1:cart"
        assert sorted(NAMES) == rows(tui)
        await tui.press("`")
        assert key(tui) == "user:1:cart"
        assert rows(tui) == before
        await tui.press("g", "`")
        assert key(tui) == "page:about", "the first key of the folder"
        await tui.press("`")
        assert folder(tui) == "page:"


async def test_the_choice_is_the_connections_and_open_folders_are_the_collections(trees: Daemon) -> None:
    trees.put("scratch", "other", "a:b", {})
    trees.put("local", "cut", "a:b", {})
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("l")
        await go_to(tui, "scratch/other/")
        await tui.until(lambda: rows(tui) == ["▸ a:"], "a tree as well")
        await go_to(tui, "local/cut/")
        await tui.until(lambda: rows(tui) == ["a:b"], "flat")
        await go_to(tui, "scratch/cache/")
        await tui.until(lambda: rows(tui)[:3] == ["▾ page:", "about", "home"], "what was open")


async def test_going_to_a_key_opens_its_folders(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await go_to(tui, "scratch/cache/user:2:cart")
        await tui.until(lambda: key(tui) == "user:2:cart", "the key")
        assert rows(tui) == ["▸ page:", "▾ user:", "▸ 1:", "▾ 2:", "cart", "profile", "config", "user"]
        await tui.press("h", "a")
        await tui.sees("New key in scratch")
        await tui.type("wishes")
        await tui.press("ctrl+s")
        await tui.until(lambda: key(tui) == "user:2:wishes", "a key that was added to the folder")


async def test_what_is_done_to_a_key_is_done_to_all_of_its_name(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("l", "l", "c")
        await tui.sees("Key copied.")
        assert tui.app.clipboard == "page:about"
        await tui.press("d")
        await tui.sees("Delete this key?", "page:about")
        await tui.press("right", "enter")
        await tui.sees("Deleted page:about.", "7 keys")
        assert "page:about" not in trees.data["scratch"]["cache"]
        assert rows(tui)[:3] == ["▾ page:", "home", "▸ user:"]


async def test_space_marks_all_in_a_folder(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("j", "space")
        await tui.sees("8 keys · 4 marked", "● ▸ user:")
        assert key(tui) == "config"
        await tui.press("k", "l", "l", "l", "j", "space")
        await tui.sees("3 marked", "◐ ▾ user:", "◐   ▾ 1:", "●   ▸ 2:")
        await tui.press("d")
        await tui.sees("Delete 3 keys?", "user:1:profile", "user:2:cart", "user:2:profile")
        assert "folders may hold more" not in tui.text
        await tui.press("right", "enter")
        await tui.sees("3 keys deleted.", "5 keys")
        assert set(trees.data["scratch"]["cache"]) == {*NAMES} - {"user:1:profile", "user:2:cart", "user:2:profile"}
        assert rows(tui)[:3] == ["▸ page:", "▾ user:", "▾ 1:"]
        await tui.press("g", "space", "g", "space")
        await tui.misses("marked")


async def test_a_range_takes_closed_folders_whole_and_open_ones_as_far_as_it_goes(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("v", "j", "l", "l", "v")
        await tui.until(lambda: len(tui.browser.keys_pane.content.marked) == 4, "the page and the first user")
        assert {str(address) for address in tui.browser.keys_pane.content.marked} == {
            "page:about",
            "page:home",
            "user:1:cart",
            "user:1:profile",
        }


async def test_dialogs_say_that_a_folder_may_hold_more(trees: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.scan.UNASKED", 4)
    trees.page = 4
    async with running(trees.open) as tui:
        await tui.sees("4 keys · more follow")
        await tui.press("2", "`", "space", "d")
        await tui.sees("Delete 4 keys?", "Not all keys were read yet: folders may hold more.")
        await tui.press("escape", "t")
        await tui.sees("4 marked keys", "Not all keys were read yet: folders may hold more.")


async def test_on_a_folder_only_what_does_something_is_offered(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.until(lambda: "space mark" in footer(tui) and "` tree" in footer(tui), "the keys of folders")
        assert not [word for word in ("edit", "TTL", "delete", "copy") if word in footer(tui)]
        for pressed in ("d", "t", "e", "y", "R", "D"):
            await tui.press(pressed)
            await tui.sees("This is a folder; space marks the keys in it.")
            tui.app.clear_notifications()
        await tui.press("space")
        await tui.until(lambda: "d delete" in footer(tui), "what can be done to marked keys")


async def test_without_separators_no_tree_is_offered(trees: Daemon) -> None:
    trees.separators["scratch"] = ""
    async with running(trees.open) as tui:
        await tui.sees("8 keys")
        await tui.press("2")
        assert "tree" not in footer(tui)
        await tui.press("`")
        await tui.sees("This connection has no separators.")
        await go_to(tui, "local/flat/one")
        await tui.until(lambda: key(tui) == "one", "the other connection")
        assert "tree" not in footer(tui)
        await tui.press("`")
        await tui.sees("No key here has a separator (:).")


async def test_other_separators_are_the_configurations(trees: Daemon) -> None:
    trees.separators["local"] = "/."
    trees.put("local", "files", "etc/hosts.conf", {})
    trees.put("local", "files", "etc/a:b", {})
    async with running(trees.open) as tui:
        await tui.sees("files")
        await go_to(tui, "local/files/")
        await tui.sees("2 keys")
        await tui.press("`", "l", "j", "l")
        await tui.until(lambda: rows(tui) == ["▾ etc/", "▾ hosts.", "conf", "a:b"], "the folders")
        trees.separators["local"] = ":"
        await tui.press("r")
        await tui.until(lambda: rows(tui) == ["▸ etc/a:", "etc/hosts.conf"], "the other folders")


async def test_a_filter_opens_the_folders_of_what_it_finds_and_keeps_the_key(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("/")
        await tui.type("cart\n")
        await tui.until(lambda: rows(tui) == ["▾ user:", "▾ 1:", "cart", "▾ 2:", "cart"], "what matches")
        await tui.sees("2 of 8")
        await tui.press("n", "n")
        assert key(tui) == "user:2:cart"
        await tui.press("N")
        assert key(tui) == "user:1:cart"
        await tui.press("escape")
        await tui.sees("8 keys")
        assert key(tui) == "user:1:cart"
        assert rows(tui) == ["▸ page:", "▾ user:", "▾ 1:", "cart", "profile", "▸ 2:", "config", "user"]


async def test_n_finds_matches_in_closed_folders(trees: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvtui.tree.UNFOLDED_MOST", 0)
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("/")
        await tui.type("cart\n")
        await tui.until(lambda: rows(tui) == ["▸ user:"], "the folder")
        await tui.press("n")
        assert key(tui) == "user:1:cart"
        await tui.press("n")
        assert key(tui) == "user:2:cart"
        await tui.press("g", "h", "G", "N")
        assert rows(tui)[0] == "▸ user:"


async def test_the_order_is_that_of_the_keys_in_each_folder(trees: Daemon) -> None:
    trees.put("scratch", "cache", "page:soon", {}, ttl=600)
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("l", "s")
        await tui.sees("↑ TTL")
        assert rows(tui)[:4] == ["▾ page:", "soon", "about", "home"]
        await tui.press("S")
        await tui.sees("↓ TTL")
        assert rows(tui)[:5] == ["▾ page:", "home", "about", "soon", "▸ user:"]


async def test_the_cursor_stays_while_pages_arrive(trees: Daemon) -> None:
    trees.data["scratch"]["cache"] = {}
    for number in range(600, 0, -1):
        trees.put("scratch", "cache", f"{number:03}:a", {})
        trees.put("scratch", "cache", f"{number:03}:b", {})
    trees.page = 20
    first = trees.hold["scan_keys"] = asyncio.Event()
    async with running(trees.open, size=(120, 20)) as tui:
        await tui.until(lambda: "scan_keys" in trees.calls, "the first page being asked for")
        rest = trees.hold["scan_keys"] = asyncio.Event()
        first.set()
        await tui.sees("20 keys · reading")
        await tui.press("2", "`", "G", "l", "j", "j")
        assert key(tui) == "600:b"
        del trees.hold["scan_keys"]
        rest.set()
        await tui.type("kkjj")
        await tui.sees("1,200 keys ─")
        listing = tui.browser.keys_pane.content
        assert key(tui) == "600:b"
        assert listing.cursor in listing.seen
        assert listing.count == 602
        assert "▾ 600:" in tui.pane(1)


async def test_expired_keys_leave_their_folder_and_the_last_takes_it_along(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        with time_machine.travel(time.time(), tick=False) as clock:
            trees.put("scratch", "cache", "brief:a:b", {}, ttl=12)
            trees.announce("put", "scratch", "cache", "brief:a:b")
            await tui.sees("▸ brief:", "9 keys")
            await go_to(tui, "scratch/cache/brief:a:b")
            await tui.until(lambda: re.search(r"    b +12s", tui.text), "the TTL")
            clock.shift(9.05)
            await tui.until(lambda: re.search(r"    b +2\.9s", tui.text), "tenths of a second")
            clock.shift(3)
            await tui.sees("expired")
            clock.shift(10)
            await tui.sees("8 keys")
        assert rows(tui)[:1] == ["▸ page:"]
        assert folder(tui) == "page:", "what came next"


async def test_what_expires_in_a_closed_folder_leaves_it(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        trees.put("scratch", "cache", "brief:b", {}, ttl=1)
        trees.put("scratch", "cache", "page:brief", {}, ttl=1)
        trees.announce("put", "scratch", "cache", "brief:b", "page:brief")
        await tui.until(lambda: re.search(r"▸ page: +3 ", tui.text), "three pages")
        await tui.sees("▸ brief:")
        await tui.misses("▸ brief:")
        await tui.until(lambda: re.search(r"▸ page: +2 ", tui.text), "two pages")


async def test_changes_of_others_and_a_refresh_keep_what_is_open(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("j", "l", "l", "l", "j", "j")
        assert key(tui) == "user:1:profile"
        del trees.data["scratch"]["cache"]["user:1:cart"]
        trees.put("scratch", "cache", "added:x", {})
        await tui.press("r")
        await tui.sees("▸ added:")
        await tui.until(lambda: "cart" not in tui.pane(1), "what is gone leaving")
        assert key(tui) == "user:1:profile"
        assert rows(tui) == ["▸ added:", "▸ page:", "▾ user:", "▾ 1:", "profile", "▸ 2:", "config", "user"]
        for name in ("user:1:profile", "user:2:cart", "user:2:profile"):
            del trees.data["scratch"]["cache"][name]
        trees.announce("delete", "scratch", "cache", "user:1:profile", "user:2:cart", "user:2:profile")
        await tui.until(lambda: rows(tui) == ["▸ added:", "▸ page:", "config", "user"], "the whole folder leaving")
        assert key(tui) == "config", "what came next"


async def test_what_a_refresh_does_not_find_is_not_marked_any_more(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        await tui.press("space")
        await tui.sees("8 keys · 2 marked", "● ▸ page:")
        del trees.data["scratch"]["cache"]["page:home"]
        await tui.press("r")
        await tui.sees("7 keys · 1 marked", "● ▸ page:")


async def test_a_click_opens_and_closes_a_folder(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        listing = tui.browser.keys_pane.content
        await tui.pilot.click(listing, offset=(4, 2))
        await tui.until(lambda: rows(tui)[1:3] == ["▾ user:", "▸ 1:"], "the open folder")
        assert folder(tui) == "user:"
        await tui.pilot.click(listing, offset=(20, 2))
        await tui.until(lambda: rows(tui)[1:3] == ["▸ user:", "config"], "the closed folder")
        await tui.pilot.click(listing, offset=(8, 3))
        await tui.until(lambda: key(tui) == "config", "the key")


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (60, 24), (200, 60)])
async def test_names_are_cut_and_counts_are_not(trees: Daemon, size: tuple[int, int]) -> None:
    deep = ":".join(f"level {number}" for number in range(30))
    trees.put("scratch", "cache", deep, {})
    for number in range(1_234):
        trees.put("scratch", "cache", f"level 0:level 1:level 2:level 3:level 4:key number {number:05} of very many", {})
    async with running(trees.open, size=size) as tui:
        await tui.sees("scratch")
        await go_to(tui, f"scratch/cache/{deep}")
        await tui.until(lambda: key(tui) == deep, "the deep key")
        await tui.press("2", "`")
        await go_to(tui, f"scratch/cache/{deep}")
        await tui.press("2", "g")
        await tui.until(lambda: re.search(r"▾ level 0: +1,235 ", tui.text), "the count")
        await tui.until(lambda: re.search(r"▾ level 4: +1,235 ", tui.text) or size[1] < 24, "the inner count")
        await tui.pilot.resize_terminal(50, 20)
        await tui.until(lambda: re.search(r"▾ level 0: +1,235 ", tui.text), "the count after the change")


async def test_a_connection_that_fails_meanwhile_leaves_the_tree_as_it_is(trees: Daemon) -> None:
    async with running(trees.open) as tui:
        await as_tree(tui)
        trees.fail["scan_keys"] = RequestError("unreachable", "the server does not answer")
        await tui.press("l", "r")
        await tui.sees("not all could be read")
        assert rows(tui)[:3] == ["▾ page:", "about", "home"]


async def test_keys_of_other_bytes_stay_apart(trees: Daemon) -> None:
    names = ["a:", "a", ":a", "::", "", "é:x", "\udcff:\udcfe", "a:\n", "a: "]
    trees.data["scratch"]["cache"] = {}
    for name in names:
        trees.put("scratch", "cache", name, {"is": name.encode("utf-8", "backslashreplace").decode()})
    async with running(trees.open) as tui:
        await tui.sees("9 keys")
        await tui.press("2", "`", "g")
        seen = set()
        for _ in range(3 * len(names)):
            if folder(tui) is not None:
                await tui.press("l")
            else:
                seen.add(key(tui))
                await tui.press("j")
        assert seen == set(names)
