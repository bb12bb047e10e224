"""`kill -9` of the daemon in the middle of writes, and what is found afterwards.

Rules: puts, batches and deletes go out pipelined, over keys that are written again and again. Of every key is known what was
acknowledged last and what was sent since; after the kill the next daemon must find one of these, and nothing else. In the end
py-key-value-aio reads the same folders and must find the same.
"""

import asyncio
import json
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.daemonkit import Daemon, RawClient

CONFIG = """
[connections.disk]
store = "disk"
[connections.disk.args]
directory = "${KVD_TEST_DIR}/disk"

[connections.filetree]
store = "filetree"
[connections.filetree.args]
data_directory = "${KVD_TEST_DIR}/filetree"
"""
STORES = "disk", "filetree"
COLLECTION = "c"
KEYS = 60
FILL = "x" * 400

State = dict[str, int | None]
"""The number that each key holds."""


@dataclass(frozen=True)
class Killed:
    """What became of the writes."""

    kills: int
    acknowledged: int
    unanswered: int
    survived: int
    """Unanswered writes that were found all the same."""
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kills:,} kills in {self.seconds:.0f} s: {self.acknowledged:,} acknowledged writes, none lost; of "
            f"{self.unanswered:,} unanswered ones {self.survived:,} were done; py-key-value-aio reads the same"
        )


class _Writer:
    """Writes to one store, and knows what may be found there."""

    def __init__(self, store: str, rng: random.Random) -> None:
        self.store = store
        self.found: State = dict.fromkeys((f"k{number}" for number in range(KEYS)), None)
        self.acknowledged = self.unanswered = self.survived = 0
        self._rng = rng
        self._number = 0
        self._since: dict[str, list[int | None]] = {}
        """What was sent for a key after what was acknowledged last."""
        self._flying: dict[int, list[tuple[str, int | None]]] = {}

    def send(self, client: RawClient) -> None:
        """Send one request."""
        rng = self._rng
        self._number += 1
        where = {"connection": self.store, "collection": COLLECTION}
        keys = rng.sample(list(self.found), rng.choice([1, 1, 1, 8]))
        kind = rng.randrange(8)
        if kind == 0:
            asked = client.ask("delete_many", where | {"keys": keys})
        elif len(keys) == 1:
            asked = client.ask("put", where | {"key": keys[0], "value": _value(self._number)})
        else:
            asked = client.ask("put_many", where | {"keys": keys, "values": [_value(self._number)] * len(keys)})
        written = None if kind == 0 else self._number
        self._flying[asked] = [(key, written) for key in keys]
        for key in keys:
            self._since.setdefault(key, []).append(written)

    def answered(self, number: int) -> None:
        """Note that a request was acknowledged. Those on one key are answered in their order."""
        for key, written in self._flying.pop(number):
            since = self._since[key]
            assert since[0] == written, (self.store, key, since, written)
            self.found[key] = since.pop(0)
        self.acknowledged += 1

    def check(self, client: RawClient) -> None:
        """Look what is there after a kill."""
        keys = list(self.found)
        bodies = client.call("get_many", connection=self.store, collection=COLLECTION, keys=keys)
        for key, body in zip(keys, bodies, strict=True):
            there = None if body is None else _number(json.loads(body))
            since = self._since.get(key, [])
            assert there in [self.found[key], *since], (self.store, key, there, self.found[key], since)
            self.survived += there != self.found[key]
            self.found[key] = there
        self.unanswered += len(self._flying)
        self._flying.clear()
        self._since.clear()


def _value(number: int) -> bytes:
    return json.dumps({"fill": FILL, "n": number}).encode()


def _number(value: Any) -> int:
    assert value["fill"] == FILL
    number: int = value["n"]
    return number


def kill(daemon: Daemon, kills: int, seed: int) -> Killed:
    """Kill a daemon that has `CONFIG` so often, and look each time.

    Raises:
        AssertionError: an acknowledged write was lost, or something is there that nobody wrote.
    """
    folder = daemon.home / "kept"
    folder.mkdir()
    daemon.stop()
    daemon.environment["KVD_TEST_DIR"] = str(folder)
    rng = random.Random(seed)
    writers = [_Writer(store, rng) for store in STORES]
    began = time.monotonic()
    for _ in range(kills):
        daemon.start()
        with daemon.client() as client:
            for writer in writers:
                writer.check(client)
            try:
                _write(client, writers, rng.randrange(1, 60))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}\n{daemon.said()[-5000:]}") from error
            daemon.signal(signal.SIGKILL)
        daemon.wait()
    seconds = time.monotonic() - began
    daemon.start()
    with daemon.client() as client:
        for writer in writers:
            writer.check(client)
    daemon.stop()
    for writer in writers:
        assert asyncio.run(_read_by_the_judge(writer.store, folder / writer.store, list(writer.found))) == writer.found
    return Killed(
        kills,
        sum(writer.acknowledged for writer in writers),
        sum(writer.unanswered for writer in writers),
        sum(writer.survived for writer in writers),
        seconds,
    )


def _write(client: RawClient, writers: list[_Writer], answers: int) -> None:
    """Keep twenty requests in flight until so many were answered."""
    asked: dict[int, _Writer] = {}
    while answers:
        while len(asked) < 20:
            writer = writers[len(asked) % len(writers)]
            writer.send(client)
            asked[client._id] = writer
        kind, number, error, _ = client.read()
        assert kind == 1
        assert error is None, error
        asked.pop(number).answered(number)
        answers -= 1


async def _read_by_the_judge(store: str, folder: Path, keys: list[str]) -> State:
    if store == "disk":
        from key_value.aio.stores.disk import DiskStore

        async with DiskStore(directory=folder) as judge:
            found = await judge.get_many(keys, collection=COLLECTION)
    else:
        from key_value.aio.stores.filetree import FileTreeStore

        found = await FileTreeStore(data_directory=folder).get_many(keys, collection=COLLECTION)
    return {key: None if value is None else _number(value) for key, value in zip(keys, found, strict=True)}
