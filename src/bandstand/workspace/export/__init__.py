"""The manifest, rendered into the configuration of other programs.

An exporter is a function from a :class:`~bandstand.workspace.manifest.Workspace` to an iterator of :class:`File`:
it touches no disk, and the same workspace always gives the same bytes. ``install(files, folder)`` puts files in place.
``envoy`` renders the gateway.
"""

from bandstand.workspace.export.files import File, Render, install

__all__ = ["File", "Render", "install"]
