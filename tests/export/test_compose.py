"""The Compose file: what every container of it must have, and what none may."""

import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import RequestFactory
from pytest_django import Settings

from bandstand.conf import ServiceEnvironment
from bandstand.context import client_ip
from bandstand.workspace.export.compose import render_compose
from bandstand.workspace.manifest import Workspace, load, parse
from bandstand.workspace.manifest.rules import RESERVED_NAMES
from bandstand.workspace.runtime import write_secrets

ROOT = Path(__file__).parents[2]
STORES = ("postgres", "valkey", "rabbitmq")


@pytest.fixture(scope="module")
def shop() -> Workspace:
    return load(ROOT / "shop" / "bandstand.toml")


@pytest.fixture(scope="module")
def project(shop: Workspace) -> dict[str, Any]:
    return project_of(shop)


@pytest.fixture(scope="module")
def nats_project() -> dict[str, Any]:
    return project_of(on_broker("nats"))


def on_broker(broker: str) -> Workspace:
    source = (ROOT / "shop" / "bandstand.toml").read_text()
    return parse(source.replace("[production]\n", f'[production]\nbroker = "{broker}"\n'))


def project_of(workspace: Workspace) -> dict[str, Any]:
    [content] = [file.content for file in render_compose(workspace) if file.path.name == "compose.yaml"]
    loaded: dict[str, Any] = yaml.safe_load(content)
    return loaded


def jobs(project: dict[str, Any]) -> Iterator[str]:
    for container in project["services"].values():
        for name, after in container.get("depends_on", {}).items():
            if after["condition"] == "service_completed_successfully":
                yield name


def test_each_service_has_its_containers(shop: Workspace, project: dict[str, Any]) -> None:
    """A job that migrates, the web processes under the service's own name, and a worker."""
    for service in shop.services:
        assert {service.name, f"{service.name}-migrate", f"{service.name}-worker"} <= project["services"].keys()
        assert project["services"][service.name]["deploy"]["replicas"] == shop.production.replicas


def test_every_image_names_a_release(project: dict[str, Any]) -> None:
    """No image is the latest of anything."""
    for name, container in project["services"].items():
        assert re.fullmatch(r".+:v?\d[\w.-]*", container["image"]), name


