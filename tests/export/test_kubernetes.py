"""The kustomize base and overlays: what the schemas say, and what they can't see."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bandstand.conf import ServiceEnvironment
from bandstand.health.urls import urlpatterns
from bandstand.workspace.export import install
from bandstand.workspace.export.kubernetes import render_kubernetes
from bandstand.workspace.manifest import Workspace, load, parse
from bandstand.workspace.runtime import write_secrets
from tests.export.custom_resources import SCHEMAS

pytestmark = pytest.mark.export

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
OVERLAYS = ("overlays/production", "overlays/development", "overlays/queue-scaling", "migrations")
SOURCE = (ROOT / "shop" / "bandstand.toml").read_text()
VARIANTS = {
    "as it is": "",
    "envoy, nats, ingress": 'gateway = "envoy"\nbroker = "nats"\nentry = "ingress"\nentry_class = "nginx"\n'
    'tls_secret = "shop-tls"\ndata_networks = ["10.20.0.0/16"]\n',
    "a gateway of its own": 'entry_class = "kong"\ntls_secret = "shop-tls"\n',
}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def shop() -> Workspace:
    return load(ROOT / "shop" / "bandstand.toml")


@pytest.fixture(scope="module")
def rendered(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    return built(shop, tmp_path_factory.mktemp("kubernetes"), "overlays/production")


def built(workspace: Workspace, folder: Path, overlay: str) -> list[Json]:
    """Return the objects that kubectl would apply."""
    install(render_kubernetes(workspace), folder)
    return parsed(kustomized(folder / overlay))


def kustomized(folder: Path) -> str:
    done = subprocess.run(
        [TOOLS / "kubectl", "kustomize", folder], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def parsed(text: str) -> list[Json]:
    return list(yaml.load_all(text, yaml.CSafeLoader))


def of(objects: list[Json], *kinds: str) -> Iterator[Json]:
    return (each for each in objects if each["kind"] in kinds)


def pods(objects: list[Json]) -> Iterator[tuple[str, Json]]:
    for each in of(objects, "Deployment", "Job"):
        yield f"{each['kind']}/{each['metadata']['name']}", each["spec"]["template"]


def matching(selector: Json, objects: list[Json]) -> set[str]:
    return {name for name, template in pods(objects) if selector.items() <= template["metadata"]["labels"].items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_schemas_are_satisfied(variant: str, tmp_path: Path) -> None:
    """kubectl builds each overlay, and every object of Kubernetes itself passes the strict check."""
    workspace = parse(SOURCE.replace("[production]\n", f"[production]\n{VARIANTS[variant]}"))
    files = [tmp_path / f"{overlay.replace('/', '-')}.yaml" for overlay in OVERLAYS]
    install(render_kubernetes(workspace), tmp_path / "rendered")
    for file, overlay in zip(files, OVERLAYS, strict=True):
        file.write_text(kustomized(tmp_path / "rendered" / overlay))
    done = subprocess.run(
        [TOOLS / "kubernetes-validate", "--strict", "-k", "1.37", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    unknown = [line for line in done.stdout.splitlines() if line.startswith("WARN")]
    assert done.returncode == 0, done.stdout[-2000:]
    assert all("gateway.networking.k8s.io" in line or "keda.sh" in line for line in unknown), unknown


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_kubernetes_does_not_know_itself_has_the_documented_form(variant: str, tmp_path: Path) -> None:
    """The way in and what KEDA scales are checked field by field, and no kind is left out."""
    install(render_kubernetes(parse(SOURCE.replace("[production]\n", f"[production]\n{VARIANTS[variant]}"))), tmp_path)
    objects = [each for file in tmp_path.rglob("*.yaml") for each in parsed(file.read_text()) if each]
    foreign = [each for each in objects if each.get("apiVersion", "").startswith(("gateway.networking", "keda."))]
    assert foreign
    for each in foreign:
        schema = SCHEMAS[each["apiVersion"], each["kind"]]
        assert [error.message for error in Draft202012Validator(schema).iter_errors(each)] == []


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("HTTPRoute", {"hostname": ["shop.example"]}),
        ("ScaledObject", {"maxReplicas": 6}),
        ("ScaledObject", {"triggers": [{"type": "prometheus", "metadata": {"threshold": 500}}]}),
    ],
)
def test_a_wrong_field_of_theirs_is_found(shop: Workspace, tmp_path: Path, kind: str, wrong: Json) -> None:
    """The check above can fail: a misspelled field and a number that must be text are faults."""
    found = next(of(built(shop, tmp_path, "overlays/queue-scaling"), kind))
    found["spec"].update(wrong)
    assert not Draft202012Validator(SCHEMAS[found["apiVersion"], kind]).is_valid(found)


def test_the_schemas_can_be_violated(shop: Workspace, tmp_path: Path) -> None:
    """The check above can fail: a field that does not exist is refused."""
    objects = built(shop, tmp_path, "migrations")
    objects[0]["spec"]["backofLimit"] = 3
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump_all(objects))
    done = subprocess.run(
        [TOOLS / "kubernetes-validate", "--strict", "-k", "1.37", tmp_path / "bad.yaml"],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0


def test_each_selector_finds_exactly_its_pods(shop: Workspace, rendered: list[Json]) -> None:
    """A Service, a budget or a policy that finds too many pods or none fails without a word."""
    for each in of(rendered, "Deployment"):
        own = f"Deployment/{each['metadata']['name']}"
        assert matching(each["spec"]["selector"]["matchLabels"], rendered) == {own}
    for each in of(rendered, "Service"):
        assert matching(each["spec"]["selector"], rendered) == {f"Deployment/{each['metadata']['name']}"}
    for each in of(rendered, "PodDisruptionBudget"):
        found = matching(each["spec"]["selector"]["matchLabels"], rendered)
        assert found == {f"Deployment/{each['metadata']['name']}"}
    deployments = {each["metadata"]["name"] for each in of(rendered, "Deployment")}
    for each in of(rendered, "HorizontalPodAutoscaler"):
        assert each["spec"]["scaleTargetRef"]["name"] in deployments


def test_each_policy_finds_exactly_its_pods(shop: Workspace, rendered: list[Json], tmp_path: Path) -> None:
    """Also those of jobs, which come on their own."""
    everything = [*rendered, *built(shop, tmp_path, "migrations")]
    every = {name for name, _ in pods(everything)}
    for policy in of(rendered, "NetworkPolicy"):
        name, found = (
            policy["metadata"]["name"],
            matching(policy["spec"]["podSelector"].get("matchLabels", {}), everything),
        )
        if name in {"default-deny", "allow-dns"}:
            assert found == every
        elif name.endswith(("-migrate", "-topology")):
            assert found == {f"Job/{name}-1-0-0"}
        else:
            assert found == {f"Deployment/{name}"}


def test_the_network_is_the_manifests_calls(shop: Workspace, rendered: list[Json]) -> None:
    """Who may reach whom, on both sides of the wire: `calls`, the key set of the issuer, and the gateway's routes."""
    issuer = "user-service"
    wanted = {("gateway", service.name) for service in shop.services if service.routes}
    for service in shop.services:
        wanted |= {(service.name, callee) for callee in {*service.calls, issuer} - {service.name}}
    name, component = "app.kubernetes.io/name", "app.kubernetes.io/component"
    outgoing, incoming = set(), set()
    for policy in of(rendered, "NetworkPolicy"):
        own = policy["spec"]["podSelector"].get("matchLabels", {})
        for rule in policy["spec"].get("egress", []):
            outgoing |= {
                (own[name], peer["podSelector"]["matchLabels"][name])
                for peer in rule["to"]
                if name in peer.get("podSelector", {}).get("matchLabels", {})
            }
        for rule in policy["spec"].get("ingress", []):
            assert rule.get("from") or own[component] == "gateway", "a rule without a source lets everybody in"
            incoming |= {
                (peer["podSelector"]["matchLabels"][name], own[name])
                for peer in rule.get("from", [])
                if "podSelector" in peer
            }
    assert outgoing == wanted
    assert incoming == wanted


