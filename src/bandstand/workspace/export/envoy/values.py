"""What the gateway needs to know beyond the manifest: where things run right now."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final, TypeAlias

import msgspec

__all__ = ["Endpoint", "GatewayRuntime", "Health", "Json", "typed"]

Json: TypeAlias = dict[str, Any]

_TYPES: Final = "type.googleapis.com/"


class Health(StrEnum):
    """What the supervisor knows of an instance. Envoy sends new requests to healthy ones alone."""

    HEALTHY = "HEALTHY"
    DRAINING = "DRAINING"
    UNHEALTHY = "UNHEALTHY"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a service."""

    host: str = "127.0.0.1"
    port: int
    health: Health = Health.HEALTHY


class GatewayRuntime(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gateway and the services behind it run.

    ``port`` is the one that clients use, ``admin_port`` that of Envoy's own pages, on the loopback interface only.
    ``xds_dir`` is the folder that the rendered files are put into; a service without endpoints answers 503. ``host`` is
    the address to listen on where it is not the one of the manifest, and ``tls`` the folder with ``tls.crt`` and
    ``tls.key`` where the gateway speaks TLS. On ``status_port`` a deployed one shows readiness and metrics.
    """

    port: int
    admin_port: int
    xds_dir: PurePath
    endpoints: Mapping[str, tuple[Endpoint, ...]] = msgspec.field(default_factory=dict)
    host: str | None = None
    status_port: int | None = None
    tls: PurePath | None = None


def typed(kind: str, /, **fields: Any) -> Json:
    """Return a protobuf message of the type ``kind`` in its JSON form."""
    return {"@type": f"{_TYPES}{kind}", **fields}
