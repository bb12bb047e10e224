"""TLS in front of a server that speaks none, with a certificate that nobody knows."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.faults.proxy import Proxy

REQUEST = [
    "openssl",
    "req",
    "-new",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-subj",
    "/CN=localhost",
]
SIGN = ["openssl", "x509", "-req", "-extfile", "/dev/stdin"]
EXTENSIONS = "basicConstraints=critical,CA:FALSE\nsubjectAltName="
HERE = "IP:127.0.0.1,DNS:localhost"


def make_certificate(folder: Path, *, names: str = HERE, days: int = 1) -> ssl.SSLContext:
    """Make `cert.pem`, which signs itself, with `key.pem`; returns what a server presents it with."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    request = subprocess.run([*REQUEST, "-keyout", str(key)], check=True, capture_output=True).stdout
    (folder / "request.pem").write_bytes(request)
    signing = [*SIGN, "-in", str(folder / "request.pem"), "-signkey", str(key), "-days", str(days), "-out", str(cert)]
    subprocess.run(signing, check=True, capture_output=True, input=(EXTENSIONS + names).encode())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@asynccontextmanager
async def tls_in_front(host: str, port: int, folder: Path) -> AsyncIterator[int]:
    """A TLS server that hands everything to a plain one, and its certificate as `cert.pem`; yields its port."""
    context = await asyncio.to_thread(make_certificate, folder)
    async with Proxy(host, port, tls=context) as proxy:
        yield proxy.port
