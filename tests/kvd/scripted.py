"""A server in the daemon's place that answers with a script, so that a client can be met by what the daemon seldom does."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from kvd.frames import Decoder, frame
from kvd.protocol import encode_reply

Script = Callable[[socket.socket, int, str, Any], None]


@contextmanager
def scripted(home: Path, script: Script) -> Iterator[Path]:
    """Serves one client after the other with a script that gets each request."""
    path = home / "socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                decoder = Decoder()
                while data := sock.recv(65536):
                    for body in decoder.take(data):
                        _, number, method, params, *_ = msgpack.unpackb(body)
                        try:
                            script(sock, number, method, params)
                        except OSError:
                            break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield path
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def answer(sock: socket.socket, number: int, result: Any) -> None:
    sock.sendall(frame(encode_reply(number, None, result)))


def greet(sock: socket.socket, number: int) -> None:
    answer(sock, number, {"protocol": 1, "version": "9", "pid": 1, "new": "field", "limits": {"max_in_flight": 50}})
