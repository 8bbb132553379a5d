"""Kong as the gateway of a platform, without a database, rendered from the manifest.

``render_kong(workspace, options)`` yields ``kong.yml``, the declarative configuration (``_format_version`` 2.1 for
Kong 2.8, 3.0 for Kong 3.6 and later), and ``kong.conf``, the settings of the process without which the first file does
not hold: bounds of bodies, which answers are tried again, no headers with underscores. ``kong_environment`` gives the
same settings as environment variables, for containers. ``read_user_keys`` reads the key set by which Kong 3.7 and later
can refuse requests without a token of a user.
"""

from bandstand.workspace.export.kong.keys import UserKey, read_user_keys
from bandstand.workspace.export.kong.options import KongOptions, Redis
from bandstand.workspace.export.kong.rendering import render_kong
from bandstand.workspace.export.kong.settings import kong_environment

__all__ = ["KongOptions", "Redis", "UserKey", "kong_environment", "read_user_keys", "render_kong"]
