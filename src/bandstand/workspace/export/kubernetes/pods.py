"""How a pod of a service is made: with its own account without token, no rights, and secrets as files."""

from typing import Any

from bandstand.workspace.export.deployment import SECRETS_FOLDER, USER_ID, WEB_PORT
from bandstand.workspace.export.environment import Role, container_environment, secret_keys
from bandstand.workspace.export.kubernetes.objects import Json, labels
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["SECURITY", "app_container", "app_pod", "http_probe", "pod", "resources", "spread", "template"]

# For the kubelet, which calls pods by their addresses: a service answers to its names alone.
_PROBE_HOST = [{"name": "Host", "value": "localhost"}]

SECURITY: Json = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def template(workspace: Workspace, name: str, component: str, spec: Json) -> Json:
    """Return the template of pods."""
    return {"metadata": {"labels": labels(workspace, name, component)}, "spec": spec}


def pod(account: str, container: Json, *, user: int = USER_ID, volumes: tuple[Json, ...] = (), **more: Any) -> Json:
    """Return a pod of one container that may write into ``/tmp`` alone."""
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **more,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}, *volumes],
    }


def app_pod(service: Service, role: Role, container: Json, *, account: str = "", **more: Any) -> Json:
    """Return a pod of ``service``, with the account of the service unless another is named."""
    # Its group may read: the files belong to root, and the process is somebody else.
    source: Json = {"secretName": service.name, "defaultMode": 0o440}
    if secret_keys(service, role) != secret_keys(service):
        source["items"] = [{"key": key, "path": key} for key in secret_keys(service, role)]
    secret = {"name": "secrets", "secret": source}
    return pod(account or service.name, container, volumes=(secret,), **more)


def app_container(workspace: Workspace, service: Service, role: Role, **more: Any) -> Json:
    """Return a container of ``service``."""
    # Without a suffix the pod's own search list holds, which begins with its namespace, whatever an overlay calls it.
    variables = container_environment(
        workspace,
        service,
        role,
        discovery=f"dns://?port={WEB_PORT}",
        gateways=workspace.production.gateway_networks,
    )
    return {
        "name": service.name,
        "image": workspace.production.image.name(service.name),
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "resources": resources(service),
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the container
            {"name": "secrets", "mountPath": SECRETS_FOLDER, "readOnly": True},
        ],
        **more,
    }


def resources(service: Service) -> Json:
    """Return what a container is promised and may use. Memory is both, so that nobody is killed for another's."""
    memory = f"{service.memory}Mi"
    return {
        "requests": {"cpu": f"{service.cpu:g}", "memory": memory},
        "limits": {"cpu": f"{service.cpu_limit:g}", "memory": memory},
    }


def http_probe(path: str, port: str, *, period: int, failures: int, timeout: int = 3) -> Json:
    """Return a probe by HTTP; ``period`` and ``timeout`` in seconds."""
    return {
        "httpGet": {"path": path, "port": port, "httpHeaders": _PROBE_HOST},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def spread(selector: Json) -> list[Json]:
    """Return the wish that pods are spread over zones and nodes, so that the loss of one takes few of them."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
