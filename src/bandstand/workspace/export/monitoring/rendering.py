"""The files of Prometheus and Grafana."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

import msgspec

from bandstand.workspace.export.files import File
from bandstand.workspace.export.headings import heading
from bandstand.workspace.export.monitoring.alerts import alert_rules
from bandstand.workspace.export.monitoring.dashboard import dashboard
from bandstand.workspace.export.monitoring.scraping import scrape_configuration
from bandstand.workspace.export.yaml import yaml_text
from bandstand.workspace.manifest import Workspace

__all__ = ["render_monitoring"]

_KIND: Final = "monitoring"


def render_monitoring(workspace: Workspace) -> Iterator[File]:
    """Yield ``prometheus.yml``, ``alerts.yml`` and ``dashboard.json``."""
    for name, content in (("prometheus", scrape_configuration(workspace)), ("alerts", alert_rules(workspace))):
        yield File(path=PurePosixPath(f"{name}.yml"), content=heading(_KIND) + yaml_text(content))
    document = msgspec.json.format(msgspec.json.encode(dashboard(workspace)), indent=2).decode()
    yield File(path=PurePosixPath("dashboard.json"), content=f"{document}\n")
