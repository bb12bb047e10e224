"""The protocol between the daemon and its clients: messages, limits, errors. No I/O here, and no loop.

All that a client in another language needs stands here and in `kvd.model` (how names, values and times look) and
`kvd.requests` (the methods with their parameters).

Frames. A Unix stream socket. Each message is a frame: a length of 4 bytes, big-endian, from 1 to `MAX_FRAME`, and a
body of that many bytes, which is one msgpack value. A length outside of the bounds ends the connection before a byte of
the body is kept.

Messages. A body is an array that begins with its kind:

    [0, id, method, params, options?]   a request, from the client. `params` and `options` are maps with string keys.
    [1, id, error | nil, result]        the reply. Exactly one for every request, in any order.
    [2, name, params]                   an event, from the daemon, to which nothing is answered.
    [3, stream, last, chunk]            a part, from the daemon: `chunk` (bin) is the next piece of a body over `PART_SIZE`
                                        bytes. Pieces of one body come in order and carry the same `stream` (an integer);
                                        between them come other messages, and parts of other streams. After the piece whose
                                        `last` is true the joined pieces are a body as above. Requests never come in parts.

- An id is an integer from 0 to `MAX_ID` that the client chooses; no two requests in flight may share one. Counting up and
  wrapping around is fine.
- Arrays may become longer and maps may gain fields; a reader leaves alone what it does not know.
- A parameter that a method does not know is refused (`bad_request`), because to leave it alone could be to leave a condition
  alone; so a client sends what a newer daemon brought only when it is asked for.
- `options`: `timeout` (seconds, float): the daemon answers `deadline` when it passes. Without it the connection's own
  deadline holds. It is at most `MAX_TIMEOUT`. `journal`: see below. Of an option that it does not know, a daemon takes no
  notice.
- A map key given twice: the last one counts. Extension types are refused in requests.
- A message that is no request with a usable id is answered by `[1, nil, error, nil]`, whereupon the daemon closes. A request
  over `MAX_DEPTH`, `MAX_ITEMS` or `MAX_KEYS` is refused like any other.
- Requests on the same key take effect in the order in which they were sent on a connection.

Hello. The first request is `hello` with `{"protocol": [oldest, newest], "client": text, "version": text}`; nothing needs to
wait for its answer. Its result is a map: `protocol` (the newest version that both know), `version` (of the daemon's build),
`pid`, `capabilities` (texts) and `limits` (the numbers below, by name in small letters). Where the ranges do not meet, the
error is `version_mismatch`, its detail has the daemon's `protocol` and `version`, and the client may still call `status` and
`stop`: those two and `ping` work without hello, in every version. Other methods before a hello are `bad_request`.

Cancel. The method `cancel` with `{"id": id}` asks to give up a request; its result says whether that was in flight. The
request itself still gets its one reply: its result if it came first, else the error `cancelled`. A write that the store
already has is completed all the same: then the detail of `cancelled` (and of `deadline`) is `{"sent": true}`.

Errors. `{"code": text, "message": text, "retry": bool, "connection"?: text, "detail"?: any}`. `message` is a sentence for
people. `retry` says that the same request may succeed later. The codes are those of `Code`; there may be more of them
one day: treat an unknown one like `internal`. Where a connection cannot be used, the detail's `fault` is what is wrong with
it, one of `stores.errors.Fault` (`password`, `refused`, `silent` …) or `configuration`, or nil where that is not known; its
`advice` is what to do about that, for people, where the message does not tell.

Events. `change`: a map with the fields of `kvd.model.Change`, for what was subscribed to. `closing` with
`{"reason": text}`: the daemon drains and leaves; requests in flight are still answered, new ones get `shutting_down`. What got
that, unless its detail is `{"sent": true}`, and what was sent after `closing` came, was not begun: another daemon may be asked.

Journal. A daemon whose capabilities name `journal` keeps what a write replaces, where the request has the option `journal`, a
map: `step` (text of 1 to `MAX_STEP_ID` characters, chosen by the client, unlike any other) and perhaps `title` (text for
people, cut to `MAX_TITLE`). Writes with the same `step`, all on one connection, are one step, which is undone as a whole. The
option is taken by edit, expire, delete, restore, put, put_many, delete_many, destroy and destroy_collection, whose answers are
the same with it and without; other methods take no notice of it. A write that cannot be undone (the store has no
compare-and-set, the value is larger than `MAX_IMAGE`, something is destroyed) happens all the same, and its step says so.

- `steps` lists the journal, `undo` and `redo` (whose result is nil where there is nothing to do) work on the step that they are
  given, or on the latest; each answers after `limit` keys at most, with how many are `left`.
- Undo is compare-and-set on the version that the write left behind: a key that somebody else has written since is left alone
  and named. It restores value, creation time and absolute deadline; what would be expired by now is named, too, and comes back
  without a deadline when `never_expire` is asked for. A step that deletes and creates may be a rename: while something cannot
  come back where the step left nothing, nothing that it created is taken away, and that is named.
- A new step drops what could be redone, on whichever connection.
- The journal is in the daemon's memory and ends with it. It holds `MAX_STEPS` steps, `MAX_JOURNAL` bytes, each for
  `MAX_JOURNAL_AGE` seconds; the oldest leave first. The steps of a connection leave with its store: when the configuration
  names another one, or none, and with a store in memory or a demo that is closed.

Big values. `read` takes `offset` and `length`. A reply over `MAX_REPLY` bytes is not sent: the error is `too_large`. A snapshot
is whole or not at all, and only one that fits into a frame can be restored.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgpack  # type: ignore[import-untyped]  # it ships no types

from kvd.errors import (
    Code,
    ConnectionLostError,
    DaemonError,
    IncompatibleError,
    ProtocolError,
    RequestError,
    UnreachableDaemonError,
)

__all__ = [
    "Code",
    "ConnectionLostError",
    "DaemonError",
    "Encoder",
    "IncompatibleError",
    "ProtocolError",
    "RequestError",
    "RequestMessage",
    "UnreachableDaemonError",
    "check_request",
    "encode_event",
    "encode_reply",
    "unpack_request",
]

OLDEST_PROTOCOL: Final = 1
PROTOCOL: Final = 1

# Limits. Each is stated here only, and each has its own error.

MAX_FRAME: Final = 16 << 20
"""Bytes of one body; over it: `too_large`, and the connection ends."""
PART_SIZE: Final = 256 << 10
"""Bytes of a body above which the daemon sends it in parts."""
MAX_REPLY: Final = 64 << 20
"""Bytes of a reply, its parts joined; over it: `too_large`."""
MAX_DEPTH: Final = 1024
"""Levels of nesting in a body; over it: `too_deep`."""
MAX_ITEMS: Final = 100_000
"""Elements of all arrays and maps in a request; over it: `too_many`. It bounds what a frame can grow to in memory."""
MAX_KEYS: Final = 10_000
"""Keys in one request; over it: `too_many`."""
MAX_NAME: Final = 64 << 10
"""Bytes of a key's or collection's name; over it: `invalid_key`."""
PLAIN_KEYS: Final = 64
"""Keys of one read up to which the daemon asks a store directly; clients put as many gets of one moment into one request."""
PLAIN_NAME: Final = 1024
"""Characters of a name up to which a read goes these short ways."""
MAX_PAGE: Final = 5_000
"""What a page's `limit` is cut to."""
MAX_ID: Final = (1 << 32) - 1
MAX_IN_FLIGHT: Final = 4_096
"""Requests of one client that wait at the same time; over it: `too_many`. A client holds back what is more."""
MAX_CLIENTS: Final = 4_096
"""Clients at the same time; over it, and when descriptors run out: `too_many`, and the connection ends."""
MAX_SUBSCRIPTIONS: Final = 64
"""Subscriptions of one client; over it: `too_many`."""
MAX_CURSORS: Final = 64
"""Scans that one client has open; over it the one unused for longest expires."""
MAX_TIMEOUT: Final = 3_600.0
"""Seconds."""
MAX_OUTBOX: Final = 128 << 20
"""Bytes that wait for a client that does not read; over it the connection ends."""

