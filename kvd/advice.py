"""What to do about a connection that cannot be used, by what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ADVICE", "CONFIGURATION", "advice"]

CONFIGURATION: Final = "configuration"
"""What is wrong where no store could be made of what is written down."""

_RELOAD: Final = "in connections.toml, then run `kvd reload`"

ADVICE: Final[Mapping[str, str]] = {
    "credentials": (f"give it AWS credentials that are valid: {_RELOAD}; or in the environment, then run `kvd restart` there"),
    "region": f"give its `region_name` {_RELOAD}",
    "password": f"give it the right user and password {_RELOAD}",
    "right": "have its user given the right to that, or use another one",
    "host": f"look whether this machine is in the right network, or correct the server's name {_RELOAD}",
    "refused": f"start its server, or correct host and port {_RELOAD}",
    "silent": f"look whether its server runs and a firewall lets you through, or correct host, port or TLS {_RELOAD}",
    "stranger": f"something else may listen there, or want TLS: correct host, port or TLS {_RELOAD}",
    "no_tls": f"there is no TLS at that port: correct it {_RELOAD}",
    "expired_certificate": "have its server's certificate renewed",
    "other_certificate": f"use the name that its server's certificate is for {_RELOAD}",
    "unknown_certificate": (
        f"if its server's certificate can be trusted, give the file of who signed it as {{authority}} {_RELOAD}"
    ),
    "database": f"correct its `db` {_RELOAD}",
    "file": f"look at that file, or correct its path {_RELOAD}",
    CONFIGURATION: "correct connections.toml, then run `kvd reload`",
}
"""By `stores.errors.Fault`, and one more."""
_OTHERWISE: Final = "look at its server, or correct connections.toml and run `kvd reload`"


def advice(store: str, fault: str | None, said: str = "") -> str:
    """What to do about a connection that cannot be used; nothing where what was said of it tells that already.

    Args:
        store: the kind of store.
        fault: what is wrong; None where that is not known.
        said: why it cannot be used, for a person.
    """
    if "`kvd " in said:
        return ""
    return ADVICE.get(fault or "", _OTHERWISE).format(authority=_authority(store))


def _authority(store: str) -> str:
    """The argument that names the file of certificates to trust."""
    from kvd.config_fields import store_fields, store_names  # noqa: PLC0415 - few need it

    names = store_fields(store) if store in store_names() else ()
    return next((f"`{name}`" for name in names if "ca" in name.split("_")), "what it trusts")
