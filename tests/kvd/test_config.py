import os
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import stores
from kvd import config_fields
from kvd.config import Config, ConnectionConfig, load
from kvd.config_lines import Lines
from kvd.errors import ConfigError
from kvd.opening import from_url, open_store
from tests.kvd import store_fields


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes connections.toml and reads it."""

    def write_and_load(text: str) -> Config:
        path = tmp_path / "connections.toml"
        path.write_text(text)
        return load(path)

    return write_and_load


def problem_of(config: Config) -> str:
    (problem,) = config.problems
    return problem.removeprefix(f"{config.path}:")


def test_without_a_file_there_are_two_connections(home: Path) -> None:
    config = load()
    assert config.problems == ()
    assert {name: one.store for name, one in config.connections.items()} == {"scratch": "memory", "local": "disk"}
    assert config.connections["local"].location == f"{home}/data/kvd/local"
    assert not (home / "config" / "kvd").exists()


def test_a_connection_is_a_constructor_call(write: Any) -> None:
    config = write("""
        [daemon]
        idle_exit = "never"
        [connections.b]
        store = "memory"
        read_only = true
        production = true
        colour = "red"
        timeout = "2m"
        [connections.b.args]
        max_entries_per_collection = 10
        default_collection = "d"
        [connections.a]
        store = "null"
    """)
    assert config.problems == ()
    assert list(config.connections) == ["b", "a"]
    assert config.daemon.idle_exit is None
    connection = config.connections["b"]
    assert (connection.read_only, connection.production, connection.colour, connection.timeout) == (True, True, "red", 120)
    store = open_store(connection)
    assert isinstance(store, stores.MemoryStore)
    assert store.default_collection == "d"
    assert isinstance(open_store(config.connections["a"]), stores.NullStore)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[connections.a]\nstore = 'memory'\n[conections.b]", "3: conections: unknown table; did you mean 'connections'?"),
        ("connections = 3", "1: connections: must be a table"),
        ("\n[connections]\na = 3", "3: connections.a: must be a table"),
        ("[connections.a]\nread_only = true", "1: connections.a: has no store; one of disk, "),
        ("[connections.a]\n\nstore = 'memroy'", "3: connections.a.store: there is no store 'memroy'; did you mean 'memory'?"),
        ("[connections.a]\nstore = 5", "2: connections.a.store: must be text, not a number"),
        (
            "[connections.a]\nstore = 'memory'\nreadonly = true",
            "3: connections.a.readonly: unknown option; did you mean 'read_only'?",
        ),
        ("[connections.a]\nstore = 'memory'\nread_only = 'yes'", "3: connections.a.read_only: must be true or false, not text"),
        ("[connections.a]\nstore = 'memory'\nread_only = 1", "3: connections.a.read_only: must be true or false, not a number"),
        ("[connections.a]\nstore = 'memory'\nmax_in_flight = 0", "3: connections.a.max_in_flight: must be more than zero"),
        ("[connections.a]\nstore = 'memory'\ntimeout = inf", "3: connections.a.timeout: must be more than zero"),
        ("[connections.a]\nstore = 'memory'\ntimeout = 'x'", "3: connections.a.timeout: 'x' is not a TTL"),
        ("[connections.a]\nstore = 'memory'\nargs = 1", "3: connections.a.args: must be a table"),
        (
            "[connections.a]\nstore = 'memory'\n[connections.a.args]\nmax_entries_per_collections = 3",
            "4: connections.a.args.max_entries_per_collections: memory has no argument ",
        ),
        (
            "[connections.a]\nstore = 'memory'\nargs = { default_collection = 3 }",
            "3: connections.a.args.default_collection: must be text, not a whole number",
        ),
        (
            "[connections.a]\nstore = 'disk'\n[connections.a.args]\ndirectory = 'x'",
            "4: connections.a.args.directory: must be an absolute",
        ),
        ("[connections.a]\nstore = 'filetree'", "1: connections.a.args: filetree needs data_directory"),
        (
            "[connections.a]\nstore = 'filetree'\nargs = {data_directory = '/x', key_sanitization_strategy = 'Nope'}",
            "3: connections.a.args.key_sanitization_strategy: there is no sanitization strategy 'Nope'",
        ),
        ("[connections.a]\nstore = 'disk'", "1: connections.a.args: disk needs directory"),
        (
            "[connections.a]\nstore = 'redis'\nargs.password.command = 5",
            "3: connections.a.args.password: must be text, not a table",
        ),
        (
            "[connections.a]\nstore = 'redis'\nargs.password.command = [5]",
            "3: connections.a.args.password: must be text, not a table",
        ),
        ('[connections."a\\nb"]\nstore = "memory"', "1: connections.'a\\nb': a connection's name is text without"),
        ("[connections.' ']\nstore = 'memory'", "1: connections. : a connection's name is text without"),
        ("[connections.'']\nstore = 'memory'", "1: connections.'': a connection's name is text without"),
        (
            "[connections.a]\nstore = 'memory'\ncolour = 'mauve'",
            "3: connections.a.colour: must be one of red, orange, yellow, green, cyan, blue, purple, pink, grey",
        ),
        ("[connections.a]\nstore = 'memory'\ncolour = 3", "3: connections.a.colour: must be one of red, "),
        ("[connections.'a/b']\nstore = 'memory'", "1: connections.a/b: a connection's name is text without"),
        ("[daemon]\nidle_exit = 'soon'", "2: daemon.idle_exit: 'soon' is not a TTL"),
        ("[daemon]\nlog_level = 'loud'", "2: daemon.log_level: must be one of debug, info, warning, error"),
        ("[daemon]\nidle = 5", "2: daemon.idle: unknown option; did you mean 'idle_exit'?"),
        ("[connections.a]\nstore = ", "2: invalid value"),
        ("[connections.a]\nstore = 'x'\n[connections.a]", "3: cannot declare ('connections', 'a') twice"),
        ('x = """', "1: "),
    ],
)
def test_a_mistake_is_one_line_with_file_line_and_field(write: Any, text: str, problem: str) -> None:
    assert problem_of(write(text)).startswith(problem)