MAX_STEP_ID: Final = 64
"""Characters of a step's id in the journal; over it: `bad_request`."""
MAX_TITLE: Final = 200
"""Characters of a step's title; what is longer is cut."""
MAX_STEPS: Final = 200
"""Steps in the journal; over it, as over the next two, the oldest leave."""
MAX_JOURNAL: Final = 64 << 20
"""Bytes of all that the journal keeps. What goes beyond it within one step cannot be undone."""
MAX_JOURNAL_AGE: Final = 24 * 3_600.0
"""Seconds that a step is kept."""
MAX_IMAGE: Final = 16 << 20
"""Bytes of one entry that the journal keeps; what replaces a larger one cannot be undone."""
MAX_TOLD: Final = 100
"""Changes that `steps` tells of each step, and problems beyond those of the keys that a request tried."""

LIMITS: Final[dict[str, int | float]] = {
    "max_frame": MAX_FRAME,
    "part_size": PART_SIZE,
    "max_reply": MAX_REPLY,
    "max_depth": MAX_DEPTH,
    "max_items": MAX_ITEMS,
    "max_keys": MAX_KEYS,
    "max_name": MAX_NAME,
    "max_page": MAX_PAGE,
    "max_in_flight": MAX_IN_FLIGHT,
    "max_clients": MAX_CLIENTS,
    "max_subscriptions": MAX_SUBSCRIPTIONS,
    "max_cursors": MAX_CURSORS,
    "max_timeout": MAX_TIMEOUT,
}
"""What `hello` tells."""

