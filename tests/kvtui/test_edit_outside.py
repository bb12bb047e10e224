"""A value in the program that $EDITOR names: what was typed there is not lost either."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import pytest

from kvd.errors import RequestError
from tests.kvtui.conftest import stored
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that puts its own line in place of the text, and the log of what it was given."""
    log = tmp_path / "log"
    script = tmp_path / "editor.py"
    script.write_text(
        f"import sys; from pathlib import Path; p = Path(sys.argv[1]); t = p.read_text(); log = Path({str(log)!r})\n"
        "log.open('a').write(t.replace('\\n', ' ') + '\\n'); p.write_text('{\"to\": \"outside\"}')"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    monkeypatch.delenv("VISUAL", raising=False)
    return log


def given(log: Path) -> list[str]:
    """The texts that the editor was given."""
    return log.read_text().splitlines()


async def edit_outside(tui: Tui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tui.app), "suspend", lambda _: contextlib.nullcontext())
    await tui.sees('"to": "world"')
    await tui.press("2", "E")


async def test_what_was_edited_outside_and_cannot_be_saved_stays(
    fake: Daemon, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(fake.open) as tui:
        fake.fail["edit"] = RequestError("unreachable", "the disk is full")
        await edit_outside(tui, monkeypatch)
        await tui.sees("Not saved", "the disk is full", "Edit again")
        await tui.press("enter")
        await tui.sees("Not saved")
        fake.fail.clear()
        await tui.press("enter")
        await tui.sees("Saved.")
        assert json.loads(stored(fake).body) == {"to": "outside"}
    assert given(outside)[1] == '{"to": "outside"}', "it was given what had been typed"


async def test_what_was_edited_outside_and_changed_by_others_can_be_edited_on(
    fake: Daemon, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(fake.open) as tui:
        fake.hold["edit"] = asyncio.Event()
        await edit_outside(tui, monkeypatch)
        await tui.until(lambda: "edit" in fake.calls)
        fake.put("scratch", "greetings", "hello", {"to": "theirs"})
        fake.hold.pop("edit").set()
        await tui.sees("Changed by someone else")
        await tui.press("enter")
        await tui.sees("Not saved", "someone else changed it", "Edit again")
        await tui.press("enter")
        await tui.sees("Changed by someone else")
        await tui.press("right", "enter")
        await tui.misses("Changed by someone else")
        assert json.loads(stored(fake).body) == {"to": "theirs"}
    assert len(given(outside)) == 2


async def test_an_editor_that_leaves_no_file_is_said(fake: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "rm -f")
    monkeypatch.delenv("VISUAL", raising=False)
    async with running(fake.open) as tui:
        await edit_outside(tui, monkeypatch)
        await tui.sees("nothing was changed")


async def test_a_key_larger_than_the_editor_is_edited_outside(
    fake: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put("scratch", "greetings", "hello", {"text": "x" * 100_000}, ttl=400)
    script = tmp_path / "editor.py"
    script.write_text("import sys; p = sys.argv[1]; t = open(p).read(); open(p, 'w').write(t.replace('xxx', 'y'))")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    monkeypatch.delenv("VISUAL", raising=False)
    async with running(fake.open) as tui:
        await tui.sees('"text"')
        await tui.press("2", "e")
        await tui.sees("too much to edit in place")
        monkeypatch.setattr(type(tui.app), "suspend", lambda _: contextlib.nullcontext())
        await tui.press("E")
        await tui.sees("Saved.")
        assert json.loads(stored(fake).body) == {"text": "y" * 33_333 + "x"}
        assert stored(fake).expires_at is not None
