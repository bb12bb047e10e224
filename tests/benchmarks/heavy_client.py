"""A client that asks for as much as it can until it is killed. It says "ready" once its first answers came.

    python -m tests.benchmarks.heavy_client SOCKET|bare pipeline|large-get|large-put CPU

With `bare` it asks a process that only counts what it takes in and sends the same answers: what is left of a neighbour's wait
then is the kernel's, which divides one CPU among processes that are busy.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

from tests.benchmarks.kvd_rig import COLLECTION, KEYS, LARGE_VALUE, PAYLOAD
from tests.daemonkit import RawClient

BATCH = 128
CHUNK = 1 << 20


def request(method: str, number: int = 1000, **params: Any) -> bytes:
    return RawClient.frame([0, number, method, {"connection": "scratch", "collection": COLLECTION, **params}])


def take(sock: socket.socket, size: int) -> None:
    """Take in at least so many bytes."""
    while size > 0:
        size -= len(sock.recv(CHUNK))


def pipeline(sock: socket.socket) -> Iterator[None]:
    """Two batches of small requests are in flight all the time."""
    # ids of one width: every answer has the same length, and nothing needs to be decoded
    batches = [
        b"".join(request("get", number, key=KEYS[0]) for number in range(start, start + BATCH)) for start in (1000, 2000)
    ]
    sock.sendall(batches[0])
    answer = 4 + int.from_bytes(sock.recv(4, socket.MSG_PEEK | socket.MSG_WAITALL), "big")
    received = 0
    for batch in cycle(reversed(batches)):
        sock.sendall(batch)
        while received < answer * BATCH:
            received += len(sock.recv(CHUNK))
        received -= answer * BATCH
        yield


def large_get(sock: socket.socket) -> Iterator[None]:
    """One large answer after another, taken in but not decoded."""
    while True:
        sock.sendall(request("get", key="large"))
        take(sock, len(LARGE_VALUE))
        yield


def large_put(sock: socket.socket) -> Iterator[None]:
    """One large request after another."""
    frame, done = request("put", key="put", value=LARGE_VALUE), RawClient.frame([1, 1000, None, None])
    while True:
        sock.sendall(frame)
        assert sock.recv(CHUNK) == done
        yield


WORKS: dict[str, tuple[Callable[[socket.socket], Iterator[None]], bytes, Any]] = {
    "pipeline": (pipeline, request("get", key=KEYS[0]), PAYLOAD),
    "large-get": (large_get, request("get", key="large"), LARGE_VALUE),
    "large-put": (large_put, request("put", key="put", value=LARGE_VALUE), None),
}
"""What is done, what one request is, and its result."""


def bare(question: bytes, result: Any) -> socket.socket:
    """Connect to a child process that sends the answer for as many bytes as the question has, whatever they are."""
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    answer, received = RawClient.frame([1, 1000, None, result]), 0
    with suppress(OSError):
        while data := theirs.recv(CHUNK):
            count, received = divmod(received + len(data), len(question))
            theirs.sendall(answer * count)
    os._exit(0)


def main() -> None:
    path, kind, cpu = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    work, question, result = WORKS[kind]
    if path == "bare":
        sock = bare(question, result)
    else:
        client = RawClient(Path(path))
        client.hello()
        sock = client.socket
    steps = work(sock)
    next(steps)
    print("ready", flush=True)
    for _ in steps:
        pass


if __name__ == "__main__":
    main()
