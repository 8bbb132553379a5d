"""A server that exists elsewhere is waited for, and told when it is not there."""

import asyncio

import pytest

from bandstand.exceptions import ServerFailed
from bandstand.workspace.manifest import Server
from bandstand.workspace.runtime import free_port
from bandstand.workspace.runtime.servers.existing import ReachServer, plan_existing


def reach(port: int) -> ReachServer:
    return ReachServer(kind="nats", host="127.0.0.1", port=port, patience=0.0)


def test_a_server_that_is_there() -> None:
    """It is enough that it accepts a connection."""

    async def run() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            assert await reach(server.sockets[0].getsockname()[1]).perform() == ()

    asyncio.run(run())


def test_a_server_that_is_not_there() -> None:
    """The message says which one and where, and what to do; the password of the URL is not in it."""
    port = free_port()
    with pytest.raises(ServerFailed, match=f"NATS does not accept connections at 127.0.0.1:{port}") as caught:
        asyncio.run(reach(port).perform())
    assert 'servers.nats = "embedded"' in caught.value.hint


def test_the_usual_port_is_taken_where_the_url_names_none() -> None:
    """And the password stays out of what people see."""
    step = plan_existing(Server(kind="redis", url="redis://:secret@cache.example/0"))
    assert step.action == ReachServer(kind="redis", host="cache.example", port=6379)
    assert "secret" not in repr(step)
