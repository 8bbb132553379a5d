"""Jobs that are applied before a new release: the migrations of each service, and the topology of the broker."""

from bandstand.conf import wire
from bandstand.workspace.export.deployment import SECRETS_FOLDER, migrate_command, topology_command
from bandstand.workspace.export.kubernetes.objects import Json, labels, named
from bandstand.workspace.export.kubernetes.pods import SECURITY, app_container, app_pod, pod, resources, template
from bandstand.workspace.export.kubernetes.releases import job_name
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["migration", "topology"]

_ADMINISTRATOR = "broker-administrator"  # the Secret with the URL of the broker's administrator

_DAY = 24 * 3600


def migration(workspace: Workspace, service: Service) -> Json:
    """Return the job; its name holds the release, since a job can't be changed."""
    name = job_name(f"{service.name}-migrate", workspace.production.image.tag)
    container = app_container(workspace, service, "command", command=migrate_command())
    # The service's account may not be there yet: the job comes first.
    pods = app_pod(service, "command", container, account="default", restartPolicy="Never")
    spec = {
        "backoffLimit": 3,
        "activeDeadlineSeconds": 1800,
        "ttlSecondsAfterFinished": _DAY,
        "template": template(workspace, service.name, "migrate", pods),
    }
    return named("batch/v1", "Job", name, labels(workspace, service.name, "migrate"), spec=spec)


def topology(workspace: Workspace) -> Json:
    """Return the job that declares at the broker what the services share, as its administrator."""
    service = workspace.services[0]
    container = {
        "name": "topology",
        "image": workspace.production.image.name(service.name),
        "imagePullPolicy": "IfNotPresent",
        "command": topology_command(workspace),
        "env": [
            {
                "name": f"{wire.BROKER_ADMIN_URL}{wire.FILE_SUFFIX}",
                "value": f"{SECRETS_FOLDER}/{wire.BROKER_ADMIN_URL}",
            }
        ],
        "resources": resources(service),
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the container
            {"name": "secrets", "mountPath": SECRETS_FOLDER, "readOnly": True},
        ],
    }
    secret = {"name": "secrets", "secret": {"secretName": _ADMINISTRATOR, "defaultMode": 0o440}}
    pods = pod("default", container, volumes=(secret,), restartPolicy="Never")
    spec = {
        "backoffLimit": 3,
        "activeDeadlineSeconds": 600,
        "ttlSecondsAfterFinished": _DAY,
        "template": template(workspace, service.name, "topology", pods),
    }
    name = job_name(f"{workspace.name}-topology", workspace.production.image.tag)
    return named("batch/v1", "Job", name, labels(workspace, service.name, "topology"), spec=spec)
