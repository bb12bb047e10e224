"""Redis's other types, as JSON that a person can read."""

from __future__ import annotations

from typing import Any

from stores.names import decode_name

__all__ = ["elements", "listing"]

Command = tuple[bytes | str | int, ...]


def listing(kind: str, name: bytes, most: int) -> list[Command]:
    """How many elements a structure has, and (at least) its first ones."""
    scan: Command = () if most < 0 else (0, "COUNT", most)
    last = most - 1 if most > 0 else -1
    match kind:
        case "hash":
            return [("HLEN", name), ("HSCAN" if scan else "HGETALL", name, *scan)]
        case "set":
            return [("SCARD", name), ("SSCAN" if scan else "SMEMBERS", name, *scan)]
        case "list":
            return [("LLEN", name), ("LRANGE", name, 0, last)]
        case "zset":
            return [("ZCARD", name), ("ZRANGE", name, 0, last, "WITHSCORES")]
        case "stream":
            return [("XLEN", name), ("XRANGE", name, "-", "+", *(() if most < 0 else ("COUNT", most)))]
        case _:
            return [("EXISTS", name), ("DUMP", name)]


def elements(kind: str, held: Any) -> Any:
    """Elements in a form that JSON has, whichever version of the protocol they came by."""
    if kind in ("hash", "set") and isinstance(held, list) and len(held) == 2 and isinstance(held[1], (list, dict, set)):  # noqa: PLR2004 - a scan's cursor and elements
        held = held[1]
    match kind:
        case "hash":
            return {decode_name(field): decode_name(value) for field, value in _pairs(held)}
        case "set":
            return sorted(map(decode_name, held))
        case "list":
            return list(map(decode_name, held))
        case "zset":
            return [[decode_name(member), float(score)] for member, score in _pairs(held)]
        case "stream":
            return [
                [
                    number if isinstance(number, str) else number.decode(),
                    {decode_name(field): decode_name(value) for field, value in _pairs(fields)},
                ]
                for number, fields in _pairs(held)
            ]
        case _:
            return [decode_name(held)]


def _pairs(held: Any) -> list[tuple[Any, Any]]:
    if isinstance(held, dict):
        return list(held.items())
    if held and isinstance(held[0], (list, tuple)):
        return [(first, second) for first, second in held]
    return list(zip(held[::2], held[1::2], strict=True))
