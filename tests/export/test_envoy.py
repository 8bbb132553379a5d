"""The rendering of the gateway, without a gateway."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import yaml

from bandstand.conf import wire
from bandstand.workspace.export import File
from bandstand.workspace.export.envoy import (
    Endpoint,
    GatewayRuntime,
    Health,
    render_deployed_envoy,
    render_endpoints,
    render_envoy,
    render_static,
)
from bandstand.workspace.manifest import Envoy as EnvoyTable
from bandstand.workspace.manifest import parse

WORKSPACE = parse("""
[platform]
name = "shop"

[gateway]
cors_origins = ["http://localhost:3000"]

[services.user-service]
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
RUNTIME = GatewayRuntime(
    port=8000,
    admin_port=9901,
    xds_dir=Path("/srv/shop/.bandstand/envoy"),
    endpoints={
        "user-service": (Endpoint(port=41001), Endpoint(port=41002, health=Health.DRAINING)),
        "order-service": (),
    },
)


def contents(files: Iterable[File]) -> dict[str, Any]:
    return {str(file.path): json.loads(file.content) for file in files}


@pytest.fixture
def rendered() -> dict[str, Any]:
    return contents(render_envoy(WORKSPACE, RUNTIME))


def routes(rendered: dict[str, Any]) -> list[dict[str, Any]]:
    [resource] = rendered["rds.json"]["resources"]
    [host] = resource["virtual_hosts"]
    found: list[dict[str, Any]] = host["routes"]
    return found


