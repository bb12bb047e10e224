"""The daemon against its goals: redis-py with hiredis for speed, py-key-value-aio for what sharing costs, itself for the rest.

    python -m tests.benchmarks.bench_kvd [WORK …] [--rounds 25] [--loop uvloop|asyncio]

All processes share one CPU, peers take turns in one run, and what is printed are medians: times, how many times as fast ours
is (and in the best rounds), and the goal beside it. The goals are against redis-py on asyncio's own loop; with uvloop, a line
without a goal shows it on uvloop too. Believe ratios, not times.
"""

import argparse
import os
import sys
from collections.abc import Callable

from tests.benchmarks import kvd_life, kvd_reads, kvd_stores
from tests.benchmarks.kvd_rig import Rig, rig

WORKS: dict[str, Callable[[Rig], None]] = {
    "memory": kvd_reads.memory,
    "redis": kvd_reads.redis,
    "remote": kvd_stores.remote,
    "start": kvd_life.start,
    "idle": kvd_life.idle,
    "fairness": kvd_life.fairness,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", choices=[[], *WORKS], default=[], metavar="WORK", help=", ".join(WORKS))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop", help="of the daemon and the async client")
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {options.loop}, {options.rounds} rounds, pid {os.getpid()}")
    for name in options.works or WORKS:
        with rig(options.loop, options.rounds) as built:
            WORKS[name](built)


if __name__ == "__main__":
    main()
