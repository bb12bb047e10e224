"""What the command says where it cannot do what was asked, or cannot show what is there."""

from pathlib import Path

from tests.kvd.command import REFUSED, USAGE, kvd


def test_put_if_absent_says_that_something_is_there(daemon: Path, unique_name: str) -> None:
    del daemon
    address = f"scratch/{unique_name}/k"
    kvd("put", address, "{}", "--if-absent")
    assert kvd("put", address, "{}", "--if-absent", expect=REFUSED).err == f"kvd: {address}: there already\n"


def test_keys_outside_collections_are_no_line_of_the_list(home: Path) -> None:
    (home / "tree" / "c").mkdir(parents=True)
    url = f"file:%2F%2F{str(home / 'tree').replace('/', '%2F')}"
    kvd("put", f"{url}/c/k", "{}")
    (home / "tree" / "stray.txt").write_text("hello")
    listed = kvd("ls", url)
    assert listed.out == "c\n"
    assert "belong to no collection" in listed.err
    assert {"collection": None, "exact": False} in kvd("ls", url, "--json").rows


def test_a_count_that_is_none_is_named() -> None:
    for count in ("-1", "x", "1.5"):
        assert f"{count!r} is not a whole number from 0 on" in kvd("ls", "--limit", count, expect=USAGE).err