def manager(rendered: dict[str, Any]) -> dict[str, Any]:
    [resource] = rendered["lds.json"]["resources"]
    found: dict[str, Any] = resource["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def test_the_watched_form_is_the_golden_one(matches_golden: Callable[[Iterable[File], str], None]) -> None:
    """A change of the rendering is seen by whoever reviews it."""
    matches_golden(render_envoy(WORKSPACE, RUNTIME), "envoy")


def test_the_static_form_is_the_golden_one(matches_golden: Callable[[Iterable[File], str], None]) -> None:
    """The same for the form that Envoy validates."""
    matches_golden(render_static(WORKSPACE, RUNTIME), "envoy-static")


@pytest.mark.parametrize("form", ["files", "static"])
def test_the_deployed_form_is_the_golden_one(
    matches_golden: Callable[[Iterable[File], str], None], form: Literal["files", "static"]
) -> None:
    """The same for production, in both forms."""
    production = msgspec.structs.replace(WORKSPACE.production, envoy=EnvoyTable(form=form, tls="/etc/envoy/tls"))
    deployed = msgspec.structs.replace(WORKSPACE, production=production)
    matches_golden(render_deployed_envoy(deployed), f"envoy-deployed-{form}")


def test_both_forms_have_the_same_behaviour() -> None:
    """A deployed gateway differs in where its instances are and in its ports, in nothing that clients see."""
    rendered = contents(render_envoy(WORKSPACE, RUNTIME))
    deployed = {str(file.path): yaml.safe_load(file.content) for file in render_deployed_envoy(WORKSPACE)}
    [routes], [routes_of_up] = deployed["rds.yaml"]["resources"], rendered["rds.json"]["resources"]
    assert routes == routes_of_up
    [public], [public_of_up] = deployed["lds.yaml"]["resources"], rendered["lds.json"]["resources"]
    manager, manager_of_up = (each["filter_chains"][0]["filters"][0]["typed_config"] for each in (public, public_of_up))
    assert {**manager, "rds": None} == {**manager_of_up, "rds": None}
    place = {"type", "eds_cluster_config"}
    for cluster, of_up in zip(deployed["cds.yaml"]["resources"], rendered["cds.json"]["resources"], strict=True):
        shared = of_up.keys() - place
        assert {key: cluster[key] for key in shared} == {key: of_up[key] for key in shared}


def test_the_same_workspace_gives_the_same_bytes() -> None:
    """A file that did not change is not written again, and a gateway not disturbed."""
    assert list(render_envoy(WORKSPACE, RUNTIME)) == list(render_envoy(WORKSPACE, RUNTIME))


def test_files_come_in_the_order_of_their_need() -> None:
    """Endpoints before clusters before routes: a running gateway is never told of what is not there yet."""
    names = [str(file.path) for file in render_envoy(WORKSPACE, RUNTIME)]
    assert names == [
        *("eds-user-service.json", "eds-order-service.json", "cds.json", "rds.json", "lds.json", "bootstrap.json")
    ]


def test_a_change_of_health_touches_one_file() -> None:
    """The supervisor writes the endpoints of the service that changed, and nothing else changes."""
    well = {**RUNTIME.endpoints, "user-service": (Endpoint(port=41001),)}
    [changed] = render_endpoints(WORKSPACE, msgspec.structs.replace(RUNTIME, endpoints=well), ["user-service"])
    before = {file.path: file for file in render_envoy(WORKSPACE, RUNTIME)}
    after = {file.path: file for file in render_envoy(WORKSPACE, msgspec.structs.replace(RUNTIME, endpoints=well))}
    assert [path for path in after if after[path] != before[path]] == [changed.path]
    assert after[changed.path] == changed


def test_endpoints_carry_the_word_of_the_supervisor(rendered: dict[str, Any]) -> None:
    """Envoy itself checks nothing; health is what it is told."""
    [resource] = rendered["eds-user-service.json"]["resources"]
    [locality] = resource["endpoints"]
    assert [endpoint["health_status"] for endpoint in locality["lb_endpoints"]] == ["HEALTHY", "DRAINING"]
    assert all("health_checks" not in cluster for cluster in rendered["cds.json"]["resources"])


def test_longer_paths_come_first(rendered: dict[str, Any]) -> None:
    """Envoy takes the first route that matches, so the one that says more must stand before."""
    paths = [route["match"].get("path_separated_prefix") or route["match"]["path"] for route in routes(rendered)]
    assert [len(path) for path in paths] == sorted((len(path) for path in paths), reverse=True)
    assert paths.index("/api/v1/users/authenticate") < paths.index("/api/v1/users")


def test_only_safe_methods_are_repeated_after_an_answer(rendered: dict[str, Any]) -> None:
    """A route that takes any method is repeated only where nothing had been sent."""
    for route in routes(rendered):
        conditions = set(route["route"]["retry_policy"]["retry_on"].split(","))
        if "headers" in route["match"]:
            assert route["match"]["headers"][0]["string_match"]["safe_regex"]["regex"] == "GET|HEAD|OPTIONS"
        else:
            assert conditions == {"connect-failure", "refused-stream", "reset-before-request"}
            assert "retriable_status_codes" not in route["route"]["retry_policy"]


def test_every_internal_header_is_taken_out(rendered: dict[str, Any]) -> None:
    """A header that a service comes to believe is stripped without a change here."""
    [early] = manager(rendered)["early_header_mutation_extensions"]
    removed = {mutation.get("remove") for mutation in early["typed_config"]["mutations"]}
    assert {name.lower() for name in wire.INTERNAL_HEADERS} <= removed


def test_limits_are_the_promised_ones(rendered: dict[str, Any]) -> None:
    """100 a minute and 1,000 an hour by default; a route's own limit stands beside it under the route's name."""
    [limits] = [entry for entry in manager(rendered)["http_filters"] if entry["name"].endswith("local_ratelimit")]
    buckets: dict[str, dict[tuple[str, ...], int]] = {}
    for descriptor in limits["typed_config"]["descriptors"]:
        kind, _, *limit = (part.get("value") for part in descriptor["entries"])
        buckets.setdefault(kind, {})[tuple(limit)] = descriptor["token_bucket"]["max_tokens"]
    promised = {
        ("default", "minute"): 100,
        ("default", "hour"): 1000,
        ("/api/v1/users/authenticate", "minute"): 30,
        ("/api/v1/users/authenticate", "hour"): 1000,
    }
    assert buckets == {"network": promised, "mapped": promised}


def test_admin_pages_are_on_the_loopback_interface(rendered: dict[str, Any]) -> None:
    """Whatever the gateway itself listens on."""
    open_to_all = msgspec.structs.replace(WORKSPACE, gateway=msgspec.structs.replace(WORKSPACE.gateway, host="0.0.0.0"))
    files = contents(render_envoy(open_to_all, RUNTIME))
    assert files["bootstrap.json"]["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    assert files["lds.json"]["resources"][0]["address"]["socket_address"]["address"] == "0.0.0.0"
