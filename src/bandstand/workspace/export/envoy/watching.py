"""How Envoy is told to read a resource from a file and to watch it."""

from pathlib import Path

from bandstand.workspace.export.envoy.values import Json

__all__ = ["watched_file"]


def watched_file(path: Path) -> Json:
    """Return the source of a resource that stands in the file ``path`` and changes when that file is replaced."""
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}
