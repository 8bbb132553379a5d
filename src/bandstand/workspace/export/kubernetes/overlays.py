"""What differs between clusters: patches on the base, each overlay a folder of its own."""

from collections.abc import Iterator

from bandstand.workspace.export.kubernetes.objects import Json, labels, named
from bandstand.workspace.export.kubernetes.workloads import worker_name
from bandstand.workspace.manifest import Workspace

__all__ = ["kustomization", "overlay_files"]


def kustomization(**parts: object) -> Json:
    """Return a kustomization."""
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **parts}


def overlay_files(workspace: Workspace) -> Iterator[tuple[str, list[Json]]]:
    """Yield the overlays' files by their paths."""
    namespace = workspace.production.namespace
    yield "overlays/production/kustomization.yaml", [kustomization(namespace=namespace, resources=["../../base"])]
    yield "overlays/development/kustomization.yaml", [_small(workspace)]
    yield "overlays/queue-scaling/kustomization.yaml", [_queue_scaling(workspace)]
    yield "overlays/queue-scaling/scaled-objects.yaml", list(_scaled_objects(workspace))


def _small(workspace: Workspace) -> Json:
    """One of each, with little memory: for a cluster on a laptop."""
    one = [{"op": "replace", "path": "/spec/minReplicas", "value": 1}]
    fewer = [*one, {"op": "replace", "path": "/spec/maxReplicas", "value": 1}]
    requests = [{"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "0.02"}]
    return kustomization(
        namespace=f"{workspace.production.namespace}-development",
        resources=["../../base"],
        patches=[
            {"target": {"kind": "HorizontalPodAutoscaler"}, "patch": _patch(fewer)},
            {"target": {"kind": "Deployment"}, "patch": _patch(requests)},
        ],
    )


def _queue_scaling(workspace: Workspace) -> Json:
    """Production, with workers by what waits for them; it needs KEDA in the cluster, and a Prometheus."""
    patch = _patch([{"op": "remove", "path": "/spec/replicas"}])
    patches = [
        {"target": {"kind": "Deployment", "name": worker_name(service)}, "patch": patch}
        for service in workspace.services
        if service.worker
    ]
    resources = ["../production", "scaled-objects.yaml"]
    return kustomization(namespace=workspace.production.namespace, resources=resources, patches=patches)


def _scaled_objects(workspace: Workspace) -> Iterator[Json]:
    """By events that are not relayed yet and deliveries that wait, as workers themselves count them."""
    for service in workspace.services:
        if service.worker:
            own = f'service="{service.name}"'
            waiting = (
                f"max(bandstand_outbox_pending{{{own}}})"
                f' + sum(max by (subscription) (bandstand_events_deliveries{{{own},state="waiting"}}) or vector(0))'
            )
            spec = {
                "scaleTargetRef": {"name": worker_name(service)},
                "minReplicaCount": 1,
                "maxReplicaCount": workspace.production.max_replicas,
                "cooldownPeriod": 300,
                "triggers": [
                    {
                        "type": "prometheus",
                        "metadata": {
                            "serverAddress": "http://prometheus.monitoring.svc:9090",
                            "query": waiting,
                            "threshold": "500",
                        },
                    }
                ],
            }
            name = worker_name(service)
            yield named("keda.sh/v1alpha1", "ScaledObject", name, labels(workspace, service.name, "worker"), spec=spec)


def _patch(operations: list[Json]) -> str:
    lines = []
    for each in operations:
        lines += [f"- op: {each['op']}", f"  path: {each['path']}"]
        if "value" in each:
            value = f'"{each["value"]}"' if isinstance(each["value"], str) else each["value"]
            lines.append(f"  value: {value}")
    return "\n".join(lines) + "\n"
