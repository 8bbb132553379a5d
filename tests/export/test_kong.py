"""How the manifest becomes a Kong."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jsonschema import Draft4Validator

from bandstand.conf import wire
from bandstand.exceptions import ManifestError
from bandstand.workspace.export import File
from bandstand.workspace.export.kong import kong_environment, render_kong
from bandstand.workspace.manifest import Kong, UserKey, Workspace, load, parse
from tests.export.kong.plugin_fields import FIELDS, unknown_fields
from tests.export.kong.router import choose

HERE = Path(__file__).parent
SHOP = load(HERE.parents[1] / "shop" / "bandstand.toml")
WORKSPACE = parse("""
[platform]
name = "shop"

[gateway]
cors_origins = ["http://localhost:3000"]
timeout = 2.5

[services.user-service]
issues_user_tokens = true
[[services.user-service.routes]]
path = "/api/v1/users"
[[services.user-service.routes]]
path = "/api/v1/users/authenticate"
rate_limit = { minute = 30 }
[[services.user-service.routes]]
path = "/.well-known/jwks.json"
[[services.user-service.routes]]
path = "/api/auth/"

[services.order-service]
[[services.order-service.routes]]
path = "/api/v1/orders"
""")
KEY = UserKey(kid="users-1", x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
REDIS = "redis://default@redis:6379"
TOKENS: dict[str, Any] = {"user_keys": (KEY,), "token_routes": ("/api/v1/orders",)}


def chosen(workspace: Workspace = WORKSPACE, **kong: Any) -> Workspace:
    """The workspace with another table ``[production.kong]``."""
    production = msgspec.structs.replace(workspace.production, kong=Kong(**kong))
    return msgspec.structs.replace(workspace, production=production)


def files(**kong: Any) -> dict[str, File]:
    return {str(file.path): file for file in render_kong(chosen(**kong))}


@cache
def loaded(kong: Kong) -> str:
    """YAML is slow to write and to read, and most tests look at the same."""
    return json.dumps(yaml.safe_load(files(**msgspec.structs.asdict(kong))["kong.yml"].content))


def configuration(**kong: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(loaded(Kong(**kong)))
    return found


def plugins(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every plugin, wherever it stands."""
    yield from document["plugins"]
    for holder in (*document["services"], {"routes": document["routes"]}):
        for route in holder["routes"]:
            yield from route.get("plugins", ())


def plugin(holder: Mapping[str, Any], name: str) -> Any:
    [found] = [entry["config"] for entry in holder["plugins"] if entry["name"] == name]
    return found


# --- the form ------------------------------------------------------------------------------------


def test_the_rendering_is_the_golden_one(matches_golden: Callable[[Iterable[File], str], None]) -> None:
    """A change of the rendering is seen by whoever reviews it."""
    matches_golden(files().values(), "kong")


@pytest.mark.parametrize("options", [{}, {"counters": REDIS}, TOKENS], ids=["plain", "with Redis", "with tokens"])
def test_the_form_is_that_of_kong(options: dict[str, Any]) -> None:
    """Kong's own schema accepts every entity, and each plugin documents every field."""
    validator = Draft4Validator(json.loads((HERE / "kong" / "kong_json_schema.json").read_text()))
    for workspace in (WORKSPACE, SHOP):
        content, _ = render_kong(chosen(workspace, **options))
        document = yaml.safe_load(content.content)
        assert [error.message for error in validator.iter_errors(document)] == []
        assert [
            place
            for entry in plugins(document)
            for place in unknown_fields(entry["config"], FIELDS[entry["name"]], entry["name"])
        ] == []
        # These belong to decK; Kong without a database refuses them.
        assert not document.keys() & {"_info", "_workspace", "_plugin_configs", "_transform", "_konnect"}


def test_the_schema_finds_what_it_should() -> None:
    """The two checks are worth something: a misspelled entity field and a misspelled plugin field are found."""
    document = configuration()
    document["services"][0]["retrys"] = 5
    validator = Draft4Validator(json.loads((HERE / "kong" / "kong_json_schema.json").read_text()))
    assert any("retrys" in error.message for error in validator.iter_errors(document))
    assert unknown_fields({"redis": {"hots": "x"}}, FIELDS["rate-limiting"], "p") == ["p.redis.hots"]


