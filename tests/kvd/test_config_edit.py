from pathlib import Path

import pytest

from kvd import paths
from kvd.config import load
from kvd.config_edit import add_connection, remove_connection
from kvd.errors import Code, ConfigError, RequestError

WRITTEN = """\
# mine
[daemon]
idle_exit = "5m" # five

[connections]
quick = { store = "memory" } # inline

# about a
[connections.a]
store = "memory"
[connections.a.args]
max_entries_per_collection = 3

# about b
[connections.b]
store = "null" # nothing"""


@pytest.fixture
def path(home: Path) -> Path:
    return paths.config_file()


def test_the_first_connection_keeps_those_of_a_first_run(path: Path) -> None:
    before = load().connections
    add_connection(path, "new", "memory", {"default_collection": "d"}, {"read_only": True})
    config = load()
    assert config.problems == ()
    assert {name: config.connections[name] for name in before} == before
    assert config.connections["new"].read_only
    assert config.connections["new"].args == {"default_collection": "d"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_adding_changes_nothing_else(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(WRITTEN)
    add_connection(path, "odd name.x", "disk", {"directory": "/x"}, {})
    assert path.read_text().startswith(WRITTEN + "\n")
    assert list(load().connections) == ["quick", "a", "b", "odd name.x"]
    assert load().problems == ()


def test_removing_keeps_comments_and_order(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(WRITTEN)
    remove_connection(path, "a")
    remove_connection(path, "quick")
    assert (
        path.read_text()
        == """\
# mine
[daemon]
idle_exit = "5m" # five

[connections]

# about b
[connections.b]
store = "null" # nothing"""
    )
    remove_connection(path, "b")
    assert load().connections == {}
    assert load().problems == ()


def test_what_cannot_be_taken_out_is_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("connections = { a = { store = 'memory' } }")
    with pytest.raises(ConfigError, match="by hand"):
        remove_connection(path, "a")
    assert load().connections.keys() == {"a"}


def test_every_way_of_writing_a_connection_can_be_removed(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('connections.a.store = "memory"\n[connections."a".args]\ndefault_collection = """\n[connections.b]\n"""\n')
    remove_connection(path, "a")
    assert path.read_text() == "[connections]\n"


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    (tmp_path / "real.toml").write_text(WRITTEN)
    path.symlink_to(tmp_path / "real.toml")
    remove_connection(path, "a")
    assert path.is_symlink()
    assert "[connections.a]" not in (tmp_path / "real.toml").read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[connections.a]\nstore = 'memory'", "there is a connection 'a' already"),
        ("[connections\n", "toml:1: .*left as it is"),
        ("connections = { b = { store = 'memory' } }", "add it by hand"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_cannot_be_added_to_is_left_as_it_is(path: Path, text: str | bytes, complaint: str) -> None:
    path.parent.mkdir()
    written = text.encode() if isinstance(text, str) else text
    path.write_bytes(written)
    with pytest.raises(ConfigError, match=complaint):
        add_connection(path, "a", "memory", {}, {})
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("name", "store", "args", "complaint"),
    [
        ("c", "redsi", {}, r"connections\.c\.store: there is no store 'redsi'.*redis"),
        ("c", "redis", {"uri": "redis://x"}, r"connections\.c\.args\.uri: .*url"),
        ("c", "memory", {"max_entries_per_collection": "many"}, "must be a whole number, not text"),
        ("c/d", "memory", {}, "without '/'"),
        ("", "memory", {}, "a connection's name is text"),
    ],
)
def test_what_the_daemon_would_not_take_is_not_written(
    path: Path, name: str, store: str, args: dict[str, object], complaint: str
) -> None:
    with pytest.raises(RequestError, match=f"^nothing was written: .*{complaint}") as caught:
        add_connection(path, name, store, args, {})
    assert caught.value.code == Code.BAD_REQUEST
    assert not path.exists()
    path.parent.mkdir()
    path.write_text(WRITTEN + "\n[connections.wrong]\nstore = 'none'\n")
    with pytest.raises(RequestError, match=complaint):
        add_connection(path, name, store, args, {})
    add_connection(path, "right", "memory", {}, {})
    assert list(load().connections) == ["quick", "a", "b", "wrong", "right"]


def test_what_is_not_there_cannot_be_removed(path: Path) -> None:
    with pytest.raises(RequestError, match="is not there"):
        remove_connection(path, "a")
    path.parent.mkdir()
    path.write_text(WRITTEN)
    with pytest.raises(RequestError, match="no connection 'c'"):
        remove_connection(path, "c")
    assert path.read_text() == WRITTEN


def test_a_folder_that_cannot_be_written_is_named(path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot be (read|written)"):
        add_connection(path, "a", "memory", {}, {})


def test_a_file_that_says_nothing_of_connections_keeps_those_of_a_first_run(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("\ufeff[daemon]\nidle_exit = 'never'")
    assert list(load(path).connections) == ["scratch", "local"]
    add_connection(path, "a", "null", {}, {})
    assert list(load(path).connections) == ["scratch", "local", "a"]
    assert load(path).daemon.idle_exit is None
    for name in ("scratch", "local", "a"):
        remove_connection(path, name)
    assert (list(load(path).connections), load(path).problems) == ([], ())
    add_connection(path, "a", "null", {}, {})
    assert list(load(path).connections) == ["a"]
