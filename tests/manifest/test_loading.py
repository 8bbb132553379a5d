"""The manifest as a whole: what a sound one becomes."""

from pathlib import Path

import pytest

from bandstand.exceptions import WorkspaceError
from bandstand.workspace import versions
from bandstand.workspace.manifest import Gateway, Images, RateLimit, Route, Server, locate, parse

SHOP = """
[platform]
name = "shop"

[gateway]
rate_limit = { minute = 50 }

[services.user-service]
calls = ["order-service"]
issues_user_tokens = true

[[services.user-service.routes]]
path = "/api/v1/users"
rate_limit = { minute = 5 }

[[services.user-service.routes]]
path = "/.well-known/jwks.json"

[[services.user-service.routes]]
path = "/api/auth/"

[services.order-service]
path = "elsewhere/orders"
module = "shop.orders"
worker = false
"""


def test_defaults_are_filled_in() -> None:
    """What is not written has the documented default."""
    workspace = parse(SHOP, Path("/srv/shop/bandstand.toml"))
    assert workspace.root == Path("/srv/shop")
    assert workspace.state_folder == Path("/srv/shop/.bandstand")
    assert workspace.gateway == Gateway(rate_limit=RateLimit(minute=50, hour=1000))
    assert workspace.servers.postgres == Server(kind="postgres", url=None)
    assert [server.kind for server in workspace.servers] == ["postgres", "redis", "nats"]
    user_service = workspace.service("user-service")
    assert (user_service.folder, user_service.module) == (Path("/srv/shop/user-service"), "user_service")
    assert (user_service.worker, user_service.threads, user_service.seed) == (True, 8, ())
    assert workspace.token_issuer is user_service


@pytest.mark.parametrize(
    ("written", "broker"),
    [
        ("", Server(kind="nats")),
        ('nats = "nats://mq"', Server(kind="nats", url="nats://mq")),
        ('rabbitmq = "system"', Server(kind="rabbitmq", system=True)),
        ('rabbitmq = "amqps://u:p@mq"', Server(kind="rabbitmq", url="amqps://u:p@mq")),
    ],
)
def test_the_broker_is_the_one_that_is_named(written: str, broker: Server) -> None:
    """A platform has one broker: NATS, unless RabbitMQ is written."""
    workspace = parse(f"[servers]\n{written}\n{SHOP}")
    assert workspace.servers.broker == broker
    assert [server.kind for server in workspace.servers] == ["postgres", "redis", broker.kind]


@pytest.mark.parametrize(
    ("written", "server"),
    [
        ("embedded", Server(kind="postgres")),
        ("system", Server(kind="postgres", system=True)),
        ("/opt/pg 16/bin", Server(kind="postgres", system=True, programs=Path("/opt/pg 16/bin"))),
        ("postgres://u@db/x", Server(kind="postgres", url="postgres://u@db/x")),
    ],
)
def test_postgres_comes_from_four_places(written: str, server: Server) -> None:
    """A wheel, the machine, a folder of the machine, or a server that exists; ``place`` is what was written."""
    found = parse(f'[servers]\npostgres = "{written}"\n{SHOP}').servers.postgres
    assert found == server
    assert found.place == written
    assert found.is_external == (server.url is not None)


def test_images_can_be_pinned() -> None:
    """An image that is written replaces the one that this release of Bandstand names; the others stay."""
    pinned = f"registry.example:5000/mirror/postgres:18.6-trixie@sha256:{'0f' * 32}"
    images = parse(f'[production.images]\npostgres = "{pinned}"\n{SHOP}').production.images
    assert images == Images(postgres=pinned)
    assert images.valkey == versions.VALKEY.image


def test_a_written_folder_and_module_win() -> None:
    """``path`` and ``module`` replace what follows from the name."""
    service = parse(SHOP, Path("/srv/shop/bandstand.toml")).service("order-service")
    assert service.folder == Path("/srv/shop/elsewhere/orders")
    assert service.wsgi == "shop.orders.wsgi:application"
    assert service.settings_module == "shop.orders.settings"
    assert service.identifier == "order_service"


def test_routes_know_their_aliases_and_limits() -> None:
    """A versioned path has an alias without the version; only a written limit is the route's own."""
    assert parse(SHOP).service("user-service").routes == (
        Route(path="/api/v1/users", alias="/api/users", rate_limit=RateLimit(minute=5, hour=1000)),
        Route(path="/.well-known/jwks.json", exact=True),
        Route(path="/api/auth"),
    )


def test_the_lowest_version_keeps_the_alias() -> None:
    """A second version takes nothing from clients that never named one."""
    source = """
    platform.name = "shop"
    services.user-service.routes = [{ path = "/api/v10/users" }, { path = "/api/v2/users" }]
    """
    assert [route.alias for route in parse(source).services[0].routes] == [None, "/api/users"]


def test_callers_are_the_inverse_of_calls() -> None:
    """Who may call a service follows from what the others say that they call."""
    workspace = parse(SHOP)
    assert workspace.callers_of("order-service") == ("user-service",)
    assert workspace.callers_of("user-service") == ()


def test_processes_follow_from_the_services() -> None:
    """Each service has a web process, and a worker unless it wants none."""
    names = [process.name for process in parse(SHOP).processes]
    assert names == ["user-service-web", "user-service-worker", "order-service-web"]


def test_an_unknown_service_gets_a_suggestion() -> None:
    """A slip in a service's name on the command line is answered with the nearest name."""
    with pytest.raises(WorkspaceError, match="Did you mean user-service"):
        parse(SHOP).service("usr-service")


def test_passwords_of_servers_are_masked() -> None:
    """The URL of a server never shows its password in logs or tracebacks."""
    source = '[platform]\nname = "shop"\n[servers]\nredis = "redis://me:s3cret@cache.example:6379/0"\n[services.a-b]\n'
    server = parse(source).servers.redis
    assert server.url == "redis://me:s3cret@cache.example:6379/0"
    assert server.is_external
    assert "s3cret" not in repr(parse(source))
    assert "redis://me:***@cache.example:6379/0" in repr(server)


def test_the_manifest_is_found_from_below(tmp_path: Path) -> None:
    """A command works anywhere inside the platform's folder."""
    below = tmp_path / "shop" / "user-service"
    below.mkdir(parents=True)
    (tmp_path / "shop" / "bandstand.toml").touch()
    assert locate(below) == tmp_path / "shop" / "bandstand.toml"
    with pytest.raises(WorkspaceError, match=r"no bandstand\.toml"):
        locate(tmp_path)


POLICIES = """
[platform]
name = "shop"

[policy]
timeout = 2

[services.user-service]

[services.order-service]
calls = ["user-service"]

[services.order-service.policies.user-service]
retries = 1
"""


def test_policies_are_as_they_are_written() -> None:
    """A service is told what the manifest says of its calls, and nothing that it does not say."""
    workspace = parse(POLICIES)
    assert workspace.client_policies("order-service") == {"timeout": 2, "targets": {"user-service": {"retries": 1}}}
    assert workspace.client_policies("user-service") == {"timeout": 2}
    assert parse(SHOP).client_policies("order-service") == {}
