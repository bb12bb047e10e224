"""The files of certificates and keys that a store is given: looked at before a driver gets them, as none names the bad one."""

from __future__ import annotations

import ssl
from pathlib import Path

from stores.errors import Fault, StoreSetupError

__all__ = ["check_files"]


def check_files(authority: str | None, certificate: str | None = None, key: str | None = None) -> None:
    """Read the files, which blocks.

    Args:
        authority: a file (PEM) with the certificates to trust.
        certificate: a file with one's own certificate.
        key: a file with the key of that; None where the certificate's has it too.

    Raises:
        StoreSetupError: naming the file that is not there, may not be read, is no such file, or does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for path in filter(None, (authority, certificate, key)):
        try:
            Path(path).read_bytes()
        except OSError as exc:
            raise _refusal(f"{path} cannot be read: {exc.strerror}") from exc
    if authority:
        try:
            context.load_verify_locations(authority)
        except ssl.SSLError as exc:
            raise _refusal(f"{authority} holds no certificates to trust (PEM)") from exc
    if certificate:
        try:
            context.load_cert_chain(certificate, key or None, password=_not_asked)
        except ssl.SSLError as exc:
            files = f"{certificate} and {key} hold" if key else f"{certificate} holds"
            told = f"{files} no certificate (PEM) with the key that fits it, not encrypted"
            raise _refusal(told) from exc


def _not_asked() -> str:
    """The password of an encrypted key, which OpenSSL would ask for on the terminal."""
    return ""


def _refusal(told: str) -> StoreSetupError:
    refusal = StoreSetupError(f"{told}.")
    refusal.fault = Fault.FILE
    return refusal
