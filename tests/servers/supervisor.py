"""The one process that owns every server of a test run.

    python -m tests.servers.supervisor LISTENING_DESCRIPTOR FOLDER

Rules
- It ends, and ends every server first, when its standard input reaches the end (whoever started it is gone, however it
  went) or on SIGTERM. Killed itself, its servers die with it.
- A shared server starts when first asked for, once, whoever asks. A private one ends with the connection that asked.
- One request and one reply a line, JSON objects: `{"do": NAME, …}` brings `{"ok": …}`, `{"unavailable": WHY}` or
  `{"error": WHY}`. Requests of one connection are answered in order.
"""

import asyncio
import itertools
import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from tests.servers.catalogue import KINDS
from tests.servers.instance import Instance
from tests.servers.kind import UnavailableError


def describe(instance: Instance) -> dict[str, Any]:
    return {"url": instance.endpoint, "folder": str(instance.folder), "pids": instance.pids}


class Supervisor:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shared: dict[str, asyncio.Task[Instance]] = {}
        self._numbers = itertools.count()
        self._all: list[Instance] = []

    async def serve(self, listener: socket.socket) -> None:
        """Answer clients until the starter is gone or SIGTERM comes, then end every server."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        # Nothing is ever written there: readable means closed.
        loop.add_reader(0, ended.set)
        server = await asyncio.start_unix_server(self._client, sock=listener)
        await ended.wait()
        server.close()
        await asyncio.gather(*(instance.close() for instance in self._all))
        shutil.rmtree(self._folder, ignore_errors=True)
        # Whoever still waits for an answer is told by the closed connection. A thread that is still fetching would
        # otherwise be waited for.
        os._exit(0)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        private: dict[int, Instance] = {}
        try:
            while line := await reader.readline():
                reply = await self._answer(json.loads(line), private)
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            await asyncio.gather(*(self._close(instance) for instance in private.values()))
            writer.close()

    async def _answer(self, request: dict[str, Any], private: dict[int, Instance]) -> dict[str, Any]:
        try:
            return {"ok": await self._do(request, private)}
        except UnavailableError as exc:
            return {"unavailable": str(exc)}
        except Exception as exc:  # noqa: BLE001 - whatever went wrong, the test that asked must be told
            return {"error": f"{type(exc).__name__}: {exc}"}

    async def _do(self, request: dict[str, Any], private: dict[int, Instance]) -> Any:
        match request:
            case {"do": "warm", "kinds": kinds}:
                for kind in kinds:
                    self._share(kind)
            case {"do": "share", "kind": kind}:
                return describe(await asyncio.shield(self._share(kind)))
            case {"do": "start", "kind": kind, "args": args}:
                number, instance = self._new(kind, args)
                private[number] = instance
                try:
                    await instance.start()
                except Exception:
                    await self._close(private.pop(number))
                    raise
                return {"number": number, **describe(instance)}
            case {"do": "end", "number": number}:
                await self._close(private.pop(number))
            case {"number": number}:
                return await self._do_private(request, private[number])
            case _:
                raise ValueError(f"not a request: {request}")
        return None

    async def _do_private(self, request: dict[str, Any], instance: Instance) -> Any:
        match request:
            case {"do": "pids"}:
                return instance.pids
            case {"do": "signal", "member": member, "signal": number}:
                instance.send_signal(member, number)
            case {"do": "stop", "member": member, "signal": number}:
                await instance.stop(member, number)
            case {"do": "start again"}:
                await instance.start()
            case _:
                raise ValueError(f"not a request: {request}")
        return None

    def _share(self, kind: str) -> asyncio.Task[Instance]:
        if kind not in self._shared:
            self._shared[kind] = asyncio.create_task(self._start_shared(kind))
        return self._shared[kind]

    async def _start_shared(self, kind: str) -> Instance:
        _, instance = self._new(kind, ())
        await instance.start()
        return instance

    def _new(self, kind: str, args: tuple[str, ...]) -> tuple[int, Instance]:
        number = next(self._numbers)
        instance = Instance(KINDS[kind], self._folder / f"{kind}{number}", args)
        self._all.append(instance)
        return number, instance

    async def _close(self, instance: Instance) -> None:
        self._all.remove(instance)
        await instance.close()
        shutil.rmtree(instance.folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(Supervisor(Path(sys.argv[2])).serve(socket.socket(fileno=int(sys.argv[1]))))
