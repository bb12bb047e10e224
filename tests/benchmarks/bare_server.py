"""A server that only answers: what a start of Python and of its event loop costs by itself.

python -m tests.benchmarks.bare_server anyio|asyncio PATH uvloop|asyncio
"""

import sys
from typing import cast


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


def with_asyncio(path: str, loop: str) -> None:
    import asyncio

    class Answer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

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
    {"anyio": with_anyio, "asyncio": with_asyncio}[sys.argv[1]](*sys.argv[2:])
