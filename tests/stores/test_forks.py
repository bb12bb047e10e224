"""A store in a process that was forked from the one that opened it: what it opened there is not used, and nothing hangs."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, os, sys, warnings
from stores import DiskStore, FileTreeStore, RedisStore

async def use(name, others):
    await store.put(name, {"from": name}, collection=collection, ttl=60)
    found = await store.get_many([name, *others], collection=collection)
    assert found == [{"from": each} for each in (name, *others)], found
    await store.scan_keys(collection, limit=1)

def in_a_fork(work):
    child = os.fork()
    if child:
        return child
    asyncio.events._set_running_loop(None)  # a fork inside a coroutine leaves the loop behind
    try:
        asyncio.run(asyncio.wait_for(work(), 60))
    except BaseException as exc:
        os.write(2, repr(exc).encode())
        os._exit(1)
    os._exit(0)

def ended_well(child):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

async def beside():
    # the child works while the parent does
    await use("parent", [])
    reading = [asyncio.create_task(store.get("parent", collection=collection)) for _ in range(20)]
    await asyncio.sleep(0)
    child = in_a_fork(lambda: use("beside", ["parent"]))
    assert await asyncio.gather(*reading) == [{"from": "parent"}] * 20
    await asyncio.to_thread(ended_well, child)
    await use("later", ["parent", "beside"])

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later tell of threads
store, collection = eval(sys.argv[1]), sys.argv[2]
if isinstance(store, RedisStore):
    asyncio.run(use("parent", []))
else:
    asyncio.run(beside())
ended_well(in_a_fork(lambda: use("child", ["parent"])))
ended_well(in_a_fork(store.close))
asyncio.run(use("last", ["parent", "child"]))
asyncio.run(store.close())
"""


def run(store: str, collection: str) -> None:
    command = [sys.executable, "-c", PROGRAM, store, collection]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("store", ["DiskStore(directory={!r})", "FileTreeStore(data_directory={!r})"])
def test_in_a_fork(store: str, tmp_path: Path) -> None:
    run(store.format(str(tmp_path / "data")), "c")


def test_a_connection_is_not_shared_with_a_fork(redis_url: str, unique_name: str) -> None:
    run(f"RedisStore(url={redis_url!r})", unique_name)
