"""Starts servers, prints how tests, benchmarks and shells find them, and ends them on Ctrl-C.

python tests/servers/up.py [--fetch] [KIND …]        all kinds when none is named; --fetch only downloads
"""

import argparse
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

# Run as a script, Python looks for modules beside it; ours are named from the root.
sys.path[0] = str(Path(__file__).parents[2])

from tests.servers.catalogue import KINDS  # noqa: E402 - found by the line above
from tests.servers.fetch import fetch_all  # noqa: E402
from tests.servers.kind import UnavailableError  # noqa: E402
from tests.servers.lease import Supervision, lease  # noqa: E402


def fetch(names: list[str]) -> bool:
    """Download what is missing; returns whether everything is here now."""
    missing = fetch_all([KINDS[name] for name in names])
    for name, reason in missing.items():
        print(f"{name}: {reason}", file=sys.stderr)
    return not missing


def up(names: list[str]) -> bool:
    """Run servers until interrupted; returns whether all of them could be started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    missing = False
    with Supervision(), suppress(KeyboardInterrupt):
        lease().ask("warm", kinds=names)
        for name in names:
            try:
                print(f"export {KINDS[name].variable}={lease().ask('share', kind=name)['url']}", flush=True)
            except UnavailableError as exc:
                print(f"{name}: {exc}", file=sys.stderr)
                missing = True
        signal.pause()
    return not missing


def main() -> int:
    parser = argparse.ArgumentParser(description="Start real servers for tests; Ctrl-C ends them.")
    parser.add_argument("--fetch", action="store_true", help="download what is missing and start nothing")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"one of {', '.join(KINDS)}; all when none is named")
    given = parser.parse_args()
    if unknown := set(given.kinds) - KINDS.keys():
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    names = given.kinds or list(KINDS)
    complete = fetch(names) if given.fetch else up(names)
    # Continuous integration must not pass because a server could not be had.
    return 1 if not complete and os.environ.get("CI") == "true" else 0


if __name__ == "__main__":
    sys.exit(main())