REQUEST: Final = 0
REPLY: Final = 1
EVENT: Final = 2
PART: Final = 3

HEADER: Final = 4
"""Bytes of a frame's length."""
PACKED: Final = 1024
"""Bytes that a packer begins with: with so few, where it matters little, a new one is as good as one that is kept."""
_SMALL: Final = 16 << 10  # below it, no body can grow to more than a few megabytes, and counting would only cost time
_MAX_MAP: Final = 1_000
_HEAD: Final = 16  # more than array, kind and id take
_LAST_PART_OF_ARRAY: Final = 4


class RequestMessage(NamedTuple):
    """`[0, id, method, params, options?]`."""

    id: int
    method: str
    params: dict[str, Any]
    options: dict[str, Any] | None


def _named(method: str, params: dict[str, Any]) -> str:
    """A request as a person knows it, by its connection and the beginning of its key."""
    connection, key = params.get("connection"), params.get("key")
    of = "" if key is None else f" of key {reprlib.repr(key)}"
    return ("" if connection is None else f"{connection}: ") + method + of


class Encoder:
    """Encodes what one end sends, all with one packer: not for two threads at once."""

    __slots__ = ("_pack",)

    def __init__(self) -> None:
        self._pack: Callable[[Any], bytes] = msgpack.Packer(buf_size=PACKED).pack

    def request(
        self,
        id: int,  # noqa: A002 - the wire's own word
        method: str,
        params: dict[str, Any],
        timeout: float | None = None,
        journal: dict[str, str] | None = None,
    ) -> bytes:
        """Encode a request as a frame.

        Raises:
            ProtocolError: `too_large`, or `bad_request` for what msgpack cannot carry.
        """
        try:
            if timeout is None and journal is None:
                body = self._pack((REQUEST, id, method, params))
            else:
                options = {"timeout": timeout, "journal": journal}
                body = self._pack(
                    (REQUEST, id, method, params, {name: one for name, one in options.items() if one is not None})
                )
        except (TypeError, ValueError, OverflowError) as error:
            raise ProtocolError(Code.BAD_REQUEST, f"{method} cannot be sent: {error}", id=id) from error
        length = len(body)
        if length > PART_SIZE:
            self._let_go()
            if length > MAX_FRAME:
                text = f"{_named(method, params)} takes {length:,} bytes, and {MAX_FRAME:,} is the most a request may have"
                raise ProtocolError(Code.TOO_LARGE, text, id=id)
        return length.to_bytes(HEADER, "big") + body

    def reply(self, id: int | None, error: dict[str, Any] | None, result: Any = None) -> bytes:  # noqa: A002 - as above
        """Encode a reply as a body without its length: see `kvd.frames`.

        Raises:
            TypeError, ValueError, OverflowError: msgpack cannot carry the result.
        """
        try:
            body = self._pack((REPLY, id, error, result))
        except UnicodeEncodeError:
            body = _pack_escaped((REPLY, id, error, result))
        if len(body) > PART_SIZE:
            self._let_go()
        return body

    def _let_go(self) -> None:
        """Take another packer: the buffer of one stays as large as the largest that it packed."""
        self._pack = msgpack.Packer(buf_size=PACKED).pack


