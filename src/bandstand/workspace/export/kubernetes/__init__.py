"""The platform on Kubernetes, as a kustomize base with overlays: ``render_kubernetes``.

``pods`` says how a pod of ours is made, ``workloads`` what runs and is kept running, ``jobs`` what migrates,
``networking`` who may talk to whom, ``gateways`` the one door, ``overlays`` what differs between clusters.
"""

from bandstand.workspace.export.kubernetes.rendering import render_kubernetes

__all__ = ["render_kubernetes"]
