"""The manifest, rendered into the configuration of other programs.

An exporter is a function from a :class:`~bandstand.workspace.manifest.Workspace` to an iterator of :class:`File`:
it touches no disk, and the same workspace always gives the same bytes. ``EXPORTERS`` has those that
``bandstand export`` offers; ``RenderedFolder`` compares a folder with what is rendered, and writes it; ``mark(kind)``
is what tells such files from other people's. ``envoy`` renders the gateway of ``bandstand up``, and
``install(files, folder)`` puts its files in place; ``kong`` renders one for production, and what every gateway does
alike stands in ``gateway``.
"""

from bandstand.workspace.export.exporters import EXPORTERS
from bandstand.workspace.export.files import File, Render, install
from bandstand.workspace.export.folder import Difference, RenderedFolder
from bandstand.workspace.export.headings import mark

__all__ = ["EXPORTERS", "Difference", "File", "Render", "RenderedFolder", "install", "mark"]
