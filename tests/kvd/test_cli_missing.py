"""A bucket, table, cache or folder that does not exist: the command says so, and makes none by looking."""

from pathlib import Path

import boto3
import pytest

from tests.kvd.command import configure, kvd


@pytest.fixture
def said(home: Path, s3_url: str, dynamodb_url: str, unique_name: str) -> dict[str, str]:
    """Connections to what does not exist, and what is said of each."""
    configure(
        home,
        f"""[connections.s3]
store = "s3"
args = {{ bucket_name = "{unique_name}", endpoint_url = "{s3_url}" }}
[connections.table]
store = "dynamodb"
args = {{ table_name = "{unique_name}", endpoint_url = "{dynamodb_url}" }}
[connections.cache]
store = "disk"
args.directory = "{home}/data"
[connections.tree]
store = "filetree"
args.data_directory = "{home}/tree"
""",
    )
    return {
        "s3": f"bucket '{unique_name}'",
        "table": f"table '{unique_name}'",
        "cache": f"a cache in {home}/data",
        "tree": f"folder {home}/tree",
    }


def notes() -> dict[str, str]:
    rows = kvd("doctor", "--json").rows
    return {row["subject"].removeprefix("connection "): row["message"] for row in rows if row["verdict"] == "note"}


def test_what_does_not_exist_is_named_until_the_first_write_makes_it(home: Path, said: dict[str, str], s3_url: str) -> None:
    kvd("ls")
    (home / "config" / "kvd" / "connections.toml").chmod(0o600)
    for name, what in said.items():
        absence = f"{what} does not exist yet: the first write makes it"
        assert kvd("ls", name).err == f"kvd: {name}: no collections; {absence}\n"
        assert notes()[name] == f"answers; {absence}"
    assert not (home / "tree").exists()
    assert not list((home / "data").iterdir())
    s3 = boto3.client("s3", endpoint_url=s3_url)
    assert said["s3"] not in {f"bucket {bucket['Name']!r}" for bucket in s3.list_buckets()["Buckets"]}
    for name in said:
        kvd("put", f"{name}/c/k", "{}")
    assert notes() == {}
    kvd("rm", "s3/c/k")
    s3.delete_bucket(Bucket=said["s3"].removeprefix("bucket ").strip("'"))


def test_a_bucket_that_somebody_else_makes_is_seen(said: dict[str, str], s3_url: str) -> None:
    name = said["s3"].removeprefix("bucket ").strip("'")
    assert "does not exist" in kvd("ls", "s3").err
    s3 = boto3.client("s3", endpoint_url=s3_url)
    s3.create_bucket(Bucket=name)
    assert kvd("ls", "s3").err == "kvd: s3: no collections\n"
    s3.delete_bucket(Bucket=name)