def test_expressions_are_marked() -> None:
    """Kong takes a path without a tilde for plain text."""
    document = configuration()
    assert document["_format_version"] == "3.0"
    paths = [path for service in document["services"] for route in service["routes"] for path in route["paths"]]
    assert paths
    assert all(path.startswith("~/") for path in paths)


def test_the_same_workspace_gives_the_same_bytes() -> None:
    """What did not change makes no difference to look at."""
    assert list(render_kong(WORKSPACE)) == list(render_kong(WORKSPACE))


def test_names_are_unique() -> None:
    """Paths that differ in a slash and a hyphen do not become one service."""
    workspace = parse("""
        platform.name = "pp"
        [services.a-service]
        routes = [{ path = "/api/v1/a-b" }, { path = "/api/v1/a/b" }]
    """)
    document = yaml.safe_load(next(render_kong(workspace)).content)
    names = [service["name"] for service in document["services"]]
    assert len(set(names)) == len(names) == 4


# --- routing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "service", "asked"),
    [
        ("/api/v1/users", "user-service", "/api/v1/users"),
        ("/api/users", "user-service", "/api/v1/users"),
        ("/api/users/", "user-service", "/api/v1/users/"),
        ("/api/users/7/profile/", "user-service", "/api/v1/users/7/profile/"),
        ("/api/v1/users/7", "user-service", "/api/v1/users/7"),
        ("/api/users/authenticate/", "user-service", "/api/v1/users/authenticate/"),
        ("/.well-known/jwks.json", "user-service", "/.well-known/jwks.json"),
        ("/api/auth/login/", "user-service", "/api/auth/login/"),
        ("/api/auth", "user-service", "/api/auth"),
        ("/api/orders/1/", "order-service", "/api/v1/orders/1/"),
    ],
)
def test_a_path_reaches_its_service(path: str, service: str, asked: str) -> None:
    """With and without the version, and with or without what follows, as through every other gateway."""
    for method in ("GET", "POST", "DELETE"):
        choice = choose(configuration(), method, path)
        assert choice.service is not None
        assert (choice.service["host"], choice.path) == (f"{service}.upstream", asked)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/api", "/api/", "/api/v1/", "/api/usersX", "/api/v1/usersX/", "/api/v2/users/", "/API/users/"),
        *("/.well-known/jwks.json/", "/.well-known/jwks.jsonX", "/.well-known/jwksXjson", "/X/.well-known/jwks.json"),
        *("/x/api/users/", "/health/ready/", "/metrics", "/admin/"),
    ],
)
def test_what_is_not_routed_is_answered_by_kong(path: str) -> None:
    """Names end where they end, expressions begin at the beginning, and the rest is a problem document."""
    choice = choose(configuration(), "GET", path)
    assert (choice.route, choice.service) == ("refused.not-found", None)


@pytest.mark.parametrize("path", ["/api/users/..%2F..%2Fmetrics", "/api/v1/users/%2Fetc", "/api/users/..\\metrics"])
def test_an_escaped_slash_is_refused(path: str) -> None:
    """What a service might read as another path never reaches it (Kong has decoded ``%5c`` by then)."""
    assert choose(configuration(), "POST", path).route == "refused.escaped-slash"


def test_an_upgrade_is_refused() -> None:
    """Kong passes WebSockets on by itself, past every rule for requests; no route may be looked at before this one."""
    for method, path in (("GET", "/api/users/"), ("DELETE", "/api/v1/orders/"), ("GET", "/api/users/..%2Fmetrics")):
        choice = choose(configuration(), method, path, {"upgrade": "WebSocket"})
        assert (choice.route, choice.service) == ("refused.upgrade", None)


def test_the_longer_path_wins() -> None:
    """The limit of sign-in holds also on the path without the version."""
    for path in ("/api/users/authenticate/", "/api/v1/users/authenticate"):
        assert choose(configuration(), "POST", path).route == "user-service.api-v1-users-authenticate"


def test_refusals_are_problems() -> None:
    """As from the services: a client reads one form of error."""
    expected = ((403, "upgrade_refused"), (400, "bad_request"), (404, "not_found"))
    for route, (status, code) in zip(configuration()["routes"], expected, strict=True):
        config = plugin(route, "request-termination")
        assert (config["status_code"], config["content_type"]) == (status, "application/problem+json")
        assert json.loads(config["body"])["code"] == code


