"""The forms that parameters and answers have on the wire, as `kvd.requests` writes and reads them. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from kvd.model import Description, Key, Problem, Record, Step, StepChange, Token, Undone, Version, pack_name, unpack_name

__all__ = [
    "as_is",
    "drop_none",
    "known",
    "nothing",
    "pack_names",
    "read_description",
    "read_record",
    "read_step",
    "read_text",
    "read_token",
    "read_undone",
    "read_version",
]

T = TypeVar("T")


def as_is(result: Any) -> Any:
    """Read a result that needs no reading."""
    return result


def nothing(_result: Any) -> None:
    """Read the result of a method that has none."""
    return


def drop_none(**params: Any) -> dict[str, Any]:
    """Return the parameters that are given."""
    return {name: value for name, value in params.items() if value is not None}


def pack_names(names: Sequence[Key]) -> list[Any]:
    """Do as `pack_name` for many."""
    packed: list[Any] = list(names)
    try:
        if "".join(packed).isascii():
            return packed  # nearly always; to ask each name takes six times as long
    except TypeError:
        pass  # there are tokens among them
    return [pack_name(name) for name in packed]


def read_token(packed: Any) -> Token:
    """Read a name that is a token."""
    name = unpack_name(packed)
    assert isinstance(name, Token), "browsing answers with tokens"  # noqa: S101 - the daemon is ours; a wrong shape is a bug
    return name


def read_text(packed: Any) -> str:
    """Read a name that is text."""
    name = unpack_name(packed)
    assert isinstance(name, str), "browsing answers with text"  # noqa: S101 - as above
    return name


def known(cls: type[T], fields: dict[str, Any]) -> T:
    """Build a noun of the model from a map, leaving out what a newer daemon added."""
    names = cls.__dataclass_fields__  # type: ignore[attr-defined] # every caller passes a dataclass
    return cls(**{name: value for name, value in fields.items() if name in names})


def read_description(packed: Any) -> Description | None:
    """Read a `Description`, or nil."""
    if packed is None:
        return None
    # by name and not by `known`: a scan brings thousands
    return Description(packed["kind"], packed["size"], packed["created_at"], packed["expires_at"], packed["stamp"])


def read_record(packed: Any) -> Record | None:
    """Read a `Record`, or nil."""
    return None if packed is None else known(Record, packed)


def read_version(packed: Any) -> Version:
    """Read the version that a write answers with."""
    return Version(packed["version"])


def _placed(packed: dict[str, Any]) -> dict[str, Any]:
    """Read the names in the map of something that concerns a key."""
    return packed | {"collection": unpack_name(packed["collection"]), "key": unpack_name(packed["key"])}


def read_step(packed: Any) -> Step:
    """Read a `Step`."""
    return known(Step, packed | {"changes": [known(StepChange, _placed(change)) for change in packed["changes"]]})


def read_undone(packed: Any) -> Undone | None:
    """Read an `Undone`, or nil."""
    if packed is None:
        return None
    return known(Undone, packed | {"problems": [known(Problem, _placed(problem)) for problem in packed["problems"]]})
