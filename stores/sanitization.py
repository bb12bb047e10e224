"""How names are made to fit a backend. Hashes are sha256 of the name's UTF-8, in lowercase hex.

Results start with `H_` (hashed) or `S_` (sanitized); names that start so themselves are refused by `validate`, or they could
meet another name's result. The forms are py-key-value's: both find the same records.
"""

from __future__ import annotations

import hashlib
import re
import string
from abc import ABC, abstractmethod
from enum import Enum

from stores.errors import InvalidKeyError
from stores.names import encode_name

__all__ = [
    "ALPHANUMERIC_UNDERSCORE",
    "AlwaysHashStrategy",
    "HashExcessLengthStrategy",
    "HashFragmentMode",
    "HybridSanitizationStrategy",
    "LimitedBytesStrategy",
    "PassthroughStrategy",
    "SanitizationStrategy",
]

HASHED = "H_"
SANITIZED = "S_"
ALPHANUMERIC_UNDERSCORE = string.ascii_letters + string.digits + "_"
"""What FileTree and MongoDB allow in a name."""

MIN_HASH, MAX_HASH = 9, 64
FRAGMENT = 8


def _hash(value: str) -> str:
    return hashlib.sha256(encode_name(value)).hexdigest()


def _refuse_reserved(value: str) -> None:
    if value.startswith((HASHED, SANITIZED)):
        raise InvalidKeyError(
            f"{value!r} starts with a prefix that is reserved for hashed and sanitized names ({HASHED}, {SANITIZED})."
        )


class SanitizationStrategy(ABC):
    """Makes names fit."""

    @abstractmethod
    def sanitize(self, value: str) -> str:
        """The form under which the name is stored."""

    @abstractmethod
    def validate(self, value: str) -> None:
        """Raise InvalidKeyError for a name that could meet another one's stored form."""

    def keeps(self, stored: str) -> bool:
        """Whether a stored form is surely the name itself."""
        return not stored.startswith((HASHED, SANITIZED))


class PassthroughStrategy(SanitizationStrategy):
    """Names as they are."""

    def sanitize(self, value: str) -> str:
        """The name itself."""
        return value

    def validate(self, value: str) -> None:
        """Every name is valid."""

    def keeps(self, stored: str) -> bool:
        """Always."""
        return True


class AlwaysHashStrategy(SanitizationStrategy):
    """Every name as the first characters of its hash."""

    def __init__(self, hash_length: int = MAX_HASH) -> None:
        """Choose the length, 9 to 64 characters. ValueError outside."""
        if not MIN_HASH <= hash_length <= MAX_HASH:
            raise ValueError(f"hash_length is {MIN_HASH} to {MAX_HASH}, not {hash_length}.")
        self.hash_length = hash_length

    def sanitize(self, value: str) -> str:
        """The beginning of the hash."""
        return _hash(value)[: self.hash_length]

    def validate(self, value: str) -> None:
        """Every name is valid: no stored form is a name."""

    def keeps(self, stored: str) -> bool:
        """Never."""
        return False


class HashExcessLengthStrategy(SanitizationStrategy):
    """Names over a length (in characters) as `H_` and as much of the hash as fits."""

    def __init__(self, max_length: int = 240) -> None:
        """Choose the length. ValueError under 11, where too little of the hash would be left."""
        if max_length < MIN_HASH + len(HASHED):
            raise ValueError(f"max_length is at least {MIN_HASH + len(HASHED)}, not {max_length}.")
        self.max_length = max_length

    def sanitize(self, value: str) -> str:
        """The name, or its hash when it is too long."""
        return value if len(value) <= self.max_length else HASHED + _hash(value)[: self.max_length - len(HASHED)]

    def validate(self, value: str) -> None:
        """Refuse the reserved prefixes."""
        _refuse_reserved(value)


class HashFragmentMode(Enum):
    """When a sanitized name carries a piece of its hash."""

    ALWAYS = "always"
    ONLY_IF_CHANGED = "only_if_changed"
    NEVER = "never"


class HybridSanitizationStrategy(SanitizationStrategy):
    """Readable and bounded: what is not allowed is replaced, and a piece of the hash keeps changed names apart.

    A name that is only too long is cut without a hash, as py-key-value does, so two long names with one beginning share a
    record; `collision_free=True` gives those the hash too, at the price that py-key-value does not find them.
    """

    def __init__(
        self,
        max_length: int = 240,
        allowed_characters: str | None = None,
        replacement_character: str = "_",
        hash_fragment_mode: HashFragmentMode = HashFragmentMode.ONLY_IF_CHANGED,
        hash_fragment_length: int = FRAGMENT,
        *,
        collision_free: bool = False,
    ) -> None:
        """Choose the form.

        Args:
            max_length: of the result, in characters.
            allowed_characters: all that may stay; None allows every character.
            replacement_character: stands for each run of characters that are not allowed.
            hash_fragment_mode: when a piece of the hash is appended.
            hash_fragment_length: its length in characters.
            collision_free: append it to names that were only cut, too.
        """
        if max_length <= len(SANITIZED) + 1 + hash_fragment_length:
            raise ValueError(f"max_length {max_length} leaves no room for a hash of {hash_fragment_length} characters.")
        self.max_length = max_length
        self.replacement_character = replacement_character
        self.hash_fragment_mode = hash_fragment_mode
        self.hash_fragment_length = hash_fragment_length
        self.collision_free = collision_free
        self._refused = None if allowed_characters is None else re.compile(f"[^{re.escape(allowed_characters)}]+")

    def sanitize(self, value: str) -> str:
        """The stored form."""
        text = value if self._refused is None else self._refused.sub(lambda _: self.replacement_character, value)
        changed = text != value
        if text == self.replacement_character and changed:
            text = ""
        mode = self.hash_fragment_mode
        too_long = len(text) > self.max_length
        if (
            mode is HashFragmentMode.ALWAYS
            or (changed and mode is HashFragmentMode.ONLY_IF_CHANGED)
            or (too_long and self.collision_free)
        ):
            tail = "-" + _hash(value)[: self.hash_fragment_length]
            return SANITIZED + text[: self.max_length - len(SANITIZED) - len(tail)] + tail
        if changed or too_long:
            return SANITIZED + text[: self.max_length - len(SANITIZED)]
        return text

    def validate(self, value: str) -> None:
        """Refuse the reserved prefixes."""
        _refuse_reserved(value)


class LimitedBytesStrategy(SanitizationStrategy):
    """Names over a number of bytes as their longest whole-character beginning and a piece of the hash."""

    def __init__(self, max_bytes: int = 500) -> None:
        """Choose the limit in bytes. ValueError when there is no room for the hash."""
        if max_bytes <= FRAGMENT:
            raise ValueError(f"max_bytes is more than {FRAGMENT}, not {max_bytes}.")
        self.max_bytes = max_bytes

    def sanitize(self, value: str) -> str:
        """The name, or its beginning and hash when it is too long."""
        raw = encode_name(value)
        if len(raw) <= self.max_bytes:
            return value
        return raw[: self.max_bytes - FRAGMENT].decode(errors="ignore") + _hash(value)[:FRAGMENT]

    def validate(self, value: str) -> None:
        """Every name is valid."""

    def keeps(self, stored: str) -> bool:
        """Unless it is as long as a cut name can be."""
        return len(stored.encode("utf-8", "surrogateescape")) < self.max_bytes - 3
