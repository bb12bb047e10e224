"""What to do about a connection that cannot be used, as far as its error tells the cause. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["advice"]

_RELOAD: Final = "in connections.toml, then run `kvd reload`"
_CAUSES: Final = (
    (
        r"locate credentials|profile .* not be found|ExpiredToken|InvalidAccessKey|UnrecognizedClient|Signature[ED]",
        f"give it AWS credentials that are valid: {_RELOAD}; or in the environment, then run `kvd restart` there",
    ),
    (
        r"specify a region|PermanentRedirect|IllegalLocationConstraint|AuthorizationHeaderMalformed",
        f"give its `region_name` {_RELOAD}",
    ),
    (r"certificate has expired|CertExpired|: Expired\b", "have its server's certificate renewed"),
    (
        r"not valid for|Hostname mismatch|IP address mismatch|NotValidForName|doesn't match",
        f"use the name that its server's certificate is for {_RELOAD}",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate|self.signed",
        f"if its server's certificate can be trusted, give the file of who signed it as {{ca}} {_RELOAD}",
    ),
    (r"WRONG_VERSION_NUMBER|record layer failure|InvalidContentType", f"there is no TLS at that port: correct it {_RELOAD}"),
    (
        r"NOAUTH|WRONGPASS|AuthenticationException|authentication (required|failed)|invalid (username|password)",
        f"give it the right user and password {_RELOAD}",
    ),
    (
        r"NOPERM|AccessDenied|AuthorizationException|not authorized|unauthorized|may not (read|write)|has no permission",
        "have its user given the right to that, or use another one",
    ),
    (
        r"Name or service not known|No address associated|nodename nor servname|failed to lookup|DNS|name resolution",
        f"look whether this machine is in the right network, or correct the server's name {_RELOAD}",
    ),
    (r"DB index|switch database", f"correct its `db` {_RELOAD}"),
    (r"Errno 13\]|Errno 2\]|Errno 20\]|not a database|Permission denied", f"look at that file, or correct its path {_RELOAD}"),
    (
        r"Protocol error|answer cannot be used|closed the connection|unexpectedly terminated|bytes read|already closed",
        f"something else may listen there, or want TLS: correct host, port or TLS {_RELOAD}",
    ),
    (
        r"did not open within|no connection within|timed out|no answer",
        f"look whether its server runs and a firewall lets you through, or correct host, port or TLS {_RELOAD}",
    ),
)
"""Patterns of what drivers and servers say, and what helps; the first that is found counts."""
_OTHERWISE: Final = "start its server, or correct connections.toml and run `kvd reload`"


def advice(store: str, message: str) -> str:
    """What to do about a connection of this kind of store, of which that is said."""
    told = next((told for pattern, told in _CAUSES if re.search(pattern, message, re.IGNORECASE)), _OTHERWISE)
    return told.format(ca=_authority(store))


def _authority(store: str) -> str:
    """The argument that names the file of certificates to trust."""
    from kvd.config_fields import store_fields, store_names  # noqa: PLC0415 - few need it

    names = store_fields(store) if store in store_names() else ()
    return next((f"`{name}`" for name in names if "ca" in name.split("_")), "what it trusts")
