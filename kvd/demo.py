"""The data that `kvtui --demo` shows: believable, the same every time, with TTLs from seconds to days counted from now.

Everything is made by a seeded generator and written with `put_many`, a batch for each collection and TTL.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stores.base import BaseStore

__all__ = ["entries", "fill"]

Entry = tuple[str, str, dict[str, Any], float | None]
"""Collection, key, value, TTL in seconds."""

SEED: Final = 20
HOUR: Final = 3_600.0
DAY: Final = 24 * HOUR

_NAMES: Final = [
    "Ada Okafor",
    "Zoë Lindqvist",
    "José Álvarez",
    "王小明",
    "Łukasz Nowak",
    "Amélie Dubois",
    "Noor Haddad",
    "Jürgen Groß",
]
_CITIES: Final = ["Lagos", "Malmö", "Córdoba", "上海", "Łódź", "Lyon", "عمّان", "Köln"]
_PRODUCTS: Final = [
    "Espresso cup",
    "Desk lamp",
    "Wool socks",
    "Field notebook",
    "Bike bell",
    "Tea kettle",
    "Linen towel",
    "Chess set",
]
_MODELS: Final = ["small", "medium", "large"]
_LANGUAGES: Final = ["de", "en", "fr", "sv"]
_FEATURES: Final = ["dark-mode", "fast-checkout", "new-search", "beta-invoices", "passkeys", "live-map"]


def entries() -> Iterator[Entry]:
    """Yield the data set."""
    rng = random.Random(SEED)
    yield from _sessions(rng)
    yield from _users(rng)
    yield from _carts(rng)
    yield from _catalogue(rng)
    yield from _limits(rng)
    yield from _answers(rng)
    yield from _jobs(rng)
    yield from _flags(rng)
    yield from _pages(rng)
    yield from _curiosities()


def _sessions(rng: random.Random) -> Iterator[Entry]:
    for number in range(80):
        user = rng.randrange(60)
        value = {
            "user": f"user:{user:04}",
            "ip": f"203.0.113.{rng.randrange(256)}",
            "agent": rng.choice(["Firefox/140.0", "Safari/18.5", "Chrome/137.0"]),
            "csrf": f"{rng.getrandbits(128):032x}",
            "pages": rng.randrange(1, 40),
        }
        # a few end while one looks, most within the hour
        ttl = float(rng.randrange(8, 60)) if number < 10 else float(rng.randrange(60, 3_600))  # noqa: PLR2004 - just a few
        yield "sessions", f"sess:{rng.getrandbits(64):016x}", value, ttl


def _users(rng: random.Random) -> Iterator[Entry]:
    for number in range(60):
        value = {
            "name": rng.choice(_NAMES),
            "email": f"user{number}@example.org",
            "active": rng.random() < 0.9,  # noqa: PLR2004 - most of them
            "address": {
                "city": rng.choice(_CITIES),
                "postcode": f"{rng.randrange(10_000, 99_999)}",
                "lines": ["c/o", "3rd floor"],
            },
            "roles": rng.sample(["admin", "editor", "viewer", "billing"], k=rng.randrange(1, 3)),
            "credits": rng.randrange(0, 100_000) / 100,
        }
        yield "users", f"user:{number:04}", value, None


def _carts(rng: random.Random) -> Iterator[Entry]:
    for number in range(40):
        items = [
            {"sku": f"SKU-{rng.randrange(10_000):05}", "name": rng.choice(_PRODUCTS), "quantity": rng.randrange(1, 4)}
            for _ in range(rng.randrange(1, 6))
        ]
        value = {"user": f"user:{number:04}", "items": items, "coupon": rng.choice([None, "WELCOME10", "ÉTÉ-2026"])}
        yield "carts", f"cart:{number:04}", value, rng.choice([20 * 60.0, 2 * HOUR, DAY])


def _catalogue(rng: random.Random) -> Iterator[Entry]:
    for number in range(120):
        value = {
            "name": f"{rng.choice(_PRODUCTS)} {rng.choice(_MODELS)}",
            "price": {"amount": rng.randrange(300, 20_000), "currency": "EUR"},
            "stock": {"Malmö": rng.randrange(50), "Lyon": rng.randrange(50)},
            "tags": rng.sample(["new", "sale", "handmade", "vegan", "recycled"], k=2),
        }
        kind = rng.choice(["home", "garden", "office"])
        yield "catalogue", f"product:{kind}:{number:05}", value, 7 * DAY


def _limits(rng: random.Random) -> Iterator[Entry]:
    for number in range(40):
        window = rng.choice([60.0, 300.0])
        value = {"hits": rng.randrange(1, 100), "limit": 100, "window": window}
        yield "rate-limits", f"ip:203.0.113.{number}:/api/v{rng.randrange(1, 3)}/search", value, window


def _answers(rng: random.Random) -> Iterator[Entry]:
    for _ in range(40):
        digest = f"{rng.getrandbits(160):040x}"
        text = " ".join(rng.choice(["the", "store", "keeps", "what", "it", "is", "given", "until", "then"]) for _ in range(60))
        value = {"model": rng.choice(_MODELS), "prompt_sha1": digest, "answer": text, "tokens": rng.randrange(40, 900)}
        yield "llm-cache", f"answer:{digest}", value, rng.choice([HOUR, 6 * HOUR, 3 * DAY])


def _jobs(rng: random.Random) -> Iterator[Entry]:
    for number in range(40):
        state = rng.choice(["queued", "running", "done", "failed"])
        value: dict[str, Any] = {"id": 9_000_000_000_000_000_000 + number, "state": state, "attempts": rng.randrange(1, 4)}
        if state == "failed":
            value["error"] = {"type": "Timeout", "message": "no answer within 30 s", "trace": ["fetch", "parse", "store"]}
        yield "jobs", f"job:{number:05}", value, rng.choice([90.0, 15 * 60.0, DAY])


def _flags(rng: random.Random) -> Iterator[Entry]:
    for feature in _FEATURES:
        rules = [{"if": {"city": city}, "then": rng.random() < 0.5} for city in rng.sample(_CITIES, k=3)]  # noqa: PLR2004 - a coin
        yield "feature-flags", feature, {"enabled": rng.random() < 0.5, "share": rng.random(), "rules": rules}, None  # noqa: PLR2004 - a coin


def _pages(rng: random.Random) -> Iterator[Entry]:
    for language in _LANGUAGES:
        names = ["home", "about", "menu:header", "menu:footer"]
        names += [
            f"product:{kind}:{number:05}" for kind in ("garden", "home", "office") for number in range(rng.randrange(3, 9))
        ]
        for name in names:
            value = {"status": 200, "etag": f"{rng.getrandbits(64):016x}", "html": f"<h1>{rng.choice(_PRODUCTS)}</h1>"}
            yield "pages", f"page:{language}:{name}", value, rng.choice([45.0, 10 * 60.0, 2 * HOUR, DAY])
        yield "pages", f"feed:{language}", {"items": [rng.choice(_PRODUCTS) for _ in range(5)]}, 15 * 60.0
    yield "pages", "warmed-up", {"by": "deploy", "languages": _LANGUAGES}, None


def _curiosities() -> Iterator[Entry]:
    yield "odds & ends", "with spaces and 'quotes'", {"note": "a key can hold anything"}, None
    yield "odds & ends", "emoji/🦊/🚲", {"fox": "🦊", "bike": "🚲"}, None
    yield "odds & ends", "glob[chars]*?", {"note": "these are no wildcards here"}, None
    yield "odds & ends", "日本語のキー", {"挨拶": "こんにちは"}, 2 * HOUR
    yield "odds & ends", "line\nbreak", {"note": "a newline inside the key"}, None
    yield "odds & ends", "long:" + ":".join(f"segment-{number}" for number in range(60)), {"note": "a very long key"}, None
    yield "odds & ends", "big-integer", {"value": 2**100, "negative": -(2**70)}, None
    yield "odds & ends", "deep", _nested(12), None
    yield "odds & ends", "large", {"rows": [{"n": number, "text": "x" * 80} for number in range(400)]}, None
    yield "odds & ends", "empty", {}, 30.0


def _nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"bottom": True}
    for level in range(levels, 0, -1):
        value = {f"level {level}": value}
    return value


async def fill(store: BaseStore) -> None:
    """Write the data set, with TTLs counted from now."""
    batches: dict[tuple[str, float | None], dict[str, dict[str, Any]]] = {}
    for collection, key, value, ttl in entries():
        batches.setdefault((collection, ttl), {})[key] = value
    for (collection, ttl), batch in batches.items():
        await store.put_many(list(batch), list(batch.values()), collection=collection, ttl=ttl)
