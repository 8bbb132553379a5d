"""Prometheus and Grafana for a deployed platform, rendered from the manifest.

``render_monitoring(workspace)`` yields ``prometheus.yml`` (what to scrape), ``alerts.yml`` (what to wake somebody for)
and ``dashboard.json`` for Grafana. Every metric in them is one that services or the gateway have.
"""

from bandstand.workspace.export.monitoring.rendering import render_monitoring

__all__ = ["render_monitoring"]
