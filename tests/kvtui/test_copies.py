"""What entries are copied as."""

import pytest

from kvd.addresses import Address, parse_address
from kvd.model import OUTSIDE, Key, Record, Token, Version
from kvtui.messages import NO_COLLECTION, Entry, Place
from kvtui.operations import copies

RECORD = Record(kind="hash", body=b"{}", length=2, size=2, created_at=None, expires_at=None, version=Version(b"1"))
ODD = Place("redis://host/0", "a/b%c\n", "a/b%c")


@pytest.mark.parametrize(
    ("place", "key", "names"),
    [
        (Place.named("r", "users"), "ada/1", Address("r", "users", "ada/1", has_collection=True)),
        (Place.named("r", ""), "ada", Address("r", None, "ada", has_collection=True)),
        (ODD, "ada %41", Address("redis://host/0", "a/b%c\n", "ada %41", has_collection=True)),
        (Place("r", OUTSIDE, NO_COLLECTION), "plain", None),
        (Place("r", Token(b"hashed"), "shown"), "ada", None),
        (Place.named("r", "users"), Token(b"id"), None),
        (Place.named("r", "users"), "\udcff", None),
    ],
)
def test_an_address_is_one_that_the_command_takes(place: Place, key: Key, names: Address | None) -> None:
    forms = dict(copies(Entry(place, key, key if isinstance(key, str) else "shown"), RECORD))
    address = forms.get("address for kvd")
    assert (None if address is None else parse_address(address)) == names
