"""What an S3 object tells of an entry without its body: names, times, versions, descriptions. Nothing here asks a server."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, Final

from stores.backends.s3_bucket import KEPT, Found
from stores.entry import in_utc, utc_now
from stores.errors import InvalidKeyError, UnsupportedError
from stores.names import Token
from stores.records import ENTRY, Description, Record, Version

__all__ = [
    "FOREIGN",
    "JSON_TYPE",
    "date_of",
    "description_of",
    "facts_of",
    "has_expired",
    "next_cursor",
    "restored",
    "text_of",
    "version_of",
]

FOREIGN: Final = "object"
"""The kind of foreign data here."""
JSON_TYPE: Final = "application/json"


def text_of(token: Token) -> str:
    """The stored name that a token stands for."""
    try:
        return token.value.decode()
    except UnicodeDecodeError:
        raise InvalidKeyError(f"{token.value!r} is no name in S3, whose names are UTF-8.") from None


def next_cursor(page: dict[str, Any]) -> bytes | None:
    """The cursor of what follows a page of names."""
    token = page.get("NextContinuationToken")
    return None if token is None else token.encode()


def date_of(metadata: dict[str, str], name: str) -> datetime | None:
    """A time from the metadata, None for what is none."""
    try:
        return in_utc(datetime.fromisoformat(metadata.get(name, "")))
    except ValueError:
        return None


def version_of(etag: str, kept: dict[str, Any]) -> Version:
    """The ETag with the headers that S3 keeps, because a copy that only changes those keeps the ETag."""
    return Version(json.dumps({"ETag": etag, **kept}, sort_keys=True).encode())


def facts_of(version: Version) -> dict[str, Any]:
    """What `version_of` put into a version; nothing where that is of another store, or made up."""
    try:
        facts = json.loads(version)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) and isinstance(facts.get("ETag"), str) else {}


def has_expired(found: Found) -> bool:
    """Whether the metadata has a deadline that has come."""
    deadline = date_of(found.metadata, "expires-at")
    return deadline is not None and deadline <= utc_now()


def description_of(found: Found) -> Description:
    """From the headers alone: JSON without our metadata may be an entry that somebody copied."""
    kind = FOREIGN
    if found.kept.get("ContentType") == JSON_TYPE:
        kind = ENTRY if "created-at" in found.metadata else "unknown"
    created_at = date_of(found.metadata, "created-at") if kind == ENTRY else found.modified_at
    expires_at = None if kind == FOREIGN else date_of(found.metadata, "expires-at")
    return Description(
        kind, found.length, created_at, expires_at, hashlib.sha256(version_of(found.etag, found.kept)).digest()[:8]
    )


def restored(name: str, record: Record) -> dict[str, Any]:
    """The arguments of `put_object` that make a foreign object what it was; its version knows its headers."""
    if record.kind != FOREIGN:
        raise UnsupportedError(f"What is {record.kind!r} cannot be stored in S3.")
    facts = facts_of(record.version)
    if not facts:
        raise UnsupportedError("Only what was read from S3 can be put back there.")
    return {"Key": name, "Body": record.body} | {field: facts[field] for field in KEPT if field in facts}
