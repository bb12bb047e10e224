"""Undo and redo over every backend that keeps entries: what a step did comes back whole, and nobody else's write is lost."""

import asyncio
import random
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest

from kvd import requests
from kvd.client import Client
from kvd.errors import RequestError
from kvd.model import ABSENT, Record, Version
from kvd.requests import Request
from tests.stores.conftest import STORING, Daemon, by_name, daemon, endpoint

__all__ = ["daemon", "endpoint"]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("case", STORING, ids=by_name)]

SOON = 1_000.0
ROUNDED = 1.1  # seconds to which backends round deadlines
PATIENCE = 60.0  # seconds in which a key of one second leaves on a busy machine


class Place:
    """A collection of one backend's connection, and a person's steps in it."""

    def __init__(self, client: Client, connection: str, collection: str) -> None:
        self.client = client
        self.connection = connection
        self.collection = collection

    def at(self, make: Any, key: Any, *args: Any, **more: Any) -> Request[Any]:
        request: Request[Any] = make(self.connection, self.collection, key, *args, **more)
        return request

    async def do(self, *writes: Request[Any], title: str = "what was done") -> str:
        """Do the writes as one step; its id."""
        step = requests.new_step()
        for write in writes:
            await self.client.call(requests.journalled(write, step, title))
        return step

    async def by_somebody(self, write: Request[Any]) -> None:
        async with await Client.open() as other:
            await other.call(write)

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await self.by_somebody(self.at(requests.put, key, value, ttl=ttl))

    async def read(self, key: str) -> Record | None:
        return await self.client.call(self.at(requests.read, key))

    async def undo(self, step: str, **more: Any) -> list[tuple[Any, str]]:
        """Undo all of a step; the keys that were left, and why."""
        return await self._turn(requests.undo, step, **more)

    async def redo(self, step: str, **more: Any) -> list[tuple[Any, str]]:
        return await self._turn(requests.redo, step, **more)

    async def _turn(self, method: Any, step: str, **more: Any) -> list[tuple[Any, str]]:
        problems: list[tuple[Any, str]] = []
        while True:
            done = await self.client.call(method(step, **more))
            assert done is not None
            assert done.connection == self.connection
            problems += [(problem.key, problem.reason) for problem in done.problems]
            if not done.left:
                return problems

    async def step(self, step: str) -> Any:
        [found] = await self.client.call(requests.steps(step=step))
        return found


@pytest.fixture
async def place(case: ModuleType, daemon: Daemon, endpoint: Any, unique_name: str) -> AsyncIterator[Place]:
    name = await daemon.connection(case, endpoint)
    async with await Client.open() as client:
        await client.call(requests.connect(name))
        yield Place(client, name, unique_name.replace("-", "x"))


def same(one: Record | None, other: Record | None) -> bool:
    """Whether they are the same but for the version; deadlines as near as the backend's step."""
    if one is None or other is None:
        return one is other
    near = abs((one.expires_at or 0.0) - (other.expires_at or 0.0)) <= ROUNDED
    return near and (one.kind, one.body, one.created_at) == (other.kind, other.body, other.created_at)


async def test_each_kind_of_write_is_undone_and_done_again(place: Place) -> None:
    await place.put("edited", b'{"n": 1}', SOON)
    await place.put("dated", b'{"n": 2}')
    await place.put("deleted", b'{"n": 3}', SOON)
    await place.put("replaced", b'{"n": 4}', SOON)
    await place.put("old name", b'{"n": 5}', SOON)
    keys = ["edited", "dated", "deleted", "replaced", "old name", "new name", "created"]
    before = {key: await place.read(key) for key in keys}
    renamed = before["old name"]
    assert renamed
    steps = [
        await place.do(place.at(requests.edit, "edited", b'{"n": 10}')),
        await place.do(place.at(requests.expire, "dated", 500.0)),
        await place.do(place.at(requests.delete, "deleted")),
        await place.do(place.at(requests.put, "replaced", b'{"n": 40}')),
        await place.do(
            place.at(requests.restore, "new name", renamed, expected=ABSENT),
            place.at(requests.delete, "old name", expected=renamed.version),
        ),
        await place.do(place.at(requests.edit, "created", b'{"n": 6}', ttl=SOON, expected=ABSENT)),
    ]
    after = {key: await place.read(key) for key in keys}
    assert not any(same(before[key], after[key]) for key in keys)
    for _ in range(2):
        for step in steps:
            assert await place.undo(step) == []
            assert (await place.step(step)).state == "undone"
        for key in keys:
            assert same(await place.read(key), before[key]), key
        for step in steps:
            assert await place.redo(step) == []
            assert (await place.step(step)).state == "done"
        for key in keys:
            assert same(await place.read(key), after[key]), key