def test_a_mistake_costs_only_its_own_connection(write: Any) -> None:
    config = write("[connections.a]\nstore = 'memory'\nread_only = 'yes'\n[connections.b]\nstore = 'memory'")
    assert config.connections["b"].problems == ()
    assert config.connections["a"].problems == config.problems
    with pytest.raises(ConfigError, match=r":3: connections\.a\.read_only: "):
        open_store(config.connections["a"])


def test_a_store_that_cannot_be_imported_says_so_when_it_is_opened(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stores.backends.null", None)
    monkeypatch.delitem(stores.__dict__, "NullStore", raising=False)
    config = write("[connections.a]\nstore = 'null'\n[connections.b]\nstore = 'memory'")
    assert config.problems == ()
    with pytest.raises(ConfigError, match=r"^null cannot be loaded: a package that it needs is missing or broken \("):
        open_store(config.connections["a"])
    assert isinstance(open_store(config.connections["b"]), stores.MemoryStore)


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    assert load(tmp_path).problems == (f"{tmp_path}: cannot be read: Is a directory",)
    path = tmp_path / "c"
    path.write_bytes(b"\xff")
    assert load(path).problems == (f"{path}: cannot be read: it is not UTF-8",)
    path.unlink()
    os.mkfifo(path)
    assert load(path).problems == (f"{path}: cannot be read: it is a pipe, for which the daemon would wait",)


def test_lines_are_found_in_every_way_of_writing() -> None:
    lines = Lines(
        '# [a]\na.b = """\n[no]\nx = 1\n"""\n[t."x y"]  # c\n'
        'k = [\n  1, # ]\n  "]",\n]\nl = { m = 1 }\n"q.r" = 1\n[t.z]\ns = \'#\'\n'
    )
    found = {where: lines.find(where) for where in [("a", "b"), ("t", "x y"), ("t", "x y", "k"), ("t", "x y", "l", "m")]}
    assert list(found.values()) == [2, 6, 7, 11]
    assert lines.find(("t", "x y", "q.r")) == 12
    assert lines.find(("t", "z", "s")) == 14
    assert lines.find(("t",)) == 6
    assert lines.find(("no", "x")) == 1


SECRET = "hunter2-and-more"


def connection(**args: Any) -> ConnectionConfig:
    return ConnectionConfig(name="c", store="memory", args=args)


def test_references_are_looked_up_when_the_store_is_opened(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    monkeypatch.setenv("KVD_TEST_SECRET", SECRET)
    for written in (
        '"${KVD_TEST_SECRET}"',
        f'{{ file = "{tmp_path}/secret" }}',
        f'{{ command = "cat {tmp_path}/secret" }}',
        f'{{ command = ["cat", "{tmp_path}/secret"] }}',
    ):
        config = write(f"[connections.c]\nstore = 'memory'\n[connections.c.args]\ndefault_collection = {written}")
        assert config.problems == ()
        assert SECRET not in repr(config)
        learned: list[str] = []
        assert open_store(config.connections["c"], learn=learned.append).default_collection == SECRET
        assert learned == [SECRET]


def test_a_reference_may_stand_inside_a_text_and_be_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVD_TEST", "x")
    assert open_store(connection(default_collection="a${KVD_TEST}b$${KVD_TEST}")).default_collection == "axb${KVD_TEST}"


def test_a_number_may_come_from_the_environment(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write("[connections.c]\nstore = 'memory'\n[connections.c.args]\nmax_entries_per_collection = '${KVD_TEST}'")
    assert config.problems == ()
    monkeypatch.setenv("KVD_TEST", "12")
    open_store(config.connections["c"])
    monkeypatch.setenv("KVD_TEST", "twelve")
    with pytest.raises(ConfigError, match="c: max_entries_per_collection: must be a whole number, not text") as caught:
        open_store(config.connections["c"])
    assert "twelve" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("${KVD_NOT_SET}", r"\$\{KVD_NOT_SET\} is not in the environment .* `kvd restart`"),
        ({"file": "/nonexistent/secret"}, "the file /nonexistent/secret cannot be read: No such file"),
        ({"command": "false"}, "the command 'false' ended with status 1"),
        ({"command": "/nonexistent/program --password x"}, "the command '/nonexistent/program' cannot be run: No such file"),
        ({"command": ""}, "cannot be run"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named(reference: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"c: default_collection: .*{complaint}"):
        open_store(connection(default_collection=reference))


def test_secrets_are_not_shown() -> None:
    config = ConnectionConfig(
        name="c", store="redis", args={"url": f"redis://u:{SECRET}@host:1/0?password={SECRET}", "x": SECRET}
    )
    assert SECRET not in repr(config)
    assert config.location == "redis://host:1/0"
    assert {one.name for one in config_fields.store_fields("redis").values() if one.secret} >= {"password"}


def test_of_what_is_configured_only_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def learned_of(store: str, **args: Any) -> set[str]:
        found: list[str] = []
        open_store(ConnectionConfig(name="c", store=store, args=args), learn=found.append)
        return set(found)

    monkeypatch.setenv("CACHE_HOST", "cache.example")
    monkeypatch.setenv("CACHE_LOGIN", SECRET)
    monkeypatch.setenv("CACHE_TOKEN", SECRET)
    monkeypatch.setenv("CACHE_URL", f"redis://ada:{SECRET}%21@cache.example:6379/0?socket_timeout=1000&password=other")
    assert learned_of("redis", host="${CACHE_HOST}") == set()
    assert learned_of("redis", host="${CACHE_HOST}", password="${CACHE_LOGIN}") == {SECRET}  # it is marked
    assert learned_of("redis", username="${CACHE_TOKEN}") == {SECRET}  # its name sounds like one
    assert learned_of("redis", url="redis://${CACHE_HOST}:6379/0") == set()
    assert learned_of("redis", url="${CACHE_URL}") == {f"ada:{SECRET}%21", f"{SECRET}%21", f"{SECRET}!", "other"}
    assert learned_of("redis", password="odd://${CACHE_HOST}") == {"odd://cache.example"}
    assert learned_of("memory", seed={"c": {"k": {"value": "${CACHE_LOGIN}"}}}) == {SECRET}  # of a table nothing is known


def test_the_description_is_what_the_constructors_say() -> None:
    said = config_fields.DESCRIPTION.read_text()
    assert said == store_fields.description(), "run: python -m tests.kvd.store_fields --write"


def test_fields_come_from_the_constructor() -> None:
    known = config_fields.store_fields("disk")
    assert list(known)[:1] != ["disk_cache"], "a driver's client cannot be written down"
    assert "disk_cache" not in known
    assert known["directory"].kinds == ("path", "text")
    assert config_fields.store_fields("redis")["ssl_cert_reqs"].choices == ("required", "optional", "none")
    assert known["auto_create"].default is True
    assert known["max_size"].doc, "the constructor's docstring documents it"


@pytest.mark.parametrize("store", [name for name in config_fields.store_names() if find_spec(f"stores.backends.{name}")])
def test_every_store_can_be_configured(store: str) -> None:
    known = config_fields.store_fields(store)
    assert "client" not in known
    for field in known.values():
        assert field.kinds or field.choices
        assert field.doc, f"{store} does not document {field.name}"


def test_options_are_documented_in_the_order_in_which_they_are_declared() -> None:
    assert [one.name for one in fields(ConnectionConfig)][:3] == ["name", "store", "args"]


def test_a_url_names_a_store_under_one_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    names = {from_url(f"disk://{tmp_path}/{path}").name for path in ("real", "real/", "link", "./real", "%72eal")}
    assert names == {f"disk://{tmp_path}/real"}
    assert from_url("memory:").name == "memory:"
    assert from_url("memory:x").name != from_url("memory:").name
    assert from_url(f"disk://{tmp_path}", read_only=True).name != from_url(f"disk://{tmp_path}").name


def test_opening_by_url_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path / "missing")):
        open_store(from_url(f"disk://{tmp_path}/missing"))
    with pytest.raises(ConfigError, match=str(tmp_path / "missing")):
        open_store(from_url(f"file://{tmp_path}/missing"))
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_whatever_lies_there(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.db").touch()
    assert from_url(f"{tmp_path}/tree").store == "filetree"
    assert from_url(f"{tmp_path}/cache").store == "disk"
    assert isinstance(open_store(from_url(f"{tmp_path}/tree")), stores.FileTreeStore)


@pytest.mark.parametrize("url", ["", "nope:x", "relative/path", "[", "disk://host/path", "disk:relative", "http://[::1"])
def test_what_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        from_url(url)


@pytest.mark.parametrize(
    ("url", "args"),
    [
        ("valkey://cache.example:6390/2", {"host": "cache.example", "port": 6390, "db": 2}),
        ("valkey://ada:a%2Fb@[::1]", {"host": "::1", "username": "ada", "password": "a/b"}),
        ("memcached://cache.example:11311", {"host": "cache.example", "port": 11311}),
        ("s3://some-bucket/", {"bucket_name": "some-bucket"}),
        ("dynamodb://Some_Table", {"table_name": "Some_Table"}),
    ],
)
def test_all_of_a_servers_url_is_used(url: str, args: dict[str, Any]) -> None:
    found = from_url(url)
    assert {name: value for name, value in found.args.items() if name != "auto_create"} == args
    assert found.name.startswith(url.partition("://")[0])
    assert "a%2Fb" not in found.name
    open_store(found)


@pytest.mark.parametrize(
    "url",
    [
        "redis:",
        "valkey:",
        "valkey://",
        "valkey://h:port",
        "valkey://h:99999",
        "valkey://h/x",
        "valkey://h?tls=true",
        "memcached://h/0",
        "s3://bucket/prefix",
        "dynamodb:",
    ],
)
def test_no_part_of_a_servers_url_is_passed_over(url: str) -> None:
    with pytest.raises(ConfigError):
        from_url(url)


def test_a_store_that_takes_more_than_a_url_says_how_it_is_written_down() -> None:
    with pytest.raises(ConfigError, match="kvd connections add NAME elasticsearch url=… index_prefix=…"):
        from_url("elasticsearch://h:9200")
    with pytest.raises(ConfigError, match="starts with one of disk, dynamodb, file"):
        from_url("http://h:9200")


def test_what_is_no_url_at_all_is_called_so() -> None:
    with pytest.raises(ConfigError, match="neither an absolute path nor a URL"):
        from_url("sessions")


def test_two_memory_stores_by_url_are_two() -> None:
    assert from_url("memory://a").name != from_url("memory://b").name


def test_a_url_with_secrets_has_a_name_without() -> None:
    config = from_url(f"redis://u:{SECRET}@localhost:6379/0")
    assert SECRET not in config.name
    assert SECRET not in repr(config)
    assert config.name != from_url("redis://localhost:6379/0").name


def test_strategies_are_written_by_name(tmp_path: Path) -> None:
    for written in ("FileTreeV1KeySanitizationStrategy", {"class": "AlwaysHashStrategy", "hash_length": 12}):
        args = {"data_directory": str(tmp_path), "key_sanitization_strategy": written}
        store = open_store(ConnectionConfig(name="c", store="filetree", args=args))
        assert isinstance(store, stores.FileTreeStore)


def test_a_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store(ConnectionConfig(name="c", store="disk", args={"directory": "~/cache"}))
    assert isinstance(store, stores.DiskStore)
    assert store.location == f"{tmp_path}/cache"
