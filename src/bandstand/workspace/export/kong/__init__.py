"""Kong as the gateway of a platform, without a database, rendered from the manifest.

``render_kong(workspace)`` yields ``kong.yml``, the declarative configuration (for Kong 3.6 and
later), and ``kong.conf``, the settings of the process without which the first file does not hold:
bounds of bodies, which answers are tried again, no headers with underscores. ``kong_environment`` gives the same
settings as environment variables, for containers.
"""

from bandstand.workspace.export.kong.rendering import render_kong
from bandstand.workspace.export.kong.settings import kong_environment

__all__ = ["kong_environment", "render_kong"]
