"""SecantusDB, which speaks MongoDB's protocol, from PyPI.

Rules: it is under the GPL, so it is installed apart, where no test can import it, and runs as a process of its own. It has
wheels for Python 3.13 and older; a newer one would have to compile it for many minutes, so an older one of the machine runs it.
"""

from collections.abc import Sequence
from pathlib import Path

from tests.servers.fetch import interpreter, pypi
from tests.servers.kind import Kind, NotReadyError, Plan


def python() -> str:
    """The Python that runs the server."""
    return interpreter(below=(3, 14))


def program() -> Path:
    """The folder that holds the server and what it imports."""
    return pypi("secantusdb==0.7.0b3", python=python())


def ping(url: str) -> None:
    """Raise unless the server answers."""
    # Imported here: every test run imports this module, few ever start MongoDB.
    import pymongo
    from pymongo.errors import PyMongoError

    with pymongo.MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=500, directConnection=True) as client:
        try:
            client.admin.command("ping")
        except PyMongoError as exc:
            raise NotReadyError(str(exc)) from exc


def plan(_folder: Path, ports: Sequence[int], args: Sequence[str]) -> Plan:
    url = f"mongodb://127.0.0.1:{ports[0]}"
    storage = ("--storage-path", ":memory:", "--standalone", "--cache-size", "256M")
    return Plan(
        commands=((python(), "-m", "secantus", "--host", "127.0.0.1", "--port", str(ports[0]), *storage, *args),),
        endpoint=url,
        probe=lambda: ping(url),
        # With its bytecode kept in the cache it starts three times as fast, whatever the tests themselves run under.
        environment={"PYTHONPATH": str(program()), "PYTHONDONTWRITEBYTECODE": ""},
    )


KIND = Kind("mongodb", "KV_TEST_MONGODB_URL", 1, program, plan)
