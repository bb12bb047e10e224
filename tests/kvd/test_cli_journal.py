"""What the command line writes can be undone: `kvd undo`, `kvd redo`, `kvd steps`."""

import time
from pathlib import Path

from kvd import requests
from kvd.blocking import BlockingClient
from tests.kvd.command import ABSENT, REFUSED, configure, kvd


def test_what_was_put_dated_and_removed_is_undone_and_done_again(home: Path) -> None:
    assert kvd("undo", expect=ABSENT).err == "kvd: nothing to undo\n"
    assert kvd("redo", expect=ABSENT).err == "kvd: nothing to redo\n"
    assert kvd("steps").err == "kvd: nothing was done that could be undone\n"
    kvd("put", "scratch/c/k", '{"n": 1}')
    kvd("put", "scratch/c/k", '{"n": 2}', "--ttl", "5m")
    kvd("ttl", "scratch/c/k", "2h")
    removed = kvd("rm", "scratch/c/k", "scratch/c/none", expect=ABSENT)
    assert removed.out == ""
    kvd("get", "scratch/c/k", expect=ABSENT)
    for said, value, ttl in (
        ("rm scratch/c/k and 1 more", '{"n": 2}\n', ("2h", "1h59m")),
        ("ttl scratch/c/k 2h", '{"n": 2}\n', ("5m", "4m")),
        ("put scratch/c/k", '{"n": 1}\n', ("never",)),
    ):
        undone = kvd("undo")
        assert undone.out == f"undid: {said}\n"
        assert undone.err == ""
        assert kvd("get", "scratch/c/k").out == value
        assert kvd("ttl", "scratch/c/k").out.startswith(ttl)
    assert kvd("undo").out == "undid: put scratch/c/k\n"
    kvd("get", "scratch/c/k", expect=ABSENT)
    for _ in range(4):
        assert kvd("redo").out.startswith("did again: ")
    kvd("redo", expect=ABSENT)
    kvd("get", "scratch/c/k", expect=ABSENT)
    assert kvd("undo").out == "undid: rm scratch/c/k and 1 more\n"


def test_steps_are_listed_newest_first(home: Path) -> None:
    kvd("put", "scratch/c/a", '{"n": 1}')
    kvd("put", "scratch/c/b", "{}", "--ttl", "90s")
    kvd("rm", "scratch/c/a", "scratch/c/b")
    kvd("rm", "--collection", "scratch/c", expect=ABSENT)
    kvd("put", "scratch/c/a", "{}")
    kvd("rm", "--collection", "scratch/c")
    refused = kvd("undo", expect=REFUSED)
    assert refused.err == "kvd: scratch/c: left as it is: what is deleted as a whole is not kept\n"
    kvd("put", "scratch/c/z", "{}")
    kvd("undo")
    heading, *rows = kvd("steps").out.splitlines()
    assert heading.split() == ["STEP", "WHEN", "STATE", "KEYS", "WHAT"]
    assert [row.partition(" ago  ")[2] for row in rows] == [
        "undone    1     put scratch/c/z",
        "for good  1     rm scratch/c (what is deleted as a whole is not kept)",
        "done      1     put scratch/c/a",
        "done      2     rm scratch/c/a and 1 more",
        "done      1     put scratch/c/b",
        "done      1     put scratch/c/a",
    ]
    assert len(kvd("steps", "--limit", "2").out.splitlines()) == 3
    assert kvd("steps", "--limit", "0").out == ""
    step = kvd("steps", "--json").rows[4]
    assert step["changes"] == [
        {
            "operation": "put",
            "collection": "c",
            "key": "b",
            "ttl": 90.0,
            "keeps_ttl": False,
            "value": "{}",
            "done": True,
            "why": None,
        }
    ]
    assert abs(step["at"] - time.time()) < 120
    assert "journal 6 steps, " in kvd("status").out
    listed = rows[4].split()[0]
    assert listed == step["step"]


def test_what_somebody_else_changed_is_left_and_named(home: Path) -> None:
    kvd("put", "scratch/c/a", "{}")
    kvd("put", "scratch/c/b", "{}")
    kvd("rm", "scratch/c/a", "scratch/c/b")
    step = kvd("steps", "--json").rows[0]["step"]
    kvd("put", "scratch/c/b", '{"n": 2}')
    undone = kvd("undo", step, expect=REFUSED)
    assert undone.out == "undid: rm scratch/c/a and 1 more\n"
    assert undone.err == "kvd: scratch/c/b: left as it is: somebody else has written it since\n"
    assert kvd("get", "scratch/c/b").out == '{"n": 2}\n'
    again = kvd("undo", step, expect=REFUSED)
    assert again.out == ""
    assert again.err == undone.err
    assert "has no step 'other'" in kvd("undo", "other", expect=ABSENT).err
    configure(home, "[connections.scratch]\nstore = 'memory'\nread_only = true\n")
    kvd("reload")
    assert "read-only" in kvd("undo", expect=REFUSED).err


def test_what_expired_is_said(home: Path) -> None:
    step = requests.new_step()
    with BlockingClient.open() as client:  # starting two programs may take longer than the key lives
        client.call(requests.put("scratch", "c", "a", b"{}", ttl=1))
        removed = requests.delete("scratch", "c", "a")
        assert client.call(requests.journalled(removed, step, "rm scratch/c/a"))
    time.sleep(1)
    undone = kvd("undo", expect=REFUSED)
    assert undone.out == ""
    assert undone.err.startswith("kvd: scratch/c/a: left as it is: it would have expired ")
    assert undone.err.endswith(f" ago (`kvd undo {step} --never-expire` brings it back)\n")
    assert kvd("undo", step, "--never-expire").out == "undid: rm scratch/c/a\n"
    assert kvd("ttl", "scratch/c/a").out == "never\n"


def test_a_store_that_was_opened_by_url_is_opened_again(home: Path) -> None:
    (home / "tree" / "c").mkdir(parents=True)
    url = f"file:%2F%2F{str(home / 'tree').replace('/', '%2F')}"
    kvd("put", "scratch/c/k", "{}")
    kvd("put", f"{url}/c/k", '{"n": 1}')
    kvd("rm", f"{url}/c/k")
    assert kvd("undo").out.startswith("undid: rm file:")
    assert kvd("get", f"{url}/c/k").out == '{"n": 1}\n'
    assert kvd("redo").out.startswith("did again: rm file:")
    kvd("get", f"{url}/c/k", expect=ABSENT)


def test_odd_names_in_a_title(home: Path) -> None:
    kvd("put", b"scratch/c/\xff\n", "{}")
    kvd("rm", b"scratch/c/\xff\n")
    assert kvd("undo").out == "undid: rm scratch/c/\\xff\\n\n"
    kvd("put", b"scratch/c/\xff\n", "{}")
    assert "rm scratch/c/\\xff\\n" in kvd("steps").out
