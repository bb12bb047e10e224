import re

import pytest
from hypothesis import given, strategies as st

from kvd.addresses import Address, encode_part, parse_address

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("scratch", Address("scratch")),
        ("scratch/", Address("scratch")),
        ("scratch/users", Address("scratch", "users", has_collection=True)),
        ("scratch/users/", Address("scratch", "users", "", has_collection=True)),
        ("scratch//k", Address("scratch", None, "k", has_collection=True)),
        ("scratch/a/b/c%2F", Address("scratch", "a", "b/c%2F", has_collection=True)),
        ("scratch/a%2Fb/k", Address("scratch", "a/b", "k", has_collection=True)),
        ("scratch/%FF/k", Address("scratch", "\udcff", "k", has_collection=True)),
        ("memory:%2Fx/a", Address("memory:/x", "a", has_collection=True)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "/", "//k"])
def test_an_address_names_a_connection(text: str) -> None:
    with pytest.raises(ValueError, match="CONNECTION/COLLECTION/KEY"):
        parse_address(text)


@pytest.mark.parametrize("text", ["redis://h:6379/0", "redis://h/0/users/k", "disk:///srv/cache/users", "/srv/cache"])
def test_a_url_is_not_cut_at_its_own_slashes(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{text.replace('/', '%2F')}/COLLECTION/KEY")):
        parse_address(text)
    assert parse_address(f"{encode_part(text)}/c/k") == Address(text, "c", "k", has_collection=True)


@given(NAMES, st.text())
def test_what_is_encoded_is_read_back(collection: str, key: str) -> None:
    address = parse_address(f"c/{encode_part(collection)}/{key}")
    assert (address.collection, address.key) == (collection, key)


@given(st.binary(min_size=1))
def test_names_that_are_not_text_survive(raw: bytes) -> None:
    collection = raw.decode("utf-8", "surrogateescape")
    encoded = encode_part(collection)
    assert encoded.isprintable()
    assert parse_address(f"c/{encoded}/k").collection == collection
