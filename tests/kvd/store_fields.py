"""What the stores' constructors take, read from their signatures and docstrings, for the daemon's `kvd/store_fields.json`.

python -m tests.kvd.store_fields --write    writes that file, after a constructor was changed

An argument whose type cannot be written in TOML (a driver's client) is left out.
"""

import inspect
import json
import re
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_overloads

import stores
from kvd.config_fields import DESCRIPTION
from stores.arguments import Secret
from stores.sanitization import SanitizationStrategy

_KINDS: dict[Any, str] = {
    str: "text",
    Path: "path",
    bool: "bool",
    int: "int",
    float: "float",
    SanitizationStrategy: "strategy",
}


def description() -> str:
    """The whole file."""
    classes = [name for name in dir(stores) if name.endswith("Store") and not name.startswith("Base")]
    found = {name: {"class": name, "fields": fields(getattr(stores, name))} for name in classes}
    named = {name.removesuffix("Store").lower(): one for name, one in found.items()}
    return json.dumps(dict(sorted(named.items())), indent=1) + "\n"


def fields(cls: type) -> list[dict[str, Any]]:
    """The arguments of one constructor that can be written down, in its order."""
    constructor = inspect.getattr_static(cls, "__init__")
    # an inherited constructor's annotations mean what they mean where it was written
    names = vars(sys.modules[constructor.__module__])
    docs = _argument_docs(inspect.getdoc(constructor) or "") | _argument_docs(inspect.getdoc(cls) or "")
    required = _required(constructor, names)
    found = []
    for parameter in list(inspect.signature(constructor).parameters.values())[1:]:
        parts, marks = _parts(parameter.annotation, names)
        kinds = [kind for part in parts for kind in _kinds(part)]
        choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
        if not kinds and not choices:
            continue
        field: dict[str, Any] = {"name": parameter.name, "kinds": kinds}
        if choices:
            field["choices"] = choices
        if parameter.name in required:
            field["required"] = True
        elif parameter.default is not None:
            field["default"] = parameter.default
        if Secret in marks:
            field["secret"] = True
        found.append(field | {"doc": docs.get(parameter.name, "")})
    return found


def _required(constructor: Any, names: dict[str, Any]) -> set[str]:
    """The arguments without which no way of calling the constructor is left, of the ways that can be written in TOML."""
    ways = []
    for way in get_overloads(constructor) or [constructor]:
        keywords = [one for one in inspect.signature(way).parameters.values() if one.kind is one.KEYWORD_ONLY]
        needed = [one for one in keywords if one.default is one.empty]
        if all(any(map(_kinds, _parts(one.annotation, names)[0])) for one in needed):
            ways.append({one.name for one in needed})
    return set.intersection(*ways)


def _parts(annotation: Any, names: dict[str, Any]) -> tuple[list[Any], set[Any]]:
    """The alternatives of an annotation, and what marks them."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, names)
        except (NameError, AttributeError, TypeError):
            return [], set()  # a driver's type, known to type checkers only
    outer = _alternatives(annotation)
    marks = {mark for part in outer if get_origin(part) is Annotated for mark in get_args(part)[1:]}
    return [inner for part in outer for inner in _alternatives(_bare(part))], marks


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _kinds(annotation: Any) -> list[str]:
    """The kinds of TOML value that one alternative of an annotation allows."""
    origin = get_origin(annotation) or annotation
    if origin in _KINDS:
        return [_KINDS[origin]]
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return ["table"]
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return ["list"]
    assert origin is not Any, "an argument that may be anything cannot be described"
    return []


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


if __name__ == "__main__":
    if "--write" in sys.argv:
        DESCRIPTION.write_text(description())
    else:
        sys.stdout.write(description())
