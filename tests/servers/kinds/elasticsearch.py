"""noida-db, which speaks Elasticsearch's protocol, from PyPI."""

from collections.abc import Sequence
from pathlib import Path

from tests.servers.fetch import pypi
from tests.servers.kind import Kind, Plan, UnavailableError, ask


def program() -> str:
    """The server's path: the package's console script would leave its child behind."""
    path = pypi("noida-db==0.2.3") / "noida_db/noida-db"
    if not path.is_file():
        raise UnavailableError("noida-db has no server for this machine")
    path.chmod(0o755)
    return str(path)


def plan(folder: Path, ports: Sequence[int], args: Sequence[str]) -> Plan:
    port = str(ports[0])
    only = ("start", "--only", "elasticsearch", "--host", "127.0.0.1", "--elasticsearch-port", port)
    return Plan(
        commands=((program(), *only, "--data-dir", str(folder / "data"), *args),),
        endpoint=f"http://127.0.0.1:{port}",
        probe=lambda: ask(ports[0], b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.0 200"),
    )


KIND = Kind("elasticsearch", "KV_TEST_ELASTICSEARCH_URL", 1, program, plan)
