"""What to do about a connection that cannot be used: told in the same words as by `kvd doctor`, wherever it is met."""

from pathlib import Path

import anyio.to_thread
import pytest

from kvd import requests
from kvd.blocking import BlockingClient
from kvd.errors import RequestError
from kvtui.session import open_client
from tests.kvd.command import configure, kvd
from tests.servers.lease import private_server
from tests.tuikit.drive import Tui, running
from tests.tuikit.fake import Daemon

pytestmark = pytest.mark.anyio

TROUBLES = {
    "away": "port = 1",
    "file": 'ssl = true\nssl_ca_certs = "/nowhere/ca.pem"',
    "host": 'host = "nowhere.invalid"',
    "mistake": 'hots = "localhost"',
    "unset": 'password = "${KV_NOT_THERE}"',
}


def connection(name: str, args: str) -> str:
    return f'[connections.{name}]\nstore = "redis"\n[connections.{name}.args]\n{args}\n'


async def says(tui: Tui, text: str) -> None:
    """Wait until the pane of keys says something, however its lines are broken."""

    def said() -> str:
        return " ".join(str(tui.browser.keys_pane.notice.render()).split())

    await tui.until(lambda: text in said(), f"{text!r} being said")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_each_trouble_comes_with_the_doctor_s_advice(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.delenv("KV_NOT_THERE", raising=False)
    with private_server("redis", ["--requirepass", "open sesame"]) as redis:
        troubles = TROUBLES | {"password": f'port = {redis.address[1]}\npassword = "wrong"'}
        configure(home, "".join(connection(name, args) for name, args in troubles.items()))
        await anyio.to_thread.run_sync(lambda: kvd("ls"))
        rows = (await anyio.to_thread.run_sync(lambda: kvd("doctor", "--json", expect=1))).rows
        advice = {row["subject"].removeprefix("connection "): row["advice"] for row in rows if row["verdict"] == "bad"}
        assert troubles.keys() <= advice.keys()
        assert [name for name in troubles if not advice[name]] == ["unset"]  # of which the message says what to do
        async with running(open_client, size=size) as tui:
            for name in troubles:
                tui.browser.sidebar.content.go_to(name)
                await tui.press("1", "enter")
                await says(tui, "This connection cannot be used")
                helps = advice[name]
                await says(
                    tui, f"{helps[:1].upper()}{helps[1:]}. r try again" if helps else "set it and run `kvd restart` r try"
                )


async def test_a_server_that_leaves_comes_with_advice(home: Path) -> None:
    with private_server("redis") as redis:
        configure(home, connection("cache", f"port = {redis.address[1]}"))
        with BlockingClient.open() as client:
            client.call(requests.put("cache", "users", "ada", b'{"n": 1}'))
            client.call(requests.put("cache", "users", "bob", b'{"n": 2}'))
        async with running(open_client) as tui:
            await tui.sees('"n": 1', "2 keys")
            redis.kill()
            await tui.press("2", "j", "r")
            await tui.sees("The value cannot be read", "Start its server, or correct host and")


@pytest.mark.parametrize(
    ("method", "headline"),
    {
        "connect": "This connection cannot be used",
        "scan_keys": "The keys cannot be read",
        "read": "The value cannot be read",
    }.items(),
)
async def test_each_pane_says_what_to_do(fake: Daemon, method: str, headline: str) -> None:
    detail = {"fault": "refused", "advice": "start it, or correct it"}
    fake.fail[method] = RequestError("unreachable", "scratch: nobody is there", connection="scratch", detail=detail)
    async with running(fake.open) as tui:
        await tui.sees(headline, " nobody is there", "Start it, or correct it.")
