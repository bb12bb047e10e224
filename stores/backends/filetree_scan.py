"""Pages of FileTreeStore's directories: walks over open directories, held between pages, so that no page reads them whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from stores.backends.filetree_files import Folder, is_temporary
from stores.backends.filetree_names import INFO, SUFFIX, Address
from stores.cursors import HeldCursors
from stores.entry import load_json
from stores.errors import CursorExpiredError, DeserializationError, InvalidKeyError, PathSecurityError
from stores.names import Name, Page, Token, compile_glob, encode_name
from stores.sanitization import SanitizationStrategy

__all__ = ["Scanner"]

BUDGET = 5_000
"""Names looked at for one page where most of them may not belong on it."""

_Of = tuple[str, str | None]


class _Walk:
    """A walk over a directory in progress."""

    def __init__(self, of: _Of, directory: int) -> None:
        self.of = of
        self._directory: int | None = os.dup(directory)  # entries ask it about themselves
        self.entries = os.scandir(self._directory)

    def close(self) -> None:
        directory, self._directory = self._directory, None
        if directory is not None:
            self.entries.close()
            os.close(directory)

    __del__ = close


class Scanner:
    """Names what lies in the folders. Its pages block: they belong in a thread."""

    def __init__(
        self, data: Folder, metadata: Folder, key_strategy: SanitizationStrategy, collection_strategy: SanitizationStrategy
    ) -> None:
        """Take the folders, and the strategies, which tell whether a stored name is the name itself."""
        self._data = data
        self._metadata = metadata
        self._key_strategy = key_strategy
        self._collection_strategy = collection_strategy
        self._held: HeldCursors[_Walk] = HeldCursors()
        self._lock = threading.Lock()  # pages are made in several threads

    def collections(self, cursor: bytes | None, limit: int) -> Page[Name]:
        """A page of directories."""
        return self._page(("collections", None), cursor, limit, self._collection_name)

    def keys(self, directory: str | None, cursor: bytes | None, limit: int, match: str | None) -> Page[Name]:
        """A page of a directory's files; without a directory, of those that lie beside the directories."""
        pattern = None if match is None else compile_glob(match)

        def named(entry: os.DirEntry[str]) -> Name | None:
            name = self._key_name(directory, entry)
            return None if name is None or (pattern and not pattern.match(name.text)) else name

        return self._page(("keys", directory), cursor, limit, named)

    def directories(self) -> list[str]:
        """All directories that are collections."""
        try:
            with self._data.directory(None) as root, os.scandir(root) as entries:
                return [entry.name for entry in entries if self._is_collection(entry)]
        except FileNotFoundError:
            return []

    def drop(self, cursor: bytes) -> None:
        """Let go of a walk."""
        with self._lock:
            self._held.drop(cursor)

    def forget(self, page: Future[Page[Name]]) -> None:
        """Let go of the walk that goes on behind a page."""
        if not page.cancelled() and page.exception() is None and (cursor := page.result().cursor) is not None:
            self.drop(cursor)

    def close(self) -> None:
        """Let go of all walks."""
        with self._lock:
            self._held.clear()

    def _page(self, of: _Of, cursor: bytes | None, limit: int, named: Callable[[os.DirEntry[str]], Name | None]) -> Page[Name]:
        walk = self._begin(of) if cursor is None else self._take(cursor)
        names: list[Name] = []
        scanned = 0
        if walk is None:
            return Page(names, None, scanned)
        if walk.of != of:
            walk.close()
            raise CursorExpiredError("This cursor belongs to another scan.")
        for entry in walk.entries:
            scanned += 1
            name = named(entry)
            if name is not None:
                names.append(name)
            if len(names) >= limit or scanned >= BUDGET:
                with self._lock:
                    return Page(names, self._held.hold(walk), scanned)
        walk.close()
        return Page(names, None, scanned)

    def _take(self, cursor: bytes) -> _Walk:
        with self._lock:
            return self._held.take(cursor)

    def _begin(self, of: _Of) -> _Walk | None:
        try:
            with self._data.directory(of[1]) as descriptor:
                return _Walk(of, descriptor)
        except FileNotFoundError:
            return None

    def _is_collection(self, entry: os.DirEntry[str]) -> bool:
        return self._data.is_directory(entry) and self._data.where(entry.name) != self._metadata.path

    def _collection_name(self, entry: os.DirEntry[str]) -> Name | None:
        """A directory's collection, by the file about it where that is believable."""
        if not self._is_collection(entry):
            return None
        directory = entry.name
        token = Token(encode_name(directory) + b"/")
        told, path = self._told(directory)
        if told:
            try:
                self._collection_strategy.validate(told)
                if self._collection_strategy.sanitize(told) == directory:
                    return Name(told, token)
            except InvalidKeyError:
                pass  # no name that the present strategy knows; it may still be told to a person
            if path == self._data.where(directory):
                return Name(told, token, exact=False)
        return Name(directory, token, exact=self._collection_strategy.keeps(directory))

    def _told(self, directory: str) -> tuple[str | None, Path | None]:
        """What the file about a directory says: the collection's name and where it lies."""
        try:
            with self._metadata.directory(None) as descriptor:
                found = self._metadata.look(directory + INFO, descriptor, self._metadata.path, limit=None)
            about = {} if found is None else load_json(found.content)
        except (DeserializationError, PathSecurityError, OSError):
            return None, None
        told, path = about.get("collection"), about.get("directory")
        return told if isinstance(told, str) else None, Path(path) if isinstance(path, str) else None

    def _key_name(self, directory: str | None, entry: os.DirEntry[str]) -> Name | None:
        file = entry.name
        if is_temporary(file) or entry.is_dir(follow_symlinks=directory is None):
            return None
        token = Address(directory, file).token
        if directory is None:
            is_about = file.endswith(INFO) and self._metadata.path == self._data.path
            return None if is_about else Name(file, token)
        if not file.endswith(SUFFIX):
            return Name(file, token, exact=False)
        stored = file.removesuffix(SUFFIX)
        return Name(stored, token, exact=self._key_strategy.keeps(stored))
