"""How Envoy is told to read a resource from a file and to watch it."""

import hashlib
from pathlib import PurePath

import msgspec

from bandstand.workspace.export.envoy.values import Json, typed

__all__ = ["discovered", "watched_file"]


def discovered(kind: str, bodies: list[Json]) -> Json:
    """Return the content of such a file. Its version tells in Envoy's own pages what the gateway runs."""
    resources = [typed(kind, **body) for body in bodies]
    version = hashlib.sha256(msgspec.json.encode(resources)).hexdigest()[:12]
    return {"version_info": version, "resources": resources}


def watched_file(path: PurePath, *, folder: PurePath | None = None) -> Json:
    """Return the source of a resource that stands in the file ``path`` and changes when that file is replaced.

    Where the file is a link into a folder that is exchanged as a whole, as Kubernetes does with a ConfigMap, ``folder``
    is the one in which that exchange can be seen.
    """
    watched = {"watched_directory": {"path": str(folder)}} if folder else {}
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path), **watched}}