# --- what is tried again -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "retries"),
    [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("POST", 2), ("PATCH", 2), ("PUT", 0), ("DELETE", 0)],
)
def test_what_may_be_sent_twice(method: str, retries: int) -> None:
    """nginx repeats POST and PATCH only where nothing was sent, and would repeat PUT and DELETE at any time."""
    choice = choose(configuration(), method, "/api/users/7/")
    assert choice.service is not None
    assert choice.service["retries"] == retries


def test_nginx_is_not_told_to_repeat_writes() -> None:
    """The rule for POST and PATCH rests on this setting."""
    conditions = kong_environment(WORKSPACE)["KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM"].split()
    assert conditions == ["error", "timeout", "http_502", "http_503", "http_504"]
    assert kong_environment(WORKSPACE)["KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM_TIMEOUT"] == "2.5s"


def test_no_write_goes_out_on_a_kept_connection() -> None:
    """nginx repeats what a kept connection broke under, also where the service has no retries."""
    assert kong_environment(WORKSPACE)["KONG_UPSTREAM_KEEPALIVE_POOL_SIZE"] == "0"


def test_time_outs_are_those_of_the_manifest() -> None:
    """A connection is made soon or not at all; an answer has the time of the gateway."""
    for service in configuration()["services"]:
        times = (service["connect_timeout"], service["read_timeout"], service["write_timeout"])
        assert times == (500, 2500, 2500)


def test_kong_asks_for_readiness() -> None:
    """An instance that drains says 503 there, and is left out while it still answers."""
    for upstream in configuration()["upstreams"]:
        active = upstream["healthchecks"]["active"]
        assert active["http_path"] == "/health/ready/"
        assert active["healthy"]["interval"] > 0
        assert active["unhealthy"]["interval"] > 0
        assert 503 in active["unhealthy"]["http_statuses"]


def test_what_an_instance_answers_does_not_leave_it_out() -> None:
    """What all instances share would leave out all of them. Only failures in a row count: each answer ends the row."""
    for upstream in configuration()["upstreams"]:
        passive = upstream["healthchecks"]["passive"]
        assert (passive["unhealthy"]["http_failures"], passive["unhealthy"]["tcp_failures"]) == (0, 5)
        # With 0 nothing ends the row; past 254 the checks of Kong do not start, although its schema allows 255.
        assert 0 < passive["healthy"]["successes"] <= 254
        assert {200, 201, 204, 404, 500} <= set(passive["healthy"]["http_statuses"])


# --- what happens on the way ---------------------------------------------------------------------


def test_every_internal_header_is_taken_out() -> None:
    """A header that a service comes to believe is stripped without a change here; the time-out is set anew."""
    config = plugin(configuration(), "request-transformer")
    told = "x-request-timeout-ms:2500"
    assert {name.lower() for name in wire.INTERNAL_HEADERS} - {"x-request-timeout-ms"} <= set(
        config["remove"]["headers"]
    )
    assert config["replace"]["headers"] == config["add"]["headers"] == [told]
    assert kong_environment(WORKSPACE)["KONG_NGINX_PROXY_UNDERSCORES_IN_HEADERS"] == "off"


def test_limits_are_the_promised_ones() -> None:
    """100 a minute and 1,000 an hour for each address, of all routes together; a route's own limit is its own."""
    document = configuration()
    shared = plugin(document, "rate-limiting")
    assert (shared["minute"], shared["hour"], shared["limit_by"]) == (100, 1000, "ip")
    own = {
        route["name"]: plugin(route, "rate-limiting")
        for service in document["services"]
        for route in service["routes"]
        if "plugins" in route
    }
    assert own.keys() == {f"user-service.api-v1-users-authenticate{part}" for part in ("", ".once")}
    assert {(limit["minute"], limit["hour"]) for limit in own.values()} == {(30, 1000)}


def test_several_gateways_count_together() -> None:
    """In Redis, whose password is named and never written; while Redis is away requests pass."""
    limits = [entry["config"] for entry in plugins(configuration(counters=REDIS)) if "minute" in entry["config"]]
    assert len(limits) == 3
    for config in limits:
        assert (config["policy"], config["fault_tolerant"]) == ("redis", True)
        assert config["redis"]["host"] == "redis"
    assert "{vault://env/redis-password}" in files(counters=REDIS)["kong.yml"].content


