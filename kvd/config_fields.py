"""What can be configured: the arguments of the stores' constructors, and whether a value that TOML gave can be one.

The constructors' signatures and docstrings are the description of a backend. What they say is read from them by a script
(`tests/kvd/store_fields.py`) into `store_fields.json`, and a test holds the two against each other, so that the daemon can tell
a mistake in the configuration without importing a backend and its driver. That happens when a store is opened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import stores
from kvd.config_secrets import has_reference
from kvd.errors import ConfigError

if TYPE_CHECKING:
    from stores.base import BaseStore
    from stores.sanitization import SanitizationStrategy

__all__ = ["Field", "is_reference", "mismatch", "store_class", "store_fields", "store_names", "strategy_class"]

DESCRIPTION: Final = Path(__file__).with_name("store_fields.json")

_WORDS: Final = {
    "text": "text",
    "path": "a path",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "table": "a table",
    "list": "a list",
    "strategy": "a sanitization strategy",
}
"""The kinds of value, as a person calls them."""
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "text": str,
    "path": str,
    "bool": bool,
    "int": int,
    "float": (float, int),
    "table": dict,
    "list": list,
}
_KINDS: Final = {str: "text", bool: "bool", int: "int", float: "float", dict: "table", list: "list"}
"""Of what TOML gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One argument of a store's constructor."""

    name: str
    kinds: tuple[str, ...]
    """What it may be, without None: "text", "path", "bool", "int", "float", "table", "list", "strategy"."""
    choices: tuple[str, ...] = ()
    """The only texts that it may be."""
    required: bool = False
    default: Any = None
    secret: bool = False
    doc: str = ""


@cache
def _stores() -> dict[str, dict[str, Any]]:
    described: dict[str, dict[str, Any]] = json.loads(DESCRIPTION.read_bytes())
    return described


def store_names() -> list[str]:
    """The names under which the stores are configured: those of the classes, in small letters."""
    return list(_stores())


def store_class(store: str) -> type[BaseStore]:
    """The class of a store's name, which imports its module.

    Raises:
        KeyError: there is no such store.
        ConfigError: its module cannot be imported.
    """
    name = _stores()[store]["class"]
    try:
        found: type[BaseStore] = getattr(stores, name)
    except Exception as error:
        # whatever a broken or half-upgraded package raises: the other stores must go on
        raise ConfigError(f"{store} cannot be loaded: a package that it needs is missing or broken ({error})") from error
    return found


def strategy_class(name: str) -> type[SanitizationStrategy] | None:
    """The sanitization strategy of that name."""
    found: type[SanitizationStrategy] | None = getattr(stores, name) if _is_strategy(name) else None
    return found


def _is_strategy(name: str) -> bool:
    return name in dir(stores) and name.endswith("Strategy") and name != "SanitizationStrategy"


@cache
def store_fields(store: str) -> dict[str, Field]:
    """The arguments of the store's constructor that can be written down, in its order. KeyError: there is no such store."""
    return {
        field["name"]: Field(**field | {"kinds": tuple(field["kinds"]), "choices": tuple(field.get("choices", ()))})
        for field in _stores()[store]["fields"]
    }


def mismatch(field: Field, value: Any) -> str | None:
    """Why a value as TOML gives it cannot be this argument, or None when it can."""
    if is_reference(field, value) or (isinstance(value, str) and has_reference(value)):
        return None
    if "path" in field.kinds and isinstance(value, str) and not value.startswith(("/", "~")):
        return "must be an absolute path, or start with ~"
    if value in field.choices or any(_fits(kind, value) for kind in field.kinds):
        return None
    if "strategy" in field.kinds and isinstance(value, (str, dict)):
        return f"there is no sanitization strategy {value!r}"
    wanted = " or ".join([*dict.fromkeys(_WORDS[kind] for kind in field.kinds), *map(repr, field.choices)])
    # the value itself may be a secret that was put into the wrong field
    return f"must be {wanted}, not {_WORDS.get(_KINDS.get(type(value), ''), 'something else')}"


def is_reference(field: Field, value: Any) -> bool:
    """Whether the value says where a text is to be found: `{file = …}` or `{command = …}`."""
    if "text" not in field.kinds or "table" in field.kinds:
        return False
    match value:
        case {"file": str()} | {"command": str()} if len(value) == 1:
            return True
        case {"command": [*words]} if len(value) == 1:
            return all(isinstance(word, str) for word in words)
    return False


def _fits(kind: str, value: Any) -> bool:
    if kind == "strategy":
        name = value.get("class") if isinstance(value, dict) else value
        return isinstance(name, str) and _is_strategy(name)
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    return isinstance(value, _TYPES[kind])
