"""A mutation fuzzer of the daemon's live socket.

Rules: every frame that is sent is also read by the decoder in this process, which says what must become of it: a request with a
usable id gets exactly one reply under that id, anything else exactly one refusal without an id, after which the stream ends. So
nothing that the daemon swallows, answers twice or leaves unanswered goes unseen. Frames come from a seed, and a failure names
it.
"""

import random
import struct
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from kvd.errors import ProtocolError
from kvd.protocol import check_request, unpack_request
from tests.daemonkit import Daemon, RawClient

CONFIG = """
[connections.open]
store = "memory"
allow_destroy = true
"""
BATCH = 40
"""Frames sent at once; the first that ends the stream ends the batch."""
LAST = 4_000_000_000
"""The id of the ping behind a batch that does not end the stream; no mutation of a seed comes near it but by chance."""

SEEDS: list[tuple[Any, ...]] = [
    ("get", {"connection": "open", "collection": None, "key": "k"}),
    ("put", {"connection": "open", "key": b"\xff", "value": b'{"a": [1, 2.5, "x"]}', "ttl": 10.5}),
    ("put_many", {"connection": "open", "keys": ["a", "b"], "values": [b"{}", b'{"b": null}']}),
    ("get_many", {"connection": "open", "keys": ["a", b"b", [b"t"]]}, {"timeout": 5.0}),
    ("ttl_many", {"connection": "open", "keys": ["a", "\u65e5\u672c"]}),
    ("scan_keys", {"connection": "open", "limit": 5, "match": "a[b-*"}),
    ("scan_keys", {"connection": "open", "cursor": b"12345678", "describe": False}),
    ("scan_collections", {"connection": "open", "limit": 1}),
    ("describe", {"connection": "open", "keys": ["a"]}),
    ("edit", {"connection": "open", "key": "k", "value": b"{}", "expected": b"12345678"}),
    ("expire", {"connection": "open", "key": "k", "ttl": None}),
    ("delete", {"connection": "open", "key": "k", "expected": None}),
    ("destroy_collection", {"connection": "open", "collection": "c"}),
    ("read", {"connection": "open", "key": "k", "offset": 1, "length": 2}),
    ("hello", {"protocol": [1, 1], "client": "fuzz", "version": "1"}),
    ("cancel", {"id": 3}),
    ("subscribe", {"connection": "open"}),
    ("unsubscribe", {}),
    ("connections", {}),
]
ODD: list[Any] = [
    None, True, -1, 0, 2**63, -(2**63), 2**64 - 1, float("nan"), float("inf"), 1e308, "", "\u0000", "x" * 300, b"", b"\xff" * 9,
    [], [[]], {}, {"": None}, {1: 2}, [None] * 20, "open", "::", "../../x", [b""], [b"\xc1"] * 3,
]  # fmt: skip


@dataclass(frozen=True)
class Fuzzed:
    """What became of the frames."""

    frames: int
    answered: int
    refused: int
    seconds: float
    grown: int
    """Bytes by which the daemon's memory grew between the tenth part of the frames and their end."""

    def __str__(self) -> str:
        return (
            f"{self.frames:,} frames in {self.seconds:.0f} s: {self.answered:,} answered, {self.refused:,} refused with their "
            f"stream, memory {self.grown / 2**20:+.1f} MiB, nothing unanswered, nothing in the log"
        )


def mutated(rng: random.Random, body: bytes) -> bytes:
    """Change, remove, double and insert bytes of a body."""
    changed = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(changed))
        match rng.randrange(5):
            case 0:
                changed[place] = rng.randrange(256)
            case 1:
                changed[place] ^= 1 << rng.randrange(8)
            case 2:
                del changed[place : place + min(rng.randrange(1, 4), len(changed) - 1)]
            case 3:
                changed[place:place] = changed[place : place + rng.randrange(1, 8)]
            case _:
                changed[place:place] = rng.randbytes(rng.randrange(1, 6))
    return bytes(changed)


def reshaped(rng: random.Random) -> bytes:
    """A request that is msgpack, with a parameter that is none of what its method takes."""
    method, params, *options = rng.choice(SEEDS)
    params = dict(params)
    for _ in range(rng.randrange(1, 3)):
        name = rng.choice([*params, "connection", "key", "extra"])
        params[name] = rng.choice(ODD)
    message = [0, rng.randrange(1 << 32), method, params, *options]
    if not rng.randrange(8):
        message[rng.randrange(len(message))] = rng.choice(ODD)
    body: bytes = msgpack.packb(message)
    return body


def read(body: bytes) -> int | None:
    """The id under which the body must be answered; None when it ends the stream."""
    try:
        return check_request(unpack_request(body)).id
    except ProtocolError as error:
        return error.id


def fuzz(daemon: Daemon, frames: int, seed: int) -> Fuzzed:
    """Send so many frames to a daemon that has `CONFIG`.

    Raises:
        AssertionError: one was not answered as it must be; the message has the seed.
    """
    rng = random.Random(seed)
    bodies: list[bytes] = [msgpack.packb([0, number, *one]) for number, one in enumerate(SEEDS)]
    sent = refused = 0
    settled = 0
    resident(daemon)  # opens the connection: from now on it answers at once, and a stream's end takes no request along
    began = time.monotonic()
    while sent < frames:
        batch = []
        for _ in range(min(BATCH, frames - sent)):
            batch.append(reshaped(rng) if rng.randrange(3) else mutated(rng, rng.choice(bodies)))
            if read(batch[-1]) is None:
                break
        refused += exchange(daemon, batch, f"seed {seed}, frame {sent}")
        sent += len(batch)
        if not settled and sent >= frames // 10:
            settled = resident(daemon)
    grown = resident(daemon) - settled
    said = daemon.said()
    assert " failed" not in said, said[-3000:]
    assert "Traceback" not in said, said[-3000:]
    return Fuzzed(sent, sent - refused, refused, time.monotonic() - began, grown)


def resident(daemon: Daemon) -> int:
    """The daemon's memory without what was stored."""
    with daemon.client() as client:
        client.call("destroy", connection="open")
        return daemon.memory()


def exchange(daemon: Daemon, batch: list[bytes], where: str) -> bool:
    """Send a batch on a connection of its own and compare what comes back; whether the stream was ended."""
    ids = [read(body) for body in batch]
    ends = ids[-1] is None
    expected = Counter(ids)
    expected[0] += 1  # the hello in front
    if not ends:
        batch = [*batch, msgpack.packb([0, LAST, "ping", {}])]
        expected[LAST] += 1
    hello: bytes = msgpack.packb([0, 0, "hello", {"protocol": [1, 1]}])
    with RawClient(daemon.socket) as client:
        client.socket.sendall(b"".join(struct.pack(">I", len(body)) + body for body in [hello, *batch]))
        got: Counter[int | None] = Counter()
        while (message := client.read()) is not None:
            if message[0] == 1:
                got[message[1]] += 1
                assert message[2] is None or message[2]["code"] != "internal", (where, message[2])
            if not ends and got.total() == expected.total():
                break
    assert got == expected, (where, expected - got, got - expected)
    return ends
