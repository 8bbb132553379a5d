"""The files of a kustomize base and its overlays."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from bandstand.workspace.export.files import File
from bandstand.workspace.export.headings import heading
from bandstand.workspace.export.kubernetes.gateways import configuration_files, gateway_objects, platform_gateway
from bandstand.workspace.export.kubernetes.jobs import migration, topology
from bandstand.workspace.export.kubernetes.networking import GATEWAY, network_policies
from bandstand.workspace.export.kubernetes.objects import Json
from bandstand.workspace.export.kubernetes.overlays import kustomization, overlay_files
from bandstand.workspace.export.kubernetes.workloads import service_objects
from bandstand.workspace.export.yaml import yaml_text
from bandstand.workspace.manifest import Workspace

__all__ = ["render_kubernetes"]

_KIND: Final = "kubernetes"


def render_kubernetes(workspace: Workspace) -> Iterator[File]:
    """Yield the base, the overlays, and the jobs, which are applied before the rest."""
    yield from _base(workspace)
    yield from (_file(path, documents) for path, documents in overlay_files(workspace))
    namespace = workspace.production.namespace
    jobs = [topology(workspace), *(migration(workspace, each) for each in workspace.services)]
    yield _file("migrations/kustomization.yaml", [kustomization(namespace=namespace, resources=["jobs.yaml"])])
    yield _file("migrations/jobs.yaml", jobs)


def _base(workspace: Workspace) -> Iterator[File]:
    objects = {service.name: list(service_objects(workspace, service)) for service in workspace.services}
    objects[GATEWAY] = [*_cluster_gateway(workspace), *gateway_objects(workspace)]
    objects["network-policies"] = list(network_policies(workspace))
    configuration = configuration_files(workspace)
    generator = [{"name": GATEWAY, "files": [f"gateway/{name}" for name in configuration]}]
    resources = [f"{name}.yaml" for name in objects]
    yield _file("base/kustomization.yaml", [kustomization(resources=resources, configMapGenerator=generator)])
    yield from (_file(f"base/{name}.yaml", documents) for name, documents in objects.items())
    for name, content in configuration.items():
        lines = content.splitlines(keepends=True)[1:]  # its heading names the exporter that it comes from
        yield File(path=PurePosixPath("base/gateway") / name, content=heading(_KIND) + "".join(lines))


def _cluster_gateway(workspace: Workspace) -> Iterator[Json]:
    if workspace.production.entry == "gateway-api" and workspace.production.entry_class:
        yield platform_gateway(workspace)


def _file(path: str, documents: Iterable[Json]) -> File:
    return File(path=PurePosixPath(path), content=heading(_KIND) + yaml_text(*documents))