def test_only_named_origins_are_allowed() -> None:
    """As anchored expressions: of one plain origin Kong tells every page. Without an origin there is no plugin."""
    assert plugin(configuration(), "cors")["origins"] == ["^http://localhost:3000$"]
    closed = msgspec.structs.replace(WORKSPACE, gateway=msgspec.structs.replace(WORKSPACE.gateway, cors_origins=()))
    document = yaml.safe_load(next(render_kong(closed)).content)
    assert "cors" not in {entry["name"] for entry in document["plugins"]}


def test_bodies_are_bounded_twice() -> None:
    """By the plugin, and by nginx for those that the plugin does not see."""
    assert plugin(configuration(), "request-size-limiting")["allowed_payload_size"] == 1_048_576
    assert kong_environment(WORKSPACE)["KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE"] == "1048576"


# --- tokens of users -----------------------------------------------------------------------------


def test_a_route_can_need_a_token() -> None:
    """Only the named route; the key is found by its id, so that keys can rotate, and never in the URL or a cookie."""
    document = configuration(**TOKENS)
    [consumer] = document["consumers"]
    [credential] = consumer["jwt_secrets"]
    assert (credential["key"], credential["algorithm"]) == ("users-1", "EdDSA")
    guarded = [
        route
        for service in document["services"]
        for route in service["routes"]
        if any(entry["name"] == "jwt" for entry in route.get("plugins", ()))
    ]
    assert {route["name"] for route in guarded} == {"order-service.api-v1-orders", "order-service.api-v1-orders.once"}
    config = plugin(guarded[0], "jwt")
    assert (config["key_claim_name"], config["claims_to_verify"]) == ("kid", ["exp"])
    assert (config["uri_param_names"], config["cookie_names"], config["run_on_preflight"]) == ([], [], False)


def test_a_key_keeps_its_value() -> None:
    """The PEM that Kong reads is the key of the key set."""
    [credential] = configuration(**TOKENS)["consumers"][0]["jwt_secrets"]
    raw = load_pem_public_key(credential["rsa_public_key"].encode()).public_bytes_raw()  # type: ignore[union-attr]
    assert raw == urlsafe_b64decode(f"{KEY.x}=")


KEY_LINES = f'[[production.kong.user_keys]]\nkid = "users-1"\nx = "{KEY.x}"'


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (f'token_routes = ["/api/v1/order"]\n{KEY_LINES}', "/api/v1/orders"),
        ('token_routes = ["/api/v1/orders"]', "user_keys is missing"),
        (KEY_LINES, "token_routes is missing"),
        ('[[production.kong.user_keys]]\nkid = "a"\nx = "short"', "43 characters"),
        ('token_routes = ["/api/v1/orders"]\n[[production.kong.user_keys]]\nkid = "a"', "x is missing"),
        ('counters = "redis://:s3cret@redis"', "REDIS_PASSWORD"),
        ('counters = "http://redis"', "no URL of a Redis"),
        ('version = "3"', "is not known"),
    ],
)
def test_what_does_not_fit_is_refused(lines: str, told: str) -> None:
    """A gateway that seems to check tokens and does not is never rendered, and no secret is repeated."""
    manifest = f"""
        platform.name = "shop"
        [services.order-service]
        routes = [{{ path = "/api/v1/orders" }}]
        [production.kong]
        {lines}
    """
    with pytest.raises(ManifestError, match=told) as caught:
        parse(manifest)
    assert "s3cret" not in str(caught.value)


# --- the process ---------------------------------------------------------------------------------


def test_the_environment_is_the_file() -> None:
    """A container and a package of Kong run on the same settings."""
    lines = files()["kong.conf"].content.splitlines()
    pairs = dict(line.split(" = ", 1) for line in lines if line and not line.startswith("#"))
    assert {f"KONG_{name.upper()}": value for name, value in pairs.items()} == kong_environment(WORKSPACE)


def test_kong_loads_the_plugins_that_are_used() -> None:
    """No more, and none is missing."""
    loaded = set(kong_environment(WORKSPACE)["KONG_PLUGINS"].split(","))
    assert {entry["name"] for entry in plugins(configuration(**TOKENS))} == loaded
