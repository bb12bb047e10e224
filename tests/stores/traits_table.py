"""The README's table of backends, made from the stores' traits and base classes.

python -m tests.stores.traits_table --write    puts it into README.md
"""

import sys
from pathlib import Path
from typing import Any

import stores
from stores import BaseStore
from stores.traits import Traits

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- stores: made by tests/stores/traits_table.py -->\n", "<!-- end of stores -->\n"
EXPIRY = {"native": "by itself", "on read": "hidden", "none": "-"}


def store_classes() -> list[type[BaseStore]]:
    found: list[Any] = [getattr(stores, name) for name in dir(stores) if name.endswith("Store")]
    return sorted((one for one in found if "traits" in vars(one)), key=lambda one: str(one.__name__))


def size(limit: int | None) -> str:
    if limit is None:
        return "-"
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if limit >= unit:
            shown = limit / unit
            return f"{shown:.0f} {name}" if shown == int(shown) else f"{shown:.1f} {name}"
    return f"{limit} B"


def granularity(traits: Traits) -> str:
    if traits.expiry == "none":
        return "-"
    return "exact" if traits.ttl_granularity <= 0.0001 else f"{traits.ttl_granularity:g} s"


def row(store: type[BaseStore]) -> list[str]:
    traits = store.traits
    extras: dict[str, type] = {
        "keys": stores.AsyncEnumerateKeysProtocol,
        "collections": stores.AsyncEnumerateCollectionsProtocol,
        "destroy": stores.AsyncDestroyStoreProtocol,
        "destroy collection": stores.AsyncDestroyCollectionProtocol,
        "cull": stores.AsyncCullProtocol,
    }
    return [
        f"`{store.__name__}`",
        traits.compare_and_set,
        EXPIRY[traits.expiry],
        granularity(traits),
        "keys and collections" if traits.browses_collections and traits.browses_keys else "keys",
        "yes" if traits.resumable_cursors else "held",
        str(traits.batch_size or "all"),
        size(traits.max_key_bytes),
        size(traits.max_value_bytes),
        ", ".join(name for name, base in extras.items() if issubclass(store, base)) or "-",
    ]


def table() -> str:
    head = ["store", "compare-and-set", "expired entries leave", "TTL step", "browses", "cursors resume", "keys a round trip"]
    head += ["longest key", "largest entry", "protocols beyond AsyncKeyValue"]
    rows = [head, ["---"] * len(head), *(row(store) for store in store_classes())]
    notes = [f"- `{store.__name__}`: {store.traits.notes}" for store in store_classes() if store.traits.notes]
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([*lines, "", *notes]) + "\n" if notes else "\n".join(lines) + "\n"


def replaced(readme: str) -> str:
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        README.write_text(replaced(README.read_text()))
    else:
        sys.stdout.write(table())
