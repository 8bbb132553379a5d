"""``bandstand.toml``, read into one frozen :class:`Workspace`.

``locate(folder)`` finds the manifest in a folder or above it; ``load(path)`` reads and checks it together with the
folders that it names; ``parse(source)`` is the same without touching the disk. Every fault is reported at once, with
file, line and what to write instead, as one :class:`~bandstand.exceptions.ManifestError`.
"""

from bandstand.workspace.manifest.loading import FILE_NAME, load, locate, parse
from bandstand.workspace.manifest.model import (
    EMBEDDED,
    SYSTEM,
    Envoy,
    Gateway,
    Image,
    Images,
    Kong,
    Process,
    Production,
    RateLimit,
    Route,
    Server,
    Servers,
    Service,
    UserKey,
    Workspace,
)

__all__ = [
    "EMBEDDED",
    "FILE_NAME",
    "SYSTEM",
    "Envoy",
    "Gateway",
    "Image",
    "Images",
    "Kong",
    "Process",
    "Production",
    "RateLimit",
    "Route",
    "Server",
    "Servers",
    "Service",
    "UserKey",
    "Workspace",
    "load",
    "locate",
    "parse",
]
