"""From what is written down, or from a URL, to a store object. The daemon's side only; importing this imports `stores`.

Everything here may import a driver, read a file or wait for a command: call it off the event loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from kvd.config import ConnectionConfig, without_secrets
from kvd.config_fields import Field, is_reference, mismatch, store_class, store_fields, store_names, strategy_class
from kvd.config_secrets import learn_secrets, resolve
from kvd.errors import ConfigError
from kvd.paths import expanded
from stores.base import BaseStore
from stores.sanitization import SanitizationStrategy

__all__ = ["from_url", "open_store"]

_ALIASES = {"file": "filetree", "rediss": "redis", "mongodb+srv": "mongodb"}
"""Schemes of URLs that are not a store's name."""


def _forget(_secret: str) -> None:
    pass


def open_store(connection: ConnectionConfig, *, learn: Callable[[str], None] = _forget) -> BaseStore:
    """Make the connection's store, as yet not set up.

    Args:
        connection: what is written down.
        learn: gets every secret that was found on the way, so that it can be kept out of the log.

    Raises:
        ConfigError: it has problems, a reference leads nowhere, or the constructor refuses its arguments.
    """
    if connection.problems:
        raise ConfigError(*connection.problems)
    known = store_fields(connection.store)
    secrets: list[str] = []

    def note(secret: str) -> None:
        if secret:
            secrets.append(secret)
            learn(secret)

    args = {name: _argument(connection, known[name], value, note) for name, value in connection.args.items()}
    if connection.read_only and "read_only" in known:
        args.setdefault("read_only", True)
    folder = next((args[name] for name, field in known.items() if "path" in field.kinds and name in args), None)
    try:
        for name, field in known.items():
            if "strategy" in field.kinds and name in args:
                args[name] = _strategy(args[name], folder)
        return store_class(connection.store)(**args)
    except (TypeError, ValueError) as error:
        message = str(error)
        for secret in secrets:
            message = message.replace(secret, "***")
        raise ConfigError(f"{connection.name}: {message}") from None


def _argument(connection: ConnectionConfig, field: Field, value: Any, note: Callable[[str], None]) -> Any:
    """One argument with its references looked up, in the type that the constructor wants."""
    where = f"{connection.name}: {field.name}"
    try:
        found = resolve(value, note)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if isinstance(found, str):
        learn_secrets(found, note, marked=field.secret, is_url=field.name.endswith("url"))
        if "text" not in field.kinds and (found != value or is_reference(field, value)):
            found = _converted(field, found)
        if "path" in field.kinds and isinstance(found, str):
            found = _expanded(where, found)
    reason = mismatch(field, found)
    if reason is not None:
        raise ConfigError(f"{where}: {reason}")
    return found


def _expanded(where: str, path: str) -> str:
    try:
        return str(expanded(path))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _converted(field: Field, text: str) -> Any:
    """A text from the environment as the number or truth that is wanted; the text itself where it is none."""
    if "bool" in field.kinds and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind, number in (("int", int), ("float", float)):
        if kind in field.kinds:
            try:
                return number(text)
            except ValueError:
                continue
    return text


def _strategy(written: Any, folder: Any) -> SanitizationStrategy:
    """A strategy from its class name, or from `{ class = "…", max_length = 100 }`."""
    options = dict(written) if isinstance(written, dict) else {"class": written}
    cls = strategy_class(options.pop("class"))
    assert cls is not None, "the argument was checked"  # noqa: S101 - `mismatch` did
    if folder is not None and "directory" in cls.__init__.__annotations__:
        options.setdefault("directory", folder)
    return cls(**options)