async def test_steps_on_one_key_are_undone_one_after_the_other_and_done_again(place: Place) -> None:
    seen = [await place.read("k")]
    steps = []
    for write in (
        place.at(requests.edit, "k", b'{"n": 1}', ttl=SOON),
        place.at(requests.edit, "k", b'{"n": 2}'),
        place.at(requests.expire, "k", None),
        place.at(requests.delete, "k"),
        place.at(requests.put, "k", b'{"n": 3}'),
    ):
        steps.append(await place.do(write))
        seen.append(await place.read("k"))
    for _ in range(2):
        for number in range(5)[::-1]:
            assert await place.undo(steps[number]) == [], number
            assert same(await place.read("k"), seen[number]), number
        for number in range(5):
            assert await place.redo(steps[number]) == [], number
            assert same(await place.read("k"), seen[number + 1]), number


async def test_what_somebody_else_wrote_since_is_left_and_named(place: Place) -> None:
    for key in ("a", "b", "c", "d"):
        await place.put(key, b'{"by": "somebody"}')
    keys = ["a", "b", "c", "d"]
    step = await place.do(place.at(requests.delete_many, keys), place.at(requests.put, "new", b'{"by": "me"}'))
    await place.put("b", b'{"by": "another"}')
    await place.by_somebody(place.at(requests.delete, "new"))
    assert sorted(await place.undo(step)) == [("b", "conflict"), ("new", "conflict")]
    found = [await place.read(key) for key in [*keys, "new"]]
    assert [record and record.body for record in found] == [
        b'{"by": "somebody"}',
        b'{"by": "another"}',
        b'{"by": "somebody"}',
        b'{"by": "somebody"}',
        None,
    ]
    told = await place.step(step)
    assert (told.state, told.count, told.can_undo, told.can_redo) == ("partly", 5, 0, 3)


async def test_what_was_renamed_is_never_taken_from_its_only_place(place: Place) -> None:
    """Undo takes the new name away, redo the old one, and each only where the other is back."""
    await place.put("old", b'{"by": "me"}', SOON)
    renamed = await place.read("old")
    assert renamed
    write, delete = place.at(requests.restore, "new", renamed, expected=ABSENT), place.at(requests.delete, "old")
    step = await place.do(write, delete)
    assert await place.undo(step) == []
    await place.put("new", b'{"by": "somebody"}')
    assert sorted(await place.redo(step)) == [("new", "conflict"), ("old", "impossible")]
    assert same(await place.read("old"), renamed)
    await place.by_somebody(place.at(requests.delete, "new"))
    step = await place.do(write, delete)
    await place.put("old", b'{"by": "somebody"}')
    assert sorted(await place.undo(step)) == [("new", "impossible"), ("old", "conflict")]
    assert same(await place.read("new"), renamed)
    somebodys = await place.read("old")
    assert somebodys
    assert somebodys.body == b'{"by": "somebody"}'
    told = await place.step(step)
    assert (told.state, told.can_undo, told.can_redo) == ("done", 0, 0)


async def test_many_keys_are_one_step(place: Place) -> None:
    keys = [f"k{number}" for number in range(150)]
    values = [b'{"n": %d}' % number for number in range(150)]
    write = place.at(requests.put_many, keys[:100], values[:100], ttl=SOON)
    created = await place.do(write, place.at(requests.put_many, keys[100:], values[100:]))
    deleted = await place.do(place.at(requests.delete_many, [*keys, "none"]))
    assert (await place.step(deleted)).count == 150
    first = await place.client.call(requests.undo(deleted, limit=60))
    assert first is not None
    assert (first.changed, first.left) == (60, 90)
    assert await place.undo(deleted) == []
    found = await place.client.call(place.at(requests.ttl_many, keys))
    assert [one and one[0] for one in found] == values
    assert [one and one[1] is not None for one in found] == [True] * 100 + [False] * 50
    assert await place.undo(created) == []
    assert await place.client.call(place.at(requests.get_many, keys)) == [None] * 150


