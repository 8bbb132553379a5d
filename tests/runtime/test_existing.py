"""A server that exists elsewhere is waited for, and told when it is not there."""

import asyncio
import tomllib
from pathlib import Path

import msgspec
import pytest

from bandstand.conf import wire
from bandstand.exceptions import ServerFailed
from bandstand.workspace.manifest import Server
from bandstand.workspace.manifest.connections import max_connections
from bandstand.workspace.runtime.plan import make_plan
from bandstand.workspace.runtime.resources import Process
from bandstand.workspace.runtime.servers.existing import ReachServer, plan_existing
from bandstand.workspace.runtime.servers.postgres import Login
from tests.ports import held_port
from tests.runtime.plans import facts, workspace


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
    port = held_port()
    with pytest.raises(ServerFailed, match=f"NATS does not accept connections at 127.0.0.1:{port}") as caught:
        asyncio.run(reach(port).perform())
    assert 'servers.nats = "embedded"' in caught.value.hint


def test_a_broker_that_is_not_there() -> None:
    """RabbitMQ comes in no wheel, so the other way is the machine's own."""
    with pytest.raises(ServerFailed) as caught:
        asyncio.run(msgspec.structs.replace(reach(held_port()), kind="rabbitmq").perform())
    assert 'servers.rabbitmq = "system"' in caught.value.hint


def test_what_a_url_asks_of_connections_holds_for_every_service() -> None:
    """An sslmode in the URL is not lost on the way, nor are the signs of a password."""
    url = "postgres://boss:p%2Fw%40@[::1]:5433/main?sslmode=verify-full&sslrootcert=/ca.pem"
    assert Login.parse(url).password == "p/w@"
    assert Login.parse(url).url == url
    place = Path("/w")
    plan = make_plan(workspace(place, postgres=url), facts(place, embedded=False))
    web = plan.resource("user-service-web")
    assert isinstance(web, Process)
    database = web.command.environment[wire.DATABASE_URL]
    assert database.endswith("@[::1]:5433/user_service?sslmode=verify-full&sslrootcert=/ca.pem")
    assert "boss" not in database


def test_the_usual_port_is_taken_where_the_url_names_none() -> None:
    """And the password stays out of what people see."""
    step = plan_existing(Server(kind="redis", url="redis://:secret@cache.example/0"), "shop", ())
    assert step.action == ReachServer(kind="redis", host="cache.example", port=6379)
    assert "secret" not in repr(step)
    for scheme, port in (("amqp", 5672), ("amqps", 5671)):
        step = plan_existing(Server(kind="rabbitmq", url=f"{scheme}://u:secret@mq.example"), "shop", ())
        assert isinstance(step.action, ReachServer)
        assert (step.action.host, step.action.port) == ("mq.example", port)
        assert "secret" not in repr(step)


def test_all_services_share_the_url_of_a_broker_that_exists() -> None:
    """No user is made there, and no server is started."""
    url = "amqps://u:p%40w@mq.example:5671/shop"
    place = Path("/w")
    plan = make_plan(workspace(place, broker=Server(kind="rabbitmq", url=url)), facts(place, broker=""))
    worker = plan.resource("user-service-worker")
    assert isinstance(worker, Process)
    assert worker.command.environment[wire.BROKER_URL] == url
    assert "rabbitmq-epmd" not in [resource.name for resource in plan.resources]


PAGE = Path(__file__).parents[2] / "docs/how-to/use-existing-servers.md"


def test_the_page_is_true() -> None:
    """Its manifest names three servers that are waited for, and its rule for connections is the one that is used."""
    servers = tomllib.loads(PAGE.read_text().split("```toml")[1].split("```")[0])["servers"]
    steps = [plan_existing(Server(kind=kind, url=url), "shop", ()) for kind, url in servers.items()]
    assert [step.label for step in steps] == [
        "PostgreSQL at 127.0.0.1:5432",
        "Redis at 127.0.0.1:6379",
        "NATS at 127.0.0.1:4222",
    ]
    assert Login.parse(servers["postgres"]).query == "sslmode=require"
    with_worker, without = workspace(Path("/w")).services
    assert max_connections([with_worker]) == 2 * with_worker.threads + 15 + 20
    assert max_connections([without]) == without.threads + 9 + 20
    assert max_connections([with_worker] * 4) == 144
