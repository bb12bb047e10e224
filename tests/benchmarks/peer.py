"""What a peer is: JSON text under a key, read back and parsed by the bare driver. What a program without us would do.

Each peer gives `get put get_many put_many delete_many keys`; keys belong to one prefix of the peer's own.
"""

import json
from typing import Any, Protocol

Value = dict[str, Any]


class Peer(Protocol):
    async def get(self, key: str) -> Value | None: ...
    async def put(self, key: str, value: Value) -> None: ...
    async def get_many(self, keys: list[str]) -> list[Value | None]: ...
    async def put_many(self, keys: list[str], values: list[Value]) -> None: ...
    async def delete_many(self, keys: list[str]) -> None: ...
    async def keys(self) -> int: ...


def dump(value: Value) -> str:
    return json.dumps(value, sort_keys=True)


def load(text: str | bytes | None) -> Value | None:
    return None if text is None else json.loads(text)
