"""The methods as they are today against the stored description: clients of other builds rely on it.

A method may gain optional parameters, and there may be more methods. Whatever else differs breaks somebody. When the
difference is meant, write the description anew: `python -m tests.kvd.test_methods_contract`.
"""

import json
from pathlib import Path
from typing import Any

import kvd.control  # noqa: F401 - it adds its methods
from kvd.methods import METHODS, describe_methods

STORED = Path(__file__).parent / "golden" / "methods.json"


def breaks(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say what a client of `before` would stumble over."""
    found = []
    for name, method in before.items():
        today = now.get(name)
        if today is None:
            found.append(f"{name} is gone")
            continue
        found += [f"{name}: {what} changed" for what in ("access", "result") if today[what] != method[what]]
        for parameter, kind in method["params"].items():
            if today["params"].get(parameter) not in {kind, kind + "?"}:
                found.append(f"{name}: {parameter} was {kind} and is {today['params'].get(parameter, 'gone')}")
        found += [
            f"{name}: {parameter} is new and required"
            for parameter, kind in today["params"].items()
            if parameter not in method["params"] and not kind.endswith("?")
        ]
    return found


def test_no_client_of_the_stored_description_breaks() -> None:
    assert breaks(json.loads(STORED.read_text()), describe_methods()) == []


def test_the_stored_description_is_today_s() -> None:
    assert json.loads(STORED.read_text()) == describe_methods()


def test_a_break_is_seen() -> None:
    today = describe_methods()
    altered = json.loads(json.dumps(today))
    del altered["get"]
    altered["put"]["params"]["ttl"] = "Text"
    altered["edit"]["params"]["reason"] = "Text"
    altered["scan_keys"]["params"]["order"] = "Text?"
    assert breaks(today, altered) == [
        "edit: reason is new and required",
        "get is gone",
        "put: ttl was Ttl? and is Text",
    ]


def test_every_write_needs_a_connection_and_every_method_says_what_it_does() -> None:
    for method in METHODS.values():
        assert method.function.__doc__
        assert (method.access in {"daemon", "step"}) != ("connection" in method.required)


if __name__ == "__main__":
    STORED.write_text(json.dumps(describe_methods(), indent=1) + "\n")
