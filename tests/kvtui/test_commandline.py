"""What was done, as commands: they do the same when a shell reads them, and tell no secret."""

import json
import shlex

import pytest
from hypothesis import given, strategies as st

from kvd.addresses import parse_address
from kvd.cli import _parser
from kvd.durations import parse_ttl
from kvd.model import OUTSIDE, Step, StepChange, Token
from kvtui.commandline import commands

PUT = "kvd put scratch/c/k < value.json"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def done(*changes: StepChange, connection: str = "scratch") -> Step:
    return Step(
        step="s",
        title=None,
        connection=connection,
        at=0.0,
        state="done",
        count=len(changes),
        can_undo=0,
        can_redo=0,
        changes=list(changes),
    )


@pytest.mark.parametrize(
    ("change", "command"),
    [
        (StepChange(operation="delete", collection="users", key="ada"), "kvd rm scratch/users/ada"),
        (StepChange(operation="delete", collection=None, key="ada"), "kvd rm scratch//ada"),
        (StepChange(operation="delete", collection="a/b c", key="it's"), """kvd rm 'scratch/a%2Fb c/it'"'"'s'"""),
        (StepChange(operation="expire", collection="users", key="ada", ttl=7200.0), "kvd ttl scratch/users/ada 2h"),
        (StepChange(operation="expire", collection="users", key="ada", ttl=90061.5), "kvd ttl scratch/users/ada 90061.5s"),
        (StepChange(operation="expire", collection="users", key="ada"), "kvd ttl scratch/users/ada never"),
        (
            StepChange(operation="put", collection="users", key="ada", value=b'{"n": 1}', keeps_ttl=True),
            """kvd put scratch/users/ada '{"n": 1}' --keep-ttl""",
        ),
        (
            StepChange(operation="put", collection="users", key="ada", value=b'{"n": 1}', ttl=90.0),
            """kvd put scratch/users/ada '{"n": 1}' --ttl 1m30s""",
        ),
        (StepChange(operation="put", collection="c", key="k", value=b"{}"), "kvd put scratch/c/k '{}'"),
        (StepChange(operation="put", collection="c", key="k", value=b'{"n": "' + b"x" * 200 + b'"}'), PUT),
        (StepChange(operation="put", collection="c", key="k", value=b'{"password": "x"}'), PUT),
        (StepChange(operation="put", collection="c", key="k", value=b'{"Api-Key": "x"}'), PUT),
        (StepChange(operation="put", collection="c", key="k", value='{"a": "\u202e"}'.encode()), PUT),
        (StepChange(operation="restore", collection="c", key="k"), PUT),
        (StepChange(operation="destroy", collection="c", key=None), "kvd rm --collection scratch/c"),
        (StepChange(operation="destroy", collection=None, key=None), "# everything was deleted, for which there is no command"),
        (
            StepChange(operation="delete", collection=OUTSIDE, key=Token(b"a\nb")),
            "# delete a␊b, which has no address in a shell",
        ),
        (StepChange(operation="delete", collection="c", key="a\x1b[31m"), "# delete a␛[31m, which has no address in a shell"),
    ],
)
def test_commands(change: StepChange, command: str) -> None:
    assert commands(done(change)) == [command]


@given(TEXTS, TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2), st.none() | st.floats(0.001, 1e9))
def test_a_shell_reads_what_was_meant(
    connection: str, collection: str, key: str, value: dict[str, str], ttl: float | None
) -> None:
    connection = f"c{connection}"
    body = json.dumps(value, ensure_ascii=False).encode()
    changes = [
        StepChange(operation="put", collection=collection, key=key, value=body, ttl=ttl),
        StepChange(operation="delete", collection=collection, key=key),
        StepChange(operation="expire", collection=collection, key=key, ttl=ttl),
    ]
    for change, command in zip(changes, commands(done(*changes, connection=connection)), strict=True):
        assert "\n" not in command
        words = shlex.split(command, comments=True)
        if not words:
            assert not key.isprintable()
            continue
        if words[-2:] == ["<", "value.json"]:
            words = words[:-2]
        options = _parser(words[1]).parse_args(words[1:])
        text = options.addresses[0] if change.operation == "delete" else options.address
        address = parse_address(text)
        assert (address.connection, address.collection, address.key) == (connection, collection, key)
        if change.operation != "delete":
            told = None if options.ttl is None else parse_ttl(options.ttl)
            assert told == ttl or (told is not None and ttl is not None and abs(told - ttl) < 0.001)
        if change.operation == "put" and options.value is not None:
            assert json.loads(options.value) == value
