"""The dashboard in the form of Grafana."""

from collections.abc import Iterator
from typing import Any, Final

from bandstand.workspace.export.headings import mark
from bandstand.workspace.export.monitoring.panels import ROWS, Panel
from bandstand.workspace.manifest import Workspace

__all__ = ["dashboard"]

_KIND: Final = "monitoring"
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WIDTH: Final = 8
_HEIGHT: Final = 8
_ACROSS: Final = 3


def dashboard(workspace: Workspace) -> dict[str, Any]:
    """Return the dashboard in Grafana's form; its source of data is chosen in Grafana."""
    return {
        "description": f"{mark(_KIND)} from bandstand.toml; change that instead, and render anew.",
        "title": f"Platform {workspace.name}",
        "uid": f"bandstand-{workspace.name}"[:40],
        "tags": ["bandstand"],
        "editable": False,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_source_variable(), _service_variable()]},
        "panels": list(_panels()),
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}


def _service_variable() -> dict[str, Any]:
    query = "label_values(up, service)"
    return {
        "name": "service",
        "label": "Service",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "service"},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> Iterator[dict[str, Any]]:
    identity, top = 1, 0
    for row, panels in ROWS:
        yield {"id": identity, "type": "row", "title": row, "gridPos": _place(0, top, width=24, height=1), "panels": []}
        identity, top = identity + 1, top + 1
        for index, panel in enumerate(panels):
            down, across = divmod(index, _ACROSS)
            place = _place(across * _WIDTH, top + down * _HEIGHT, width=_WIDTH, height=_HEIGHT)
            yield _time_series(identity, panel, place)
            identity += 1
        top += -(-len(panels) // _ACROSS) * _HEIGHT


def _place(x: int, y: int, *, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _time_series(identity: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": identity,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
            }
            for index, query in enumerate(panel.queries)
        ],
    }
