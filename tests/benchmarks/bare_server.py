"""Servers that only answer: what a start of Python, its event loop and msgpack cost by themselves.

python -m tests.benchmarks.bare_server anyio|asyncio|msgpack PATH uvloop|asyncio

The first two return what they get. The last one reads every frame as a request and answers it with one value, whatever is
asked, so that a client of the daemon's can be timed against it.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import cast

VALUE = b"x" * 200


def with_anyio(path: str, loop: str) -> None:
    import anyio
    from anyio.abc import SocketStream

    async def answer(stream: SocketStream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data)

    async def serve() -> None:
        listener = await anyio.create_unix_listener(path)
        await listener.serve(answer)

    anyio.run(serve, backend_options={"use_uvloop": loop == "uvloop"})


def _same(data: bytes) -> bytes:
    return data


def _reply(data: bytes) -> bytes:
    from msgpack import packb, unpackb  # type: ignore[import-untyped]  # it ships no types

    _, number, _, _ = unpackb(data[4:])
    body: bytes = packb((1, number, None, VALUE))
    return len(body).to_bytes(4, "big") + body


def with_asyncio(path: str, loop: str, answer: Callable[[bytes], bytes] = _same) -> None:
    import asyncio

    class Answer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            self.transport.write(answer(data))

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_unix_server(Answer, path)
        await server.serve_forever()

    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


if __name__ == "__main__":
    servers: dict[str, Callable[[str, str], None]] = {
        "anyio": with_anyio,
        "asyncio": with_asyncio,
        "msgpack": partial(with_asyncio, answer=_reply),
    }
    servers[sys.argv[1]](sys.argv[2], sys.argv[3])