def test_every_container_is_bounded_and_has_no_rights(project: dict[str, Any], nats_project: dict[str, Any]) -> None:
    """A read-only file system, no capability, no new privileges, and limits of memory, processor and processes."""
    for name, container in (*project["services"].items(), *nats_project["services"].items()):
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert container["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}, name
        assert "privileged" not in container, name
        assert name == "nats-volume" or "cap_add" not in container, name


def test_nobody_is_root(shop: Workspace, project: dict[str, Any], nats_project: dict[str, Any]) -> None:
    """The images of the services say so themselves; of the others the file does."""
    own = tuple(f"{shop.production.image.prefix}/{service.name}:" for service in shop.services)
    for name, container in (*project["services"].items(), *nats_project["services"].items()):
        if name != "nats-volume":
            assert container["image"].startswith(own) or container["user"] not in {"root", "0"}, name


def test_the_data_of_nats_are_those_of_its_user(nats_project: dict[str, Any]) -> None:
    """Its image has no user, so a job gives it the volume, may do nothing else, and ends before NATS starts."""
    nats, job = nats_project["services"]["nats"], nats_project["services"]["nats-volume"]
    assert nats["depends_on"]["nats-volume"]["condition"] == "service_completed_successfully"
    assert job["entrypoint"] == ["chown", "-R", nats["user"], "/data"]
    assert job["volumes"] == nats["volumes"] == ["nats:/data"]
    assert (job["restart"], job["cap_add"]) == ("no", ["CHOWN", "DAC_READ_SEARCH"])
    assert "secrets" not in job


def test_only_the_gateway_can_be_reached(project: dict[str, Any]) -> None:
    """It publishes the one port, on the loopback interface unless somebody says otherwise."""
    published = {name: container["ports"] for name, container in project["services"].items() if "ports" in container}
    assert published == {"gateway": ["${GATEWAY_ADDRESS:-127.0.0.1}:${GATEWAY_PORT:-8000}:8000"]}


def test_stores_are_reached_from_inside_alone(project: dict[str, Any]) -> None:
    """Their network has no way out, and the gateway is not in it."""
    assert project["networks"]["data"] == {"internal": True}
    for store in STORES:
        assert project["services"][store]["networks"] == ["data"]
    assert list(project["services"]["gateway"]["networks"]) == ["services"]


def test_the_gateway_alone_has_its_address(project: dict[str, Any]) -> None:
    """Docker gives other containers addresses of the upper half of the network, where the gateway's is not."""
    [configuration] = project["networks"]["services"]["ipam"]["config"]
    network, others = ip_network(configuration["subnet"]), ip_network(configuration["ip_range"])
    address = ip_address(project["services"]["gateway"]["networks"]["services"]["ipv4_address"])
    assert others.subnet_of(network)
    assert address in network
    assert address not in others
    assert str(address) != configuration["gateway"]
    assert others.num_addresses > 100
    fixed = [each for each in project["services"].values() if isinstance(each["networks"], dict)]
    assert fixed == [project["services"]["gateway"]]


@pytest.mark.parametrize("forged", ["6.6.6.6", "10.1.2.9", "127.0.0.1", "::1"])
@pytest.mark.parametrize("client", ["10.1.2.3", "172.17.0.1", "192.168.1.5", "fd00::5", "127.0.0.1", "192.0.2.7"])
def test_a_client_with_a_private_address_does_not_choose_another(
    project: dict[str, Any], settings: Settings, client: str, forged: str
) -> None:
    """Kong keeps what a client says and appends its address: services believe the gateway, and nobody behind it."""
    proxies = tuple(project["services"]["order-service"]["environment"]["BANDSTAND_TRUSTED_PROXIES"].split(","))
    settings.BANDSTAND = settings.BANDSTAND | {"CONTEXT": {"TRUSTED_PROXIES": proxies}}
    gateway = project["services"]["gateway"]["networks"]["services"]["ipv4_address"]
    request = RequestFactory(REMOTE_ADDR=gateway).get("/", headers={"X-Forwarded-For": f"{forged}, {client}"})
    assert client_ip(request) == client
    past = RequestFactory(REMOTE_ADDR=client).get("/", headers={"X-Forwarded-For": forged})
    assert client_ip(past) == client


def test_two_platforms_on_one_machine_have_two_networks() -> None:
    """The network follows from the platform's name, and the manifest may name another."""
    source = (ROOT / "shop" / "bandstand.toml").read_text()
    other = parse(source.replace('name = "shop"', 'name = "office"'))
    named = parse(source.replace("[production]\n", '[production]\ncompose_subnet = "10.9.8.0/24"\n'))
    configurations = [project_of(each)["networks"]["services"]["ipam"]["config"][0] for each in (other, named)]
    assert (
        configurations[0]["subnet"] != project_of(parse(source))["networks"]["services"]["ipam"]["config"][0]["subnet"]
    )
    assert configurations[1] == {"subnet": "10.9.8.0/24", "ip_range": "10.9.8.128/25", "gateway": "10.9.8.1"}
    assert project_of(named)["services"]["gateway"]["networks"] == {"services": {"ipv4_address": "10.9.8.2"}}


def test_a_load_balancer_is_believed_where_the_manifest_names_it(settings: Settings) -> None:
    """One on the gateway's own machine reaches it from the network's first address: named, it makes no clients one."""
    source = (ROOT / "shop" / "bandstand.toml").read_text()
    bridge = project_of(parse(source))["networks"]["services"]["ipam"]["config"][0]["gateway"]
    project = project_of(parse(source.replace("[gateway]\n", f'[gateway]\ntrusted_proxies = ["{bridge}/32"]\n')))
    proxies = tuple(project["services"]["order-service"]["environment"]["BANDSTAND_TRUSTED_PROXIES"].split(","))
    settings.BANDSTAND = settings.BANDSTAND | {"CONTEXT": {"TRUSTED_PROXIES": proxies}}
    gateway = project["services"]["gateway"]["networks"]["services"]["ipv4_address"]
    hops = f"6.6.6.6, 10.1.2.3, {bridge}"
    request = RequestFactory(REMOTE_ADDR=gateway).get("/", headers={"X-Forwarded-For": hops})
    assert client_ip(request) == "10.1.2.3"
    assert project["services"]["gateway"]["environment"]["KONG_TRUSTED_IPS"] == f"{bridge}/32"


def test_everything_that_stays_up_says_how_it_is(project: dict[str, Any]) -> None:
    """`up --wait` and the conditions below rest on it."""
    finished = set(jobs(project))
    for name, container in project["services"].items():
        assert name in finished or container["healthcheck"]["test"][0] == "CMD", name


def test_migrations_run_once_and_before(shop: Workspace, project: dict[str, Any]) -> None:
    """Web and worker wait for the job, and no start command migrates."""
    for service in shop.services:
        job = project["services"][f"{service.name}-migrate"]
        assert job["command"][-2:] == ["migrate", "--no-input"]
        assert job["restart"] == "no"
        for name in (service.name, f"{service.name}-worker"):
            condition = project["services"][name]["depends_on"][f"{service.name}-migrate"]["condition"]
            assert condition == "service_completed_successfully"
            assert "migrate" not in project["services"][name].get("command", [])


def test_what_is_waited_for_exists(project: dict[str, Any]) -> None:
    """Names in depends_on, networks, volumes and secrets are declared."""
    for container in project["services"].values():
        assert container.get("depends_on", {}).keys() <= project["services"].keys()
        assert set(container["networks"]) <= project["networks"].keys()
        assert {secret["source"] for secret in container.get("secrets", [])} <= project["secrets"].keys()
        named = {volume.partition(":")[0] for volume in container.get("volumes", []) if not volume.startswith(".")}
        assert named <= project["volumes"].keys()


def test_what_is_mounted_is_rendered(shop: Workspace, project: dict[str, Any]) -> None:
    """Each file beside the Compose file comes with it."""
    rendered = {f"./{file.path}" for file in render_compose(shop)}
    mounted = {
        volume.partition(":")[0]
        for container in project["services"].values()
        for volume in container.get("volumes", [])
        if volume.startswith(".")
    }
    assert mounted == rendered - {"./compose.yaml"}


@pytest.mark.parametrize("broker", ["rabbitmq", "nats"])
def test_every_secret_is_one_that_is_made(broker: str, tmp_path: Path) -> None:
    """`bandstand secrets` makes the files that the Compose file names, and administrators' beside them."""
    workspace = on_broker(broker)
    named = {entry["file"] for entry in project_of(workspace)["secrets"].values()}
    write_secrets(workspace, tmp_path / "secrets")
    made = {f"./{path.relative_to(tmp_path)}" for path in (tmp_path / "secrets").glob("*/*")}
    assert named <= made
    assert {Path(path).name for path in made - named} == {"administrator"}


def test_no_secret_is_rendered(shop: Workspace, tmp_path: Path) -> None:
    """What is made stands in no file that is rendered."""
    write_secrets(shop, tmp_path)
    texts = [file.content for file in render_compose(shop)]
    for path in tmp_path.glob("*/*"):
        if (secret := path.read_text().strip()) not in {"", "console://"}:
            assert not any(secret in text for text in texts), path


def test_a_service_starts_on_its_environment(shop: Workspace, project: dict[str, Any], tmp_path: Path) -> None:
    """With the secrets mounted where the variables say, every container's environment is without fault."""
    write_secrets(shop, tmp_path)
    for service in shop.services:
        for name in (service.name, f"{service.name}-migrate", f"{service.name}-worker"):
            container = project["services"][name]
            mounted = {f"/run/secrets/{secret['target']}" for secret in container["secrets"]}
            files = {value for key, value in container["environment"].items() if key.endswith("_FILE")}
            assert files == mounted
            here = {
                key: value.replace("/run/secrets", str(tmp_path / service.name))
                for key, value in container["environment"].items()
            }
            assert ServiceEnvironment.read(service.name, here).debug is False


def test_postgres_has_room_for_every_pool(shop: Workspace, project: dict[str, Any]) -> None:
    """The connections that all processes may open together fit, with those of a release that is coming."""
    command = " ".join(project["services"]["postgres"]["command"])
    offered = int(re.search(r"max_connections=(\d+)", command)[1])  # type: ignore[index]
    opened = sum(
        int(container["environment"]["BANDSTAND_DATABASE_POOL_SIZE"]) * container["deploy"].get("replicas", 1)
        for container in project["services"].values()
        if "BANDSTAND_DATABASE_POOL_SIZE" in container.get("environment", {})
    )
    assert offered >= opened


@pytest.mark.parametrize(("discovery", "url"), [("consul", "consul://consul:8500"), ("dns", "dns://?port=8000")])
def test_discovery_is_by_consul_or_by_dns(shop: Workspace, discovery: str, url: str) -> None:
    """With Consul there is one, every service waits for it and asks it; else Docker's own DNS is asked."""
    source = (ROOT / "shop" / "bandstand.toml").read_text()
    project = project_of(parse(source.replace('discovery = "consul"', f'discovery = "{discovery}"')))
    assert ("consul" in project["services"]) == (discovery == "consul")
    for service in shop.services:
        container = project["services"][service.name]
        assert container["environment"]["DISCOVERY_URL"] == url
        assert ("consul" in container["depends_on"]) == (discovery == "consul")
        # It has its token first, and nobody else's.
        assert ("consul-tokens" in container["depends_on"]) == (discovery == "consul")
        token = f"{service.name}-bandstand-discovery-token"
        holders = {name for name, each in project["services"].items() if token in sources(each)}
        worker = [f"{service.name}-worker"] if service.worker else []
        expected = {service.name, *worker} if discovery == "consul" else set()
        assert holders == expected


@pytest.mark.parametrize("broker", ["rabbitmq", "nats"])
def test_no_service_takes_the_place_of_another_container(broker: str) -> None:
    """The name of every container that belongs to no service is refused as the name of one."""
    more = f'production.discovery = "consul"\nproduction.broker = "{broker}"\n'
    containers = set(project_of(parse(f'platform.name = "shop"\n{more}[services.only-service]\n'))["services"])
    assert {name for name in containers if not name.startswith("only-service")} <= RESERVED_NAMES


def sources(container: dict[str, Any]) -> set[str]:
    return {secret["source"] for secret in container.get("secrets", ())}
