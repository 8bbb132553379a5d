"""Envoy as the gateway of a platform, rendered from the manifest.

``render_envoy(workspace, runtime)`` yields what a running Envoy reads: ``bootstrap.json`` and, beside it, the files
that it watches (listeners, clusters, routes, one of endpoints for each service). Replacing a watched file by a rename
changes the running gateway within milliseconds and without a failed request. ``render_endpoints`` yields the files of
endpoints alone, for a change of health; ``render_static`` yields one bootstrap without watched files, which is what
``envoy --mode validate`` checks in full.

``render_deployed_envoy(workspace)`` yields the same gateway for production, where it finds instances by DNS and asks
them whether they are ready.
"""

from bandstand.workspace.export.envoy.production import deployed_runtime, render_deployed_envoy
from bandstand.workspace.export.envoy.rendering import render_endpoints, render_envoy, render_static
from bandstand.workspace.export.envoy.values import Endpoint, GatewayRuntime, Health

__all__ = [
    "Endpoint",
    "GatewayRuntime",
    "Health",
    "deployed_runtime",
    "render_deployed_envoy",
    "render_endpoints",
    "render_envoy",
    "render_static",
]
