"""Names of FileTreeStore: where a collection and a key lie in the data folder, and the strategies that make them fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple, Self

from stores.errors import InvalidKeyError
from stores.names import Token, decode_name, encode_name
from stores.sanitization import ALPHANUMERIC_UNDERSCORE, HybridSanitizationStrategy

__all__ = [
    "INFO",
    "NAME_MAX",
    "SUFFIX",
    "Address",
    "FileTreeV1CollectionSanitizationStrategy",
    "FileTreeV1KeySanitizationStrategy",
    "plain",
]

SUFFIX: Final = ".json"
INFO: Final = "-info.json"
NAME_MAX: Final = 255


class Address(NamedTuple):
    """A directory in the data folder (None: the folder itself) and a file in it."""

    directory: str | None
    file: str

    @classmethod
    def parse(cls, token: bytes) -> Self:
        """The address of a token's value. InvalidKeyError when it leads elsewhere."""
        directory, slash, file = decode_name(token).rpartition("/")
        return cls(plain(directory) if slash else None, plain(file))

    @property
    def token(self) -> Token:
        """Names the file in every collection."""
        return Token(encode_name(self.file if self.directory is None else f"{self.directory}/{self.file}"))


def plain(name: str) -> str:
    """The name, if it names something in a directory and not elsewhere. InvalidKeyError otherwise."""
    if name in ("", ".", "..") or any(char in name for char in ("/", "\0", os.sep, os.altsep or "/")):
        raise InvalidKeyError(f"{name!r} cannot be the name of a file. A sanitization strategy makes such names fit.")
    return name


class FileTreeV1KeySanitizationStrategy(HybridSanitizationStrategy):
    """Keys as file names: letters, digits and `_` stay, the rest is replaced, and a piece of the hash is added."""

    def __init__(self, directory: Path | str) -> None:
        """Take the file system's limits.

        Args:
            directory: the store's data directory.
        """
        super().__init__(max_length=_name_limit(directory, len(SUFFIX)), allowed_characters=ALPHANUMERIC_UNDERSCORE)


class FileTreeV1CollectionSanitizationStrategy(HybridSanitizationStrategy):
    """Collections as directory names: letters, digits and `_` stay, the rest is replaced, and a piece of the hash is added."""

    def __init__(self, directory: Path | str) -> None:
        """Take the file system's limits.

        Args:
            directory: the store's data directory.
        """
        super().__init__(max_length=_name_limit(directory, len(INFO)), allowed_characters=ALPHANUMERIC_UNDERSCORE)


def _name_limit(directory: Path | str, reserved: int) -> int:
    """Characters that a name may have below a directory, which need not be there yet."""
    path = Path(directory).expanduser().absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    whole = os.pathconf(there, "PC_PATH_MAX")
    room = whole - len(path.as_posix()) if whole > 0 else NAME_MAX
    return min(room, os.pathconf(there, "PC_NAME_MAX") - reserved)
