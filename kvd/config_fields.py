"""What can be configured, read from the stores themselves: constructors give names, types, defaults and documentation.

There is no second description of a backend. An argument whose type cannot be written in TOML (a driver's client) is not
offered. Importing this imports `stores`, and asking for a store's fields imports its module, but no driver.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import stores
from kvd.config_secrets import has_reference
from kvd.errors import ConfigError
from stores.arguments import Secret
from stores.base import BaseStore
from stores.sanitization import SanitizationStrategy

__all__ = ["Field", "is_reference", "mismatch", "store_class", "store_fields", "store_names", "strategy_class"]

_SUFFIX = "Store"
_WORDS: dict[Any, str] = {str: "text", Path: "a path", bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One argument of a store's constructor."""

    name: str
    types: tuple[Any, ...]
    """What it may be, without None: str, int, float, bool, Path, dict, list, SanitizationStrategy, or literal texts."""
    required: bool
    default: Any
    secret: bool
    doc: str


@cache
def store_names() -> list[str]:
    """The names under which the stores are configured: those of the classes, in small letters."""
    names = [name for name in dir(stores) if name.endswith(_SUFFIX) and not name.startswith("Base")]
    return sorted(name.removesuffix(_SUFFIX).lower() for name in names)


@cache
def store_class(store: str) -> type[BaseStore]:
    """The class of a store's name.

    Raises:
        KeyError: there is no such store.
        ConfigError: its module cannot be imported.
    """
    classes = {name.removesuffix(_SUFFIX).lower(): name for name in dir(stores) if name.endswith(_SUFFIX)}
    name = classes[store]
    try:
        found: type[BaseStore] = getattr(stores, name)
    except Exception as error:
        # whatever a broken or half-upgraded package raises: the other stores must go on
        raise ConfigError(f"{store} cannot be loaded: a package that it needs is missing or broken ({error})") from error
    return found


def strategy_class(name: str) -> type[SanitizationStrategy] | None:
    """The sanitization strategy of that name."""
    if name not in dir(stores) or not name.endswith("Strategy") or name == "SanitizationStrategy":
        return None
    found: type[SanitizationStrategy] = getattr(stores, name)
    return found


@cache
def store_fields(store: str) -> dict[str, Field]:
    """The arguments of the store's constructor that can be written down, in its order. Raises as `store_class`."""
    cls = store_class(store)
    constructor = cls.__init__
    # an inherited constructor's annotations mean what they mean where it was written
    names = vars(sys.modules[constructor.__module__])
    docs = _argument_docs(inspect.getdoc(constructor) or "") | _argument_docs(inspect.getdoc(cls) or "")
    fields: dict[str, Field] = {}
    for parameter in list(inspect.signature(constructor).parameters.values())[1:]:
        options = _options(parameter.annotation, names)
        if options is None:
            continue
        allowed, secret = options
        required = parameter.default is inspect.Parameter.empty
        fields[parameter.name] = Field(
            name=parameter.name,
            types=allowed,
            required=required,
            default=None if required else parameter.default,
            secret=secret,
            doc=docs.get(parameter.name, ""),
        )
    return fields


def mismatch(field: Field, value: Any) -> str | None:
    """Why a value as TOML gives it cannot be this argument, or None when it can."""
    if is_reference(field, value) or (isinstance(value, str) and has_reference(value)):
        return None
    if Path in field.types and isinstance(value, str) and not value.startswith(("/", "~")):
        return "must be an absolute path, or start with ~"
    if any(_fits(option, value) for option in field.types):
        return None
    if SanitizationStrategy in field.types and isinstance(value, (str, dict)):
        return f"there is no sanitization strategy {value!r}"
    wanted = " or ".join(dict.fromkeys(_word(option) for option in field.types))
    # the value itself may be a secret that was put into the wrong field
    return f"must be {wanted}, not {_word(type(value))}"


def is_reference(field: Field, value: Any) -> bool:
    """Whether the value says where a text is to be found: `{file = …}` or `{command = …}`."""
    return (
        isinstance(value, dict)
        and len(value) == 1
        and value.keys() <= {"file", "command"}
        and str in field.types
        and dict not in field.types
    )


def _fits(option: Any, value: Any) -> bool:
    if isinstance(option, str):
        return bool(value == option)
    if option is bool or isinstance(value, bool):
        return option is bool and isinstance(value, bool)
    if option is SanitizationStrategy:
        name = value.get("class") if isinstance(value, dict) else value
        return isinstance(name, str) and strategy_class(name) is not None
    if option is float:
        return isinstance(value, (int, float))
    if option is Path:
        return isinstance(value, str)
    return isinstance(value, option)


def _word(option: Any) -> str:
    if isinstance(option, str):
        return repr(option)
    if option in (dict, list):
        return "a table" if option is dict else "a list"
    return _WORDS.get(option, "a sanitization strategy" if option is SanitizationStrategy else "something else")


def _options(annotation: Any, names: dict[str, Any]) -> tuple[tuple[Any, ...], bool] | None:
    """What a parameter may be and whether it is a secret; None when TOML cannot say it."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, names)  # noqa: S307 - an annotation of our own source
        except (NameError, AttributeError, TypeError):
            return None  # a driver's type, known to type checkers only
    parts = _alternatives(annotation)
    marks = {mark for part in parts if get_origin(part) is Annotated for mark in get_args(part)[1:]}
    plain = [inner for part in parts for inner in _alternatives(get_args(part)[0] if get_origin(part) is Annotated else part)]
    allowed = tuple(kind for part in plain for kind in _kinds(part))
    return (allowed, Secret in marks) if allowed else None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The kinds of TOML value that one alternative of an annotation allows."""
    origin = get_origin(annotation) or annotation
    if origin is Literal:
        return get_args(annotation)
    if origin in (str, int, float, bool, Path, SanitizationStrategy):
        return (origin,)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return (dict,)
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return (list,)
    return (object,) if origin is Any else ()


def _argument_docs(doc: str) -> dict[str, str]:
    """The sentences of a docstring's `Args:` section, by argument."""
    _, found, section = doc.partition("Args:\n")
    docs: dict[str, str] = {}
    name = None
    for line in section.splitlines() if found else []:
        if line and not line.startswith(" "):
            break
        if start := re.match(r" {4}(\w+)(?: \([^)]*\))?:\s*(.*)", line):
            name = start[1]
            docs[name] = start[2]
        elif name and line.strip():
            docs[name] += " " + line.strip()
    return docs
