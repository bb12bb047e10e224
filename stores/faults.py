"""What is wrong with a connection, told by the exceptions that led to an error. Pure."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Final

from stores.errors import BaseKeyValueError, Fault

__all__ = ["WORDS", "Faults", "Words", "fault_of"]

Faults = Mapping[type[BaseException], Fault]
Words = Mapping[str, Fault]

FAULTS: Final[Faults] = {
    TimeoutError: Fault.SILENT,
    ConnectionRefusedError: Fault.REFUSED,
    ConnectionError: Fault.STRANGER,
    EOFError: Fault.STRANGER,
    socket.gaierror: Fault.HOST,
    ssl.SSLEOFError: Fault.STRANGER,
    ssl.SSLZeroReturnError: Fault.STRANGER,
    FileNotFoundError: Fault.FILE,
    NotADirectoryError: Fault.FILE,
    PermissionError: Fault.FILE,
}
"""What Python's own exceptions tell; the most derived class wins."""
BY_ERRNO: Final[Mapping[int | None, Fault]] = {
    **dict.fromkeys((errno.EHOSTUNREACH, errno.ENETUNREACH), Fault.SILENT),
    **dict.fromkeys((errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG), Fault.FILE),
}
BY_VERIFICATION: Final[Mapping[int, Fault]] = {
    10: Fault.EXPIRED_CERTIFICATE,
    **dict.fromkeys((62, 64), Fault.OTHER_CERTIFICATE),  # a host's name, an address
}
"""OpenSSL's numbers for why a certificate was not accepted."""
NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""OpenSSL's reasons when what came is none of TLS; which one depends on its version and on what came."""
WORDS: Final[Words] = {
    "certificate has expired": Fault.EXPIRED_CERTIFICATE,
    "Hostname mismatch": Fault.OTHER_CERTIFICATE,
    "IP address mismatch": Fault.OTHER_CERTIFICATE,
    "CERTIFICATE_VERIFY_FAILED": Fault.UNKNOWN_CERTIFICATE,
    **dict.fromkeys(NO_TLS, Fault.NO_TLS),
    "Name or service not known": Fault.HOST,
    "No address associated with hostname": Fault.HOST,
    "nodename nor servname provided": Fault.HOST,
    "Temporary failure in name resolution": Fault.HOST,
    f"[Errno {errno.ECONNREFUSED}]": Fault.REFUSED,
}
"""What OpenSSL and the system say, for drivers that keep the words of an exception and lose the rest of it."""


def fault_of(exc: BaseException, faults: Faults, words: Words) -> Fault | None:
    """What the exception tells, or else those that led to it.

    Args:
        exc: an exception of a driver, or what was made of it.
        faults: what the driver's own classes tell; the most derived class wins.
        words: what stands in messages, where the class does not tell; the first of them wins.
    """
    return next(filter(None, (_told_by(one, faults, words) for one in _led_to(exc))), None)


def _led_to(exc: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = exc
    seen: set[int] = set()
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _told_by(exc: BaseException, faults: Faults, words: Words) -> Fault | None:
    if isinstance(exc, BaseKeyValueError):
        return exc.fault
    if isinstance(exc, ssl.SSLError):  # which aiohttp's are too, without what those know; that is told by what led to them
        code = getattr(exc, "verify_code", None)
        if code is not None:
            return BY_VERIFICATION.get(code, Fault.UNKNOWN_CERTIFICATE)
        if getattr(exc, "reason", None) in NO_TLS:
            return Fault.NO_TLS
    if isinstance(exc, OSError) and exc.errno in BY_ERRNO:
        return BY_ERRNO[exc.errno]
    told = next((table[cls] for cls in type(exc).__mro__ for table in (faults, FAULTS) if cls in table), None)
    if told is None:
        if type(exc) is OSError and exc.errno is None:  # asyncio tried several addresses, and says what became of each
            words = WORDS
        said = str(exc) if words else ""
        told = next((fault for word, fault in words.items() if word in said), None)
    return told
