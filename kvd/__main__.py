"""`python -m kvd`, and the `kvd` command. Ctrl+c ends it without a traceback, also while it loads and while it ends."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the rest of `signal` takes long to load
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not where it is ignored, as by a shell's `&`
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from kvd.cli import main as run

__all__ = ["main"]


def main() -> None:
    """Run the command and end the process with its status."""
    sys.exit(run())


if __name__ == "__main__":
    main()
