"""What every object has: kind, name and labels, by which selectors find exactly the pods that are meant."""

from typing import Any, TypeAlias

from bandstand.workspace.export.kubernetes.releases import version_label
from bandstand.workspace.manifest import Process, Workspace

__all__ = ["Json", "labels", "metadata", "named", "process_selector", "selector"]

Json: TypeAlias = dict[str, Any]


def named(api_version: str, kind: str, name: str, labels_: Json, **more: Any) -> Json:
    """Return an object; ``more`` are its parts beside the metadata."""
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata(name, labels_), **more}


def metadata(name: str, labels_: Json) -> Json:
    """Return the metadata of an object."""
    return {"name": name, "labels": labels_}


def labels(workspace: Workspace, name: str, component: str) -> Json:
    """Return the labels that Kubernetes recommends; ``component`` is web, worker, migrate, topology or gateway."""
    return {
        **selector(workspace, name, component),
        "app.kubernetes.io/version": version_label(workspace.production.image.tag),
    }


def selector(workspace: Workspace, name: str, component: str) -> Json:
    """Return what tells these pods from all others, and never changes from release to release."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": workspace.name,
    }


def process_selector(workspace: Workspace, process: Process) -> Json:
    """Return the selector of the pods of ``process``."""
    return selector(workspace, process.service, process.kind)
