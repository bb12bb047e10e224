"""Memcached from Debian's packages, else the machine's own."""

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.servers.fetch import debian, libraries
from tests.servers.kind import Kind, Plan, UnavailableError, ask


def program() -> tuple[str, dict[str, str]]:
    """The server's path and the environment it needs."""
    try:
        folder = debian("usr/bin/memcached", ("memcached",), ("libevent-2.1-7", "libsasl2-2"))
    except UnavailableError:
        if own := shutil.which("memcached"):
            return own, {}
        raise
    return str(folder / "usr/bin/memcached"), libraries(folder)


def plan(_folder: Path, ports: Sequence[int], args: Sequence[str]) -> Plan:
    path, environment = program()
    # Root must name a user. Changing to another one would cut the tether that ends the server with its supervisor.
    user = ("-u", pwd.getpwuid(os.getuid()).pw_name)
    return Plan(
        commands=((path, *user, "-l", "127.0.0.1", "-p", str(ports[0]), "-U", "0", *args),),
        endpoint=f"memcached://127.0.0.1:{ports[0]}",
        probe=lambda: ask(ports[0], b"version\r\n", b"VERSION ", b"CLIENT_ERROR unauth"),
        environment=environment,
    )


KIND = Kind("memcached", "KV_TEST_MEMCACHED_URL", 1, program, plan)
