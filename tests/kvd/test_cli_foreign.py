"""What is no entry, met by the command: a person is refused and told what is there; programs replace it, as ever."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from anyio import to_thread
from redis import Redis

from kvd import requests
from kvd.blocking import BlockingClient
from kvd.remote import RemoteStore
from tests.kvd.command import REFUSED, configure, kvd
from tests.stores.s3.test_requests import Front


@pytest.fixture
def server(home: Path, redis_url: str, unique_name: str) -> Iterator[Redis]:
    """A Redis that is the connection `r`; its keys of this test begin with `unique_name::`."""
    configure(home, f"[connections.r]\nstore = 'redis'\nargs.url = '{redis_url}'\n")
    with Redis.from_url(redis_url, decode_responses=True) as server:
        yield server
        for key in server.scan_iter(f"{unique_name}::*"):
            server.delete(key)


def test_put_refuses_what_is_no_entry_and_names_it(server: Redis, unique_name: str) -> None:
    server.hset(f"{unique_name}::h", mapping={"a": "1"})
    server.rpush(f"{unique_name}::l", "x")
    server.sadd(f"{unique_name}::s", "x")
    server.set(f"{unique_name}::t", "plain", ex=500)
    for key, kind in {"h": "hash", "l": "list", "s": "set", "t": "string"}.items():
        refused = kvd("put", f"r/{unique_name}/{key}", "{}", expect=REFUSED).err
        assert refused.startswith(f"kvd: r: Key '{key}' in collection '{unique_name}' holds '{kind}', not an entry")
        assert refused.endswith("`kvd put --force` replaces what is there, whatever that is.\n")
    assert "`kvd put --force`" in kvd("put", f"r/{unique_name}/h", "{}", "--keep-ttl", expect=REFUSED).err
    assert "there already" in kvd("put", f"r/{unique_name}/h", "{}", "--if-absent", expect=REFUSED).err
    assert server.hgetall(f"{unique_name}::h") == {"a": "1"}
    assert server.get(f"{unique_name}::t") == "plain"
    assert 400 < server.ttl(f"{unique_name}::t") <= 500
    kvd("put", f"r/{unique_name}/h", '{"n": 1}', "--force", "--ttl", "5m")
    assert kvd("get", f"r/{unique_name}/h").out == '{"n": 1}\n'
    assert 200 < server.ttl(f"{unique_name}::h") <= 300


def test_put_replaces_an_entry_as_ever(server: Redis, unique_name: str) -> None:
    address = f"r/{unique_name}/k"
    kvd("put", address, '{"n": 1}', "--ttl", "5m")
    kvd("put", address, '{"n": 2}')
    assert kvd("get", address, "--json").rows == [{"key": "k", "value": {"n": 2}, "ttl": None}]
    assert server.ttl(f"{unique_name}::k") == -1


def test_a_large_foreign_value_is_refused_without_being_read(server: Redis, unique_name: str) -> None:
    server.set(f"{unique_name}::large", b"x" * 100_000_000)
    kvd("get", f"r/{unique_name}/other", expect=1)
    before = kvd("status", "--json").rows[0]["memory"]
    kvd("put", f"r/{unique_name}/large", "{}", expect=REFUSED)
    assert kvd("status", "--json").rows[0]["memory"] < before + 20_000_000
    assert server.strlen(f"{unique_name}::large") == 100_000_000


def test_what_is_too_large_for_one_step_is_put_all_the_same(home: Path, mongodb_url: str, unique_name: str) -> None:
    config = f"[connections.m]\nstore = 'mongodb'\nargs = {{ url = '{mongodb_url}', db_name = '{unique_name}' }}\n"
    configure(home, config)
    for size in (9_000_000, 9_000_001):
        kvd("put", "m/c/k", stdin=b'{"a": "%s"}' % (b"x" * size))
    assert len(kvd("get", "m/c/k").out) == 9_000_011
    kvd("put", "m/c/k", "{}")
    kvd("rm", "--collection", "m/c")


async def test_programs_replace_it(server: Redis, unique_name: str) -> None:
    server.hset(f"{unique_name}::remote", mapping={"a": "1"})
    server.hset(f"{unique_name}::blocking", mapping={"a": "1"})
    async with await RemoteStore.open("r") as store:
        await store.put("remote", {"n": 1}, collection=unique_name)
        assert await store.get("remote", collection=unique_name) == {"n": 1}
    with BlockingClient.open() as client:
        client.call(requests.put("r", unique_name, "blocking", b'{"n": 1}'))
        assert client.call(requests.get("r", unique_name, "blocking")) == b'{"n": 1}'


def test_an_object_and_a_file_of_another_program_are_refused(home: Path, s3_url: str, unique_name: str) -> None:
    (home / "tree" / "c").mkdir(parents=True)
    (home / "tree" / "c" / "k.json").write_text("hello")
    configure(
        home,
        f"""[connections.s3]
store = "s3"
args = {{ bucket_name = "{unique_name}", endpoint_url = "{s3_url}" }}
[connections.tree]
store = "filetree"
args.data_directory = "{home}/tree"
""",
    )
    s3 = boto3.client("s3", endpoint_url=s3_url)
    s3.create_bucket(Bucket=unique_name)
    s3.put_object(Bucket=unique_name, Key="c/k", Body=b"hello")
    for name, kind in {"s3": "object", "tree": "file"}.items():
        assert f"holds '{kind}', not an entry" in kvd("put", f"{name}/c/k", "{}", expect=REFUSED).err
        assert kvd("get", f"{name}/c/k", "--raw").out == "hello"
        kvd("put", f"{name}/c/k", "{}", "--force")
        assert kvd("get", f"{name}/c/k").out == "{}\n"
        kvd("put", f"{name}/c/k", '{"n": 1}')
    s3.delete_object(Bucket=unique_name, Key="c/k")
    s3.delete_bucket(Bucket=unique_name)


@pytest.mark.anyio
async def test_a_server_without_conditional_writes_is_told_from_a_busy_one(home: Path, s3_url: str, unique_name: str) -> None:
    async with Front(s3_url).run() as front:
        configure(
            home, f"[connections.s3]\nstore = 's3'\nargs = {{ bucket_name = '{unique_name}', endpoint_url = '{front.url}' }}\n"
        )
        s3 = boto3.client("s3", endpoint_url=s3_url)
        s3.create_bucket(Bucket=unique_name)
        front.answers = [(404, "NoSuchKey"), (501, "NotImplemented")]
        refused = await to_thread.run_sync(lambda: kvd("put", "s3/c/k", "{}", expect=REFUSED))
        assert [method.upper() for method in front.take()] == ["GET", "PUT"]
        assert refused.err.endswith("`kvd put --force` replaces what is there, whatever that is.\n")
        assert "writes on a condition" in refused.err
        await to_thread.run_sync(lambda: kvd("put", "s3/c/k", "{}", "--force"))
        s3.delete_object(Bucket=unique_name, Key="c/k")
        s3.delete_bucket(Bucket=unique_name)
