"""What migrates: a job for each service and release, applied before the new release is."""

from bandstand.workspace.export.deployment import migrate_command
from bandstand.workspace.export.kubernetes.objects import Json, labels, named
from bandstand.workspace.export.kubernetes.pods import app_container, app_pod, template
from bandstand.workspace.export.kubernetes.releases import job_name
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["migration"]

_DAY = 24 * 3600


def migration(workspace: Workspace, service: Service) -> Json:
    """Return the job; its name holds the release, since a job can't be changed."""
    name = job_name(f"{service.name}-migrate", workspace.production.image.tag)
    container = app_container(workspace, service, "command", command=migrate_command())
    # The service's account may not be there yet: the job comes first.
    pods = app_pod(service, container, account="default", restartPolicy="Never")
    spec = {
        "backoffLimit": 3,
        "activeDeadlineSeconds": 1800,
        "ttlSecondsAfterFinished": _DAY,
        "template": template(workspace, service.name, "migrate", pods),
    }
    return named("batch/v1", "Job", name, labels(workspace, service.name, "migrate"), spec=spec)
