"""TLS in front of a server that speaks none, with a certificate that nobody knows."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.faults.proxy import Proxy

REQUEST = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
NAMES = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]


@asynccontextmanager
async def tls_in_front(host: str, port: int, folder: Path) -> AsyncIterator[int]:
    """A TLS server that hands everything to a plain one, and its certificate as `cert.pem`; yields its port."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [*REQUEST, *NAMES, "-keyout", str(key), "-out", str(cert)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with Proxy(host, port, tls=context) as proxy:
        yield proxy.port
