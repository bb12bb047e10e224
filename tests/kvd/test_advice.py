"""The advice fits the cause (which cause it is, tests/stores/test_faults.py)."""

from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from kvd.advice import ADVICE, CONFIGURATION, advice
from stores.errors import Fault
from tests.faults.tls import tls_in_front
from tests.kvd.command import configure, kvd
from tests.servers.lease import private_server


def test_there_is_advice_for_every_fault() -> None:
    assert set(ADVICE) == {*Fault, CONFIGURATION}
    assert len(set(ADVICE.values())) == len(ADVICE)
    assert advice("redis", None).startswith("look at its server")
    assert advice("redis", "a newer daemon's") == advice("redis", None)


@pytest.mark.parametrize(
    ("store", "argument"),
    {
        "dynamodb": "ca_bundle",
        "elasticsearch": "ca_certs",
        "memcached": "tls_ca_certs",
        "mongodb": "tls_ca_file",
        "redis": "ssl_ca_certs",
        "s3": "ca_bundle",
        "valkey": "tls_ca_certs",
    }.items(),
)
def test_the_argument_for_a_certificate_is_the_store_s_own(store: str, argument: str) -> None:
    assert f" as `{argument}` in " in advice(store, Fault.UNKNOWN_CERTIFICATE)


@pytest.mark.anyio
async def test_doctor_advises_by_cause(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with private_server("redis", ["--requirepass", "open sesame"]) as redis:
        async with tls_in_front(*redis.address, tmp_path) as port:
            args = {
                "unnamed": 'host = "nowhere.invalid"',
                "locked": f"port = {redis.address[1]}",
                "unknown": f"port = {port}\nssl = true",
                "unstarted": "port = 1",
                "numbered": f'port = {redis.address[1]}\npassword = "open sesame"\ndb = 99',
            }
            configure(
                home,
                "".join(
                    f'[connections.{name}]\nstore = "redis"\n[connections.{name}.args]\n{lines}\n'
                    for name, lines in args.items()
                )
                + '[connections.bare]\nstore = "s3"\nargs = { bucket_name = "b", region_name = "us-east-1" }\n'
                + '[connections.nowhere]\nstore = "dynamodb"\nargs = { table_name = "t" }\n',
            )
            kvd("ls")
            rows = (await anyio.to_thread.run_sync(lambda: kvd("doctor", "--json", expect=1))).rows
    told = {row["subject"]: row["advice"].partition(" in ")[0] for row in rows if row["verdict"] == "bad"}
    assert told == {
        "connection bare": "give it AWS credentials that are valid:",
        "connection locked": "give it the right user and password",
        "connection numbered": "correct its `db`",
        "connection unstarted": "start its server, or correct host and port",
        "connection nowhere": "give its `region_name`",
        "connection unknown": "if its server's certificate can be trusted, give the file of who signed it as `ssl_ca_certs`",
        "connection unnamed": "look whether this machine is",
    }
