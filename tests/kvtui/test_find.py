import pytest
from hypothesis import given, strategies as st

from kvtui import find
from kvtui.find import find_bytes

pytestmark = pytest.mark.anyio
BODIES = st.lists(st.sampled_from([b"a", b"b", b"A", b"ab"]), max_size=30).map(b"".join)


@given(
    BODIES,
    st.binary(min_size=1, max_size=3).map(lambda odd: odd.translate(bytes(b"abA"[i % 3] for i in range(256)))),
    st.data(),
)
async def test_bytes_are_found_round_the_end(body: bytes, wanted: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(body)))
    backwards = data.draw(st.booleans())
    asked: list[int] = []

    async def read(offset: int, length: int) -> bytes:
        asked.append(length)
        return body[offset : offset + length]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find, "PART", data.draw(st.sampled_from([1, 3, 100])))
        at = await find_bytes(read, len(body), wanted, start, backwards=backwards)
        assert all(length <= find.PART + len(wanted) - 1 for length in asked)
    shown = body.lower() if wanted == wanted.lower() else body
    places = [place for place in range(len(body)) if shown.startswith(wanted, place)]
    if backwards:
        expected = next((place for place in reversed(places) if place < start), places[-1] if places else None)
    else:
        expected = next((place for place in places if place >= start), places[0] if places else None)
    assert at == expected