def from_url(url: str, *, read_only: bool = False) -> ConnectionConfig:
    """The connection that a URL or an absolute path names, under the URL's canonical form. Nothing is created for it.

    `disk:///path`, `file:///path` (a file tree), `memory:`, `memory:NAME`, the URL of a server, `s3://BUCKET` or
    `dynamodb://TABLE`; a bare path is whatever lies there. No part of a URL is passed over: one that is no argument of the
    store is refused.

    Raises:
        ConfigError: no store is named so.
    """
    if url.startswith("/"):
        kind = "disk" if (Path(url) / "cache.db").is_file() else "file"
        url = f"{kind}://{quote(url)}"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("the URL cannot be read") from None
    shown = without_secrets(url)
    store = _ALIASES.get(parts.scheme, parts.scheme)
    if not parts.scheme:
        raise ConfigError(
            f"{url!r} is neither an absolute path nor a URL, which starts with one of {', '.join(_schemes())}; what "
            "connections.toml names needs no opening"
        )
    if store not in store_names():
        raise ConfigError(f"{shown}: a URL starts with one of {', '.join(_schemes())}")
    known = store_fields(store)
    args: dict[str, Any] = {}
    folder = next((name for name, field in known.items() if "path" in field.kinds), None)
    if folder is not None:
        path = unquote(parts.path)
        if parts.netloc not in {"", "localhost"} or not path.startswith("/"):
            raise ConfigError(f"{url}: the path must be absolute, with three slashes: {parts.scheme}:///path")
        resolved = str(Path(path).resolve())
        name, args = f"{parts.scheme}://{quote(resolved)}", {folder: resolved}
    elif parts.scheme in {"memory", "null"}:
        name = f"{parts.scheme}:{parts.netloc}{parts.path}"
    else:
        name, args = shown, _server(store, url, parts)
        if name != url:  # with another user or other options it is another store
            name += "#" + hashlib.sha256(url.encode()).hexdigest()[:8]
    if "auto_create" in known:
        args["auto_create"] = False
    return ConnectionConfig(name=name + ("?read_only" if read_only else ""), store=store, args=args, read_only=read_only)


def _server(store: str, url: str, parts: SplitResult) -> dict[str, Any]:
    """The arguments that the URL of a server stands for."""
    known = store_fields(store)
    needed = [name for name, field in known.items() if field.required]
    args: dict[str, Any]
    scheme, shown = parts.scheme, without_secrets(url)
    if "url" in known and not needed:
        if "://" not in url:
            raise ConfigError(f"{shown!r} names no server, as {scheme}://HOST does")
        return {"url": url}
    if _is_more_than_a_url(store):
        wanted = " ".join(f"{name}=…" for name in dict.fromkeys(("url", *needed)) if name in known)
        raise ConfigError(f"a URL does not say enough of it: write it down with `kvd connections add NAME {store} {wanted}`")
    path = parts.path.strip("/")
    if needed:
        args = {needed[0]: parts.netloc}
        form = f"{scheme}://{needed[0].partition('_')[0].upper()}"
    else:
        try:
            args = {"host": parts.hostname, "port": parts.port}
        except ValueError:
            raise ConfigError(f"{shown}: the port is a number from 0 to 65535") from None
        args |= {name: unquote(text) for name in ("username", "password") if (text := getattr(parts, name))}
        form = f"{scheme}://[USER:PASSWORD@]HOST[:PORT]"
        if "db" in known:
            form += "[/DB]"
            if path.isascii() and path.isdigit():
                args["db"], path = int(path), ""
    if not parts.netloc or path or parts.query or parts.fragment:
        raise ConfigError(
            f"{shown}: a URL of {store} is {form}; more can be said in a connection, see `kvd connections add -h`"
        )
    return {name: value for name, value in args.items() if value is not None}


def _schemes() -> list[str]:
    aliased = [scheme for scheme, store in _ALIASES.items() if store in store_names()]
    return sorted({*store_names(), *aliased} - {"filetree"} - {name for name in store_names() if _is_more_than_a_url(name)})


def _is_more_than_a_url(store: str) -> bool:
    """Whether the constructor wants something beside a URL, as Elasticsearch's does."""
    known = store_fields(store)
    return "url" in known and any(field.required for field in known.values())
