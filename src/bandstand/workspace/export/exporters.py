"""Every exporter by the name that ``bandstand export`` knows it by."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bandstand.workspace.export.compose import render_compose
from bandstand.workspace.export.dockerfile import render_dockerfile
from bandstand.workspace.export.envoy import render_deployed_envoy
from bandstand.workspace.export.files import Render
from bandstand.workspace.export.kong import render_kong
from bandstand.workspace.export.kubernetes import render_kubernetes
from bandstand.workspace.export.monitoring import render_monitoring

__all__ = ["EXPORTERS"]

EXPORTERS: Final[Mapping[str, Render]] = MappingProxyType(
    {
        "dockerfile": render_dockerfile,
        "compose": render_compose,
        "envoy": render_deployed_envoy,
        "kong": render_kong,
        "kubernetes": render_kubernetes,
        "monitoring": render_monitoring,
    }
)
