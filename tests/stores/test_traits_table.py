"""The README says of the backends what their traits say."""

from tests.stores.traits_table import BEGIN, END, README, replaced, store_classes


def test_the_readmes_table_is_made_from_the_traits() -> None:
    readme = README.read_text()
    assert readme.count(BEGIN) == readme.count(END) == 1
    assert readme == replaced(readme), "run: python -m tests.stores.traits_table --write"


def test_every_store_is_in_it() -> None:
    assert len(store_classes()) == 11
