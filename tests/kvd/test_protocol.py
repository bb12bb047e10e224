"""The protocol without a socket: golden bytes, limits, and whatever else may come."""

import contextlib
import struct
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given, strategies as st

from kvd.errors import Code, ProtocolError, RequestError
from kvd.frames import Decoder, Inbox, frame, parts
from kvd.large import LargeReply, unpack_large
from kvd.model import ABSENT, Record, Version
from kvd.protocol import (
    MAX_FRAME,
    MAX_ID,
    MAX_ITEMS,
    MAX_KEYS,
    MAX_REPLY,
    PART_SIZE,
    Encoder,
    RequestMessage,
    check_request,
    encode_event,
    encode_reply,
    unpack_request,
)
from kvd.requests import restore, undo

RECORD = Record(kind="entry", body=b"{}", length=2, size=99, created_at=1.5, expires_at=None, version=Version(b"\x01"))

encode = Encoder().request


def decode_request(body: bytes) -> RequestMessage:
    return check_request(unpack_request(body))


GOLDEN = {
    "hello": (
        encode(0, "hello", {"protocol": [1, 1], "client": "x", "version": "1"}),
        "00000029940000a568656c6c6f83a870726f746f636f6c920101a6636c69656e74a178a776657273696f6ea131",
    ),
    "get": (
        encode(7, "get", {"connection": "c", "collection": None, "key": b"\xff"}),
        "00000028940007a367657483aa636f6e6e656374696f6ea163aa636f6c6c656374696f6ec0a36b6579c401ff",
    ),
    "restore": (
        encode(9, "restore", restore("c", None, "k", RECORD, expected=ABSENT).params),
        (
            "00000079940009a7726573746f726584aa636f6e6e656374696f6ea163a36b6579a16ba86578706563746564c400a67265636f726486a4"
            "6b696e64a5656e747279a4626f6479c4027b7da66c656e67746802aa637265617465645f6174cb3ff8000000000000aa65787069726573"
            "5f6174c0a776657273696f6ec40101"
        ),
    ),
    "timeout": (
        encode(MAX_ID, "ping", {}, timeout=1.5),
        "0000001f9500ceffffffffa470696e678081a774696d656f7574cb3ff8000000000000",
    ),
    "journal": (
        encode(5, "cull", {}, timeout=1.5, journal={"step": "s", "title": "t"}),
        "00000033950005a463756c6c8082a774696d656f7574cb3ff8000000000000a76a6f75726e616c82a473746570a173a57469746c65a174",
    ),
    "undo": (
        encode(6, "undo", undo("s", never_expire=True, limit=9).params),
        "00000025940006a4756e646f83a473746570a173ac6e657665725f657870697265c3a56c696d697409",
    ),
    "reply": (frame(encode_reply(7, None, b"{}")), "00000008940107c0c4027b7d"),
    "refusal": (
        frame(encode_reply(None, {"code": "too_many", "message": "no", "retry": True})),
        "000000259401c083a4636f6465a8746f6f5f6d616e79a76d657373616765a26e6fa57265747279c3c0",
    ),
    "event": (frame(encode_event("closing", {"reason": "r"})), "000000149302a7636c6f73696e6781a6726561736f6ea172"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_bytes_are_those_of_version_1(name: str) -> None:
    made, golden = GOLDEN[name]
    assert made.hex() == golden


def test_a_part_has_the_bytes_of_version_1() -> None:
    first, second = (b"".join(part) for part in parts(b"\x01" * (PART_SIZE + 1), 5))
    assert first[:13].hex() == "0004000994" + "0305c2" + "c600040000"
    assert second.hex() == "00000007940305c3c40101"


def test_a_path_that_is_no_text_is_shown_in_one() -> None:
    message = {"reason": "/home/\udcff: caf\u00e9 is full", "config": "/home/\udcff"}
    escaped = {"reason": r"/home/\udcff: café is full", "config": r"/home/\udcff"}
    assert msgpack.unpackb(encode_reply(7, None, message))[3] == escaped
    assert msgpack.unpackb(encode_reply(7, message))[2] == escaped
    assert msgpack.unpackb(encode_event("state", message))[2] == escaped


def bodies(data: bytes, piece: int) -> list[bytes]:
    decoder = Decoder()
    found = [bytes(body) for start in range(0, len(data), piece) for body in decoder.take(data[start : start + piece])]
    assert decoder.pending == 0
    return found


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.integers(1, 400))
def test_bodies_arrive_however_the_stream_is_cut(sent: list[bytes], piece: int) -> None:
    assert bodies(b"".join(frame(body) for body in sent), piece) == sent


@pytest.mark.parametrize("piece", [1_000, 64 << 10, (64 << 10) + 4, 70_004, 200_003, 1 << 20])
def test_large_bodies_arrive_between_small_ones(piece: int) -> None:
    sent = [b"a", b"b" * 70_000, b"c" * 300_000, b"d", b"e" * ((64 << 10) + 1), b"f" * 100]
    assert bodies(b"".join(frame(body) for body in sent), piece) == sent


def test_what_comes_behind_a_large_body_is_not_lost() -> None:
    decoder = Decoder()
    large = frame(b"x" * 100_000)
    assert decoder.take(large[:50_000]) == []
    assert decoder.pending == 50_000 - 4
    assert decoder.take(large[50_000:] + frame(b"y") + frame(b"z")[:2]) == [b"x" * 100_000, b"y"]
    assert decoder.take(frame(b"z")[2:]) == [b"z"]


@pytest.mark.parametrize("size", [PART_SIZE + 1, 3 * PART_SIZE - 9, 3 * PART_SIZE])
def test_a_large_reply_has_the_bytes_of_any_reply(size: int) -> None:
    result = bytes(range(256)) * (size // 256 + 1)
    whole, large = encode_reply(7, None, result[:size]), LargeReply(7, result[:size])
    assert len(large) == len(whole)
    assert [b"".join(part) for part in parts(large, 5)] == [b"".join(part) for part in parts(whole, 5)]


BIN = b"x" * 100_000
REQUESTS = {
    "one bin": [0, 1, "put", {"key": "k", "value": BIN, "ttl": 5}, {"timeout": 1.5}],
    "bins, one behind the other": [0, 1, "put", {"value": BIN, "more": BIN, "last": None}],
    "bins in an array": [0, 1, "put_many", {"keys": ["a", "b"], "values": [BIN, BIN]}],
    "a text": [0, 1, "put", {"value": BIN.decode()}],
    "no parameters": [0, 1, BIN, None],
    "too short": [0, BIN],
    "no array": {"value": BIN},
    "a bin": BIN,
}


@pytest.mark.parametrize("name", REQUESTS)
def test_large_requests_say_the_same_without_a_copy_of_their_bins(name: str) -> None:
    body = msgpack.packb(REQUESTS[name])
    assert unpack_large(body) == unpack_large(bytearray(body)) == unpack_request(body) == REQUESTS[name]


def test_only_large_bins_among_the_parameters_stay_where_they_are() -> None:
    params = unpack_large(msgpack.packb([0, 1, "put", {"key": b"k", "value": BIN}]))[3]
    assert {name: type(value) for name, value in params.items()} == {"key": bytes, "value": memoryview}


@pytest.mark.parametrize("cut", [1, 12, 40, 1_000])
def test_large_requests_that_are_cut_off_or_doubled_are_read_as_any(cut: int) -> None:
    body = msgpack.packb([0, 1, "put", {"key": "k", "value": BIN}])
    with pytest.raises(ProtocolError):
        unpack_large(body[:-cut])
    twice = b"\x94\x00\x01\xa3put\x82" + 2 * (b"\xa5value" + msgpack.packb(BIN))
    assert unpack_large(twice) == unpack_request(twice)
    with pytest.raises(ProtocolError):
        unpack_large(body + b"\xc0")


@pytest.mark.parametrize(
    ("length", "code"), [(0, Code.BAD_REQUEST), (MAX_FRAME + 1, Code.TOO_LARGE), (2**32 - 1, Code.TOO_LARGE)]
)
def test_a_length_out_of_bounds_is_refused_by_its_header(length: int, code: Code) -> None:
    decoder = Decoder()
    assert decoder.take(frame(b"first") + struct.pack(">I", length) + b"the body") == [b"first"]
    assert decoder.error is not None
    assert decoder.error.code == code
    assert decoder.pending == 0
    assert decoder.take(frame(b"more")) == []


def test_a_frame_at_the_limit_passes() -> None:
    decoder = Decoder()
    found = decoder.take(struct.pack(">I", MAX_FRAME))
    for _ in range(MAX_FRAME >> 20):
        assert found == []
        found = decoder.take(b"x" * (1 << 20))
    assert found == [b"x" * MAX_FRAME]


BAD = {
    "not msgpack": (b"\xc1", Code.BAD_REQUEST),
    "nothing": (b"", Code.BAD_REQUEST),
    "cut off": (b"\x94\x00\x01", Code.BAD_REQUEST),
    "two values": (b"\xc0\xc0", Code.BAD_REQUEST),
    "not an array": (b"\x80", Code.BAD_REQUEST),
    "too short": (msgpack.packb([0, 1, "ping"]), Code.BAD_REQUEST),
    "a reply": (msgpack.packb([1, 1, None, None]), Code.BAD_REQUEST),
    "id of another type": (msgpack.packb([0, "1", "ping", {}]), Code.BAD_REQUEST),
    "id is a bool": (msgpack.packb([0, True, "ping", {}]), Code.BAD_REQUEST),
    "id below": (msgpack.packb([0, -1, "ping", {}]), Code.BAD_REQUEST),
    "id above": (msgpack.packb([0, MAX_ID + 1, "ping", {}]), Code.BAD_REQUEST),
    "bad UTF-8": (b"\x94\x00\x01\xa2\xff\xfe\x80", Code.BAD_REQUEST),
    "integer keys": (b"\x94\x00\x01\xa1a\x81\x01\x01", Code.BAD_REQUEST),
    "unhashable keys": (b"\x94\x00\x01\xa1a\x81\x90\x01", Code.BAD_REQUEST),
    "extension": (msgpack.packb([0, 1, "ping", {"a": msgpack.ExtType(5, b"x")}]), Code.BAD_REQUEST),
    "deep": (b"\x91" * 5000 + b"\xc0", Code.TOO_DEEP),
    "long array": (b"\xdd" + struct.pack(">I", 1 << 20) + b"\xc0" * (1 << 20), Code.TOO_MANY),
    "id above, and long": (b"\x94\x00\xcf" + b"\xff" * 8 + b"\xa1m\x81\xa1a" + msgpack.packb(["k"] * 20_000), Code.TOO_MANY),
    "a header that promises much": (b"\xdd\x7f\xff\xff\xff", Code.BAD_REQUEST),
    "many containers": (msgpack.packb([[[]] * 9000] * 12), Code.TOO_MANY),
}
TOO_MUCH = {
    "deep": (b"\x91" * 5000 + b"\xc0", Code.TOO_DEEP),
    "many keys": (msgpack.packb(["k"] * (MAX_KEYS + 1)), Code.TOO_MANY),
    "many containers": (msgpack.packb([[[]] * 9000] * 12), Code.TOO_MANY),
}
"""As the only parameter of a request."""


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_request_is_refused_without_an_id(name: str) -> None:
    body, code = BAD[name]
    with pytest.raises(ProtocolError) as refused:
        decode_request(body)
    assert refused.value.id is None
    assert refused.value.code == code


@pytest.mark.parametrize("message", [[0, 9, 5, {}], [0, 9, "m", []], [0, 9, "m", {}, 5]])
def test_what_has_an_id_is_refused_under_it(message: list[Any]) -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_request(msgpack.packb(message))
    assert refused.value.id == 9


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_too_much_to_be_read_is_refused_under_its_id(name: str) -> None:
    value, code = TOO_MUCH[name]
    for number, packed in ((7, b"\x07"), (MAX_ID, b"\xce\xff\xff\xff\xff")):
        with pytest.raises(ProtocolError) as refused:
            decode_request(b"\x94\x00" + packed + b"\xa1m\x81\xa1a" + value)
        assert refused.value.id == number
        assert refused.value.code == code


def test_elements_are_counted_before_they_cost_memory() -> None:
    within = [0, 1, "m", {"keys": ["k"] * 9000, "more": [[b"t"]] * 9000}]
    assert decode_request(msgpack.packb(within)).id == 1
    over = [0, 1, "m", {str(i): ["k"] * 9000 for i in range(MAX_ITEMS // 9000 + 1)}]
    with pytest.raises(ProtocolError) as refused:
        decode_request(msgpack.packb(over))
    assert refused.value.code == Code.TOO_MANY


def test_the_last_of_two_keys_counts_and_further_elements_are_left_alone() -> None:
    assert decode_request(b"\x94\x00\x01\xa1m\x82\xa1a\x01\xa1a\x02").params == {"a": 2}
    assert decode_request(msgpack.packb([0, 1, "m", {}, None, "new"])) == RequestMessage(1, "m", {}, None)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_protocol_error(body: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode_request(body)
    with contextlib.suppress(ProtocolError):
        Inbox().messages(frame(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(st.integers(0, MAX_ID), st.text(), st.dictionaries(st.text(), JSON, max_size=5))
def test_requests_survive_the_wire(id_: int, method: str, params: dict[str, Any]) -> None:
    (body,) = bodies(encode(id_, method, params), 64)
    assert decode_request(body) == RequestMessage(id_, method, params, None)


@given(JSON, st.integers(1, 100_000))
def test_replies_and_events_survive_the_wire(result: Any, piece: int) -> None:
    stream = frame(encode_reply(3, None, result)) + frame(encode_event("change", {"r": result}))
    inbox = Inbox()
    messages: list[list[Any]] = []
    for start in range(0, len(stream), piece):
        messages += inbox.messages(stream[start : start + piece])
    assert messages == [[1, 3, None, result], [2, "change", {"r": result}]]


def test_parts_of_several_replies_are_joined_with_others_between() -> None:
    large = [encode_reply(id_, None, bytes([id_]) * 600_000) for id_ in (1, 2)]
    cut = [[b"".join(part) for part in parts(body, stream)] for stream, body in enumerate(large)]
    stream = [piece for pair in zip(*cut, strict=True) for piece in pair]
    stream.insert(3, frame(encode_reply(9, None, "small")))
    inbox = Inbox()
    replies = [message for piece in stream for message in inbox.messages(piece)]
    assert [(id_, len(result)) for _, id_, _, result in replies] == [
        (9, 5),
        (1, 600_000),
        (2, 600_000),
    ]


def test_a_client_is_safe_from_parts_without_end() -> None:
    inbox = Inbox()
    piece = frame(msgpack.packb([3, 1, False, b"x" * PART_SIZE]))
    for _ in range(MAX_REPLY // PART_SIZE):
        assert inbox.messages(piece) == []
    with pytest.raises(ProtocolError) as refused:
        inbox.messages(piece)
    assert refused.value.code == Code.TOO_LARGE


def test_what_cannot_be_sent_is_refused_before_it_is() -> None:
    for params in ({"n": 2**64}, {"s": "\ud800"}, {"o": object()}):
        with pytest.raises(ProtocolError) as refused:
            encode(4, "m", params)
        assert (refused.value.code, refused.value.id) == (Code.BAD_REQUEST, 4)
    with pytest.raises(ProtocolError) as refused:
        encode(4, "m", {"v": b"x" * MAX_FRAME})
    assert refused.value.code == Code.TOO_LARGE
    assert encode(MAX_ID, "ping", {}, timeout=1.5).hex() == GOLDEN["timeout"][1]


def test_errors_survive_the_wire_and_unknown_codes_too() -> None:
    error = RequestError("new_code", "why \ud800", retry=True, connection="c", detail={"a": 1})
    again = RequestError.unpack(msgpack.unpackb(msgpack.packb(error.pack())))
    assert (again.code, again.message, again.retry, again.connection, again.detail) == (
        "new_code",
        "why \\ud800",
        True,
        "c",
        {"a": 1},
    )
    assert RequestError.unpack("nonsense").code == Code.INTERNAL