def test_what_is_not_allowed_is_denied(rendered: list[Json]) -> None:
    """One policy closes every pod in both directions; the others open."""
    [closed] = [each for each in of(rendered, "NetworkPolicy") if each["metadata"]["name"] == "default-deny"]
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_nobody_has_rights(shop: Workspace, rendered: list[Json], tmp_path: Path) -> None:
    """No root, no token, no capability, no way to write but /tmp, and no image that moves."""
    for name, template in pods([*rendered, *built(shop, tmp_path, "migrations")]):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"].keys() == {"requests", "limits"}, name
        tag = container["image"].rpartition(":")[2]
        assert tag != "latest", name
        assert tag[0].isdigit() or tag.startswith("v"), name


def test_each_probe_asks_for_what_there_is(shop: Workspace, rendered: list[Json]) -> None:
    """Paths are those of bandstand.health, ports are the container's, and the host is one that is allowed."""
    paths = {f"/{pattern.pattern}" for pattern in urlpatterns}
    for name, template in pods(rendered):
        [container] = template["spec"]["containers"]
        if container["name"] == "gateway":
            continue
        ports = {port["name"] for port in container["ports"]}
        allowed = next(each["value"] for each in container["env"] if each["name"] == "ALLOWED_HOSTS").split(",")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["path"] in paths, name
            assert asked["port"] in ports, name
            assert asked["httpHeaders"][0]["value"] in allowed, name
        assert container["livenessProbe"]["httpGet"]["path"] == "/health/live/", name


