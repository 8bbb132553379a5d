"""What runs and is kept running: web processes and workers, with what keeps enough of them alive."""

from collections.abc import Iterator

from bandstand.workspace.export.deployment import (
    DRAIN_SECONDS,
    WEB_PORT,
    WORKER_PORT,
    stop_seconds,
    worker_command,
    worker_stop_seconds,
)
from bandstand.workspace.export.kubernetes.objects import Json, labels, named, selector
from bandstand.workspace.export.kubernetes.pods import app_container, app_pod, http_probe, spread, template
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["READY", "service_objects", "worker_name"]

LIVE = "/health/live/"
READY = "/health/ready/"


def worker_name(service: Service) -> str:
    """The name of the Deployment of the workers."""
    return f"{service.name}-worker"


def service_objects(workspace: Workspace, service: Service) -> Iterator[Json]:
    """Yield everything of ``service`` that stays, in the order in which it should be made."""
    web = labels(workspace, service.name, "web")
    yield named("v1", "ServiceAccount", service.name, web, automountServiceAccountToken=False)
    yield _service(workspace, service)
    yield _web(workspace, service)
    yield _budget(workspace, service)
    yield _autoscaler(workspace, service)
    if service.worker:
        yield _worker(workspace, service)


def _service(workspace: Workspace, service: Service) -> Json:
    """Headless: DNS gives the address of every pod that is ready, so that callers balance and leave out themselves."""
    spec = {
        "clusterIP": "None",
        "selector": selector(workspace, service.name, "web"),
        "ports": [{"name": "http", "port": WEB_PORT, "targetPort": "http", "appProtocol": "http"}],
    }
    return named("v1", "Service", service.name, labels(workspace, service.name, "web"), spec=spec)


def _web(workspace: Workspace, service: Service) -> Json:
    container = app_container(
        workspace,
        service,
        "web",
        ports=[{"name": "http", "containerPort": WEB_PORT}],
        startupProbe=http_probe(LIVE, "http", period=2, failures=30),
        livenessProbe=http_probe(LIVE, "http", period=10, failures=3),
        readinessProbe=http_probe(READY, "http", period=5, failures=2),
        # The process turns unready by itself at SIGTERM and then drains; this gives the endpoints a head start.
        lifecycle={"preStop": {"exec": {"command": ["sleep", str(DRAIN_SECONDS)]}}},
    )
    pods = app_pod(
        service,
        "web",
        container,
        terminationGracePeriodSeconds=DRAIN_SECONDS + stop_seconds(workspace),
        topologySpreadConstraints=spread(selector(workspace, service.name, "web")),
    )
    # Never fewer than there should be: the new pod is ready before an old one leaves.
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    return _deployment(workspace, service.name, service, "web", pods, strategy=strategy)


def _worker(workspace: Workspace, service: Service) -> Json:
    container = app_container(
        workspace,
        service,
        "worker",
        command=worker_command(),
        ports=[{"name": "health", "containerPort": WORKER_PORT}],
        startupProbe=http_probe(LIVE, "health", period=2, failures=30),
        livenessProbe=http_probe(LIVE, "health", period=10, failures=3),
        readinessProbe=http_probe(READY, "health", period=5, failures=2),
    )
    pods = app_pod(
        service,
        "worker",
        container,
        terminationGracePeriodSeconds=worker_stop_seconds(),
        topologySpreadConstraints=spread(selector(workspace, service.name, "worker")),
    )
    return _deployment(workspace, worker_name(service), service, "worker", pods, replicas=1)


def _deployment(
    workspace: Workspace,
    name: str,
    service: Service,
    component: str,
    pods: Json,
    *,
    strategy: Json | None = None,
    replicas: int | None = None,
) -> Json:
    spec = {
        # Without a number where an autoscaler chooses one: applying the file must not undo what it chose.
        **({"replicas": replicas} if replicas else {}),
        "revisionHistoryLimit": 5,
        **({"strategy": strategy} if strategy else {}),
        "selector": {"matchLabels": selector(workspace, service.name, component)},
        "template": template(workspace, service.name, component, pods),
    }
    return named("apps/v1", "Deployment", name, labels(workspace, service.name, component), spec=spec)


def _budget(workspace: Workspace, service: Service) -> Json:
    """Nodes that are emptied take one web process at a time."""
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": selector(workspace, service.name, "web")}}
    name, own = service.name, labels(workspace, service.name, "web")
    return named("policy/v1", "PodDisruptionBudget", name, own, spec=spec)


def _autoscaler(workspace: Workspace, service: Service) -> Json:
    production = workspace.production
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.name},
        "minReplicas": production.replicas,
        "maxReplicas": production.max_replicas,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    name, own = service.name, labels(workspace, service.name, "web")
    return named("autoscaling/v2", "HorizontalPodAutoscaler", name, own, spec=spec)
