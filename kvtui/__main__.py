"""The `kvtui` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kvd import __version__

__all__ = ["main"]

DESCRIPTION = """\
Browse and edit key-value stores in the terminal.

Without arguments the connections of connections.toml are shown; with none configured these are
`scratch`, in memory, and `local`, on disk. The daemon that owns the stores is started when it is
not running, and stays for other programs."""

EPILOG = """\
examples:
  kvtui                        your connections
  kvtui --demo                 made-up data to try everything on
  kvtui disk:///var/lib/cache  a directory of diskcache
  kvtui file:///srv/entries    a tree of files
  kvtui redis://localhost/0    a server; also valkey://, memcached://, mongodb://, s3://BUCKET, dynamodb://TABLE
  kvtui ./entries              whichever of the two lies there

Press ? in the program for all keys. Exit status: 0, or 1 when the daemon or the store cannot be had."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; answers with the exit status."""
    parser = argparse.ArgumentParser(
        "kvtui", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="a store, or its path, to open beside the configured connections")
    parser.add_argument("--demo", action="store_true", help="open a memory store with made-up data")
    parser.add_argument("--light", action="store_true", help="begin with the light theme")
    parser.add_argument("--version", action="version", version=f"kvtui {__version__}")
    chosen = parser.parse_args(arguments)
    if chosen.demo and chosen.url:
        parser.error("--demo and a URL exclude each other")
    url = chosen.url
    if url and ":" not in url:
        if not Path(url).exists():
            sys.stderr.write(
                f"kvtui: there is no file or folder {url!r}. A URL has a colon, as in redis://host; your connections need no "
                "argument: `kvtui` shows them all.\n"
            )
            return 1
        url = str(Path(url).resolve())  # the daemon works in another folder
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        sys.stderr.write(
            "kvtui: this is a full-screen program and needs a terminal; scripts use `kvd get`, `kvd put` and so on\n"
        )
        return 1

    from kvtui.app import KvtuiApp  # noqa: PLC0415 - --help and --version answer without loading the screen
    from kvtui.session import Target  # noqa: PLC0415 - as above
    from kvtui.terminal_input import read_any_bytes  # noqa: PLC0415 - as above
    from kvtui.theme import DARK, LIGHT  # noqa: PLC0415 - as above

    read_any_bytes()
    app = KvtuiApp(Target(url=url, demo=chosen.demo), theme=(LIGHT if chosen.light else DARK).name)
    app.run()
    if app.failure is not None:
        sys.stderr.write(f"kvtui: {app.failure}\n")
        return 1
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
