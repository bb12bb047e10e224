"""A client that asks for as much as it can until it is killed. It says "ready" once its first answers came.

python -m tests.benchmarks.heavy_client SOCKET pipeline|large-get|large-put
"""

import socket
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from tests.benchmarks.kvd_rig import COLLECTION, KEYS, LARGE_VALUE
from tests.daemonkit import RawClient

BATCH = 128
CHUNK = 1 << 20


def pipeline(client: RawClient) -> Iterator[None]:
    """Two batches of small requests are in flight all the time."""
    params = {"connection": "scratch", "collection": COLLECTION, "key": KEYS[0]}
    # ids of one width: every answer has the same length, and nothing needs to be decoded
    batches = [
        b"".join(client.frame([0, number, "get", params]) for number in range(start, start + BATCH)) for start in (1000, 2000)
    ]
    client.socket.sendall(batches[0])
    answer = 4 + int.from_bytes(client.socket.recv(4, socket.MSG_PEEK | socket.MSG_WAITALL), "big")
    received = 0
    for batch in cycle(reversed(batches)):
        client.socket.sendall(batch)
        while received < answer * BATCH:
            received += len(client.socket.recv(CHUNK))
        received -= answer * BATCH
        yield


def large_get(client: RawClient) -> Iterator[None]:
    """One large answer after another, taken in but not decoded."""
    request = client.frame([0, 1000, "get", {"connection": "scratch", "collection": COLLECTION, "key": "large"}])
    while True:
        client.socket.sendall(request)
        received = 0
        while received < len(LARGE_VALUE):
            received += len(client.socket.recv(CHUNK))
        yield


def large_put(client: RawClient) -> Iterator[None]:
    """One large request after another."""
    params = {"connection": "scratch", "collection": COLLECTION, "key": "put", "value": LARGE_VALUE}
    request = client.frame([0, 1000, "put", params])
    while True:
        client.socket.sendall(request)
        client.reply(1000)
        yield


WORKS = {"pipeline": pipeline, "large-get": large_get, "large-put": large_put}


def main() -> None:
    with RawClient(Path(sys.argv[1])) as client:
        client.hello()
        work = WORKS[sys.argv[2]](client)
        next(work)
        print("ready", flush=True)
        for _ in work:
            pass


if __name__ == "__main__":
    main()