def test_there_is_time_to_leave(shop: Workspace, rendered: list[Json]) -> None:
    """The head start, the drain, the longest request and granian's patience fit into the time before SIGKILL."""
    for service in shop.services:
        [web] = [each for each in of(rendered, "Deployment") if each["metadata"]["name"] == service.name]
        spec = web["spec"]["template"]["spec"]
        [container] = spec["containers"]
        head_start = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
        variables = {each["name"]: each["value"] for each in container["env"]}
        leaving = head_start + int(variables["BANDSTAND_DRAIN_SECONDS"]) + shop.gateway.timeout
        assert spec["terminationGracePeriodSeconds"] > leaving
        assert web["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_secrets_are_referred_to_alone(shop: Workspace, rendered: list[Json], tmp_path: Path) -> None:
    """No Secret is rendered; each service mounts its own, with the files that `bandstand secrets` makes."""
    assert not list(of(rendered, "Secret"))
    write_secrets(shop, tmp_path)
    for name, template in pods(rendered):
        spec = template["spec"]
        [container] = spec["containers"]
        if container["name"] == "gateway":
            continue
        [mounted] = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
        assert mounted["secretName"] == container["name"], name
        here = {
            each["name"]: each["value"].replace("/run/secrets", str(tmp_path / container["name"]))
            for each in container["env"]
        }
        assert all(Path(value).is_file() for key, value in here.items() if key.endswith("_FILE")), name
        assert ServiceEnvironment.read(container["name"], here).debug is False


def test_a_service_is_found_by_dns(shop: Workspace, rendered: list[Json]) -> None:
    """Its Service has its name and no address of its own, so that DNS gives the pods that are ready."""
    for service in shop.services:
        [found] = [each for each in of(rendered, "Service") if each["metadata"]["name"] == service.name]
        assert found["spec"]["clusterIP"] == "None"
        assert found["spec"]["ports"][0]["port"] == 8000


def test_the_gateways_configuration_is_named_by_its_content(rendered: list[Json]) -> None:
    """A change of a route rolls the gateway: the ConfigMap gets another name, and the Deployment names it."""
    [configuration] = of(rendered, "ConfigMap")
    [gateway] = [each for each in of(rendered, "Deployment") if each["metadata"]["name"] == "gateway"]
    volumes = gateway["spec"]["template"]["spec"]["volumes"]
    [named] = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    assert named == configuration["metadata"]["name"] != "gateway"
    assert "kong.yml" in configuration["data"]


@pytest.mark.parametrize("tag", ["12e4567", "1.0", "0x1F", "0o17", "1_0", "V1", "1.0.0.", "a" * 128])
def test_a_tag_is_text_that_a_cluster_takes(tmp_path: Path, tag: str) -> None:
    """Also where it looks like a number, as the hash of a commit may, or has no form that a label can have."""
    jobs = built(parse(re.sub('tag = "[^"]*"', f'tag = "{tag}"', SOURCE)), tmp_path, "migrations")
    for job in jobs:
        version = job["metadata"]["labels"]["app.kubernetes.io/version"]
        assert isinstance(version, str)
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", version)
        assert job["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f":{tag}")


def test_each_job_is_of_one_release(shop: Workspace, tmp_path: Path) -> None:
    """A job can't be changed, so the next release has another; it needs nothing that comes after it."""
    jobs = {job["metadata"]["name"]: job for job in built(shop, tmp_path, "migrations")}
    commands = {
        f"{name}-migrate-1-0-0": ["python", "manage.py", "migrate", "--no-input"] for name in shop.service_names
    }
    commands["shop-topology-1-0-0"] = ["python", "-m", "bandstand.topology", "shop", *shop.service_names]
    pods = {name: job["spec"]["template"]["spec"] for name, job in jobs.items()}
    assert {name: pod["containers"][0]["command"] for name, pod in pods.items()} == commands
    assert {pod["serviceAccountName"] for pod in pods.values()} == {"default"}


def test_the_queue_decides_where_keda_is(shop: Workspace, tmp_path: Path) -> None:
    """Then no number of workers is written, so that applying the files does not undo what was chosen."""
    objects = built(shop, tmp_path, "overlays/queue-scaling")
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of(objects, "ScaledObject")}
    assert scaled == {f"{name}-worker" for name in shop.service_names}
    for each in of(objects, "Deployment"):
        assert each["metadata"]["name"] not in scaled or "replicas" not in each["spec"]


def test_the_jobs_that_migrate_may_go_past_a_pooler(shop: Workspace, tmp_path: Path) -> None:
    """The overlay on the page, as printed, gives each the URL of PostgreSQL itself, and changes nothing else."""
    page = (ROOT / "docs" / "how-to" / "run-behind-pgbouncer.md").read_text()
    [overlay] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "past").mkdir()
    (tmp_path / "past" / "kustomization.yaml").write_text(overlay)
    rendered = built(shop, tmp_path / "deploy" / "kubernetes", "migrations")
    patched = built(shop, tmp_path / "deploy" / "kubernetes", "../../past")
    pairs = list(zip(rendered, patched, strict=True))
    migrations = [(before, after) for before, after in pairs if "-migrate-" in before["metadata"]["name"]]
    assert len(migrations) == len(shop.services)
    assert [before for before, after in pairs if before == after] == [
        each for each in rendered if "-topology-" in each["metadata"]["name"]
    ]
    for before, after in migrations:
        [old], [new] = (each["spec"]["template"]["spec"]["containers"] for each in (before, after))
        own = "DATABASE_URL_FILE=/run/secrets/DIRECT_DATABASE_URL"
        assert new["command"] == ["env", own, *old["command"]]
        assert {"name": "DATABASE_URL_FILE", "value": "/run/secrets/DATABASE_URL"} in old["env"]
        assert new | {"command": old["command"]} == old
