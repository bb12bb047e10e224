"""Take the pictures that stand beside this script: the real program, on its demo data, through a real daemon.

    python screenshots/take.py            all of them
    python screenshots/take.py browse     some of them

Size and theme are fixed; only what counts down differs from one run to the next. Where Chromium is installed, `browse` is
made a PNG as well, for readers that show no SVG.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

sys.path.insert(0, str(Path(__file__).parent.parent))

from kvtui.app import KvtuiApp
from kvtui.session import Target

HERE = Path(__file__).parent
PATIENCE = 60.0
LARGE, SMALL = (124, 34), (80, 24)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is pressed, in steps that wait for a text on the screen, and how large the screen is."""

    steps: Sequence[tuple[str, str]]
    """Keys, separated by blanks, and the text that has to appear after them."""
    size: tuple[int, int] = LARGE
    theme: str = "kvtui-dark"


def go(address: str, sees: str) -> list[tuple[str, str]]:
    """The steps that go to an address."""
    typed = " ".join({"/": "slash", ":": "colon", "-": "minus"}.get(char, char) for char in address)
    return [("colon", "Go to"), (f"ctrl+u {typed} enter", sees)]


SESSIONS = go("demo/sessions", "sess:")
PICTURES = {
    "browse": Picture([*SESSIONS, ("s", "↑ TTL"), ("g j j j j j", "created")]),
    "edit": Picture(
        [
            *go("demo/users/user:0003", "user:0003"),
            ("3", "created"),
            ("e", "editing"),
            ("down down down end backspace ctrl+s", "line 5"),
        ]
    ),
    "ttl": Picture([*go("demo/carts", "carts"), ("j j t", "Set TTL"), ("9 0 m", "expires 20")]),
    "delete": Picture([*go("demo/carts", "carts"), ("space j space space j v d", "Delete")]),
    "tree": Picture(
        [
            *go("demo/pages", "keys ─"),
            ("grave_accent g", "▸ feed:"),
            ("j l j j l j l", "▾ menu:"),
            ("j j j l j j l j j", "created"),
        ]
    ),
    "done": Picture(
        [
            *go("demo/carts", "carts"),
            ("j j t", "Set TTL"),
            ("2 h enter", "z undo"),
            ("space space space d", "Delete 3 keys?"),
            ("right enter", "37 keys"),
            ("z", "40 keys"),
            ("d", "Delete this key?"),
            ("right enter", "39 keys"),
            ("at", "kvd rm"),
        ]
    ),
    "help": Picture([*SESSIONS, ("question_mark", "Keys and commands")]),
    "light": Picture([*SESSIONS, ("s", "↑ TTL"), ("g j j j j j", "created")], theme="kvtui-light"),
    "narrow": Picture([*SESSIONS, ("s", "↑ TTL"), ("g j j j", "created")], size=SMALL),
}


async def take(name: str, picture: Picture) -> None:
    """Run the program, press the keys, and save what it shows."""
    app = KvtuiApp(Target(demo=True), theme=picture.theme)
    async with app.run_test(size=picture.size) as pilot:
        await until(pilot, lambda: "keys ─" in shown(app))
        for keys, text in picture.steps:
            await pilot.press(*keys.split())
            await until(pilot, lambda text=text: text in shown(app))  # type: ignore[misc] # a lambda's default
        await pilot.pause(0.4)
        (HERE / f"{name}.svg").write_text(app.export_screenshot(title="kvtui --demo"))


def shown(app: KvtuiApp) -> str:
    """The screen as text."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())  # noqa: SLF001 - Textual has no other way


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await pilot.pause(0.02)
    await pilot.pause(0.2)


def make_png(name: str, size: tuple[int, int]) -> None:
    """Have Chromium draw a picture, where there is one."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.stderr.write("no Chromium: the PNG was not made\n")
        return
    width, height = round(size[0] * 12.2) + 18, round(size[1] * 24.4) + 51
    with tempfile.TemporaryDirectory() as profile:
        page = Path(profile, "page.html")
        page.write_text(f"<body style='margin:0;background:#0000'><img src='{HERE / name}.svg' width={width}></body>")
        subprocess.run(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                "--default-background-color=00000000",
                f"--window-size={width},{height}",
                f"--screenshot={HERE / name}.png",
                page.as_uri(),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def main(names: Sequence[str]) -> None:
    """Take some pictures, with a daemon of their own."""
    with tempfile.TemporaryDirectory(prefix="kvd") as folder:
        for name in ("RUNTIME_DIR", "CONFIG_HOME", "STATE_HOME", "DATA_HOME"):
            path = Path(folder, name)
            path.mkdir(mode=0o700)
            os.environ[f"XDG_{name}"] = str(path)
        os.environ |= {"TZ": "UTC", "TERM": "xterm-256color", "COLORTERM": "truecolor"}  # wherever it is started
        try:
            for name in names or PICTURES:
                asyncio.run(take(name, PICTURES[name]))
                sys.stdout.write(f"{name}.svg\n")
        finally:
            subprocess.run([sys.executable, "-m", "kvd", "stop"], check=False, cwd=HERE.parent)
    if not names or "browse" in names:
        make_png("browse", PICTURES["browse"].size)


if __name__ == "__main__":
    main(sys.argv[1:])
