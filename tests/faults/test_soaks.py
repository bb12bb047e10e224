"""The long attacks, short. At their whole length: `python -m tests.faults.soak`."""

from collections.abc import Iterator

import pytest

from tests.daemonkit import running
from tests.faults import fuzz, kills, neighbours, soak
from tests.faults.crowd import crowd
from tests.faults.races import race
from tests.servers.lease import Server, private_server


@pytest.fixture
def redis() -> Iterator[Server]:
    with private_server("redis") as server:
        yield server


def test_frames_from_a_fuzzer_are_each_answered_or_refused() -> None:
    with running(fuzz.CONFIG) as daemon:
        fuzzed = fuzz.fuzz(daemon, 8_000, seed=7)
    assert fuzzed.frames == 8_000
    assert fuzzed.answered > 2_000
    assert fuzzed.refused > 1_000
    assert fuzzed.grown < 4 << 20


def test_killed_in_the_middle_of_writes_it_loses_nothing_that_was_acknowledged() -> None:
    with running(kills.CONFIG) as daemon:
        killed = kills.kill(daemon, 8, seed=7)
    assert killed.acknowledged > 100
    assert killed.unanswered > 100


def test_a_crowd_is_served_and_leaves_nothing_behind() -> None:
    with running() as daemon:
        served = crowd(daemon, 300, 40, 0.8)
    assert served.operations > 200
    assert served.each < 4 << 10
    assert served.left < 4 << 20


def test_programs_that_race_find_one_daemon() -> None:
    with running() as daemon:
        daemon.stop()
        race(daemon, 2, 8)


def test_a_store_that_hangs_is_felt_by_nobody_else(redis: Server) -> None:
    with running(neighbours.CONFIG.format(url=redis.url)) as daemon:
        felt = neighbours.hang(daemon, redis, 300)
    assert felt.during < max(felt.before * 5, 0.2)  # far below the deadline for which the others waited
    assert felt.grown < 40 << 20


def test_an_unknown_attack_is_named() -> None:
    with pytest.raises(SystemExit, match="no attack nonsense"):
        soak.main(["nonsense"])
