"""The one door: Kong or Envoy with the rendered configuration, and how the cluster's entry reaches it."""

from collections.abc import Iterator

from bandstand.workspace.export.deployment import ENVOY_STATUS_PORT, GATEWAY_PORT, KONG_STATUS_PORT
from bandstand.workspace.export.envoy import render_deployed_envoy
from bandstand.workspace.export.kong import kong_environment, render_kong
from bandstand.workspace.export.kubernetes.networking import GATEWAY
from bandstand.workspace.export.kubernetes.objects import Json, labels, named, selector
from bandstand.workspace.export.kubernetes.pods import SECURITY, http_probe, pod, spread, template
from bandstand.workspace.manifest import Images, Workspace

__all__ = ["configuration_files", "gateway_objects", "platform_gateway"]

_KONG_USER, _ENVOY_USER = 1000, 101
_DRAIN = 10
# Whatever it answers: a gateway whose services are away must not be killed for it.
_ALIVE: Json = {"tcpSocket": {"port": "http"}, "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 3}


def configuration_files(workspace: Workspace) -> dict[str, str]:
    """Return the files of the gateway by their names; kustomize puts them into a ConfigMap named by their content."""
    rendered = render_kong(workspace) if workspace.production.gateway == "kong" else render_deployed_envoy(workspace)
    return {file.path.name: file.content for file in rendered if file.path.suffix in {".yml", ".yaml"}}


def gateway_objects(workspace: Workspace) -> Iterator[Json]:
    """Yield the gateway and the way to it."""
    own = labels(workspace, GATEWAY, GATEWAY)
    yield named("v1", "ServiceAccount", GATEWAY, own, automountServiceAccountToken=False)
    yield _service(workspace)
    yield _deployment(workspace)
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": selector(workspace, GATEWAY, GATEWAY)}}
    yield named("policy/v1", "PodDisruptionBudget", GATEWAY, own, spec=budget)
    yield _route(workspace) if workspace.production.entry == "gateway-api" else _ingress(workspace)


def _service(workspace: Workspace) -> Json:
    spec = {
        "selector": selector(workspace, GATEWAY, GATEWAY),
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"}],
    }
    return named("v1", "Service", GATEWAY, labels(workspace, GATEWAY, GATEWAY), spec=spec)


def _deployment(workspace: Workspace) -> Json:
    found = selector(workspace, GATEWAY, GATEWAY)
    kong = workspace.production.gateway == "kong"
    pods = pod(
        GATEWAY,
        _kong(workspace) if kong else _envoy(workspace.production.images),
        user=_KONG_USER if kong else _ENVOY_USER,
        volumes=({"name": "configuration", "configMap": {"name": GATEWAY}},),
        terminationGracePeriodSeconds=_DRAIN + int(workspace.gateway.timeout) + 5,
        topologySpreadConstraints=spread(found),
    )
    spec = {
        "replicas": workspace.production.replicas,
        "revisionHistoryLimit": 5,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": found},
        "template": template(workspace, GATEWAY, GATEWAY, pods),
    }
    return named("apps/v1", "Deployment", GATEWAY, labels(workspace, GATEWAY, GATEWAY), spec=spec)


def _kong(workspace: Workspace) -> Json:
    variables = {
        **kong_environment(workspace),
        "KONG_PREFIX": "/tmp/kong",  # noqa: S108 - of the container
        "KONG_STATUS_LISTEN": f"0.0.0.0:{KONG_STATUS_PORT}",
    }
    return _container(
        workspace.production.images.kong,
        "/etc/kong",
        KONG_STATUS_PORT,
        "/status/ready",
        env=[{"name": name, "value": value} for name, value in variables.items()],
        # In order: it goes on answering while the cluster takes it out, then finishes what is in flight.
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", f"sleep {_DRAIN} && kong quit --timeout=10"]}}},
    )


def _envoy(images: Images) -> Json:
    flags = ["--concurrency", "2", "--log-level", "warning", "--drain-strategy", "immediate"]
    return _container(
        images.envoy,
        "/etc/envoy",
        ENVOY_STATUS_PORT,
        "/ready",
        command=["envoy", "-c", "/etc/envoy/envoy.yaml", *flags],
        lifecycle={"preStop": {"exec": {"command": ["sleep", str(_DRAIN)]}}},
    )


def _container(image: str, folder: str, status_port: int, ready: str, **more: object) -> Json:
    return {
        "name": GATEWAY,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        **more,
        "ports": [
            {"name": "http", "containerPort": GATEWAY_PORT},
            {"name": "status", "containerPort": status_port},
        ],
        "startupProbe": http_probe(ready, "status", period=2, failures=30),
        "livenessProbe": {
            "tcpSocket": {"port": "http"},
            "periodSeconds": 10,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        "readinessProbe": http_probe(ready, "status", period=3, failures=2),
        "resources": {"requests": {"cpu": "0.25", "memory": "768Mi"}, "limits": {"cpu": "2", "memory": "768Mi"}},
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the container
            {"name": "configuration", "mountPath": folder, "readOnly": True},
        ],
    }


def _route(workspace: Workspace) -> Json:
    """For a Gateway of the platform's name, which whoever runs the cluster owns, with its certificate and addresses."""
    spec = {
        "parentRefs": [{"name": workspace.name}],
        "hostnames": list(workspace.production.hosts),
        "rules": [{"backendRefs": [{"name": GATEWAY, "port": 80}]}],
    }
    own = labels(workspace, GATEWAY, GATEWAY)
    return named("gateway.networking.k8s.io/v1", "HTTPRoute", workspace.name, own, spec=spec)


def _ingress(workspace: Workspace) -> Json:
    production = workspace.production
    backend = {"service": {"name": GATEWAY, "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    tls = [{"hosts": list(production.hosts), "secretName": production.tls_secret}] if production.tls_secret else []
    spec = {
        **({"ingressClassName": production.entry_class} if production.entry_class else {}),
        **({"tls": tls} if tls else {}),
        "rules": [{"host": host, "http": {"paths": paths}} for host in production.hosts],
    }
    own = labels(workspace, GATEWAY, GATEWAY)
    return named("networking.k8s.io/v1", "Ingress", workspace.name, own, spec=spec)


def platform_gateway(workspace: Workspace) -> Json:
    """Return a Gateway of the class that the manifest names."""
    production = workspace.production
    certificate = {"certificateRefs": [{"kind": "Secret", "name": production.tls_secret}]}
    listener = (
        {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"mode": "Terminate", **certificate}}
        if production.tls_secret
        else {"name": "http", "port": 80, "protocol": "HTTP"}
    )
    spec = {"gatewayClassName": production.entry_class, "listeners": [listener]}
    own = labels(workspace, GATEWAY, GATEWAY)
    return named("gateway.networking.k8s.io/v1", "Gateway", workspace.name, own, spec=spec)
