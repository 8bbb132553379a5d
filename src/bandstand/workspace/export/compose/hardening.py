"""What every container has alike: bounds, and nothing that it does not need."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from bandstand.workspace.manifest import Service

__all__ = ["DATA", "SERVICES", "Json", "app_limits", "container", "healthcheck", "limits", "secrets"]

Json: TypeAlias = dict[str, Any]

# Between gateway and services; the way out, to mail servers and the like, too.
SERVICES: Final = "services"
# To databases and brokers; no way in or out.
DATA: Final = "data"

_LOGGING: Final = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


def container(image: str, *, networks: Iterable[str] | Mapping[str, Json], **more: Any) -> Json:
    """Return a container that may write nowhere but into ``/tmp`` and its volumes, and gains no rights.

    ``networks`` are names, or names with what the container has there, such as a fixed address.
    """
    return {
        "image": image,
        "restart": "unless-stopped",
        "networks": dict(networks) if isinstance(networks, Mapping) else list(networks),
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - of the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "logging": _LOGGING,
        **more,
    }


def limits(cpus: float, mebibytes: int, *, replicas: int | None = None, pids: int = 256) -> Json:
    """Return the bounds of a container: processor cores, memory, and processes with threads."""
    bounds = {"cpus": f"{cpus:g}", "memory": f"{mebibytes}M", "pids": pids}
    return {**({"replicas": replicas} if replicas else {}), "resources": {"limits": bounds}}


def app_limits(service: Service, *, replicas: int | None = None) -> Json:
    """Return the bounds of a container of ``service``."""
    return limits(service.cpu_limit, service.memory, replicas=replicas)


def healthcheck(*command: str, start: int = 60, interval: int = 10) -> Json:
    """Return a health check; while it starts (at most ``start`` seconds) it is asked every two seconds."""
    return {
        "test": ["CMD", *command],
        "interval": f"{interval}s",
        "timeout": "5s",
        "retries": 3,
        "start_period": f"{start}s",
        "start_interval": "2s",
    }


def secrets(names: Iterable[tuple[str, str]]) -> list[Json]:
    """Return what mounts secrets: each pair is a secret of the file and what it is called in the container."""
    return [{"source": source, "target": target} for source, target in names]