async def test_a_write_that_races_is_undone_to_what_it_replaced(place: Place) -> None:
    """The image is what was replaced: what others wrote between is neither lost nor undone to."""

    async def increment(client: Client) -> list[str]:
        steps = []
        for _ in range(5):
            steps.append(requests.new_step())
            await client.call(
                requests.journalled(place.at(requests.edit, "n", b'{"by": "%s"}' % steps[-1].encode()), steps[-1])
            )
        return steps

    async with await Client.open() as other:
        one, two = await asyncio.gather(increment(place.client), increment(other))
    undone = 0
    while (last := await place.read("n")) is not None:
        mine = [step for step in one + two if step.encode() in last.body]
        assert await place.undo(mine[0]) == []
        undone += 1
    assert undone == 10


async def test_what_expired_since_is_said_and_comes_back_without_a_ttl_when_asked(place: Place) -> None:
    await place.put("mayfly", b'{"n": 1}', 1.0)
    step = await place.do(place.at(requests.delete, "mayfly"))
    await place.put("saved", b'{"n": 2}')
    dated = await place.do(place.at(requests.expire, "saved", 1.0))
    async with asyncio.timeout(PATIENCE):
        while await place.read("saved") is not None:  # noqa: ASYNC110 - it leaves by itself
            await asyncio.sleep(0.02)
    assert await place.undo(step) == [("mayfly", "expired")]
    assert await place.read("mayfly") is None
    assert (await place.step(step)).can_undo == 0
    assert await place.undo(step, never_expire=True) == []
    restored = await place.read("mayfly")
    assert restored
    assert (restored.body, restored.expires_at) == (b'{"n": 1}', None)
    assert await place.undo(dated) == []  # nobody deleted it: its TTL is what is undone
    saved = await place.read("saved")
    assert saved
    assert (saved.body, saved.expires_at) == (b'{"n": 2}', None)


async def test_errors_are_those_of_the_plain_write_and_leave_no_step(place: Place) -> None:
    await place.put("k", b'{"n": 1}')
    for write in (
        place.at(requests.edit, "k", b'{"n": 2}', expected=ABSENT),
        place.at(requests.edit, "k", b'{"n": 2}', ttl=-1.0),
        place.at(requests.put, "k", b'{"n": 2}', ttl=0.0),
        place.at(requests.delete, "other", expected=Version(b"no version")),
    ):
        with pytest.raises(RequestError) as plain:
            await place.client.call(write)
        with pytest.raises(RequestError) as refused:
            await place.do(write)
        assert (refused.value.code, refused.value.message) == (plain.value.code, plain.value.message)
        assert write.journal is not None
        assert await place.client.call(requests.steps(step=write.journal["step"])) == []
    for write in (place.at(requests.delete, "missing"), place.at(requests.expire, "missing", 5.0)):
        assert await place.client.call(requests.steps(step=await place.do(write))) == []


async def test_any_walk_back_and_forth_leads_where_it_leads_in_a_list_of_states(place: Place, case: ModuleType) -> None:
    chance = random.Random(by_name(case))
    keys = ["a", "b", "c"]
    history: list[dict[str, Record | None]] = [dict.fromkeys(keys)]
    at = 0

    async def now() -> dict[str, Record | None]:
        return {key: await place.read(key) for key in keys}

    for turn in range(40):
        if at == 0 or chance.random() < 0.4:  # beyond that are other tests' steps
            touched = chance.sample(keys, chance.randrange(1, 3))
            value = b'{"turn": %d}' % turn
            writes = [
                chance.choice(
                    [
                        place.at(requests.edit, key, value),
                        place.at(requests.edit, key, value, ttl=float(chance.randrange(100, 10_000))),
                        place.at(requests.put, key, value, ttl=SOON),
                        place.at(requests.put_many, touched, [value] * len(touched)),
                        place.at(requests.expire, key, float(chance.randrange(100, 10_000))),
                        place.at(requests.delete, key),
                        place.at(requests.delete_many, keys),
                    ]
                )
                for key in touched
            ]
            if await place.client.call(requests.steps(step=await place.do(*writes))):  # it found something to change
                del history[at + 1 :]
                history.append(await now())
                at += 1
            continue
        back = chance.random() < 0.6
        method = requests.undo if back else requests.redo
        done = await place.client.call(method(connection=place.connection))
        assert (done is None) is (not back and at == len(history) - 1), turn
        if done is not None:
            assert (done.problems, done.left) == ([], 0), turn
            at += -1 if back else 1
        found = await now()
        assert all(same(found[key], history[at][key]) for key in keys), turn
