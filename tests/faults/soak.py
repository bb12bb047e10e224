"""The attacks on the daemon that take long, at their whole length.

    .venv/bin/python -m tests.faults.soak [NAME …]

Names: fuzz, kills, crowd, races, hang; all of them unless some are given. Each prints one line with what happened, and any
acknowledged write that was lost, any request without its answer and any mistake in the daemon's log ends it with an error. The
test suite runs the same attacks, shorter (tests/faults/test_soaks.py).
"""

import sys
import time
from collections.abc import Callable

from tests.daemonkit import running
from tests.faults import fuzz, kills, neighbours
from tests.faults.crowd import crowd
from tests.faults.races import race
from tests.servers.lease import Supervision, private_server

__all__ = ["ATTACKS", "main"]


def _fuzz() -> object:
    with running(fuzz.CONFIG) as daemon:
        return fuzz.fuzz(daemon, 1_000_000, seed=time.time_ns() % 2**32)


def _kills() -> object:
    with running(kills.CONFIG) as daemon:
        return kills.kill(daemon, 1_000, seed=time.time_ns() % 2**32)


def _crowd() -> object:
    with running() as daemon:
        return crowd(daemon, 1_000, 200, 10.0)


def _races() -> object:
    with running() as daemon:
        daemon.stop()
        return race(daemon, 20, 20)


def _hang() -> object:
    with Supervision(), private_server("redis") as redis, running(neighbours.CONFIG.format(url=redis.url)) as daemon:
        return neighbours.hang(daemon, redis, 500)


ATTACKS: dict[str, Callable[[], object]] = {
    "fuzz": _fuzz,
    "kills": _kills,
    "crowd": _crowd,
    "races": _races,
    "hang": _hang,
}


def main(names: list[str]) -> None:
    """Run the attacks of these names, all of them when there are none."""
    unknown = set(names) - ATTACKS.keys()
    if unknown:
        raise SystemExit(f"there is no attack {', '.join(sorted(unknown))}: there are {', '.join(ATTACKS)}")
    for name in names or ATTACKS:
        print(f"{name}: {ATTACKS[name]()}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
