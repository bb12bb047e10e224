"""A server of one's own can be paused, ended and started again."""

import socket

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError, TimeoutError as RedisTimeoutError

from tests.servers.instance import reserve_port
from tests.servers.kind import UnavailableError
from tests.servers.kinds.valkey import command
from tests.servers.lease import private_server


def test_takes_arguments_and_keeps_port_and_folder_over_a_restart() -> None:
    with private_server("redis", ["--appendonly", "yes", "--maxmemory", "7mb"]) as server, Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(7 * 1024 * 1024)}
        client.set("k", "v")
        server.stop()
        with pytest.raises(RedisConnectionError):
            client.ping()
        server.start()
        assert client.get("k") == b"v"
        with Redis(unix_socket_path=str(server.folder / "server.sock")) as local:
            assert local.get("k") == b"v"


def test_says_why_it_does_not_start() -> None:
    with pytest.raises(UnavailableError, match="maxmemory"), private_server("redis", ["--maxmemory", "a lot"]):
        pytest.fail("it started")


def test_killed_and_started_again_is_another_process() -> None:
    with private_server("redis") as server:
        before = server.pids
        server.kill()
        server.start()
        assert server.pids != before
        with Redis.from_url(server.url) as client:
            assert client.ping()


def test_paused_hangs_and_then_goes_on() -> None:
    with private_server("redis") as server, Redis.from_url(server.url) as client:
        client.set("k", "v")
        server.pause()
        with Redis.from_url(server.url, socket_timeout=0.2, retry=None) as hasty, pytest.raises(RedisTimeoutError):
            hasty.get("k")
        server.resume()
        assert client.get("k") == b"v"


def test_ends_though_paused() -> None:
    with private_server("redis") as server:
        server.pause()
    assert not server.folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address)


def test_a_node_of_a_cluster_can_be_ended_alone() -> None:
    with private_server("valkey-cluster") as server:
        ports = [port for _, port in server.addresses]
        server.stop(member=1)
        with pytest.raises(ConnectionRefusedError):
            command(ports[1], "PING", "")
        assert b"role:master" in command(ports[0], "INFO", "replication")
        server.start()
        for port in ports:
            assert b"cluster_state:ok" in command(port, "CLUSTER", "INFO")


def test_a_reserved_port_is_for_a_server_and_for_nobody_else() -> None:
    with reserve_port() as held:
        address = held.getsockname()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(address)
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen()
            socket.create_connection(address).close()
