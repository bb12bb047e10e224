"""The advice fits the cause, as servers and drivers tell it."""

from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from kvd.advice import advice
from tests.faults.tls import tls_in_front
from tests.kvd.command import configure, kvd
from tests.servers.lease import private_server

SAID = {
    "IoError: Received error for address `127.0.0.1:1`: Connection refused (os error 111)": "start its server",
    "Could not connect to the endpoint URL: 'http://127.0.0.1:1/'": "start its server",
    "Unable to locate credentials": "give it AWS credentials",
    "An error occurred (ExpiredToken) when calling the ListObjectsV2 operation": "give it AWS credentials",
    "An error occurred (UnrecognizedClientException): The security token included in the request is invalid.": "give it AWS",
    "You must specify a region.": "give its `region_name`",
    "invalid peer certificate: UnknownIssuer": "if its server's certificate can be trusted",
    "invalid peer certificate: certificate not valid for name": "use the name that",
    "[[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)]": "there is no TLS",
    "AuthenticationException(401, 'security_exception', 'missing authentication credentials')": "give it the right user",
    "WRONGPASS: invalid username-password pair or user is disabled.": "give it the right user",
    "NOPERM this user has no permissions to run the 'scan' command": "have its user given the right",
    "An error occurred (AccessDenied) when calling the ListObjectsV2 operation: Access Denied": "have its user given",
    "AuthorizationException(403, 'security_exception', 'is unauthorized for user [bob]')": "have its user given",
    "The DNS query name does not exist: _mongodb._tcp.nowhere.invalid.": "look whether this machine",
    "ERR DB index is out of range": "correct its `db`",
    "[Errno 20] Not a directory: '/tmp/file/cache.db'": "look at that file",
    "file is not a database": "look at that file",
    'the server\'s answer cannot be used (Protocol error, got "<" as reply type byte)': "something else may listen",
    "c: 127.0.0.1:6379 did not open within 12 seconds": "look whether its server runs",
    "something new": "start its server",
}


@pytest.mark.parametrize(("said", "expected"), SAID.items())
def test_the_cause_is_told_by_what_is_said(said: str, expected: str) -> None:
    assert advice("redis", said).startswith(expected)


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
    assert f" as `{argument}` in " in advice(store, "certificate verify failed: self-signed certificate")


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
        "connection nowhere": "give its `region_name`",
        "connection unknown": "if its server's certificate can be trusted, give the file of who signed it as `ssl_ca_certs`",
        "connection unnamed": "look whether this machine is",
    }