encode_reply: Final = Encoder().reply
"""The daemon's own, for the thread of its loop."""


def encode_event(name: str, params: dict[str, Any]) -> bytes:
    """Encode an event as a body without its length."""
    return _pack_escaped((EVENT, name, params))


def _pack_escaped(message: tuple[Any, ...]) -> bytes:
    """Pack a message that may hold a text for people with a path of odd bytes in it; names are not texts here, but bytes."""
    body: bytes = msgpack.Packer(buf_size=PACKED, unicode_errors="backslashreplace").pack(message)
    return body


def _counter() -> Any:
    """Return a hook for msgpack that refuses a body of more than `MAX_ITEMS` elements while it is being read."""
    left = MAX_ITEMS

    def count(container: Any) -> Any:
        nonlocal left
        left -= len(container) + 1
        if left < 0:
            raise ProtocolError(Code.TOO_MANY, f"a request has at most {MAX_ITEMS:,} elements")
        return container

    return count


def _refuse_extension(_code: int, _data: bytes) -> Any:
    raise ProtocolError(Code.BAD_REQUEST, "extension types are not part of the protocol")


def unpack_request(body: bytes | bytearray) -> Any:
    """Read the msgpack value that a request's body is; whether it is a request, `check_request` tells.

    Raises:
        ProtocolError: it is no msgpack, or over a limit; then `id` is set where it begins as a request does.
    """
    try:
        return _unpack(body)
    except ProtocolError as error:
        if error.code != Code.BAD_REQUEST:
            error.id = _id_of(body)
        raise


def _unpack(body: bytes | bytearray) -> Any:
    try:
        if len(body) <= _SMALL:
            return msgpack.unpackb(body, ext_hook=_refuse_extension)
        count = _counter()
        return msgpack.unpackb(
            body,
            ext_hook=_refuse_extension,
            list_hook=count,
            object_hook=count,
            max_array_len=MAX_KEYS,
            max_map_len=_MAX_MAP,
        )
    except ProtocolError:
        raise
    except msgpack.StackError:
        raise ProtocolError(Code.TOO_DEEP, f"a request nests at most {MAX_DEPTH} levels deep") from None
    except UnicodeDecodeError:
        raise ProtocolError(Code.BAD_REQUEST, "a string in the request is not UTF-8: send it as bin") from None
    except (ValueError, TypeError, OverflowError) as error:
        if len(body) > _SMALL and "exceeds max_" in str(error):
            most = f"an array in a request has at most {MAX_KEYS:,} elements, and a map {_MAX_MAP:,}"
            raise ProtocolError(Code.TOO_MANY, most) from None
        raise ProtocolError(Code.BAD_REQUEST, f"the request cannot be read as msgpack: {error}") from None


def _id_of(body: bytes | bytearray) -> int | None:
    """The id of a request that as a whole is too much to be read."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(body[:_HEAD])
    try:
        if unpacker.read_array_header() < _LAST_PART_OF_ARRAY or unpacker.unpack() != REQUEST:
            return None
        id = unpacker.unpack()  # noqa: A001 - the wire's own word
    except (ValueError, msgpack.UnpackException):
        return None
    return id if _is_id(id) else None


def _is_id(id: Any) -> bool:  # noqa: A002 - the wire's own word
    return type(id) is int and 0 <= id <= MAX_ID


def check_request(message: Any) -> RequestMessage:
    """Take nothing about an unpacked request for granted.

    Raises:
        ProtocolError: it is none; `id` is set where it has one that can be answered.
    """
    if type(message) is not list or len(message) < _LAST_PART_OF_ARRAY or message[0] != REQUEST:
        raise ProtocolError(Code.BAD_REQUEST, "a request is the array [0, id, method, params, options?]")
    id = message[1]  # noqa: A001 - the wire's own word
    if not _is_id(id):
        raise ProtocolError(Code.BAD_REQUEST, f"a request's id is an integer from 0 to {MAX_ID}")
    method, params = message[2], message[3]
    options = message[4] if len(message) > _LAST_PART_OF_ARRAY else None
    if type(method) is not str or type(params) is not dict or not (options is None or type(options) is dict):
        raise ProtocolError(Code.BAD_REQUEST, "a request's method is a string, its params and options are maps", id=id)
    return RequestMessage(id, method, params, options)
